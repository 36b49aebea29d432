//! Activations written in operators that a runtime computes faster.

use sepconv_eval::LatencyTarget;
use sepconv_latency::Bench;
use sepconv_model::{Error, Loaded, Progress};
use sepconv_passes::{Context, ExpandPRelu, PassError, run};

/// A model with its `PRelu`s as [`ExpandPRelu`] writes them; `None` where it has none that can be.
///
/// # Errors
/// [`Error::Pass`] of the pass.
pub fn expanded(model: &Loaded) -> Result<Option<Loaded>, Error> {
    if !model.graph().operators().any(|(_, op)| op.is("PRelu")) {
        return Ok(None);
    }
    let failed = |source: PassError| Error::Pass {
        file: model.file(),
        source,
    };
    let mut document = model.document.clone();
    let opset = document.model.opset();
    let graph = &mut document.model.graph;
    let outcomes = run(&[&ExpandPRelu { opset }], graph, &Context::default());
    match outcomes
        .map_err(failed)?
        .iter()
        .any(|o| !o.changed.is_empty())
    {
        true => model.with(document).map(Some),
        false => Ok(None),
    }
}

/// Times that a model is faster with its activations in simpler operators, at least.
const PAYS: f64 = 1.02;

/// [`expanded`], where the runtime `on` computes it faster than the model on inputs of this seed: by the median of the rounds
/// of `bench`, and by the fastest runs, which a busy machine leaves alone. `None` too where it can't be timed there.
///
/// # Errors
/// As [`expanded`]; [`Error::Cancelled`].
pub fn expanded_if_faster(
    model: &Loaded,
    on: LatencyTarget,
    bench: Bench,
    seed: u64,
    progress: &dyn Progress,
) -> Result<Option<Loaded>, Error> {
    let Some(expanded) = expanded(model)? else {
        return Ok(None);
    };
    let run = match on.time(&[model, &expanded], bench, seed, progress) {
        Err(Error::Cancelled) => return Err(Error::Cancelled),
        other => other.ok(),
    };
    let is_faster = run.is_some_and(|run| match run.models.as_slice() {
        [before, after] => {
            after.speed_up.median > 1.0 && before.timing.min > PAYS * after.timing.min
        }
        _ => false,
    });
    Ok(is_faster.then_some(expanded))
}
