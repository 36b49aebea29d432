//! What ONNX operators make of constants: the values that a runtime would compute, in the types
//! that ONNX gives them.
//!
//! Arithmetic of floats is done in f64 and rounded to the element type after every operator;
//! integers wrap around as theirs do. `None` stands for everything else: operators that are in no
//! row of the table, types and shapes that do not fit, divisions of integers by zero, and results
//! far larger than what they are made of. A new operator is a row of the table.

mod elementwise;
mod layout;
mod make;
mod normalise;
mod numbers;
mod product;
mod quantize;
mod reduce;
mod walk;
mod window;

use sepconv_ir::{Operator, Tensor};

/// Results of so many elements are made whatever they are made of.
const SMALL: usize = 1 << 24;
/// Results of more elements are not made, unless they are as large as an input.
const LARGE: usize = 1 << 27;

/// An operator with its constant inputs.
pub(crate) struct Call<'a> {
    pub op: &'a Operator,
    pub inputs: &'a [Option<Tensor>],
    /// The output that is wanted.
    pub output: usize,
}

impl Call<'_> {
    /// The input at `slot`, if that slot is filled.
    fn input(&self, slot: usize) -> Option<&Tensor> {
        self.inputs.get(slot)?.as_ref()
    }

    /// A list of integers: the attribute, or the input at `slot`, whichever the opset has.
    /// `Some(None)` where there is neither.
    fn ints(&self, name: &str, slot: usize) -> Option<Option<Vec<i64>>> {
        if let Some(attribute) = self.op.attribute(name) {
            let sepconv_ir::AttributeValue::Ints(all) = attribute else {
                return None;
            };
            return Some(Some(all.clone()));
        }
        match self.input(slot) {
            Some(tensor) if tensor.dims().len() <= 1 => tensor.to_i64().map(Some),
            Some(_) => None,
            None => Some(None),
        }
    }

    /// Whether a result of these extents is made, and how many elements it has.
    fn room(&self, dims: &[usize]) -> Option<usize> {
        let count = dims.iter().try_fold(1usize, |n, d| n.checked_mul(*d))?;
        let inputs = self.inputs.iter().flatten().map(Tensor::len);
        let (largest, sum) = inputs.fold((0, 0usize), |(max, sum), n| {
            (n.max(max), sum.saturating_add(n))
        });
        let fits = count <= SMALL.max(largest) || count <= LARGE.min(sum);
        fits.then_some(count)
    }
}

type Rule = fn(&Call<'_>) -> Option<Tensor>;

/// All operators.
const TABLE: &[(&[&str], Rule)] = &[
    (
        &[
            "Abs",
            "Ceil",
            "Cos",
            "Exp",
            "Floor",
            "Log",
            "Neg",
            "Not",
            "Reciprocal",
            "Relu",
            "Round",
            "Sigmoid",
            "Sign",
            "Sin",
            "Softplus",
            "Sqrt",
            "Tanh",
        ],
        elementwise::unary,
    ),
    (
        &[
            "Add",
            "And",
            "Div",
            "Equal",
            "Greater",
            "GreaterOrEqual",
            "Less",
            "LessOrEqual",
            "Mod",
            "Mul",
            "Or",
            "Pow",
            "Sub",
            "Xor",
        ],
        elementwise::binary,
    ),
    (&["Max", "Mean", "Min", "Sum"], elementwise::variadic),
    (&["Clip"], elementwise::clip),
    (&["Where"], elementwise::choose),
    (&["Cast", "CastLike"], elementwise::cast),
    (&["Identity"], |call| call.input(0).cloned()),
    (&["Reshape"], layout::reshape),
    (&["Flatten"], layout::flatten),
    (&["Squeeze"], layout::squeeze),
    (&["Unsqueeze"], layout::unsqueeze),
    (&["Transpose"], layout::transpose),
    (&["Concat"], layout::concat),
    (&["Expand"], layout::expand),
    (&["Tile"], layout::tile),
    (&["Gather"], layout::gather),
    (&["Slice"], window::slice),
    (&["Split"], window::split),
    (&["Pad"], window::pad),
    (&["Shape"], make::shape),
    (&["Size"], make::size),
    (&["ConstantOfShape"], make::of_shape),
    (&["Range"], make::range),
    (&["MatMul"], product::matmul),
    (&["Gemm"], product::gemm),
    (
        &[
            "ReduceL1",
            "ReduceL2",
            "ReduceLogSum",
            "ReduceLogSumExp",
            "ReduceMax",
            "ReduceMean",
            "ReduceMin",
            "ReduceProd",
            "ReduceSum",
            "ReduceSumSquare",
        ],
        reduce::reduce,
    ),
    (&["BatchNormalization"], normalise::batch),
    (&["InstanceNormalization"], normalise::instance),
    (&["LayerNormalization"], normalise::layer),
    (&["LpNormalization"], normalise::lp),
    (&["Softmax"], normalise::softmax),
    (&["QuantizeLinear"], quantize::quantize),
    (&["DequantizeLinear"], quantize::dequantize),
];

/// The rule of an operator.
pub(crate) fn rule(op: &Operator) -> Option<Rule> {
    let known = |names: &[&str]| names.iter().any(|name| op.is(name));
    // In a local function, what an attribute refers to is known to its callers alone.
    let row = TABLE.iter().find(|row| known(row.0) && op.is_literal());
    row.map(|row| row.1)
}

#[cfg(test)]
mod tests;
