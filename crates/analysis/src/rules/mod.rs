//! Shape rules: one table, one small file per family of operators.
//!
//! A rule maps the facts of a node's inputs ([`Call`]) to those of its outputs.
//! To add one, add a row to [`TABLE`]; rows are found by operator domain and type, whatever
//! the opset: forms of different opsets are told apart by the inputs and attributes present.

mod call;
mod concat;
mod constant;
mod conv;
mod elementwise;
mod gather;
mod linear;
mod normalise;
mod pad;
mod pool;
mod recurrent;
mod reduce;
mod reshape;
mod resize;
mod select;
mod slice;
mod unary;

use sepconv_ir::Operator;

pub(crate) use call::{Call, Inferred, Stop, contradiction};

/// A shape rule.
pub(crate) type Rule = fn(&Call<'_>) -> Inferred;

const ONNX: &str = "";
const MS: &str = "com.microsoft";

/// All rules: operator domain, operator types, rule.
#[rustfmt::skip]
const TABLE: &[(&str, &[&str], Rule)] = &[
    // Convolutions and pools
    (ONNX, &["Conv", "ConvTranspose", "ConvInteger", "QLinearConv", "DeformConv"], conv::conv),
    (MS, &["FusedConv"], conv::conv),
    (ONNX, &["MaxPool", "AveragePool", "LpPool"], pool::pool),
    (MS, &["QLinearAveragePool"], pool::pool),
    (ONNX, &["GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"], pool::global),
    (MS, &["QLinearGlobalAveragePool"], pool::global),
    (ONNX, &["MaxRoiPool", "RoiAlign"], pool::regions),
    // Normalisation
    (ONNX, &["BatchNormalization"], normalise::batch),
    (ONNX, &["InstanceNormalization", "LayerNormalization", "GroupNormalization", "LRN",
        "RMSNormalization", "MeanVarianceNormalization", "LpNormalization"], unary::same),
    // One input, one output of the same shape
    (ONNX, &["Identity"], unary::identity),
    (ONNX, &["Dropout"], unary::dropout),
    (ONNX, &["Cast", "CastLike"], unary::cast),
    (ONNX, &["Relu", "LeakyRelu", "PRelu", "ThresholdedRelu", "Clip", "Sigmoid", "HardSigmoid",
        "HardSwish", "Swish", "Mish", "Gelu", "Elu", "Celu", "Selu", "Softplus", "Softsign",
        "Tanh", "Erf", "Exp", "Log", "Sqrt", "Reciprocal", "Abs", "Neg", "Sign", "Floor", "Ceil",
        "Round", "Not", "BitwiseNot", "Softmax", "LogSoftmax", "Hardmax", "Shrink", "Sin", "Cos",
        "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh", "CumSum",
        "Trilu", "Scatter", "ScatterElements", "ScatterND", "ReverseSequence", "ImageScaler", "Scale", "ParametricSoftplus",
        "Affine", "ScaledTanh"], unary::same),
    (MS, &["Gelu", "BiasGelu", "FastGelu", "QuickGelu", "QLinearLeakyRelu", "QLinearSigmoid",
        "QLinearSoftmax", "SkipLayerNormalization", "SkipSimplifiedLayerNormalization"],
        unary::same),
    (ONNX, &["Bernoulli", "EyeLike", "RandomNormalLike", "RandomUniformLike"], unary::like),
    (ONNX, &["IsNaN", "IsInf"], unary::predicate),
    (ONNX, &["QuantizeLinear"], unary::quantize),
    (MS, &["QuantizeLinear"], unary::quantize),
    (ONNX, &["DequantizeLinear"], unary::dequantize),
    (MS, &["DequantizeLinear"], unary::dequantize),
    (ONNX, &["DynamicQuantizeLinear"], unary::dynamic_quantize),
    // Broadcasting
    (ONNX, &["Add", "Sub", "Mul", "Div", "Mod", "Pow", "BitShift", "BitwiseAnd", "BitwiseOr",
        "BitwiseXor", "Min", "Max", "Sum", "Mean"], elementwise::arithmetic),
    (ONNX, &["Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "And", "Or", "Xor"],
        elementwise::comparison),
    (ONNX, &["Where"], elementwise::select),
    (MS, &["QLinearAdd", "QLinearMul"], elementwise::quantized),
    (ONNX, &["Expand"], elementwise::expand),
    // Joining and cutting
    (ONNX, &["Concat"], concat::concat),
    (MS, &["QLinearConcat"], concat::quantized),
    (ONNX, &["Split"], concat::split),
    (ONNX, &["Tile"], concat::tile),
    (ONNX, &["Slice"], slice::slice),
    (ONNX, &["Pad"], pad::pad),
    // Changes of layout
    (ONNX, &["Reshape"], reshape::reshape),
    (ONNX, &["Flatten"], reshape::flatten),
    (ONNX, &["Squeeze"], reshape::squeeze),
    (ONNX, &["Unsqueeze"], reshape::unsqueeze),
    (ONNX, &["Transpose"], reshape::transpose),
    (ONNX, &["DepthToSpace"], resize::depth_to_space),
    (ONNX, &["SpaceToDepth"], resize::space_to_depth),
    (ONNX, &["Resize", "Upsample"], resize::resize),
    (ONNX, &["GridSample"], resize::grid_sample),
    // Products
    (ONNX, &["Gemm"], linear::gemm),
    (MS, &["FusedGemm", "QGemm"], linear::gemm),
    (ONNX, &["MatMul", "MatMulInteger", "QLinearMatMul"], linear::matmul),
    (MS, &["FusedMatMul"], linear::matmul),
    (ONNX, &["Einsum"], linear::einsum),
    (ONNX, &["LSTM", "GRU", "RNN"], recurrent::recurrent),
    // Reductions
    (ONNX, &["ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax",
        "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare"], reduce::reduce),
    (ONNX, &["ArgMax", "ArgMin"], reduce::arg),
    // Shapes, constants and look-ups
    (ONNX, &["Shape"], constant::shape),
    (ONNX, &["Size"], constant::size),
    (ONNX, &["Constant"], constant::constant),
    (ONNX, &["ConstantOfShape"], constant::of_shape),
    (ONNX, &["Range"], constant::range),
    (ONNX, &["Gather"], gather::gather),
    (ONNX, &["GatherElements"], gather::elements),
    (ONNX, &["GatherND"], gather::nd),
    // Outputs that depend on contents
    (ONNX, &["OneHot"], select::one_hot),
    (ONNX, &["TopK"], select::top_k),
    (ONNX, &["NonZero"], select::non_zero),
    (ONNX, &["NonMaxSuppression"], select::non_max_suppression),
];

/// The rule of an operator, if there is one.
pub(crate) fn find(op: &Operator) -> Option<Rule> {
    let domain = match op.domain.as_str() {
        "ai.onnx" => ONNX,
        other => other,
    };
    TABLE
        .iter()
        .find(|(d, types, _)| *d == domain && types.contains(&op.op_type.as_str()))
        .map(|row| row.2)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_operator_has_one_rule() {
        let mut seen = HashSet::new();
        for (domain, types, _) in TABLE {
            for op in *types {
                assert!(seen.insert((domain, op)), "{domain} {op} stands twice");
            }
        }
    }

    #[test]
    fn domains_are_told_apart() {
        let mut op = Operator::new("Conv", "");
        assert!(find(&op).is_some());
        op.domain = "ai.onnx".into();
        assert!(find(&op).is_some());
        op.domain = "example.org".into();
        assert!(find(&op).is_none());
    }
}
