//! Another lowering, with the padding of filters made beforehand.

use sepconv_factor::Chain;

use super::contract::Lowering;
use super::emitter::Emitter;
use super::padding::{At, filters, windowed};

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
