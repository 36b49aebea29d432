//! Layers whose weights are rounded to eight bits.

use sepconv_analysis::{ConvAttributes, constants};
use sepconv_factor::KernelShape;
use sepconv_factor::linalg::dense::transposed;
use sepconv_ir::{DType, Graph, NodeId, Operator, ValueId};

use crate::gemm::is_row;

/// A layer with constant weights.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    pub node: NodeId,
    pub name: String,
    /// The activation that it reads.
    pub input: ValueId,
    /// The value of its weights in the file, which other layers may read as well.
    pub weight: ValueId,
    /// Geometry; that of a matrix product is `None`.
    pub geometry: Option<ConvAttributes>,
    /// Shape of the weights as rows, `[Co, Ci/groups, k...]`.
    pub shape: KernelShape,
    /// Weights `[Co, d]`, row-major.
    pub weights: Vec<f64>,
    /// Extents of the weights in the file.
    pub dims: Vec<usize>,
    /// True where the file has the outputs last.
    pub outputs_last: bool,
    /// Bias `[Co]`, where there is one.
    pub bias: Option<Vec<f64>>,
    /// The operator can have a bias.
    pub takes_bias: bool,
}

/// True for a layer of the name `own`, and for one that stands in its place with others: its name goes on with `/`.
pub(crate) fn is_of(name: &str, own: &str) -> bool {
    name.strip_prefix(own)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Layer {
    /// Describes the layer on `node`, or says why it stays in floats. `None` if it is none.
    pub fn of(graph: &Graph, node: NodeId) -> Option<Result<Self, String>> {
        let op = graph.operator(node)?;
        match op.op_type.as_str() {
            "Conv" if op.is("Conv") => Some(Self::conv(graph, node, op)),
            "Gemm" if op.is("Gemm") => Some(Self::gemm(graph, node, op)),
            "MatMul" if op.is("MatMul") => Self::matmul(graph, node, op).transpose(),
            "ConvTranspose" if op.is("ConvTranspose") => Some(Err(
                "runtimes compute transposed convolutions in floats".into(),
            )),
            _ => None,
        }
    }

    /// The layers of a graph whose weights can be rounded, in the order of the network.
    pub fn all(graph: &Graph) -> Vec<Self> {
        let nodes = graph.operators();
        let found = nodes.filter_map(|(node, _)| Self::of(graph, node)?.ok());
        found.collect()
    }

    /// True where another layer has the same weights from the same value.
    pub fn shares_weights(&self, other: &Self) -> bool {
        self.weight == other.weight
            && self.shape == other.shape
            && self.outputs_last == other.outputs_last
    }

    /// Values of a row of weights.
    pub fn width(&self) -> usize {
        self.weights.len() / self.shape.out_channels.max(1)
    }

    /// The axis of the weights in the file that counts output channels.
    pub fn axis(&self) -> usize {
        if self.outputs_last {
            self.dims.len() - 1
        } else {
            0
        }
    }

    /// Rounded weights `[Co, d]` in the order of the file.
    pub fn in_file_order(&self, rows: &[i8]) -> Vec<i8> {
        let (outputs, d) = (self.shape.out_channels, self.width());
        match self.outputs_last {
            true => (0..rows.len())
                .map(|i| rows[i % outputs * d + i / outputs])
                .collect(),
            false => rows.to_vec(),
        }
    }

    fn conv(graph: &Graph, node: NodeId, op: &Operator) -> Result<Self, String> {
        let constants = Constants::of(graph, op)?;
        let read = ConvAttributes::read(op, &constants.dims).map_err(|e| e.reason.to_string())?;
        let spatial: Vec<usize> = read.kernel.iter().map(|k| *k as usize).collect();
        let (outputs, inputs) = (read.out_channels as usize, read.in_channels as usize);
        let shape = KernelShape::new(outputs, inputs, read.group as usize, spatial);
        let shape = shape.map_err(|e| e.to_string())?;
        if shape.groups > 1 && shape.group_in() == 1 && shape.group_out() > 1 {
            return Err("a depthwise multiplier above 1 is slower in eight bits".into());
        }
        Ok(Self {
            geometry: Some(read),
            ..Self::made(graph, node, shape, constants)?
        })
    }

    fn gemm(graph: &Graph, node: NodeId, op: &Operator) -> Result<Self, String> {
        let plain = op.int("transA", 0) == 0 && op.float("alpha", 1.0) == 1.0;
        if !plain || (op.input(2).is_some() && op.float("beta", 1.0) != 1.0) {
            return Err("a Gemm with factors".into());
        }
        let turned = op.int("transB", 0) != 0;
        Self::product(graph, node, turned, Constants::of(graph, op)?)
    }

    /// `None` without a constant matrix.
    fn matmul(graph: &Graph, node: NodeId, op: &Operator) -> Result<Option<Self>, String> {
        let factor = op.input(1).and_then(|w| constants::resolve(graph, w));
        if factor.is_none_or(|t| t.dims().len() != 2) {
            return Ok(None);
        }
        Self::product(graph, node, false, Constants::of(graph, op)?).map(Some)
    }

    /// A product by a matrix that has its outputs first where it is `turned`.
    fn product(
        graph: &Graph,
        node: NodeId,
        turned: bool,
        mut constants: Constants,
    ) -> Result<Self, String> {
        let &[rows, columns] = constants.dims.as_slice() else {
            return Err("a factor that is no matrix".into());
        };
        if !turned {
            constants.weights = transposed(&constants.weights, rows, columns);
        }
        let (outputs, inputs) = if turned {
            (rows, columns)
        } else {
            (columns, rows)
        };
        let shape = KernelShape::new(outputs, inputs, 1, [1]).map_err(|e| e.to_string())?;
        Ok(Self {
            outputs_last: !turned,
            ..Self::made(graph, node, shape, constants)?
        })
    }

    fn made(
        graph: &Graph,
        node: NodeId,
        shape: KernelShape,
        constants: Constants,
    ) -> Result<Self, String> {
        let Constants {
            dims,
            weights,
            bias,
        } = constants;
        let op = graph.operator(node).ok_or("it is gone")?;
        let (input, weight) = op.input(0).zip(op.input(1)).ok_or("it reads nothing")?;
        op.output(0).ok_or("it makes nothing")?;
        if !op.is_literal() {
            return Err("its attributes are references".into());
        }
        if !graph.varies(input) {
            return Err("its input is constant".into());
        }
        if weights
            .iter()
            .chain(bias.iter().flatten())
            .any(|w| !w.is_finite())
        {
            return Err("a weight is not finite".into());
        }
        if bias.as_ref().is_some_and(|b| b.len() != shape.out_channels) {
            return Err("it adds other than a bias".into());
        }
        Ok(Self {
            node,
            name: graph.label(node).to_owned(),
            input,
            weight,
            geometry: None,
            shape,
            weights,
            dims,
            outputs_last: false,
            takes_bias: !op.is("MatMul"),
            bias,
        })
    }
}

/// Constant inputs of a layer.
struct Constants {
    dims: Vec<usize>,
    weights: Vec<f64>,
    bias: Option<Vec<f64>>,
}

impl Constants {
    fn of(graph: &Graph, op: &Operator) -> Result<Self, String> {
        let tensor = op.input(1).and_then(|w| constants::resolve(graph, w));
        let tensor = tensor.ok_or("its weights are not constant")?;
        if tensor.dtype() != DType::F32 {
            return Err(format!("its weights are of type {}", tensor.dtype()));
        }
        if tensor.is_sparse() {
            return Err("its weights are sparse".into());
        }
        Ok(Self {
            dims: tensor.dims().to_vec(),
            weights: tensor
                .to_f64()
                .ok_or("its weights lie in a data file that was not read")?,
            bias: op.input(2).map(|value| flat(graph, value)).transpose()?,
        })
    }
}

/// The numbers of a constant that has them along one axis.
fn flat(graph: &Graph, value: ValueId) -> Result<Vec<f64>, String> {
    let tensor = constants::resolve(graph, value).ok_or("its bias is not constant")?;
    // A column `[n, 1]` is added along the other axis.
    let values = tensor.to_f64().filter(|_| is_row(&tensor));
    values.ok_or_else(|| "it adds other than a bias".into())
}
