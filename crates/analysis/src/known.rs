//! Results of operators whose inputs are small and known, such as the padding that a network computes from
//! the extents of its input: values of [`evaluate`], where the rule of shapes propagates none.

use sepconv_ir::{Operator, Tensor};

use crate::evaluate::{self, Call};
use crate::fact::{Data, Fact, Scalar};

/// The output `output` of an operator on inputs all of whose elements are known. `None` where one isn't, or the operator
/// is in no row of [`evaluate`].
pub(crate) fn result(op: &Operator, inputs: &[Option<&Fact>], output: usize) -> Option<Fact> {
    let rule = evaluate::rule(op)?;
    let mut tensors = Vec::with_capacity(inputs.len());
    for (fact, named) in inputs.iter().zip(&op.inputs) {
        tensors.push(match named {
            Some(_) => Some(tensor((*fact)?)?),
            None => None,
        });
    }
    let made = rule(&Call {
        op,
        inputs: &tensors,
        output,
    })?;
    Some(Fact::constant(&made)).filter(|made| made.data.is_some())
}

/// True where an element of a fact is not known.
pub(crate) fn is_open(fact: &Fact) -> bool {
    fact.data
        .as_ref()
        .is_none_or(|data| data.iter().any(Option::is_none))
}

/// The tensor of a fact; `None` where its type or an element is not known.
fn tensor(fact: &Fact) -> Option<Tensor> {
    let dtype = fact.dtype?;
    let dims = fact.extents()?;
    let dims: Vec<usize> = dims
        .iter()
        .map(|n| usize::try_from(*n).ok())
        .collect::<Option<_>>()?;
    let data: &Data = fact.data.as_ref()?;
    if dtype.is_float() {
        let value = |s: &Option<Scalar>| s.map(Scalar::as_f64);
        let values: Vec<f64> = data.iter().map(value).collect::<Option<_>>()?;
        return Tensor::from_f64s(dtype, dims, &values);
    }
    Tensor::from_i64s(dtype, dims, &fact.ints()?)
}
