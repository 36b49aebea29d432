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

/// [`expanded`], where the runtime `on` computes it faster than the model in at least 95 of 100 rounds of `bench`, on
/// inputs of this seed. `None` too where it can't be timed there.
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
    let speed_up = run.and_then(|run| run.models.last().map(|m| m.speed_up.low));
    Ok(speed_up.is_some_and(|low| low > 1.0).then_some(expanded))
}
