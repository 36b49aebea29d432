//! The forms in which a chain of convolutions is written into the graph.
//!
//! A rank-`K` chain is `K` depthwise-separable convolutions summed. Runtimes differ in which
//! form of it they run fast (docs/latency.md has figures), so each form is a
//! [`Lowering`] in its own file, and all of them compute the same sum.

mod branches;
mod concat;
mod contract;
mod emitter;
mod fused;
mod padded;
mod padding;
mod tiled;
mod zeros;

pub use contract::Lowering;
pub use emitter::{Destination, Emitter, Part};

use padding::At;
use sepconv_factor::{Chain, Role};

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

#[cfg(test)]
mod tests;
