//! ONNX `Conv` (opsets 1 to 22) with a gradient: any number of spatial axes, stride, dilation,
//! padding, groups.

mod kernels;
mod runs;
mod taps;

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

pub(crate) use kernels::Channels;
use kernels::Kernels;
pub(crate) use runs::{Runs, Window};
pub(crate) use taps::taps;

/// A convolution over maps of given extents, without bias.
#[derive(Debug, Clone)]
pub(crate) struct Conv {
    channels: Channels,
    runs: Arc<Runs>,
    window: Window,
    input: Vec<usize>,
}

impl Conv {
    /// `None` where the window does not fit the map.
    pub fn new(channels: Channels, window: &Window, input: &[usize]) -> Option<Self> {
        Some(Self {
            channels,
            runs: Arc::new(Runs::new(window, input)?),
            window: window.clone(),
            input: input.to_vec(),
        })
    }

    /// `x` is `[N, Ci, input...]`, `w` is `[Co, Ci / groups, k...]`.
    pub fn apply(&self, x: &Tensor, w: &Tensor) -> Result<Tensor> {
        if !x.device().is_cpu() {
            return self.of_taps(x, w);
        }
        x.contiguous()?.apply_op2(&w.contiguous()?, self.clone())
    }

    /// The same, on any device.
    fn of_taps(&self, x: &Tensor, w: &Tensor) -> Result<Tensor> {
        taps::conv(self.channels, &self.window, &self.runs.output, x, w)
    }

    fn kernels(&self) -> Kernels<'_> {
        Kernels::new(self.channels, &self.runs, self.window.is_pointwise())
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
        let y = self.kernels().forward(x, w);
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
            shape: self.map(c.outputs, c.inputs / c.groups, &self.window.kernel),
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
        let kernels = self.of.kernels();
        let result = match self.by_input {
            true => kernels.by_input(grad, other),
            false => kernels.by_weight(grad, other),
        };
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use candle_core::{Device, Var};

    use super::*;
    use crate::testing::tensor;

    fn channels(inputs: usize, outputs: usize, groups: usize) -> Channels {
        Channels {
            inputs,
            outputs,
            groups,
        }
    }

    /// Values and gradients of the kernels and of the library's operations are the same.
    fn alike(channels: Channels, window: &Window, input: &[usize]) {
        let conv = Conv::new(channels, window, input).unwrap();
        let dims = [&[3, channels.inputs], input].concat();
        let x = Var::from_tensor(&tensor(&dims, 1, &Device::Cpu)).unwrap();
        let dims = [
            &[channels.outputs, channels.group_in()],
            window.kernel.as_slice(),
        ]
        .concat();
        let w = Var::from_tensor(&tensor(&dims, 2, &Device::Cpu)).unwrap();
        let (own, other) = (conv.apply(&x, &w).unwrap(), conv.of_taps(&x, &w).unwrap());
        assert_eq!(own.dims(), other.dims());
        let weights = tensor(own.dims(), 3, &Device::Cpu);
        let of = |y: &Tensor| {
            let store = (y * &weights)
                .unwrap()
                .sum_all()
                .unwrap()
                .backward()
                .unwrap();
            [
                y.clone(),
                store.get(&x).unwrap().clone(),
                store.get(&w).unwrap().clone(),
            ]
        };
        for (a, b) in of(&own).iter().zip(of(&other)) {
            let off = (a - b).unwrap().abs().unwrap().flatten_all().unwrap();
            let off = off.max(0).unwrap().to_scalar::<f32>().unwrap();
            assert!(off < 1e-4, "{channels:?} {window:?} {input:?}: {off}");
        }
    }

    #[test]
    fn kernels_compute_what_the_library_does() {
        let window = |kernel: &[usize], strides: &[usize], dilations: &[usize], pads: &[usize]| {
            let (begins, ends) = pads.split_at(kernel.len());
            Window {
                kernel: kernel.to_vec(),
                strides: strides.to_vec(),
                dilations: dilations.to_vec(),
                begins: begins.to_vec(),
                ends: ends.to_vec(),
            }
        };
        let same = window(&[3, 3], &[1, 1], &[1, 1], &[1, 1, 1, 1]);
        let odd = window(&[3, 2], &[2, 3], &[2, 1], &[0, 1, 3, 0]);
        for channels in [
            channels(4, 6, 1),
            channels(4, 6, 2),
            channels(4, 4, 4),
            channels(4, 8, 4),
        ] {
            alike(channels, &same, &[5, 7]);
            alike(channels, &odd, &[9, 11]);
        }
        // Patches of more numbers than are multiplied together.
        alike(channels(4, 2, 1), &same, &[61, 250]);
        alike(
            channels(3, 5, 1),
            &window(&[1, 1], &[1, 1], &[1, 1], &[0; 4]),
            &[4, 4],
        );
        alike(
            channels(3, 5, 1),
            &window(&[1, 1], &[2, 2], &[1, 1], &[0; 4]),
            &[4, 5],
        );
        alike(channels(2, 4, 2), &window(&[3], &[2], &[1], &[1, 0]), &[8]);
        alike(
            channels(2, 3, 1),
            &window(&[2, 1, 3], &[1, 2, 1], &[1, 1, 2], &[1, 0, 2, 0, 0, 2]),
            &[3, 4, 5],
        );
    }
}
