//! Operators that work element by element.

use candle_core::{Result, Tensor};
use sepconv_analysis::constants;

use super::rule::{Rule, Site};

pub(super) fn rule(site: &Site<'_>) -> Option<Rule> {
    let op = site.op;
    match op.op_type.as_str() {
        "Relu" => site.unary(Tensor::relu),
        "LeakyRelu" => {
            let slope = f64::from(op.float("alpha", 0.01));
            site.unary(move |x| x.relu()? - (x.neg()?.relu()? * slope)?)
        }
        "PRelu" => site.of(&[0, 1], |x| {
            x[0].relu()?
                .broadcast_sub(&x[0].neg()?.relu()?.broadcast_mul(&x[1])?)
        }),
        "Clip" => clip(site),
        "Sigmoid" => site.unary(sigmoid),
        "Tanh" => site.unary(Tensor::tanh),
        "HardSigmoid" => {
            let (a, b) = (
                f64::from(op.float("alpha", 0.2)),
                f64::from(op.float("beta", 0.5)),
            );
            site.unary(move |x| x.affine(a, b)?.clamp(0f32, 1f32))
        }
        "HardSwish" => site.unary(|x| x * x.affine(1.0 / 6.0, 0.5)?.clamp(0f32, 1f32)?),
        "Elu" => {
            let alpha = f64::from(op.float("alpha", 1.0));
            // exp is taken where x is not positive: it can't overflow.
            site.unary(move |x| x.relu()? + ((x.minimum(0f32)?.exp()? - 1.0)? * alpha)?)
        }
        "Softplus" => site.unary(softplus),
        "Mish" => site.unary(|x| x * softplus(x)?.tanh()?),
        "Exp" => site.unary(Tensor::exp),
        "Log" => site.unary(Tensor::log),
        "Sqrt" => site.unary(Tensor::sqrt),
        "Neg" => site.unary(Tensor::neg),
        "Abs" => site.unary(Tensor::abs),
        "Reciprocal" => site.unary(Tensor::recip),
        "Erf" => site.unary(Tensor::erf),
        "Gelu" if op.string("approximate").is_none_or(|a| a == "none") => {
            site.unary(Tensor::gelu_erf)
        }
        "Identity" => site.unary(|x| Ok(x.clone())),
        "Dropout" if op.outputs.iter().flatten().count() == 1 => site.unary(|x| Ok(x.clone())),
        "Cast" => {
            let float = |value| {
                site.shapes
                    .get(value)?
                    .dtype
                    .map(|t: sepconv_ir::DType| t.is_float())
            };
            let both = float(site.input(0)?)? && float(op.output(0)?)?;
            both.then(|| site.unary(|x| Ok(x.clone()))).flatten()
        }
        "Pow" => {
            let exponent = site.floats(1).filter(|e| e.len() == 1)?;
            let exponent = f64::from(exponent[0]);
            site.unary(move |x| match exponent {
                2.0 => x.sqr(),
                e => x.powf(e),
            })
        }
        "Add" => broadcast(site, Tensor::broadcast_add),
        "Sub" => broadcast(site, Tensor::broadcast_sub),
        "Mul" => broadcast(site, Tensor::broadcast_mul),
        "Div" => broadcast(site, Tensor::broadcast_div),
        "Sum" => broadcast(site, Tensor::broadcast_add),
        "Min" => broadcast(site, Tensor::broadcast_minimum),
        "Max" => broadcast(site, Tensor::broadcast_maximum),
        _ => None,
    }
}

fn sigmoid(x: &Tensor) -> Result<Tensor> {
    (x * 0.5)?.tanh()?.affine(0.5, 0.5)
}

/// `log(1 + e^x)`, where neither end overflows.
fn softplus(x: &Tensor) -> Result<Tensor> {
    x.relu()? + (x.abs()?.neg()?.exp()? + 1.0)?.log()?
}

/// `Clip` (6 to 13): bounds are attributes, then constants.
fn clip(site: &Site<'_>) -> Option<Rule> {
    let bound = |name: &str, slot: usize| match (site.op.attribute(name), site.input(slot)) {
        (Some(_), _) => Some(Some(site.op.float(name, 0.0))),
        (None, None) => Some(None),
        (None, Some(_)) => site.floats(slot)?.first().copied().map(Some),
    };
    let (low, high) = (bound("min", 1)?, bound("max", 2)?);
    site.unary(move |x| {
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
fn broadcast(site: &Site<'_>, f: fn(&Tensor, &Tensor) -> Result<Tensor>) -> Option<Rule> {
    let inputs: Vec<_> = site.op.inputs.iter().flatten().copied().collect();
    let widest = (0..inputs.len())
        .map(|i| site.rank(i))
        .collect::<Option<Vec<_>>>()?;
    let rank = widest.iter().copied().max()?;
    for (value, own) in inputs.iter().zip(widest) {
        match constants::resolve(site.graph, *value) {
            // A constant with a row for each sample belongs to one batch only.
            Some(t) if own == rank && t.dims().first().is_some_and(|n| *n != 1) => return None,
            Some(_) => {}
            None if own != rank => return None,
            None => {}
        }
    }
    let slots: Vec<usize> = (0..inputs.len()).collect();
    site.of(&slots, move |x| {
        let (first, rest) = x
            .split_first()
            .ok_or_else(|| candle_core::Error::Msg("no operand".into()))?;
        rest.iter().try_fold(first.clone(), |sum, x| f(&sum, x))
    })
}
