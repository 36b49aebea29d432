//! Layers whose weights are rounded to eight bits.

use sepconv_analysis::{ConvAttributes, constants};
use sepconv_factor::KernelShape;
use sepconv_ir::{DType, Graph, NodeId, Operator, ValueId};

/// A layer with constant weights.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    pub node: NodeId,
    pub name: String,
    /// The activation that it reads.
    pub input: ValueId,
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
        let (dims, weights) = weights(graph, op)?;
        let read = ConvAttributes::read(op, &dims).map_err(|e| e.reason.to_string())?;
        let spatial: Vec<usize> = read.kernel.iter().map(|k| *k as usize).collect();
        let group = read.group as usize;
        let outputs = read.out_channels as usize;
        let shape = KernelShape::new(outputs, read.in_channels as usize, group, spatial);
        let shape = shape.map_err(|e| e.to_string())?;
        if group > 1 && shape.group_in() == 1 && shape.group_out() > 1 {
            return Err("a depthwise multiplier above 1 is slower in eight bits".into());
        }
        let bias = bias(graph, op, outputs)?;
        Ok(Self {
            geometry: Some(read),
            ..Self::made(graph, node, op, (shape, dims), (weights, bias))?
        })
    }

    fn gemm(graph: &Graph, node: NodeId, op: &Operator) -> Result<Self, String> {
        let (dims, weights) = weights(graph, op)?;
        let &[rows, columns] = dims.as_slice() else {
            return Err("a factor that is no matrix".into());
        };
        let plain = op.int("transA", 0) == 0 && op.float("alpha", 1.0) == 1.0;
        if !plain || (op.input(2).is_some() && op.float("beta", 1.0) != 1.0) {
            return Err("a Gemm with factors".into());
        }
        let turned = op.int("transB", 0) != 0;
        let outputs = if turned { rows } else { columns };
        let bias = bias(graph, op, outputs)?;
        Self::product(graph, node, op, turned, (dims, weights, bias))
    }

    /// `None` without a constant matrix.
    fn matmul(graph: &Graph, node: NodeId, op: &Operator) -> Result<Option<Self>, String> {
        let factor = op.input(1).and_then(|w| constants::resolve(graph, w));
        if factor.is_none_or(|t| t.dims().len() != 2) {
            return Ok(None);
        }
        let (dims, weights) = weights(graph, op)?;
        Self::product(graph, node, op, false, (dims, weights, None)).map(Some)
    }

    fn product(
        graph: &Graph,
        node: NodeId,
        op: &Operator,
        turned: bool,
        (dims, weights, bias): (Vec<usize>, Vec<f64>, Option<Vec<f64>>),
    ) -> Result<Self, String> {
        let (rows, columns) = (dims[0], dims[1]);
        let (outputs, inputs) = if turned {
            (rows, columns)
        } else {
            (columns, rows)
        };
        let shape = KernelShape::new(outputs, inputs, 1, [1]).map_err(|e| e.to_string())?;
        let weights = match turned {
            true => weights,
            false => sepconv_factor::linalg::dense::transposed(&weights, rows, columns),
        };
        Ok(Self {
            outputs_last: !turned,
            ..Self::made(graph, node, op, (shape, dims), (weights, bias))?
        })
    }

    fn made(
        graph: &Graph,
        node: NodeId,
        op: &Operator,
        (shape, dims): (KernelShape, Vec<usize>),
        (weights, bias): (Vec<f64>, Option<Vec<f64>>),
    ) -> Result<Self, String> {
        let (input, _) = op
            .input(0)
            .zip(op.output(0))
            .ok_or("it reads or makes nothing")?;
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
        Ok(Self {
            node,
            name: graph.label(node).to_owned(),
            input,
            geometry: None,
            shape,
            weights,
            dims,
            outputs_last: false,
            bias,
        })
    }
}

/// Extents and values of the constant second input, in f32.
fn weights(graph: &Graph, op: &Operator) -> Result<(Vec<usize>, Vec<f64>), String> {
    let tensor = op.input(1).and_then(|w| constants::resolve(graph, w));
    let tensor = tensor.ok_or("its weights are not constant")?;
    if tensor.dtype() != DType::F32 {
        return Err(format!("its weights are of type {}", tensor.dtype()));
    }
    let values = tensor.to_f64().ok_or("its weights can't be read")?;
    Ok((tensor.dims().to_vec(), values))
}

/// The third input as one number per output, where there is one.
fn bias(graph: &Graph, op: &Operator, outputs: usize) -> Result<Option<Vec<f64>>, String> {
    let Some(value) = op.input(2) else {
        return Ok(None);
    };
    let tensor = constants::resolve(graph, value).ok_or("its bias is not constant")?;
    let values = tensor.to_f64().ok_or("its bias can't be read")?;
    let flat = tensor.dims().iter().filter(|n| **n != 1).count() <= 1;
    match values.len() == outputs && flat {
        true => Ok(Some(values)),
        false => Err("it adds other than a bias".into()),
    }
}
