//! The range of values that the first operators of a graph say its input takes.

use std::collections::HashSet;

use sepconv_analysis::constants;
use sepconv_ir::{Graph, Operator, Slot, ValueId};

/// Operators that hand values of the same size on, perhaps in another order.
const PASS: [&str; 14] = [
    "Cast",
    "Concat",
    "Dropout",
    "Flatten",
    "Identity",
    "Pad",
    "Reshape",
    "Resize",
    "Slice",
    "Split",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
    "Upsample",
];

/// Operators that normalise by statistics of the very sample: any range will do.
const FREE: [&str; 10] = [
    "GroupNormalization",
    "InstanceNormalization",
    "LayerNormalization",
    "LpNormalization",
    "MeanVarianceNormalization",
    "ReduceL2",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceSum",
];

/// Layers that sum products with weights.
const LAYERS: [&str; 4] = ["Conv", "ConvTranspose", "Gemm", "MatMul"];

/// The least constant that shifts, or divides, values of 0 to 255 and none of 0 to 1.
const LARGE: f64 = 16.0;

/// Range of the values that an input takes, by the first operators.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Head {
    /// The graph brings values of 0 to 255 to its own range: it divides by large constants, or
    /// subtracts them.
    Scales,
    /// It takes values of any range: it normalises each sample.
    Free,
    /// It quantises the input, and cuts off values below or above.
    Quantised(f64, f64),
    /// Batch normalisations after the first layers recorded deviations.
    Norms(Vec<Norm>),
    /// Nothing.
    Silent,
}

/// A value that is batch-normalised.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Norm {
    /// The value, `[n, channels, ...]`.
    pub value: ValueId,
    /// Its recorded standard deviation in every channel.
    pub deviations: Vec<f64>,
}

impl Head {
    /// Of a graph for one of its inputs: by its operators up to the first layers and their norms.
    pub fn of(graph: &Graph, input: ValueId) -> Self {
        let mut norms = Vec::new();
        let mut seen = HashSet::from([input]);
        // Values, with true where a layer lies before them.
        let mut open = vec![(input, false)];
        while let Some((value, behind)) = open.pop() {
            for (node, slot) in graph.readers(value) {
                let (Some(op), Slot::Input(slot)) = (graph.operator(node), slot) else {
                    continue;
                };
                let named = |names: &[&str]| names.iter().any(|name| op.is(name));
                if named(&FREE) {
                    return Self::Free;
                }
                if op.is("BatchNormalization") && slot == 0 {
                    norms.extend(norm(graph, op, value));
                    continue;
                }
                if !behind && op.is("QuantizeLinear") && slot == 0 {
                    if let Some((least, greatest)) = quantised(graph, op) {
                        return Self::Quantised(least, greatest);
                    }
                    continue;
                }
                let other = constant(graph, op, slot);
                if !behind && other.as_ref().is_some_and(|c| is_scaling(op, slot, c)) {
                    return Self::Scales;
                }
                let layer = !behind && slot == 0 && named(&LAYERS);
                if !(layer || named(&PASS) || other.is_some()) {
                    continue;
                }
                for output in op.outputs.iter().flatten() {
                    if seen.insert(*output) {
                        open.push((*output, behind || layer));
                    }
                }
            }
        }
        match norms.is_empty() {
            true => Self::Silent,
            false => Self::Norms(norms),
        }
    }
}

/// The constant beside the value at `slot` of an elementwise operator.
fn constant(graph: &Graph, op: &Operator, slot: u32) -> Option<Vec<f64>> {
    let elementwise = ["Add", "Div", "Mul", "Sub"].iter().any(|name| op.is(name));
    let other = 1usize.checked_sub(slot as usize).filter(|_| elementwise)?;
    constants::resolve(graph, op.input(other)?)?.to_f64()
}

/// True for an elementwise operator whose constant is for values of 0 to 255.
fn is_scaling(op: &Operator, slot: u32, constant: &[f64]) -> bool {
    let greatest = constant.iter().fold(0.0, |most: f64, c| most.max(c.abs()));
    if op.is("Mul") {
        greatest > 0.0 && greatest <= 1.0 / LARGE
    } else {
        greatest >= LARGE && (slot == 0 || !op.is("Div"))
    }
}

fn norm(graph: &Graph, op: &Operator, value: ValueId) -> Option<Norm> {
    let variances = constants::resolve(graph, op.input(4)?)?.to_f64()?;
    let epsilon = f64::from(op.float("epsilon", 1e-5));
    Some(Norm {
        value,
        deviations: variances
            .iter()
            .map(|v| (v.max(0.0) + epsilon).sqrt())
            .collect(),
    })
}

/// The least and the greatest value that 8-bit quantisation keeps.
fn quantised(graph: &Graph, op: &Operator) -> Option<(f64, f64)> {
    let scalar = |slot| -> Option<f64> {
        let values = constants::resolve(graph, op.input(slot)?)?;
        let floats = values.to_f64();
        let [value] =
            floats.or_else(|| Some(values.to_i64()?.into_iter().map(|v| v as f64).collect()))?[..]
        else {
            return None;
        };
        Some(value)
    };
    let scale = scalar(1)?;
    let (zero, signed) = match op.input(2) {
        Some(zero) => {
            let dtype = constants::resolve(graph, zero)?.dtype();
            (scalar(2)?, dtype == sepconv_ir::DType::I8)
        }
        None => (0.0, false),
    };
    let (least, greatest) = if signed {
        (-128.0, 127.0)
    } else {
        (0.0, 255.0)
    };
    Some((scale * (least - zero), scale * (greatest - zero)))
}
