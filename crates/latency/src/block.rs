//! One convolution and the forms that it can have.

use std::fmt;

use sepconv_analysis::ConvAttributes;
use sepconv_factor::{
    Decomposition, KernelShape, StageShape, chain_macs, chain_parameters, family, kernel_macs,
    transposed_chain_macs,
};
use sepconv_ir::{DType, Graph};
use sepconv_passes::{Lowering, Product, Site, lowering as lowered};

use crate::build::frame;
use crate::error::LatencyError;

/// An activation that runtimes compute together with the convolution before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Activation {
    Relu,
    LeakyRelu,
    Sigmoid,
    Tanh,
}

impl Activation {
    /// Every activation with the name of its ONNX operator.
    pub const ALL: [(Self, &'static str); 4] = [
        (Self::Relu, "Relu"),
        (Self::LeakyRelu, "LeakyRelu"),
        (Self::Sigmoid, "Sigmoid"),
        (Self::Tanh, "Tanh"),
    ];

    /// Name of the ONNX operator.
    pub fn op_type(self) -> &'static str {
        let found = Self::ALL.iter().find(|a| a.0 == self);
        found.map_or("Relu", |a| a.1)
    }
}

/// All of a convolution that its latency depends on. Displays as the key of its timings, such
/// as `f32 1x64x56x56 * 64x64x3x3 s1,1 d1,1 p1,1,1,1 bias Relu`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Geometry {
    /// Element type of input and weights.
    pub dtype: DType,
    /// Batch.
    pub batch: usize,
    /// Input extents along the spatial axes.
    pub input: Vec<usize>,
    /// Kernel, channels and groups.
    pub kernel: KernelShape,
    /// Stride per spatial axis.
    pub strides: Vec<usize>,
    /// Dilation per spatial axis.
    pub dilations: Vec<usize>,
    /// Padding in elements: all beginnings, then all ends.
    pub pads: Vec<usize>,
    /// The matrix product that it is, where it is no convolution: `input` is then its positions.
    pub product: Option<Product>,
    /// Of a transposed convolution: elements added at the end of its output, per spatial axis.
    pub transposed: Option<Vec<usize>>,
    /// True where it has a bias.
    pub bias: bool,
    /// The activation that follows it, where nothing else reads its output.
    pub activation: Option<Activation>,
}

impl Geometry {
    /// Bytes of its input and its output as floats of 32 bits.
    pub fn bytes(&self) -> u64 {
        let elements = |channels: usize, extents: &[usize]| {
            let all = extents.iter().chain([&channels, &self.batch]);
            all.fold(4_u64, |bytes, n| bytes.saturating_mul(*n as u64))
        };
        let output = self.output().unwrap_or_default();
        elements(self.kernel.in_channels, &self.input)
            .saturating_add(elements(self.kernel.out_channels, &output))
    }

    /// True where another convolution reads the block's output: a block of another precision than what
    /// surrounds it pays for a conversion there.
    pub fn is_framed(&self) -> bool {
        self.product.is_none() && frame(self.kernel.out_channels).is_some()
    }

    /// The geometry of a convolution in its graph; `None` where its input's shape is unknown.
    pub fn of(graph: &Graph, site: &Site) -> Option<Self> {
        let input = site.input_spatial.clone()?;
        let a = &site.attributes;
        let extents: Vec<u64> = input.iter().map(|n| *n as u64).collect();
        let sizes = |values: &[u64]| values.iter().map(|v| *v as usize).collect();
        let explicit = a.explicit(&extents)?;
        let op = graph.operator(site.node)?;
        Some(Self {
            dtype: site.dtype,
            batch: usize::try_from(site.batch).ok()?.max(1),
            input,
            kernel: site.kernel.clone(),
            strides: sizes(&a.strides),
            dilations: sizes(&a.dilations),
            pads: sizes(&explicit.pads),
            product: site.product,
            transposed: a.transposed.then(|| sizes(&explicit.output_padding)),
            bias: op.input(2).is_some(),
            activation: op.output(0).and_then(|y| activation(graph, y)),
        })
    }

    /// Output extents along the spatial axes; `None` where the output is empty.
    pub fn output(&self) -> Option<Vec<usize>> {
        let numbers = |values: &[usize]| values.iter().map(|v| *v as u64).collect::<Vec<_>>();
        let added = self.transposed.as_ref();
        let attributes = ConvAttributes {
            transposed: self.transposed.is_some(),
            in_channels: self.kernel.in_channels as u64,
            out_channels: self.kernel.out_channels as u64,
            group: self.kernel.groups as u64,
            kernel: numbers(&self.kernel.spatial),
            strides: numbers(&self.strides),
            dilations: numbers(&self.dilations),
            pads: numbers(&self.pads),
            auto_pad: sepconv_analysis::AutoPad::NotSet,
            output_padding: numbers(added.unwrap_or(&vec![0; self.input.len()])),
            output_shape: None,
        };
        let output = attributes.output_spatial(&numbers(&self.input))?;
        Some(output.into_iter().map(|n| n as usize).collect())
    }
}

/// The activation that alone reads `value`.
fn activation(graph: &Graph, value: sepconv_ir::ValueId) -> Option<Activation> {
    let readers = graph.readers(value);
    let [(reader, _)] = readers.as_slice() else {
        return None;
    };
    let op = graph.operator(*reader)?;
    let found = Activation::ALL.iter().find(|(_, name)| op.is(name));
    found.filter(|_| !graph.is_output(value)).map(|a| a.0)
}

impl fmt::Display for Geometry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |values: &[usize], by: &str| {
            let texts: Vec<String> = values.iter().map(ToString::to_string).collect();
            texts.join(by)
        };
        let input = [&[self.batch, self.kernel.in_channels], &*self.input].concat();
        write!(
            f,
            "{} {} * {} s{} d{} p{}",
            self.dtype,
            list(&input, "x"),
            self.kernel,
            list(&self.strides, ","),
            list(&self.dilations, ","),
            list(&self.pads, ","),
        )?;
        if let Some(added) = &self.transposed {
            write!(f, " transposed{}", list(added, ","))?;
        }
        if let Some(product) = self.product {
            write!(f, " {}", product.op_type())?;
        }
        if self.bias {
            f.write_str(" bias")?;
        }
        self.activation
            .map_or(Ok(()), |a| write!(f, " {}", a.op_type()))
    }
}

/// The form in which a convolution is computed. Displays as `original` or `dw-pw 2 branches`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Form {
    /// As one operator.
    Original,
    /// As a chain.
    Chain {
        /// Family of the decomposition, such as `dw-pw`.
        family: String,
        /// Its rank.
        rank: usize,
        /// The lowering that writes it, such as `branches`.
        lowering: String,
    },
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Original => f.write_str("original"),
            Self::Chain {
                family,
                rank,
                lowering,
            } => write!(f, "{family} {rank} {lowering}"),
        }
    }
}

/// A convolution in one of its forms. Displays as `geometry | form`, and after it the kernels of
/// the stages where the family is none of [`sepconv_factor::families()`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Block {
    /// The convolution.
    pub geometry: Geometry,
    /// The form in which it is computed.
    pub form: Form,
    /// True where it keeps the precision of its weights in a model of another precision.
    pub floats: bool,
    /// Stages of a family that [`family`] does not know, or knows otherwise.
    own: Option<Vec<StageShape>>,
}

impl Block {
    /// The convolution as it is.
    pub fn original(geometry: Geometry) -> Self {
        Self {
            geometry,
            form: Form::Original,
            floats: false,
            own: None,
        }
    }

    /// The convolution as a chain of one of [`sepconv_factor::families()`].
    pub fn chain(geometry: Geometry, family: &str, rank: usize, lowering: &str) -> Self {
        let form = Form::Chain {
            family: family.to_owned(),
            rank,
            lowering: lowering.to_owned(),
        };
        Self {
            geometry,
            form,
            floats: false,
            own: None,
        }
    }

    /// The convolution as a chain of any family.
    ///
    /// # Errors
    /// [`LatencyError::Factor`] where the family does not apply or has no such rank.
    pub fn of(
        geometry: Geometry,
        family: &dyn Decomposition,
        rank: usize,
        lowering: &str,
    ) -> Result<Self, LatencyError> {
        let mut block = Self::chain(geometry, family.name(), rank, lowering);
        let stages = family.stages(&block.geometry.kernel, rank);
        let stages = stages.map_err(|source| LatencyError::Factor {
            block: block.to_string(),
            source,
        })?;
        let known = block.stages().is_ok_and(|known| known == stages);
        block.own = (!known).then_some(stages);
        Ok(block)
    }

    /// The same, that keeps the precision of its weights or not.
    #[must_use]
    pub fn in_floats(self, floats: bool) -> Self {
        Self { floats, ..self }
    }

    /// The same chain, written by another lowering.
    #[must_use]
    pub fn written_by(&self, name: &str) -> Self {
        let mut block = self.clone();
        if let Form::Chain { lowering, .. } = &mut block.form {
            name.clone_into(lowering);
        }
        block
    }

    /// The stages of its chain, none for the original.
    ///
    /// # Errors
    /// [`LatencyError::Form`] for an unknown family, [`LatencyError::Factor`] where it does
    /// not apply or has no such rank.
    pub fn stages(&self) -> Result<Vec<StageShape>, LatencyError> {
        let Form::Chain {
            family: name, rank, ..
        } = &self.form
        else {
            return Ok(Vec::new());
        };
        if let Some(own) = &self.own {
            return Ok(own.clone());
        }
        let family = family(name).ok_or_else(|| self.misfit(format!("no family '{name}'")))?;
        let stages = family.stages(&self.geometry.kernel, *rank);
        stages.map_err(|source| LatencyError::Factor {
            block: self.to_string(),
            source,
        })
    }

    /// MACs of one pass over the whole batch, bias and activation not counted; with the rim
    /// that some lowerings compute.
    ///
    /// # Errors
    /// As [`Block::stages`]; [`LatencyError::Form`] where the output is empty.
    pub fn macs(&self) -> Result<u64, LatencyError> {
        let g = &self.geometry;
        let empty = || self.misfit("the output is empty".into());
        let output = g.output().ok_or_else(empty)?;
        let transposed = g.transposed.is_some();
        let macs = match &self.form {
            Form::Original if transposed => kernel_macs(&g.kernel, &g.input),
            Form::Original => kernel_macs(&g.kernel, &output),
            Form::Chain { .. } if transposed => {
                transposed_chain_macs(&self.stages()?, &g.input, &output)
            }
            Form::Chain { lowering, .. } => {
                let rim = lowered(lowering).is_some_and(Lowering::computes_rim);
                let (begins, ends) = g.pads.split_at(g.input.len());
                let pads = begins.iter().zip(ends);
                let extents = g.input.iter().zip(pads);
                let input = extents.map(|(n, (b, e))| n + if rim { b + e } else { 0 });
                chain_macs(&self.stages()?, &input.collect::<Vec<_>>(), &output)
            }
        };
        Ok(macs.saturating_mul(g.batch as u64))
    }

    /// Weights, the bias not counted.
    ///
    /// # Errors
    /// As [`Block::stages`].
    pub fn params(&self) -> Result<u64, LatencyError> {
        Ok(match &self.form {
            Form::Original => self.geometry.kernel.len() as u64,
            Form::Chain { .. } => chain_parameters(&self.stages()?),
        })
    }

    pub(crate) fn misfit(&self, reason: String) -> LatencyError {
        LatencyError::Form {
            block: self.to_string(),
            reason,
        }
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} | {}", self.geometry, self.form)?;
        if self.floats {
            f.write_str(" in floats")?;
        }
        let own = self.own.iter().flatten();
        own.map(|s| &s.kernel).try_for_each(|k| write!(f, " {k}"))
    }
}
