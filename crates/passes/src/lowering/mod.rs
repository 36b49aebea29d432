//! How a chain of convolutions is written into the graph.
//!
//! A rank-`K` chain is `K` depthwise-separable convolutions summed. Runtimes differ in which
//! form of it they run fast (docs/latency.md has figures), so each form is a
//! [`Lowering`] in its own file, and all of them compute the same sum.

mod branches;
mod concat;
mod emitter;
mod fused;
mod padded;
mod tiled;

pub use emitter::{Emitter, Part, Place};

use padded::At;
use sepconv_factor::{Chain, Role};

/// Writes a chain into the graph.
pub trait Lowering: Send + Sync {
    /// Name, as in `--lowering`.
    fn name(&self) -> &'static str;

    /// Whether it can write this chain.
    ///
    /// # Errors
    /// A short phrase that says why not.
    fn applies(&self, chain: &Chain) -> Result<(), &'static str>;

    /// Whether the padding of filters is made by operators of its own: worth a try on runtimes
    /// that pad slowly.
    fn pads_apart(&self) -> bool {
        false
    }

    /// Whether stages in front of the window compute a rim of zeros too, which takes MACs: their
    /// input is larger by what the convolution pads.
    fn computes_rim(&self) -> bool {
        false
    }

    /// The least ONNX opset that has its operators.
    fn opset(&self) -> i64 {
        1
    }

    /// Adds the operators of a chain that it applies to. The last one takes over the output
    /// of the convolution.
    fn emit(&self, chain: &Chain, emitter: &mut Emitter<'_>);
}

/// All lowerings, in the order in which `auto` prefers them: branches are the fastest or
/// close to it on ONNX Runtime and OpenVINO, a fused multiplier is the slowest everywhere. Those
/// that pad apart come last: `auto` never takes them.
pub fn lowerings() -> &'static [&'static dyn Lowering] {
    &[
        &branches::Branches,
        &concat::Concat,
        &tiled::Tiled,
        &fused::Fused,
        &padded::Padded {
            name: "branches-padded",
            inner: &branches::Branches,
            at: At::Filters,
        },
        &padded::Padded {
            name: "tiled-padded",
            inner: &tiled::Tiled,
            at: At::Input(None),
        },
        &padded::Padded {
            name: "fused-padded",
            inner: &fused::Fused,
            at: At::Filters,
        },
        &padded::Padded {
            name: "branches-input-padded",
            inner: &branches::Branches,
            at: At::Input(Some(Role::Pointwise)),
        },
        &padded::Padded {
            name: "fused-input-padded",
            inner: &fused::Fused,
            at: At::Input(Some(Role::Pointwise)),
        },
    ]
}

/// The lowering of that name.
pub fn lowering(name: &str) -> Option<&'static dyn Lowering> {
    lowerings().iter().find(|l| l.name() == name).copied()
}

/// The lowering that writes `chain`: the wanted one, or the first of [`lowerings`] that
/// applies.
pub fn choose(wanted: Option<&'static dyn Lowering>, chain: &Chain) -> &'static dyn Lowering {
    wanted
        .into_iter()
        .chain(lowerings().iter().copied())
        .find(|l| l.applies(chain).is_ok())
        .unwrap_or(&fused::Fused)
}

/// Roles of a two-stage depthwise-separable chain.
fn separable(chain: &Chain) -> Option<(Role, Role)> {
    match chain.stages.as_slice() {
        [a, b] => Some((a.shape.role, b.shape.role)),
        _ => None,
    }
}

/// DW->PW, the form whose depthwise outputs can be concatenated: needs an ungrouped
/// pointwise convolution, or channels of one group would not lie together.
fn concatenable(chain: &Chain) -> Result<(), &'static str> {
    if separable(chain) != Some((Role::Depthwise, Role::Pointwise)) {
        return Err("only for DW->PW");
    }
    if chain.stages[1].shape.kernel.groups > 1 && chain.rank > 1 {
        return Err("only for ungrouped convolutions");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
