//! Operators that work element by element.

use candle_core::{Result, Tensor};
use sepconv_analysis::constants;

use super::rule::{OpContext, Rule};
use super::sigmoid::sigmoid;

pub(super) fn rule(context: &OpContext<'_>) -> Option<Rule> {
    let op = context.op;
    match op.op_type.as_str() {
        "Relu" => context.unary(Tensor::relu),
        "LeakyRelu" => {
            let slope = f64::from(op.float("alpha", 0.01));
            context.unary(move |x| x.relu()? - (x.neg()?.relu()? * slope)?)
        }
        "PRelu" => context.of(&[0, 1], |x| {
            x[0].relu()?
                .broadcast_sub(&x[0].neg()?.relu()?.broadcast_mul(&x[1])?)
        }),
        "Clip" => clip(context),
        "Sigmoid" => context.unary(sigmoid),
        "Tanh" => context.unary(Tensor::tanh),
        "HardSigmoid" => {
            let (a, b) = (
                f64::from(op.float("alpha", 0.2)),
                f64::from(op.float("beta", 0.5)),
            );
            context.unary(move |x| x.affine(a, b)?.clamp(0f32, 1f32))
        }
        "HardSwish" => context.unary(|x| x * x.affine(1.0 / 6.0, 0.5)?.clamp(0f32, 1f32)?),
        "Elu" => {
            let alpha = f64::from(op.float("alpha", 1.0));
            // exp is taken where x is not positive: it can't overflow.
            context.unary(move |x| x.relu()? + ((x.minimum(0f32)?.exp()? - 1.0)? * alpha)?)
        }
        "Softplus" => context.unary(softplus),
        "Mish" => context.unary(|x| x * softplus(x)?.tanh()?),
        "Exp" => context.unary(Tensor::exp),
        "Log" => context.unary(Tensor::log),
        "Sqrt" => context.unary(Tensor::sqrt),
        "Neg" => context.unary(Tensor::neg),
        "Abs" => context.unary(Tensor::abs),
        "Reciprocal" => context.unary(Tensor::recip),
        "Erf" => context.unary(Tensor::erf),
        "Gelu" if op.string("approximate").is_none_or(|a| a == "none") => {
            context.unary(Tensor::gelu_erf)
        }
        "Identity" => context.unary(|x| Ok(x.clone())),
        "Dropout" if op.outputs.iter().flatten().count() == 1 => context.unary(|x| Ok(x.clone())),
        "Cast" => {
            let float = |value| {
                context
                    .shapes
                    .get(value)?
                    .dtype
                    .map(|t: sepconv_ir::DType| t.is_float())
            };
            let both = float(context.input(0)?)? && float(op.output(0)?)?;
            both.then(|| context.unary(|x| Ok(x.clone()))).flatten()
        }
        "Pow" => {
            let exponent = context.floats(1).filter(|e| e.len() == 1)?;
            let exponent = f64::from(exponent[0]);
            context.unary(move |x| match exponent {
                2.0 => x.sqr(),
                e => x.powf(e),
            })
        }
        "Add" => broadcast(context, Tensor::broadcast_add),
        "Sub" => broadcast(context, Tensor::broadcast_sub),
        "Mul" => broadcast(context, Tensor::broadcast_mul),
        "Div" => broadcast(context, Tensor::broadcast_div),
        "Sum" => broadcast(context, Tensor::broadcast_add),
        "Min" => broadcast(context, Tensor::broadcast_minimum),
        "Max" => broadcast(context, Tensor::broadcast_maximum),
        _ => None,
    }
}

/// `log(1 + e^x)`, where neither end overflows.
fn softplus(x: &Tensor) -> Result<Tensor> {
    x.relu()? + (x.abs()?.neg()?.exp()? + 1.0)?.log()?
}

/// `Clip` (6 to 13): bounds are attributes, then constants.
fn clip(context: &OpContext<'_>) -> Option<Rule> {
    let bound = |name: &str, slot: usize| match (context.op.attribute(name), context.input(slot)) {
        (Some(_), _) => Some(Some(context.op.float(name, 0.0))),
        (None, None) => Some(None),
        (None, Some(_)) => context.floats(slot)?.first().copied().map(Some),
    };
    let (low, high) = (bound("min", 1)?, bound("max", 2)?);
    context.unary(move |x| {
        let mut y = x.clone();
        if let Some(low) = low {
            y = y.maximum(low)?;
        }
        if let Some(high) = high {
            y = y.minimum(high)?;
        }
        Ok(y)
    })
}

/// An operation of one or more operands that broadcast (opset 7 and later).
fn broadcast(context: &OpContext<'_>, f: fn(&Tensor, &Tensor) -> Result<Tensor>) -> Option<Rule> {
    let inputs: Vec<_> = context.op.inputs.iter().flatten().copied().collect();
    let widest = (0..inputs.len())
        .map(|i| context.rank(i))
        .collect::<Option<Vec<_>>>()?;
    let rank = widest.iter().copied().max()?;
    for (value, own) in inputs.iter().zip(widest) {
        match constants::resolve(context.graph, *value) {
            // A constant with a row for each sample belongs to one batch only.
            Some(t) if own == rank && t.dims().first().is_some_and(|n| *n != 1) => return None,
            Some(_) => {}
            None if own != rank => return None,
            None => {}
        }
    }
    let slots: Vec<usize> = (0..inputs.len()).collect();
    context.of(&slots, move |x| {
        let (first, rest) = x
            .split_first()
            .ok_or_else(|| candle_core::Error::Msg("no operand".into()))?;
        rest.iter().try_fold(first.clone(), |sum, x| f(&sum, x))
    })
}
