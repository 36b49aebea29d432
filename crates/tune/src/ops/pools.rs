//! Pools over space.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{D, Error, Result, Tensor};
use sepconv_analysis::AutoPad;
use sepconv_ir::Operator;

use super::rule::{OpContext, Rule};
use crate::conv::{Runs, Window};
use crate::pool::Pool;

pub(super) fn rule(context: &OpContext<'_>) -> Option<Rule> {
    match context.op.op_type.as_str() {
        "MaxPool" if context.op.outputs.iter().flatten().count() == 1 => pool(context, Kind::Max),
        "AveragePool" => {
            let padding = context.op.int("count_include_pad", 0) != 0;
            pool(context, Kind::Average { padding })
        }
        "GlobalAveragePool" => context.unary(|x| globally(x, |flat| flat.mean_keepdim(D::Minus1))),
        "GlobalMaxPool" => context.unary(|x| globally(x, |flat| flat.max_keepdim(D::Minus1))),
        _ => None,
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Max,
    Average { padding: bool },
}

/// Spatial axes to one element each.
fn globally(x: &Tensor, f: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let mut dims = x.dims().to_vec();
    let flat = x.reshape((dims[0], dims[1], dims[2..].iter().product::<usize>()))?;
    dims[2..].fill(1);
    f(&flat)?.reshape(dims)
}

/// `MaxPool` (1 to 22), `AveragePool` (1 to 22).
fn pool(context: &OpContext<'_>, kind: Kind) -> Option<Rule> {
    let attributes = Attributes::read(context.op, context.rank(0)?.checked_sub(2)?)?;
    // Which elements of a partial window count is left to runtimes.
    if attributes.ceil && matches!(kind, Kind::Average { padding: true }) {
        return None;
    }
    let known: Mutex<HashMap<Vec<usize>, Pool>> = Mutex::default();
    context.unary(move |x| {
        let extents = x.dims()[2..].to_vec();
        let lock = || known.lock().unwrap_or_else(PoisonError::into_inner);
        let found = lock().get(&extents).cloned();
        let pool = match found {
            Some(pool) => pool,
            None => {
                let pool = attributes.over(&extents, kind);
                let pool = pool.ok_or_else(|| Error::Msg(format!("no window fits {extents:?}")))?;
                lock().insert(extents, pool.clone());
                pool
            }
        };
        pool.apply(x)
    })
}

struct Attributes {
    window: Window,
    auto: AutoPad,
    ceil: bool,
}

impl Attributes {
    fn read(op: &Operator, axes: usize) -> Option<Self> {
        let list = |name: &str, default: usize, n: usize| match op.ints(name) {
            None => Some(vec![default; n]),
            Some(v) if v.len() == n => v.iter().map(|i| usize::try_from(*i).ok()).collect(),
            Some(_) => None,
        };
        let pads = list("pads", 0, 2 * axes)?;
        let (begins, ends) = pads.split_at(axes);
        let window = Window {
            kernel: op
                .ints("kernel_shape")
                .and_then(|_| list("kernel_shape", 1, axes))?,
            strides: list("strides", 1, axes)?,
            dilations: list("dilations", 1, axes)?,
            begins: begins.to_vec(),
            ends: ends.to_vec(),
        };
        let positive = |v: &[usize]| v.iter().all(|n| *n > 0);
        let fine =
            positive(&window.kernel) && positive(&window.strides) && positive(&window.dilations);
        fine.then_some(Self {
            window,
            auto: AutoPad::parse(op.string("auto_pad").unwrap_or_default())?,
            ceil: op.int("ceil_mode", 0) != 0,
        })
    }

    fn over(&self, input: &[usize], kind: Kind) -> Option<Pool> {
        let mut window = self.window.clone();
        let mut beyond = vec![0; input.len()];
        for axis in 0..input.len() {
            let (stride, extent) = (window.strides[axis], input[axis]);
            let reach = (window.kernel[axis] - 1) * window.dilations[axis] + 1;
            match self.auto {
                AutoPad::NotSet => {}
                AutoPad::Valid => (window.begins[axis], window.ends[axis]) = (0, 0),
                AutoPad::SameUpper | AutoPad::SameLower => {
                    let last = extent.div_ceil(stride).checked_sub(1)?;
                    let total = (last * stride + reach).saturating_sub(extent);
                    let less = total / 2;
                    (window.begins[axis], window.ends[axis]) = match self.auto {
                        AutoPad::SameLower => (total - less, less),
                        _ => (less, total - less),
                    };
                }
            }
            if self.ceil && self.auto == AutoPad::NotSet {
                let padded = extent + window.begins[axis] + window.ends[axis];
                let steps = padded.checked_sub(reach)?.div_ceil(stride);
                // A last window counts unless it would start in the padding at the end.
                if steps * stride < extent + window.begins[axis] {
                    beyond[axis] = (steps * stride + reach).saturating_sub(padded);
                }
            }
        }
        let padded: Vec<usize> = (0..input.len())
            .map(|a| input[a] + window.begins[a] + window.ends[a])
            .collect();
        let inside = window.clone();
        window
            .ends
            .iter_mut()
            .zip(&beyond)
            .for_each(|(e, b)| *e += b);
        let runs = Runs::new(&window, input)?;
        let divisors = match kind {
            Kind::Max => None,
            Kind::Average { padding: true } => {
                let full = Window {
                    begins: vec![0; input.len()],
                    ends: vec![0; input.len()],
                    ..inside
                };
                Some(counts(&Runs::new(&full, &padded)?))
            }
            Kind::Average { padding: false } => Some(counts(&runs)),
        };
        Some(Pool {
            window,
            runs: Arc::new(runs),
            divisors: divisors.map(Arc::new),
            input: input.to_vec(),
        })
    }
}

/// Number of elements that each output element reads.
fn counts(runs: &Runs) -> Vec<f32> {
    let mut counts = vec![0f32; runs.outputs()];
    for run in &runs.runs {
        counts[run.output..][..run.count]
            .iter_mut()
            .for_each(|c| *c += 1.0);
    }
    counts.iter().map(|c| c.max(1.0)).collect()
}
