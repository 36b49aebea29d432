//! Sums and means over axes.

use candle_core::Tensor;

use super::rule::{OpContext, Rule};

/// `ReduceMean` (1 to 18), `ReduceSum` (1 to 13).
pub(super) fn rule(context: &OpContext<'_>) -> Option<Rule> {
    let mean = match context.op.op_type.as_str() {
        "ReduceMean" => true,
        "ReduceSum" => false,
        _ => return None,
    };
    let rank = context.rank(0)?;
    let axes = context.ints("axes", 1)?;
    let axes: Vec<usize> = axes
        .iter()
        .map(|a| context.axis(*a, rank))
        .collect::<Option<_>>()?;
    if axes.is_empty() {
        return None;
    }
    let keeps = context.op.int("keepdims", 1) != 0;
    context.unary(move |x: &Tensor| {
        let sum = if keeps {
            x.sum_keepdim(axes.as_slice())?
        } else {
            x.sum(axes.as_slice())?
        };
        let count: usize = axes.iter().map(|a| x.dims()[*a]).product();
        if mean { sum / count as f64 } else { Ok(sum) }
    })
}
