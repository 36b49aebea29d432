//! Values of ONNX operators on constants, as a runtime would compute them, in the types that ONNX
//! gives them.
//!
//! Arithmetic of floats is done in f64 and rounded to the element type after every operator;
//! integers wrap around as theirs do. `None` stands for everything else: operators that are in no
//! row of the table, types and shapes that do not fit, divisions of integers by zero, and results
//! far larger than their inputs. A new operator is a row of the table.

mod call;
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

pub(crate) use call::Call;
pub(crate) use make::of_extents;

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
    (&["Shape", "Size"], make::extents_read),
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
    // In a local function, the value that an attribute refers to is known to its callers alone.
    let row = TABLE.iter().find(|row| known(row.0) && op.is_literal());
    row.map(|row| row.1)
}

#[cfg(test)]
mod tests;
