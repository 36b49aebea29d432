//! Operators whose elements depend on one element of each input.

use std::cmp::Ordering;

use sepconv_ir::{AttributeValue, DType, Tensor};

use super::Call;
use super::numbers::Numbers;
use super::walk::{broadcast, spread, walk};

/// Operators of one input: `Abs`, `Neg` and so on (opsets 6 and later), `Not`.
pub(super) fn unary(call: &Call<'_>) -> Option<Tensor> {
    let x = call.input(0)?;
    let name = call.op.op_type.as_str();
    let made = match Numbers::of(x)? {
        Numbers::Floats(all) => Numbers::Floats(each(all, float(name)?)),
        Numbers::Ints(all) => {
            if (name == "Not") != (x.dtype() == DType::Bool) {
                return None;
            }
            Numbers::Ints(each(all, integer(name)?))
        }
    };
    made.tensor(x.dtype(), x.dims().to_vec())
}

fn each<T>(mut all: Vec<T>, f: impl Fn(&T) -> T) -> Vec<T> {
    all.iter_mut().for_each(|v| *v = f(v));
    all
}

fn float(name: &str) -> Option<fn(&f64) -> f64> {
    Some(match name {
        "Abs" => |v| v.abs(),
        "Ceil" => |v| v.ceil(),
        "Cos" => |v| v.cos(),
        "Exp" => |v| v.exp(),
        "Floor" => |v| v.floor(),
        "Log" => |v| v.ln(),
        "Neg" => |v| -v,
        "Reciprocal" => |v| 1.0 / v,
        "Relu" => |v| if *v < 0.0 { 0.0 } else { *v },
        "Round" => |v| v.round_ties_even(),
        "Sigmoid" => |v| 1.0 / (1.0 + (-v).exp()),
        "Sign" => |v| if *v == 0.0 { 0.0 } else { v.signum() },
        "Sin" => |v| v.sin(),
        "Softplus" => |v| v.max(0.0) + (-v.abs()).exp().ln_1p(),
        "Sqrt" => |v| v.sqrt(),
        "Tanh" => |v| v.tanh(),
        _ => return None,
    })
}

fn integer(name: &str) -> Option<fn(&i64) -> i64> {
    Some(match name {
        "Abs" => |v| v.wrapping_abs(),
        "Neg" => |v| v.wrapping_neg(),
        "Not" => |v| i64::from(*v == 0),
        "Relu" => |v| (*v).max(0),
        "Sign" => |v| v.signum(),
        _ => return None,
    })
}

/// Arithmetic, comparisons and logic of two inputs that broadcast (opset 7 and later), or of which
/// the second has the axes of the first from `axis` on (attribute `broadcast`, before).
pub(super) fn binary(call: &Call<'_>) -> Option<Tensor> {
    let name = call.op.op_type.as_str();
    let a = call.input(0)?;
    let b = &aligned(call, a, call.input(1)?)?;
    let logical = matches!(name, "And" | "Or" | "Xor");
    let compares = matches!(
        name,
        "Equal" | "Less" | "LessOrEqual" | "Greater" | "GreaterOrEqual"
    );
    let same = a.dtype() == b.dtype() || name == "Pow";
    let is_bool = a.dtype() == DType::Bool;
    if !same || logical != is_bool && !(is_bool && name == "Equal") {
        return None;
    }
    if compares || logical {
        return pair(
            call,
            [a, b],
            DType::Bool,
            &|a, b| Some(i64::from(holds(name, a.partial_cmp(&b))?)),
            &|a, b| {
                Some(i64::from(match name {
                    "And" => a != 0 && b != 0,
                    "Or" => a != 0 || b != 0,
                    "Xor" => (a != 0) != (b != 0),
                    _ => holds(name, Some(a.cmp(&b)))?,
                }))
            },
        );
    }
    let fmod = call.op.int("fmod", 0) != 0;
    let floats = |a: f64, b: f64| {
        Some(match name {
            "Add" => a + b,
            "Sub" => a - b,
            "Mul" => a * b,
            "Div" => a / b,
            "Pow" => a.powf(b),
            "Mod" if fmod => a % b,
            _ => return None,
        })
    };
    let integers = |a: i64, b: i64| {
        Some(match name {
            "Add" => a.wrapping_add(b),
            "Sub" => a.wrapping_sub(b),
            "Mul" => a.wrapping_mul(b),
            "Div" if b != 0 => a.wrapping_div(b),
            "Mod" if b != 0 && fmod => a.wrapping_rem(b),
            "Mod" if b != 0 => {
                let rest = a.wrapping_rem(b);
                if rest != 0 && (rest < 0) != (b < 0) {
                    rest + b
                } else {
                    rest
                }
            }
            "Pow" => a.wrapping_pow(u32::try_from(b).ok()?),
            _ => return None,
        })
    };
    pair(call, [a, b], a.dtype(), &floats, &integers)
}

/// `b` with axes behind it where the attributes of opsets before 7 say so.
fn aligned(call: &Call<'_>, a: &Tensor, b: &Tensor) -> Option<Tensor> {
    let (op, mut dims) = (call.op, b.dims().to_vec());
    if op.int("broadcast", 0) == 0 {
        return Some(b.clone());
    }
    if let Some(AttributeValue::Int(axis)) = op.attribute("axis") {
        let axis = super::walk::axis(*axis, a.dims().len())?;
        let behind = a.dims().len().checked_sub(axis + dims.len())?;
        dims.extend(vec![1; behind]);
    }
    Tensor::new(b.dtype(), dims, b.data()?.clone())
}

fn holds(name: &str, order: Option<Ordering>) -> Option<bool> {
    Some(match name {
        "Equal" => order == Some(Ordering::Equal),
        "Less" => order == Some(Ordering::Less),
        "LessOrEqual" => order.is_some_and(Ordering::is_le),
        "Greater" => order == Some(Ordering::Greater),
        "GreaterOrEqual" => order.is_some_and(Ordering::is_ge),
        _ => return None,
    })
}

/// A number that one of two kinds of elements is made into.
trait Made: Sized {
    fn all(made: Vec<Self>) -> Numbers;
}

impl Made for f64 {
    fn all(made: Vec<Self>) -> Numbers {
        Numbers::Floats(made)
    }
}

impl Made for i64 {
    fn all(made: Vec<Self>) -> Numbers {
        Numbers::Ints(made)
    }
}

/// A result of two inputs that broadcast.
fn pair<F: Made>(
    call: &Call<'_>,
    [a, b]: [&Tensor; 2],
    dtype: DType,
    floats: &dyn Fn(f64, f64) -> Option<F>,
    integers: &dyn Fn(i64, i64) -> Option<i64>,
) -> Option<Tensor> {
    let dims = broadcast([a.dims(), b.dims()].into_iter())?;
    let count = call.room(&dims)?;
    let made = match (Numbers::of(a)?, Numbers::of(b)?) {
        (Numbers::Floats(a_all), Numbers::Floats(b_all)) => {
            F::all(zip(&dims, (a, &a_all), (b, &b_all), floats, count)?)
        }
        // An exponent may be an integer.
        (Numbers::Floats(a_all), Numbers::Ints(b_all)) => {
            let b_all: Vec<f64> = b_all.into_iter().map(|v| v as f64).collect();
            F::all(zip(&dims, (a, &a_all), (b, &b_all), floats, count)?)
        }
        (Numbers::Ints(a_all), Numbers::Ints(b_all)) => {
            Numbers::Ints(zip(&dims, (a, &a_all), (b, &b_all), integers, count)?)
        }
        (Numbers::Ints(_), Numbers::Floats(_)) => return None,
    };
    made.tensor(dtype, dims)
}

fn zip<T: Copy, U>(
    dims: &[usize],
    a: (&Tensor, &[T]),
    b: (&Tensor, &[T]),
    f: &dyn Fn(T, T) -> Option<U>,
    count: usize,
) -> Option<Vec<U>> {
    let strides = [spread(a.0.dims(), dims), spread(b.0.dims(), dims)];
    let mut out = Vec::with_capacity(count);
    walk(dims, [&strides[0], &strides[1]], |[i, j]| {
        out.extend(f(a.1[i], b.1[j]));
    });
    // An element without a value leaves too few.
    (out.len() == count).then_some(out)
}

/// `Max`, `Min` (opset 8 and later broadcast), `Sum` and `Mean` of any number of inputs.
pub(super) fn variadic(call: &Call<'_>) -> Option<Tensor> {
    let name = call.op.op_type.as_str();
    let all: Vec<&Tensor> = call
        .inputs
        .iter()
        .map(Option::as_ref)
        .collect::<Option<_>>()?;
    let (first, rest) = all.split_first()?;
    let floats = |a: f64, b: f64| {
        Some(match name {
            "Max" if a.is_nan() || b.is_nan() => f64::NAN,
            "Min" if a.is_nan() || b.is_nan() => f64::NAN,
            "Max" => a.max(b),
            "Min" => a.min(b),
            _ => a + b,
        })
    };
    let integers = |a: i64, b: i64| match name {
        "Max" => Some(a.max(b)),
        "Min" => Some(a.min(b)),
        _ => None,
    };
    let mut made = (*first).clone();
    for next in rest {
        if next.dtype() != first.dtype() {
            return None;
        }
        made = pair(call, [&made, next], first.dtype(), &floats, &integers)?;
    }
    if name == "Mean" {
        let share = all.len() as f64;
        let values = each(made.to_f64()?, |v| v / share);
        return Tensor::from_f64s(first.dtype(), made.dims().to_vec(), &values);
    }
    Some(made)
}

/// `Clip`: between attributes (before opset 11) or inputs.
pub(super) fn clip(call: &Call<'_>) -> Option<Tensor> {
    let x = call.input(0)?;
    let bound = |slot: usize, name: &str| match (call.input(slot), call.op.attribute(name)) {
        (Some(b), _) if b.len() == 1 && b.dtype() == x.dtype() => Some(Some(b.clone())),
        (None, Some(AttributeValue::Float(v))) => {
            Tensor::from_f64s(x.dtype(), vec![], &[f64::from(*v)]).map(Some)
        }
        (None, None) => Some(None),
        _ => None,
    };
    let (low, high) = (bound(1, "min")?, bound(2, "max")?);
    let made = match Numbers::of(x)? {
        Numbers::Floats(all) => {
            let one = |b: Option<Tensor>, none: f64| b.map_or(Some(none), |b| b.to_f64()?.pop());
            let (low, high) = (one(low, f64::NEG_INFINITY)?, one(high, f64::INFINITY)?);
            let within = |v: &f64| {
                let raised = if *v < low { low } else { *v };
                if raised > high { high } else { raised }
            };
            Numbers::Floats(each(all, within))
        }
        Numbers::Ints(all) => {
            let one = |b: Option<Tensor>, none: i64| b.map_or(Some(none), |b| b.to_i64()?.pop());
            let (low, high) = (one(low, i64::MIN)?, one(high, i64::MAX)?);
            Numbers::Ints(each(all, |v| (*v).max(low).min(high)))
        }
    };
    made.tensor(x.dtype(), x.dims().to_vec())
}

/// `Where`: elements of one of two inputs, whatever they are.
pub(super) fn choose(call: &Call<'_>) -> Option<Tensor> {
    let (condition, a, b) = (call.input(0)?, call.input(1)?, call.input(2)?);
    if a.dtype() != b.dtype() || condition.dtype() != DType::Bool {
        return None;
    }
    let all = [condition.dims(), a.dims(), b.dims()];
    let dims = broadcast(all.into_iter())?;
    let count = call.room(&dims)?;
    let strides = all.map(|own| spread(own, &dims));
    let size = a.dtype().size()?;
    let (which, a, b) = (condition.data()?, (a.dtype(), a.data()?), b.data()?);
    let mut out = Vec::with_capacity(count.checked_mul(size)?);
    walk(
        &dims,
        [&strides[0], &strides[1], &strides[2]],
        |[c, i, j]| {
            let (from, at) = if which[c] != 0 { (a.1, i) } else { (b, j) };
            out.extend_from_slice(&from[at * size..(at + 1) * size]);
        },
    );
    Tensor::new(a.0, dims, out.into())
}

/// `Cast` (opset 6 and later) and `CastLike`: floats are cut towards zero, integers keep their
/// low bits.
pub(super) fn cast(call: &Call<'_>) -> Option<Tensor> {
    let x = call.input(0)?;
    let to = match call.op.attribute("to") {
        Some(AttributeValue::Int(code)) => DType::from_code(i32::try_from(*code).ok()?),
        None if call.op.is("CastLike") => call.input(1)?.dtype(),
        _ => return None,
    };
    if to == x.dtype() {
        return Some(x.clone());
    }
    let made = match (Numbers::of(x)?, to) {
        (Numbers::Floats(all), DType::Bool) => {
            Numbers::Ints(all.into_iter().map(|v| i64::from(v != 0.0)).collect())
        }
        (Numbers::Ints(all), DType::Bool) => Numbers::Ints(each(all, |v| i64::from(*v != 0))),
        (Numbers::Ints(all), to) if to.is_float() => {
            Numbers::Floats(all.into_iter().map(|v| v as f64).collect())
        }
        (Numbers::Floats(all), to) if !to.is_float() => {
            if !all.iter().all(|v| v.is_finite()) {
                return None;
            }
            Numbers::Ints(all.into_iter().map(|v| v as i64).collect())
        }
        (same, _) => same,
    };
    made.tensor(to, x.dims().to_vec())
}
