//! Adding the convolutions of a chain to a patch.

use sepconv_analysis::AutoPad;
use sepconv_factor::StageShape;
use sepconv_ir::{AttributeValue, DType, Operator, Patch, PatchValue, Tensor, ValueId};

use super::padding;
use crate::product::Product;
use crate::site::Site;
use crate::transposed::swap_channels;

/// Destination of an operator's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// A new value.
    Inner,
    /// The output of the convolution that is replaced.
    Last,
}

/// A convolution to be added: a stage of a chain, or the part of it in one branch.
pub struct Part<'a> {
    /// The part behind the layer's name: `<layer>/<name>`.
    pub name: String,
    /// The stage whose kernel extents, stride, dilation and padding it has.
    pub stage: &'a StageShape,
    /// Output channels.
    pub channels: usize,
    /// Groups.
    pub groups: usize,
    /// Row-major weights `[channels, ...]`.
    pub weight: Vec<f64>,
}

/// Adds operators in the place of one convolution.
pub struct Emitter<'a> {
    pub(super) site: &'a Site,
    original: &'a Operator,
    patch: Patch,
    bias: Option<PatchValue>,
    /// True where the bias is the original's.
    kept_bias: bool,
    output: ValueId,
    /// The value that the chain reads.
    pub(super) input: Option<PatchValue>,
    /// Place of the padding that is made beforehand; `None`: convolutions pad themselves.
    pub(super) apart: Option<padding::At>,
    pub(super) made: padding::Made,
}

impl<'a> Emitter<'a> {
    /// Replaces the convolution `original` of `site`. `bias` overrides its bias.
    pub(crate) fn new(
        site: &'a Site,
        original: &'a Operator,
        output: ValueId,
        bias: Option<Vec<f32>>,
    ) -> Self {
        let mut patch = Patch::replace("separate-conv", site.node);
        let new_bias = bias.and_then(|values| {
            let tensor = Tensor::from_floats(site.dtype, vec![values.len()], values)?;
            Some(patch.initializer(format!("{}/bias", site.name), tensor))
        });
        Self {
            site,
            original,
            patch,
            kept_bias: new_bias.is_none(),
            bias: new_bias.or_else(|| original.input(2).map(Into::into)),
            output,
            input: original.input(0).map(Into::into),
            apart: None,
            made: padding::Made::new(),
        }
    }

    pub(crate) fn finish(self) -> Patch {
        self.patch
    }

    /// Element type of the convolution.
    pub(super) fn dtype(&self) -> DType {
        self.site.dtype
    }

    /// A vector of integers.
    pub(super) fn integers(&mut self, suffix: &str, values: &[i64]) -> PatchValue {
        let tensor = Tensor::from_i64(vec![values.len()], values);
        let name = format!("{}/{suffix}", self.site.name);
        self.patch.initializer(name, tensor)
    }

    /// The input of the convolution, with zeros around it where the lowering pads it.
    pub fn input(&self) -> Option<PatchValue> {
        self.input
    }

    /// Takes the bias: it enters exactly one of the operators.
    pub fn take_bias(&mut self) -> Option<PatchValue> {
        self.bias.take()
    }

    /// Adds a convolution; a transposed one where the part carries axes of one, and a matrix
    /// product where the layer is one.
    pub fn conv(
        &mut self,
        part: Part<'_>,
        input: Option<PatchValue>,
        bias: Option<PatchValue>,
        destination: Destination,
    ) -> Option<PatchValue> {
        if self.site.product.is_some() {
            return self.product(part, input, bias, destination);
        }
        let (input, apart) = match (self.apart, input) {
            (Some(padding::At::Filters), Some(x)) => {
                let pads = padding::pads(part.stage, &self.site.attributes);
                let padded = pads.map(|pads| self.padded(&part.name, x, &pads));
                (padded.unwrap_or(Some(x)), padded.is_some())
            }
            (at, input) => (input, at.is_some()),
        };
        let spatial = &part.stage.kernel.spatial;
        let taps: usize = spatial.iter().product();
        let inner = part.weight.len() / (part.channels * taps).max(1);
        let transposed = self.site.attributes.transposed && part.stage.axes.contains(&true);
        let (op_type, channels, weight) = if transposed {
            let outer = part.channels / part.groups.max(1);
            let weight = swap_channels(&part.weight, part.groups, outer, inner);
            ("ConvTranspose", [inner * part.groups, outer], weight)
        } else {
            ("Conv", [part.channels, inner], part.weight)
        };
        let dims = [&channels, spatial.as_slice()].concat();
        let (mut op, weight) = self.weighted(op_type, &part.name, dims, &weight)?;
        for (key, value) in self.attributes(part.stage, part.groups, apart) {
            op = op.with(key, value);
        }
        let mut inputs = vec![input, Some(weight)];
        inputs.extend(bias.map(Some));
        self.place(op, inputs, destination)
    }

    /// The operator `<layer>/<suffix>`, documented as the original is, and its weight.
    fn weighted(
        &mut self,
        op_type: &str,
        suffix: &str,
        dims: Vec<usize>,
        weight: &[f64],
    ) -> Option<(Operator, PatchValue)> {
        let name = format!("{}/{suffix}", self.site.name);
        let tensor = Tensor::from_f64s(self.site.dtype, dims, weight)?;
        let weight = self.patch.initializer(format!("{name}.weight"), tensor);
        let mut op = Operator::new(op_type, name);
        op.doc_string.clone_from(&self.original.doc_string);
        op.metadata.clone_from(&self.original.metadata);
        Some((op, weight))
    }

    /// Adds the product of a pointwise part: a `MatMul`, which every opset has without a bias,
    /// and a `Gemm` where there was one and the bias enters.
    fn product(
        &mut self,
        part: Part<'_>,
        input: Option<PatchValue>,
        bias: Option<PatchValue>,
        destination: Destination,
    ) -> Option<PatchValue> {
        let product = self.site.product?;
        let written = bias.map_or(Product::MatMul, |_| product);
        let inner = part.weight.len() / part.channels.max(1);
        let turned = swap_channels(&part.weight, 1, part.channels, inner);
        let dims = vec![inner, part.channels];
        let (mut op, weight) = self.weighted(written.op_type(), &part.name, dims, &turned)?;
        let factors = vec![input, Some(weight)];
        match (written, bias) {
            (Product::Gemm, bias) => {
                let beta = self.original.float("beta", 1.0);
                if self.kept_bias && beta != 1.0 {
                    op = op.with("beta", AttributeValue::Float(beta));
                }
                self.place(op, [factors, vec![bias]].concat(), destination)
            }
            (Product::MatMul, None) => self.place(op, factors, destination),
            (Product::MatMul, bias) => {
                let y = self.place(op, factors, Destination::Inner);
                self.operator(Operator::new("Add", "add"), vec![y, bias], destination)
            }
        }
    }

    /// Adds an operator other than a convolution; its name goes behind the layer's,
    /// `<layer>/<name>`.
    pub fn operator(
        &mut self,
        mut op: Operator,
        inputs: Vec<Option<PatchValue>>,
        destination: Destination,
    ) -> Option<PatchValue> {
        op.name = format!("{}/{}", self.site.name, op.name);
        self.place(op, inputs, destination)
    }

    fn place(
        &mut self,
        op: Operator,
        inputs: Vec<Option<PatchValue>>,
        destination: Destination,
    ) -> Option<PatchValue> {
        match destination {
            Destination::Inner => {
                let output = format!("{}.out", op.name);
                Some(self.patch.operator(op, inputs, output))
            }
            Destination::Last => {
                self.patch.operator_into(op, inputs, self.output);
                None
            }
        }
    }

    /// Stride, dilation and padding (unless `apart`) of the axes that the stage carries; neutral
    /// elsewhere.
    fn attributes(
        &self,
        stage: &StageShape,
        groups: usize,
        apart: bool,
    ) -> Vec<(&'static str, AttributeValue)> {
        let a = &self.site.attributes;
        let axes = stage.kernel.spatial.len();
        let pick = |values: &[u64], neutral: u64| -> Vec<i64> {
            (0..values.len())
                .map(|i| if stage.axes[i % axes] { values[i] } else { neutral } as i64)
                .collect()
        };
        let carries = stage.axes.iter().any(|c| *c);
        let padding = match a.auto_pad {
            _ if apart => ("pads", AttributeValue::Ints(vec![0; a.pads.len()])),
            AutoPad::SameUpper if carries => ("auto_pad", text("SAME_UPPER")),
            AutoPad::SameLower if carries => ("auto_pad", text("SAME_LOWER")),
            _ => ("pads", AttributeValue::Ints(pick(&a.pads, 0))),
        };
        let kernel = stage.kernel.spatial.iter().map(|k| *k as i64).collect();
        let mut attributes = vec![
            ("dilations", AttributeValue::Ints(pick(&a.dilations, 1))),
            ("group", AttributeValue::Int(groups as i64)),
            ("kernel_shape", AttributeValue::Ints(kernel)),
            padding,
            ("strides", AttributeValue::Ints(pick(&a.strides, 1))),
        ];
        if carries && a.output_padding.iter().any(|p| *p > 0) {
            let added = AttributeValue::Ints(pick(&a.output_padding, 0));
            attributes.push(("output_padding", added));
        }
        if let Some(shape) = a.output_shape.as_ref().filter(|_| carries) {
            let shape = AttributeValue::Ints(pick(shape, 1));
            attributes.push(("output_shape", shape));
        }
        attributes
    }
}

fn text(value: &'static str) -> AttributeValue {
    AttributeValue::String(value.as_bytes().into())
}

/// `<base>` for the first branch, `<base>_1`, `<base>_2`, … for the others.
pub(crate) fn numbered(base: &str, r: usize) -> String {
    match r {
        0 => base.to_owned(),
        _ => format!("{base}_{r}"),
    }
}

/// Rows `r, r + rank, r + 2 rank, …` of a matrix with rows of `width`.
pub(crate) fn every(rank: usize, r: usize, width: usize, weight: &[f64]) -> Vec<f64> {
    weight
        .chunks_exact(width.max(1))
        .skip(r)
        .step_by(rank.max(1))
        .flatten()
        .copied()
        .collect()
}

/// All rows grouped by branch: those of branch 0, then of branch 1, …
pub(crate) fn by_branch(rank: usize, width: usize, weight: &[f64]) -> Vec<f64> {
    (0..rank)
        .flat_map(|r| every(rank, r, width, weight))
        .collect()
}
