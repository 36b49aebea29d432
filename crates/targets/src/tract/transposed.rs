//! `ConvTranspose` as ONNX and ONNX Runtime compute it.
//!
//! tract's own reading of the operator differs where the total padding is odd, where `auto_pad`
//! meets `output_padding` or a kernel that reaches no further than the stride, and where
//! `output_shape` asks for less than the kernel reaches. This one resolves all of that to `pads`
//! and `output_padding` ([`ConvAttributes::explicit`]) before tract's kernel sees it.

use sepconv_analysis::{AutoPad, ConvAttributes};
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_core::ops::cnn::{Deconv, KernelFormat, PaddingSpec, PoolSpec};
use tract_onnx::tract_core::ops::nn::DataFormat;
use tract_onnx::tract_hir::internal::*;

/// The attributes of a `ConvTranspose` (ONNX 1, 11, 22); empty lists are absent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ConvTranspose {
    strides: Vec<usize>,
    dilations: Vec<usize>,
    pads: Vec<usize>,
    /// The attribute's text.
    auto_pad: String,
    output_padding: Vec<usize>,
    output_shape: Vec<usize>,
    group: usize,
    has_bias: bool,
}

/// Reads a `ConvTranspose` node.
pub(super) fn conv_transpose(
    _: &ParsingContext<'_>,
    node: &NodeProto,
) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let list = |name: &str| node.get_attr_opt_vec::<usize>(name);
    let op = ConvTranspose {
        strides: list("strides")?.unwrap_or_default(),
        dilations: list("dilations")?.unwrap_or_default(),
        pads: list("pads")?.unwrap_or_default(),
        auto_pad: node.get_attr_opt::<String>("auto_pad")?.unwrap_or_default(),
        output_padding: list("output_padding")?.unwrap_or_default(),
        output_shape: list("output_shape")?.unwrap_or_default(),
        group: node.get_attr_opt("group")?.unwrap_or(1),
        has_bias: node.input.len() == 3,
    };
    if AutoPad::parse(&op.auto_pad).is_none() {
        bail!("auto_pad '{}' is unknown", op.auto_pad);
    }
    Ok((expand(op), vec![]))
}

impl ConvTranspose {
    /// For a weight `[Ci, Co / group, k...]`, as the ONNX attributes say.
    fn attributes(&self, weight: &[usize]) -> TractResult<ConvAttributes> {
        let [inner, outer, kernel @ ..] = weight else {
            bail!("a weight of rank {} has no spatial axes", weight.len());
        };
        let axes = kernel.len();
        let wide = |values: &[usize]| values.iter().map(|v| *v as u64).collect::<Vec<u64>>();
        let of = |name: &str, values: &[usize], count: usize, neutral: u64| {
            ensure!(
                values.is_empty() || values.len() == count,
                "attribute '{name}' has {} elements, not {count}",
                values.len()
            );
            Ok(if values.is_empty() {
                vec![neutral; count]
            } else {
                wide(values)
            })
        };
        let auto_pad = AutoPad::parse(&self.auto_pad).unwrap_or_default();
        let pads = if auto_pad == AutoPad::NotSet {
            &*self.pads
        } else {
            &[]
        };
        // Some exporters write the batch and the channels as well.
        let skipped = self.output_shape.len().saturating_sub(axes);
        let asked = &self.output_shape[skipped.min(2)..];
        Ok(ConvAttributes {
            transposed: true,
            in_channels: *inner as u64,
            out_channels: outer.checked_mul(self.group).context("too many channels")? as u64,
            group: self.group as u64,
            kernel: wide(kernel),
            strides: of("strides", &self.strides, axes, 1)?,
            dilations: of("dilations", &self.dilations, axes, 1)?,
            pads: of("pads", pads, 2 * axes, 0)?,
            auto_pad,
            output_padding: of("output_padding", &self.output_padding, axes, 0)?,
            output_shape: match asked {
                [] => None,
                asked => Some(of("output_shape", asked, axes, 0)?),
            },
        })
    }

    /// The same by `pads` and `output_padding` alone, for inputs of these spatial extents.
    fn explicit(&self, weight: &[usize], input: &[usize]) -> TractResult<ConvAttributes> {
        let input: Vec<u64> = input.iter().map(|n| *n as u64).collect();
        let explicit = self.attributes(weight)?.explicit(&input);
        explicit.with_context(|| format!("no output for an input of extents {input:?}"))
    }
}

impl Expansion for ConvTranspose {
    fn name(&self) -> StaticName {
        "ConvTranspose".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 2 + usize::from(self.has_bias))?;
        check_output_arity(outputs, 1)?;
        let (x, w, y) = (&inputs[0], &inputs[1], &outputs[0]);
        s.equals(&x.datum_type, &y.datum_type)?;
        s.equals(&x.datum_type, &w.datum_type)?;
        s.equals(&x.rank, &w.rank)?;
        s.equals(&x.rank, &y.rank)?;
        s.equals(&y.shape[0], &x.shape[0])?;
        s.equals(&x.shape[1], &w.shape[0])?;
        s.equals(&y.shape[1], self.group as i64 * w.shape[1].bex())?;
        if self.has_bias {
            s.equals(&inputs[2].datum_type, &x.datum_type)?;
            s.equals(&inputs[2].rank, 1)?;
            s.equals(&inputs[2].shape[0], &y.shape[1])?;
        }
        s.given_2(&x.shape, &w.shape, move |s, x, w| {
            let known = |dims: &[TDim]| -> Option<Vec<usize>> {
                dims.iter().map(|d| d.to_usize().ok()).collect()
            };
            if let (Some(weight), Some(input)) = (known(&w), x.get(2..).and_then(known)) {
                let explicit = self.explicit(&weight, &input)?;
                let input: Vec<u64> = input.iter().map(|n| *n as u64).collect();
                let extents = explicit.output_spatial(&input).context("no output")?;
                for (axis, extent) in extents.into_iter().enumerate() {
                    s.equals(&outputs[0].shape[axis + 2], extent.to_dim())?;
                }
            }
            Ok(())
        })
    }

    fn wire(
        &self,
        prefix: &str,
        target: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let concrete = |target: &TypedModel, outlet: OutletId, what: &str| -> TractResult<_> {
            let shape = &target.outlet_fact(outlet)?.shape;
            let shape = shape
                .as_concrete()
                .with_context(|| format!("{what} of no fixed shape"));
            Ok(shape?.to_vec())
        };
        let weight = concrete(target, inputs[1], "a weight")?;
        let input = concrete(target, inputs[0], "an input")?;
        let explicit = self.explicit(&weight, input.get(2..).unwrap_or_default())?;
        // From ONNX's [group * inner, outer, k...] to [group * outer, inner, k...].
        let name = |part: &str| format!("{prefix}.kernel_{part}");
        let kernel = AxisOp::wire_split_axis(target, name("split"), inputs[1], 0, self.group)?;
        let kernel = target.wire_node(name("reorder"), AxisOp::Move(1, 2), &kernel)?;
        let kernel = AxisOp::wire_collapse_axis(target, name("merge"), kernel[0], 0)?;
        let bias = if self.has_bias {
            inputs[2]
        } else {
            let zero = Tensor::zero_scalar_dt(target.outlet_fact(inputs[0])?.datum_type)?;
            target.add_const(format!("{prefix}.bias"), zero)?
        };
        let narrow = |values: &[u64]| values.iter().map(|v| *v as usize).collect::<TVec<usize>>();
        let (begin, end) = explicit.pads.split_at(explicit.axes());
        let pool = PoolSpec::new(
            DataFormat::NCHW,
            narrow(&explicit.kernel),
            PaddingSpec::Explicit(narrow(begin), narrow(end)),
            Some(narrow(&explicit.dilations)),
            Some(narrow(&explicit.strides)),
            explicit.in_channels as usize,
            explicit.out_channels as usize,
        );
        let added = narrow(&explicit.output_padding);
        let op = Deconv::new(pool, KernelFormat::OIHW, added, self.group);
        target.wire_node(prefix, op, &[inputs[0], kernel[0], bias])
    }
}
