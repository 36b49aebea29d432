//! The pipeline in memory: inline, fold, survey, collect, cost and sensitivity, search, tune,
//! apply, verify.
//!
//! [`run`] names the steps in their order. Each is logged with its time and the memory that the
//! process has held (`tracing`, level `DEBUG`, target `sepconv::pipeline`).

use std::borrow::Cow;

use sepconv_calibrate::Hurried;
use sepconv_model::{Error, Loaded, Progress, step};
use sepconv_passes::PassError;

use crate::compressed::Compressed;
use crate::job::Job;
use crate::precision::decided;
use crate::prepared::{Prepared, fold_model, survey_model};
use crate::quantizing;
use crate::replay::replay;
use crate::search::decide;
use crate::settings::Settings;
use crate::spectra::spectra;
use crate::tuning::tune;

/// Rewrites a model in memory: by [`Settings::plan`] where there is one, else as planned here.
///
/// # Errors
/// [`Error::Pass`] where settings are out of range, a glob matches nothing or a budget can't
/// be met; [`Error::AllKept`] where no layer would be rewritten, unless none was selected,
/// [`Error::Nothing`] where no plan is better than the model; as
/// [`crate::tune`] where the result is tuned.
pub fn compress(
    model: &Loaded,
    settings: &Settings,
    progress: &dyn Progress,
) -> Result<Compressed, Error> {
    let (job, _) = begun(model, settings, progress)?;
    run(&job)
}

/// A job with its functions inlined, on a runtime that loads the model, with its activations and its precision decided; and the reason for
/// floats where eight bits were in question.
///
/// # Errors
/// As [`Job::new`], [`Job::with_activations`] and [`decided`].
pub(crate) fn begun<'a>(
    model: &'a Loaded,
    settings: &Settings,
    progress: &'a dyn Progress,
) -> Result<(Job<'a>, Option<String>), Error> {
    let job = step("inline", || Job::new(model, settings, progress))?;
    let job = step("load", || Ok::<_, Error>(job.on_capable_target()))?;
    let job = step("activations", || job.with_activations())?;
    step("precision", || decided(job))
}

/// Runs the pipeline for a job, whose functions are inlined and whose settings are resolved.
pub(crate) fn run(job: &Job<'_>) -> Result<Compressed, Error> {
    job.check_data()?;
    quantizing::check(job)?;
    let folded = step("fold", || fold_model(job))?;
    let mut prepared = step("survey", || survey_model(job, folded))?;
    if job.settings.plan.is_none() && prepared.none_selected() {
        let untouched = prepared.untouched(job);
        return step("apply", || apply(job, &prepared, untouched));
    }
    if job.settings.plan.is_none() && job.settings.families.is_none() {
        let none = job.nothing("there is no family to rewrite layers by");
        let unwritten = prepared.unwritten_for(none, job)?;
        let applied = step("apply", || apply(job, &prepared, unwritten))?;
        return with_activations(job, applied);
    }
    // Before a budget thins out the candidates.
    let spectra = spectra(&prepared.surveyed.survey);
    let mut decided = match &job.settings.plan {
        Some(plan) => step("replay", || replay(job, &prepared, plan))?,
        // Collect, cost and sensitivity, search.
        None => match decide(job, &mut prepared).map_err(|e| reasoned(&prepared, e)) {
            // A quantiser needs no layer that can be rewritten.
            Err(error @ Error::AllKept { .. }) if job.settings.is_in_eight_bits() => {
                prepared.unwritten_for(error, job)?
            }
            // Eight bits are held to the bound by a search alone.
            Err(error) if job.settings.budget.is_judged() && !job.settings.is_in_eight_bits() => {
                prepared.unwritten_for(error, job)?
            }
            other => other?,
        },
    };
    for layer in &mut decided.layers {
        layer.spectrum = spectra.get(&layer.name).cloned().unwrap_or_default();
    }
    let applied = step("apply", || apply(job, &prepared, decided))?;
    let tuned = match &job.settings.tune {
        Some(how) if applied.is_rewritten() => step("tune", || {
            let (target, progress) = (job.settings.target, job.progress);
            let mut how = how.clone();
            how.train.until = job.settings.deadline.and_then(|deadline| deadline.at(1.0));
            let (model, tuning) = tune(&job.model, &applied.model, target, &how, progress)?;
            let hurried = Hurried {
                epochs: tuning.left_out,
                ..applied.hurried
            };
            Ok(Compressed {
                tuning: Some(tuning),
                hurried,
                ..applied.with_model(model)
            })
        })?,
        _ => applied,
    };
    let written = with_activations(job, tuned)?;
    step("verify", || verify(job, written))
}

/// The result with its activations as they are written; those of a model in eight bits are written where it is made.
fn with_activations(job: &Job<'_>, made: Compressed) -> Result<Compressed, Error> {
    if job.settings.is_in_eight_bits() {
        return Ok(made);
    }
    match job.written(&made.model)? {
        Cow::Owned(model) => Ok(made.with_model(model)),
        Cow::Borrowed(_) => Ok(made),
    }
}

/// Rewrites the layers of subgraphs and functions, whose records follow those of the main graph.
fn apply(job: &Job<'_>, prepared: &Prepared, made: Compressed) -> Result<Compressed, Error> {
    let bodies = &prepared.bodies;
    let inner = match &job.settings.plan {
        Some(plan) => bodies.split(plan.plan()).inner,
        None => bodies.plan(&job.settings).map_err(|e| prepared.failed(e))?,
    };
    let applied = bodies.rewrite(&job.model, made, inner, job.settings.lowering)?;
    Ok(Compressed {
        dropped: prepared.surveyed.dropped(),
        hurried: prepared.surveyed.hurried(),
        ..applied
    })
}

/// Refuses a result of which no layer is rewritten, unless none was selected, and a graph that is
/// not consistent.
fn verify(job: &Job<'_>, made: Compressed) -> Result<Compressed, Error> {
    let rewritten = made.is_rewritten() || job.may_rewrite_no_layer();
    if job.settings.plan.is_none() && !rewritten {
        let kept = made.layers.iter().filter_map(|l| l.choice.kept());
        return Err(Error::AllKept {
            file: job.model.file(),
            reasons: kept.collect(),
        });
    }
    let graph = &made.model.document.model.graph;
    graph.verify().map_err(|e| Error::Pass {
        file: job.model.file(),
        source: PassError::of("verify")(e),
    })?;
    Ok(made)
}

/// An error of a budget with the reasons why layers stay, those in subgraphs and functions too.
fn reasoned(prepared: &Prepared, error: Error) -> Error {
    match error {
        Error::Pass {
            source: PassError::NothingToDo(_),
            ..
        } => prepared.all_kept(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;
    use std::sync::Arc;

    use sepconv_analysis::Pins;
    use sepconv_data::Preprocess;
    use sepconv_ir::{DType, Tensor};
    use sepconv_model::DataSource;
    use sepconv_passes::Selection;
    use sepconv_spec::{CalibrationSettings, PrecisionChoice, Source};

    use super::*;
    use crate::planned::plan_of;
    use crate::settings::Budget;
    use crate::tuning::TuneSettings;

    /// Pictures of stripes.
    fn stripes(count: usize) -> DataSource {
        let bytes: Vec<u8> = (0..count * 1024)
            .map(|i| (i % 32 * (i / 1024 + 3) + i / 32 % 32 * 5) as u8)
            .collect();
        let pictures = Tensor::new(DType::U8, vec![count, 1, 32, 32], bytes.into()).unwrap();
        DataSource {
            preprocess: Preprocess {
                scale: 1.0 / 255.0,
                ..Preprocess::default()
            },
            ..DataSource::memory(vec![pictures])
        }
    }

    fn digits() -> Loaded {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/digits.onnx");
        Loaded::open(&path, &Pins::default()).unwrap()
    }

    /// One layer of the digits, fitted to a few pictures.
    fn one_layer() -> Settings {
        Settings {
            selection: Selection::new(&["stage1/block0/conv1"], &[]).unwrap(),
            calibration: Some(CalibrationSettings {
                positions: 200,
                cache: None,
                ..CalibrationSettings::new(stripes(12))
            }),
            ..Settings::default()
        }
    }

    #[test]
    fn the_model_that_was_judged_in_eight_bits_is_kept_until_its_weights_change() {
        let model = digits();
        let settings = Settings {
            budget: Budget::MinSnr(6.0),
            precision: PrecisionChoice::Int8,
            ..one_layer()
        };
        let judged = run(&Job::new(&model, &settings, &()).unwrap()).unwrap();
        assert!(judged.is_rewritten() && judged.quantized.is_some());
        let mut how = TuneSettings::new(Source::Data(stripes(12)));
        how.train.epochs = 1;
        let tuned = Settings {
            tune: Some(how),
            ..settings
        };
        let tuned = run(&Job::new(&model, &tuned, &()).unwrap()).unwrap();
        assert!(tuned.tuning.is_some() && tuned.quantized.is_none());
    }

    #[test]
    fn faster_activations_are_a_result_where_no_plan_keeps_a_bound() {
        let model = digits();
        let settings = Settings {
            budget: Budget::MinSnr(300.0),
            ..one_layer()
        };
        let mut job = Job::new(&model, &settings, &()).unwrap();
        let refused = run(&job).unwrap_err().to_string();
        job.expanded = true;
        let made = run(&job).unwrap();
        assert!(!made.is_rewritten());
        let reason = made.unrewritten.unwrap();
        assert!(
            refused.contains(&reason) && !made.tries.is_empty(),
            "{refused}"
        );
        // MACs are not saved by them.
        for (budget, result) in [
            (Budget::MinSnr(300.0), true),
            (Budget::TargetLatency(0.5), true),
            (Budget::TargetMacs(0.5), false),
        ] {
            job.settings.budget = budget;
            assert_eq!(job.may_rewrite_no_layer(), result);
        }
    }

    #[test]
    fn a_plan_with_activations_that_are_not_there_is_refused() {
        let model = digits();
        let made = run(&Job::new(&model, &one_layer(), &()).unwrap()).unwrap();
        let mut plan = plan_of(&model, &made, &one_layer());
        plan.expanded = true;
        let settings = Settings {
            plan: Some(Arc::new(plan)),
            ..one_layer()
        };
        let error = begun(&model, &settings, &()).err().unwrap().to_string();
        assert!(error.contains("no PRelu"), "{error}");
    }
}
