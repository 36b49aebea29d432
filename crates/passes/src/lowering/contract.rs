//! The contract of a lowering.

use sepconv_factor::{Chain, Role};

use super::emitter::Emitter;

/// Writes a chain into the graph.
pub trait Lowering: Send + Sync {
    /// Name, as in `--lowering`.
    fn name(&self) -> &'static str;

    /// Checks that it can write this chain.
    ///
    /// # Errors
    /// A short phrase that says why not.
    fn applies(&self, chain: &Chain) -> Result<(), &'static str>;

    /// True where the padding of filters is made by operators of its own: worth a try on runtimes
    /// that pad slowly.
    fn pads_apart(&self) -> bool {
        false
    }

    /// True where stages in front of the window compute a rim of zeros too, which takes MACs: their
    /// input is larger by the convolution's padding.
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

/// Roles of a two-stage depthwise-separable chain.
pub(super) fn separable(chain: &Chain) -> Option<(Role, Role)> {
    match chain.stages.as_slice() {
        [a, b] => Some((a.shape.role, b.shape.role)),
        _ => None,
    }
}

/// DW->PW, the form whose depthwise outputs can be concatenated: needs an ungrouped
/// pointwise convolution, or channels of one group would not lie together.
pub(super) fn concatenable(chain: &Chain) -> Result<(), &'static str> {
    if separable(chain) != Some((Role::Depthwise, Role::Pointwise)) {
        return Err("only for DW->PW");
    }
    if chain.stages[1].shape.kernel.groups > 1 && chain.rank > 1 {
        return Err("only for ungrouped convolutions");
    }
    Ok(())
}
