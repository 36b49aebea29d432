//! Another lowering, with the padding of filters made beforehand.

use sepconv_analysis::{AutoPad, ConvAttributes};
use sepconv_factor::{Chain, Role, StageShape};
use sepconv_ir::{AttributeValue, PatchValue, Tensor};

use super::Lowering;
use super::emitter::{Emitter, Place};

/// Convolutions read a map with its zeros around it, and pad no more: tract takes up to twice as
/// long where they pad for themselves.
///
/// The zeros are `ConstantOfShape`s (ONNX opset 9 and later) of the extents that `Shape` gives, so
/// that batch and extents stay free; where they are fixed runtimes compute them beforehand.
pub(super) struct Padded {
    pub name: &'static str,
    pub inner: &'static dyn Lowering,
    pub at: At,
}

/// Where the zeros come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    /// In front of every depthwise or spatial convolution; dense ones stay as they are.
    Filters,
    /// In front of the chain, whose stages make zeros of zeros but for the last, which has the bias
    /// (and no window behind it): once for all branches and copies of the input, at the price
    /// of the rim that a pointwise convolution in front computes too. That also parts channels
    /// whose maps are a power of two: at 32x32, products of tract take half as long. For chains
    /// that begin with the role, if any: others pad their input at the filter as well.
    Input(Option<Role>),
}

impl Lowering for Padded {
    fn name(&self) -> &'static str {
        self.name
    }

    fn applies(&self, chain: &Chain) -> Result<(), &'static str> {
        let mut stages = chain.stages.iter().map(|stage| &stage.shape);
        let first = stages.clone().next().map(|stage| stage.role);
        match self.at {
            At::Filters if !stages.any(filters) => Err("only for depthwise or spatial filters"),
            At::Input(Some(role)) if first != Some(role) => Err("only behind a pointwise stage"),
            At::Input(_) if !stages.any(windowed) => Err("only for filters"),
            _ => self.inner.applies(chain),
        }
    }

    fn pads_apart(&self) -> bool {
        true
    }

    fn computes_rim(&self) -> bool {
        matches!(self.at, At::Input(Some(_)))
    }

    fn opset(&self) -> i64 {
        9
    }

    fn emit(&self, chain: &Chain, emitter: &mut Emitter<'_>) {
        emitter.pad_apart(self.at);
        self.inner.emit(chain, emitter);
    }
}

/// Whether a stage is one whose padding is made beforehand.
fn filters(stage: &StageShape) -> bool {
    matches!(stage.role, Role::Depthwise | Role::Spatial) && windowed(stage)
}

fn windowed(stage: &StageShape) -> bool {
    stage.kernel.spatial.iter().any(|k| *k > 1)
}

/// Maps that were padded, with how and what became of them.
pub(super) type Made = Vec<(PatchValue, Vec<(u64, u64)>, PatchValue)>;

/// What a stage's axes are padded by; `None` where it is not padded beforehand.
pub(super) fn pads(stage: &StageShape, a: &ConvAttributes) -> Option<Vec<(u64, u64)>> {
    let all = fixed(a).filter(|_| filters(stage))?;
    let own = all.into_iter().zip(&stage.axes);
    let own: Vec<(u64, u64)> = own.map(|(p, c)| if *c { p } else { (0, 0) }).collect();
    some(own)
}

/// Pads of which some are not 0.
fn some(pads: Vec<(u64, u64)>) -> Option<Vec<(u64, u64)>> {
    pads.iter().any(|p| *p != (0, 0)).then_some(pads)
}

/// What a convolution pads each axis by, whatever its extent.
fn fixed(a: &ConvAttributes) -> Option<Vec<(u64, u64)>> {
    let same = matches!(a.auto_pad, AutoPad::SameUpper | AutoPad::SameLower);
    // What `SAME_*` pads at a stride depends on the extents.
    if a.transposed || same && a.strides.iter().any(|s| *s != 1) {
        return None;
    }
    let all = a.explicit_pads(&vec![1; a.axes()])?;
    let (begins, ends) = all.split_at(a.axes());
    Some(begins.iter().copied().zip(ends.iter().copied()).collect())
}

impl Emitter<'_> {
    /// From now on what is padded is padded beforehand.
    fn pad_apart(&mut self, at: At) {
        self.apart = Some(At::Filters);
        if at == At::Filters {
            return;
        }
        let pads = fixed(&self.site.attributes).and_then(some);
        if let (Some(pads), Some(x)) = (pads, self.input()) {
            let padded = self.padded("input", x, &pads);
            (self.input, self.apart) = (padded, Some(at));
        }
    }

    /// `x` with zeros around it, as `<layer>/<name>/pad...`; `x` that was padded so before is not
    /// padded again.
    pub(super) fn padded(
        &mut self,
        name: &str,
        x: PatchValue,
        pads: &[(u64, u64)],
    ) -> Option<PatchValue> {
        let known = self.made.iter().find(|(of, by, _)| *of == x && by == pads);
        if let Some((_, _, made)) = known {
            return Some(*made);
        }
        let shape = self.operator(
            &format!("{name}/shape"),
            "Shape",
            None,
            vec![Some(x)],
            Place::Inner,
        )?;
        let mut grown = vec![0; pads.len() + 2];
        let mut padded = x;
        // Rows first, while there are fewest of them.
        for (axis, (begin, end)) in pads.iter().enumerate().rev() {
            let axis = axis + 2;
            let mut zeros = |side: &str, count: u64| {
                let name = format!("{name}/pad{axis}{side}");
                let made = (count > 0).then(|| self.zeros(&name, shape, &grown, (axis, count)));
                made.flatten()
            };
            let before = zeros("", *begin);
            let after = match end == begin {
                true => before,
                false => zeros("_end", *end),
            };
            let parts = [before, Some(padded), after].into_iter().flatten();
            let parts: Vec<_> = parts.map(Some).collect();
            if parts.len() > 1 {
                let along = Some(("axis", AttributeValue::Int(axis as i64)));
                let name = format!("{name}/padded{axis}");
                padded = self.operator(&name, "Concat", along, parts, Place::Inner)?;
                grown[axis] += (begin + end) as i64;
            }
        }
        self.made.push((x, pads.to_vec(), padded));
        Some(padded)
    }

    /// Zeros of the extents `shape + grown`, but for `axis`, which has `count`.
    fn zeros(
        &mut self,
        name: &str,
        shape: PatchValue,
        grown: &[i64],
        (axis, count): (usize, u64),
    ) -> Option<PatchValue> {
        let mut keep = vec![1; grown.len()];
        let mut add = grown.to_vec();
        (keep[axis], add[axis]) = (0, count as i64);
        let keep = self.integers(&format!("{name}/keep"), &keep);
        let add = self.integers(&format!("{name}/add"), &add);
        let inner = |e: &mut Self, suffix: &str, op: &str, attribute, inputs| {
            e.operator(
                &format!("{name}/{suffix}"),
                op,
                attribute,
                inputs,
                Place::Inner,
            )
        };
        let kept = inner(self, "kept", "Mul", None, vec![Some(shape), Some(keep)]);
        let extents = inner(self, "extents", "Add", None, vec![kept, Some(add)]);
        let zero = Tensor::from_floats(self.dtype(), vec![1], vec![0.0])?;
        let zero = Some(("value", AttributeValue::Tensor(zero)));
        inner(self, "zeros", "ConstantOfShape", zero, vec![extents])
    }
}
