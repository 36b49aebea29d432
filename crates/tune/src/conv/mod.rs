//! ONNX `Conv` (opsets 1 to 22) with a gradient: any number of spatial axes, stride, dilation,
//! padding, groups.

mod kernels;
mod runs;

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

use kernels::{Channels, by_input, by_weight, forward};
pub(crate) use runs::{Runs, Window};

/// A convolution over maps of given extents, without bias.
#[derive(Debug, Clone)]
pub(crate) struct Conv {
    channels: Channels,
    runs: Arc<Runs>,
    pointwise: bool,
    input: Vec<usize>,
    kernel: Vec<usize>,
}

impl Conv {
    /// `None` where the window does not fit the map.
    pub fn new(
        (inputs, outputs, groups): (usize, usize, usize),
        window: &Window,
        input: &[usize],
    ) -> Option<Self> {
        Some(Self {
            channels: Channels {
                inputs,
                outputs,
                groups,
            },
            runs: Arc::new(Runs::new(window, input)?),
            pointwise: window.is_pointwise(),
            input: input.to_vec(),
            kernel: window.kernel.clone(),
        })
    }

    /// `x` is `[N, Ci, input...]`, `w` is `[Co, Ci / groups, k...]`.
    pub fn apply(&self, x: &Tensor, w: &Tensor) -> Result<Tensor> {
        x.contiguous()?.apply_op2(&w.contiguous()?, self.clone())
    }

    fn map(&self, batch: usize, channels: usize, spatial: &[usize]) -> Shape {
        [&[batch, channels], spatial].concat().into()
    }
}

impl CustomOp2 for Conv {
    fn name(&self) -> &'static str {
        "conv"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, w) = (floats(x, x_layout)?, floats(w, w_layout)?);
        let y = forward(self.channels, &self.runs, self.pointwise, x, w);
        let batch = x_layout.dims().first().copied().unwrap_or(0);
        let shape = self.map(batch, self.channels.outputs, &self.runs.output);
        Ok((CpuStorage::F32(y), shape))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let batch = x.dim(0)?;
        // candle takes gradients with respect to whatever depends on a variable.
        let by = |gradient: Gradient, with: &Tensor, other: &Tensor| {
            let wanted = with.track_op();
            wanted
                .then(|| grad.apply_op2_no_bwd(&other.contiguous()?, &gradient))
                .transpose()
        };
        let c = &self.channels;
        let by_x = Gradient {
            of: self.clone(),
            by_input: true,
            shape: self.map(batch, c.inputs, &self.input),
        };
        let by_w = Gradient {
            of: self.clone(),
            by_input: false,
            shape: self.map(c.outputs, c.inputs / c.groups, &self.kernel),
        };
        Ok((by(by_x, x, w)?, by(by_w, w, x)?))
    }
}

/// A gradient of a convolution, of the gradient of its output and the other factor.
struct Gradient {
    of: Conv,
    by_input: bool,
    shape: Shape,
}

impl CustomOp2 for Gradient {
    fn name(&self) -> &'static str {
        "conv-gradient"
    }

    fn cpu_fwd(
        &self,
        grad: &CpuStorage,
        grad_layout: &Layout,
        other: &CpuStorage,
        other_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (grad, other) = (floats(grad, grad_layout)?, floats(other, other_layout)?);
        let run = if self.by_input { by_input } else { by_weight };
        let conv = &self.of;
        let result = run(conv.channels, &conv.runs, conv.pointwise, grad, other);
        Ok((CpuStorage::F32(result), self.shape.clone()))
    }
}

/// The elements of a contiguous f32 tensor.
pub(crate) fn floats<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let values = storage.as_slice::<f32>()?;
    let (start, end) = layout
        .contiguous_offsets()
        .ok_or_else(|| candle_core::Error::Msg("the tensor is not contiguous".into()))?;
    Ok(&values[start..end])
}
