//! Results of operators whose inputs are small and known, such as the padding that a network computes from
//! the extents of its input: values of [`evaluate`], where the rule of shapes does not know all elements.

use sepconv_ir::{Operator, Tensor};

use crate::evaluate::{self, Call};
use crate::fact::{Data, Fact, MAX_DATA, Scalar, count};

/// Operators whose results may lie beyond the ends of an integer: rules refuse these, and runtimes wrap them around.
const WRAPPING: &[&str] = &[
    "Abs",
    "Add",
    "Div",
    "Gemm",
    "MatMul",
    "Mod",
    "Mul",
    "Neg",
    "Pow",
    "Range",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMean",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
    "Sub",
    "Sum",
];

/// The output `output` of an operator on inputs of 1 to [`MAX_DATA`] elements, all of which are known. `None` where one
/// isn't, where a result is not finite or an integer that may have wrapped around, and where the operator is in no row of
/// [`evaluate`].
pub(crate) fn result(op: &Operator, inputs: &[Option<&Fact>], output: usize) -> Option<Fact> {
    let mut tensors = Vec::with_capacity(inputs.len());
    for (fact, named) in inputs.iter().zip(&op.inputs) {
        tensors.push(match named {
            Some(_) => Some(tensor((*fact)?)?),
            None => None,
        });
    }
    let made = evaluate::rule(op)?(&Call {
        op,
        inputs: &tensors,
        output,
    })?;
    let wraps = !made.dtype().is_float() && WRAPPING.iter().any(|name| op.is(name));
    let fact = Fact::constant(&made);
    let is_finite = |s: &Option<Scalar>| s.is_some_and(|s| s.as_f64().is_finite());
    let known = !wraps && fact.data.as_ref()?.iter().all(is_finite);
    known.then_some(fact)
}

/// True of a small fact some element of which is not known.
pub(crate) fn is_open(fact: &Fact) -> bool {
    let count = fact.dims.as_deref().and_then(count);
    let is_small = count.is_some_and(|n| (1..=MAX_DATA).contains(&n));
    let known = |data: &Data| data.iter().all(Option::is_some);
    is_small && !fact.data.as_ref().is_some_and(known)
}

/// The tensor of a fact with elements; `None` where its type or one of these is not known.
fn tensor(fact: &Fact) -> Option<Tensor> {
    let (dtype, data) = (fact.dtype?, fact.data.as_ref()?);
    if data.is_empty() {
        return None;
    }
    let dims = fact.extents()?;
    let dims: Option<Vec<usize>> = dims.iter().map(|n| usize::try_from(*n).ok()).collect();
    if dtype.is_float() {
        let value = |s: &Option<Scalar>| s.map(Scalar::as_f64);
        let values: Option<Vec<f64>> = data.iter().map(value).collect();
        return Tensor::from_f64s(dtype, dims?, &values?);
    }
    Tensor::from_i64s(dtype, dims?, &fact.ints()?)
}

#[cfg(test)]
mod tests {
    use sepconv_ir::DType;

    use super::*;
    use crate::testing::{Op, f32s, floats, i64s};

    #[test]
    fn elements_are_known_whatever_operator_makes_them() {
        let clip = || Op::new("Clip").constant(floats(&[-3.0, 2.5]));
        let least = || clip().constant(Tensor::from_f32(vec![], vec![0.0]));
        assert_eq!(least().contents(), "0. 2.5");
        assert_eq!(clip().input(f32s(&[])).contents(), "? ?");
        let relu = |x| Op::new("Relu").constant(x).contents();
        assert_eq!(relu(i64s(&[-1, 2])), "0 2");
        assert_eq!(relu(floats(&[-1.0, 2.5])), "0. 2.5");
    }

    #[test]
    fn infinite_and_wrapped_elements_are_not_known() {
        let of = |op, x| Op::new(op).constant(x).contents();
        assert_eq!(of("Reciprocal", floats(&[0.0])), "?");
        assert_eq!(of("Reciprocal", floats(&[2.0])), "0.5");
        assert_eq!(of("Neg", i64s(&[i64::MIN])), "?");
        let product = Op::new("Mul").constant(i64s(&[i64::MAX]));
        assert_eq!(product.constant(i64s(&[2])).contents(), "?");
    }

    #[test]
    fn double_precision_is_kept() {
        let third = Tensor::from_f64s(DType::F64, vec![1], &[3.0]);
        let third = third.map(|x| Op::new("Reciprocal").constant(x).contents());
        assert_eq!(third.as_deref(), Some("0.3333333333333333"));
    }

    #[test]
    fn large_results_and_results_of_no_elements_are_not_made() {
        let of = |dims: &[u64]| Fact::fixed(DType::F32, dims);
        assert!(is_open(&of(&[64])) && is_open(&of(&[])));
        assert!(!is_open(&of(&[65])) && !is_open(&of(&[1 << 40, 0])));
        assert_eq!(tensor(&of(&[1 << 40, 0]).with_data(Some(vec![]))), None);
    }
}
