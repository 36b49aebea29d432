//! Meets a budget.

use sepconv_passes::planners::{EnergyThreshold, UniformRank};
use sepconv_passes::{Candidate, Choice, Kept, Plan, Planner};

use crate::calibrate::{CalibrationSettings, calibrate, score};
use crate::compress::{Budget, Compressed, DataFree, Prepared, Settings};
use crate::error::Error;
use crate::judge::Judge;
use crate::loaded::Loaded;
use crate::planning::{Planning, Solution, Unit, seconds, timed};
use crate::progress::Progress;
use crate::search::search;

/// Tries that a bisection takes.
const TRIES: usize = 6;

/// Rewrites `model` so that it meets the settings' budget.
pub(crate) fn meet(
    model: &Loaded,
    prepared: &mut Prepared,
    settings: &Settings,
    progress: &dyn Progress,
) -> Result<Compressed, Error> {
    if let Some(calibration) = &settings.calibration {
        return meet_with(model, prepared, settings, Some(calibration), progress);
    }
    let pictures = without_data(prepared, settings);
    match meet_with(model, prepared, settings, pictures.as_ref(), progress) {
        // Nobody asked for a run: what a runtime can't run is decomposed by its weights.
        Err(Error::Target { .. })
            if pictures.is_some() && matches!(settings.data_free, DataFree::Auto(_)) =>
        {
            meet_with(model, prepared, settings, None, progress)
        }
        other => other,
    }
}

fn meet_with(
    model: &Loaded,
    prepared: &mut Prepared,
    settings: &Settings,
    calibration: Option<&CalibrationSettings>,
    progress: &dyn Progress,
) -> Result<Compressed, Error> {
    let mut planned = |unit, fraction| {
        let planning = Planning::new(model, prepared, settings, calibration, unit, progress)?;
        to_fraction(
            model,
            prepared,
            settings,
            calibration,
            (&planning, unit),
            fraction,
            progress,
        )
    };
    match (settings.budget, calibration) {
        (Budget::TargetMacs(f), _) => planned(Unit::Macs, f),
        (Budget::TargetParams(f), _) => planned(Unit::Params, f),
        (Budget::TargetSize(f), _) => planned(Unit::Size, f),
        (Budget::TargetLatency(f), _) => planned(Unit::Latency, f),
        (Budget::MaxDrop(_), None) if settings.eval.is_none() => Err(Error::Setting(
            "--max-drop needs data to measure on: --calib or --eval".into(),
        )),
        (Budget::MaxDrop(_), _) | (Budget::MinSnr(_), Some(_)) => {
            within(model, prepared, settings, calibration, progress)
        }
        (Budget::MinSnr(floor), None) => search(model, prepared, settings, floor, progress),
        (Budget::Rank(rank), _) => {
            let planner = UniformRank {
                rank,
                costlier: settings.costlier,
            };
            if calibration.is_none() && settings.latency.is_none() {
                return prepared.compress(&planner, settings, model.cost.macs);
            }
            let admissible = planner.admissible(&prepared.survey);
            let mut admissible = admissible.map_err(|e| failed(prepared, e))?;
            if settings.latency.is_some() {
                keep_paying(model, prepared, settings, &mut admissible, progress)?;
            }
            match calibration {
                Some(calibration) => fitted(prepared, &admissible, settings, calibration, progress),
                None => prepared.compress(&Closest(&admissible), settings, 0),
            }
        }
        (Budget::Energy(energy), _) => {
            let planner = EnergyThreshold {
                energy,
                costlier: settings.costlier,
            };
            let Some(calibration) = calibration else {
                return prepared.compress(&planner, settings, model.cost.macs);
            };
            let scores = score(prepared, settings, calibration, progress)?;
            for (layer, score) in prepared.survey.layers.iter_mut().zip(&scores) {
                if let Ok((_, candidates)) = &mut layer.site {
                    for (candidate, error) in candidates.iter_mut().zip(&score.errors) {
                        candidate.energy = (1.0 - error).clamp(0.0, 1.0);
                    }
                }
            }
            let plan = planner.plan(&prepared.survey, model.cost.macs);
            let plan = plan.map_err(|e| failed(prepared, e))?;
            let admissible: Vec<Vec<Candidate>> = plan
                .layers
                .iter()
                .map(|layer| match &layer.choice {
                    Choice::Separate(candidate) => vec![candidate.clone()],
                    Choice::Keep(_) => Vec::new(),
                })
                .collect();
            fitted(prepared, &admissible, settings, calibration, progress)
        }
    }
}

/// How the layers are fitted where there is no data; `None`: to the weights alone.
pub(crate) fn without_data(
    prepared: &Prepared,
    settings: &Settings,
) -> Option<CalibrationSettings> {
    let budget = !matches!(
        settings.budget,
        Budget::Energy(_) | Budget::MinSnr(_) | Budget::MaxDrop(_)
    );
    match &settings.data_free {
        DataFree::Weights => None,
        DataFree::Pictures(recipe) => {
            CalibrationSettings::pictures(prepared, settings.seed, recipe.clone())
        }
        // Whoever lets layers become dearer wants to see exactness.
        DataFree::Auto(recipe) if budget && !settings.costlier => {
            CalibrationSettings::pictures(prepared, settings.seed, recipe.clone())
                .filter(|c| c.is_cheap(prepared))
        }
        DataFree::Auto(_) => None,
    }
}

fn failed(prepared: &Prepared, source: sepconv_passes::PassError) -> Error {
    Error::Pass {
        file: prepared.folded.file(),
        source,
    }
}

/// Fits every layer to data with the best of its admissible candidates.
fn fitted(
    prepared: &Prepared,
    admissible: &[Vec<Candidate>],
    settings: &Settings,
    calibration: &CalibrationSettings,
    progress: &dyn Progress,
) -> Result<Compressed, Error> {
    let result = calibrate(prepared, admissible, settings, calibration, progress)?;
    Ok(Compressed {
        model: prepared.folded.with(result.document)?,
        plan: result.plan,
        applied: result.applied,
        folded: prepared.norms,
        fits: result.fits,
        calibration: Some(calibration.clone()),
        solution: None,
        spectra: std::collections::BTreeMap::new(),
    })
}

/// The model that a solution plans: fitted to data, or with weights of the data-free
/// decomposition.
pub(crate) fn realised(
    prepared: &Prepared,
    solution: Solution,
    settings: &Settings,
    calibration: Option<&CalibrationSettings>,
    progress: &dyn Progress,
) -> Result<Compressed, Error> {
    let compressed = match calibration {
        Some(calibration) => {
            let chosen = solution.chosen.iter();
            let admissible: Vec<Vec<Candidate>> =
                chosen.map(|c| c.iter().cloned().collect()).collect();
            fitted(prepared, &admissible, settings, calibration, progress)?
        }
        None => prepared.compress(&Solved(&solution), settings, 0)?,
    };
    Ok(Compressed {
        solution: Some(solution),
        ..compressed
    })
}

/// Leaves only candidates that are measured to be faster than the convolution, each in its
/// fastest lowering.
fn keep_paying(
    model: &Loaded,
    prepared: &Prepared,
    settings: &Settings,
    admissible: &mut [Vec<Candidate>],
    progress: &dyn Progress,
) -> Result<(), Error> {
    let layers = &prepared.survey.layers;
    let known = |layer: usize| layers[layer].site.as_ref().map_or(&[][..], |(_, c)| c);
    let wanted =
        |layer: usize, candidate: usize| admissible[layer].contains(&known(layer)[candidate]);
    let costs = timed(model, prepared, settings, &wanted, progress)?;
    for (layer, admissible) in admissible.iter_mut().enumerate() {
        let candidates = known(layer).iter().zip(&costs.candidates[layer]);
        let paying = candidates.filter_map(|(candidate, cost)| {
            let (_, lowering) = (*cost)?;
            Some(Candidate {
                lowering: lowering.map(str::to_owned),
                ..candidate.clone()
            })
        });
        *admissible = paying.collect();
    }
    Ok(())
}

/// The admissible candidates closest to their kernels, as a planner.
struct Closest<'a>(&'a [Vec<Candidate>]);

impl Planner for Closest<'_> {
    fn name(&self) -> &'static str {
        "closest"
    }

    fn plan(
        &self,
        survey: &sepconv_passes::Survey,
        _: u64,
    ) -> Result<Plan, sepconv_passes::PassError> {
        Ok(Plan::choosing(survey, |i, _| {
            let all = self.0.get(i).into_iter().flatten();
            let best = all.min_by(|a, b| a.weight_error.total_cmp(&b.weight_error));
            best.map_or(Choice::Keep(Kept::Planned), |c| Choice::Separate(c.clone()))
        }))
    }
}

/// A solution as a planner.
struct Solved<'a>(&'a Solution);

impl Planner for Solved<'_> {
    fn name(&self) -> &'static str {
        "budget"
    }

    fn plan(
        &self,
        survey: &sepconv_passes::Survey,
        _: u64,
    ) -> Result<Plan, sepconv_passes::PassError> {
        Ok(Plan::choosing(survey, |i, _| {
            let chosen = self.0.chosen.get(i).cloned().flatten();
            chosen.map_or(Choice::Keep(Kept::Planned), Choice::Separate)
        }))
    }
}

/// A model that costs at most `fraction` of the original. What is only estimated while
/// planning, time and bytes, is measured on the planned model with unfitted weights, and the
/// plan is tightened until it holds.
pub(crate) fn to_fraction(
    model: &Loaded,
    prepared: &Prepared,
    settings: &Settings,
    calibration: Option<&CalibrationSettings>,
    (planning, unit): (&Planning, Unit),
    fraction: f64,
    progress: &dyn Progress,
) -> Result<Compressed, Error> {
    let mut aim = fraction;
    let mut solution = planning.solve(aim).map_err(|e| failed(prepared, e))?;
    for _ in 0..TRIES {
        let measured = match (unit, settings.latency) {
            (Unit::Latency, Some(latency)) => {
                let trial = prepared.compress(&Solved(&solution), settings, 0)?;
                let models = [model, &trial.model];
                let times = seconds(&models, latency.target, latency.threads, settings.seed)?;
                times[1] / times[0]
            }
            (Unit::Size, _) => {
                let trial = prepared.compress(&Solved(&solution), settings, 0)?;
                let bytes = trial.model.document.encoded_size() as f64;
                bytes / model.document.encoded_size() as f64
            }
            _ => break,
        };
        if measured <= fraction {
            break;
        }
        aim *= (fraction / measured).min(0.99);
        solution = planning.solve(aim).map_err(|e| failed(prepared, e))?;
    }
    if solution.chosen.iter().all(Option::is_none) {
        return Err(Error::Nothing {
            file: model.file(),
            reason: "no rewrite pays within this budget".into(),
        });
    }
    realised(prepared, solution, settings, calibration, progress)
}

/// The cheapest model that is good enough, by bisection over the fraction that is kept. Each
/// try is planned, fitted and measured.
fn within(
    model: &Loaded,
    prepared: &mut Prepared,
    settings: &Settings,
    calibration: Option<&CalibrationSettings>,
    progress: &dyn Progress,
) -> Result<Compressed, Error> {
    let judge = Judge::new(model, settings, calibration, progress)?;
    // What the judge looks at must be held out of the fits.
    let calibration = calibration.map(|c| judge.spares(c));
    let calibration = calibration.as_ref();
    let unit = match settings.latency {
        Some(_) => Unit::Latency,
        None => Unit::Macs,
    };
    let planning = Planning::new(model, prepared, settings, calibration, unit, progress)?;
    let (mut low, mut high) = (planning.least(), 1.0);
    let mut best: Option<Compressed> = None;
    let mut closest = f64::INFINITY;
    for _ in 0..TRIES {
        let middle = (low.max(0.02) * high).sqrt();
        if high - middle < 0.01 {
            break;
        }
        let Ok(solution) = planning.solve(middle) else {
            low = middle;
            continue;
        };
        if solution.chosen.iter().all(Option::is_none) {
            break;
        }
        let reached = solution.fraction;
        let trial = realised(prepared, solution, settings, calibration, progress)?;
        let excess = judge.excess(&trial.model, progress)?;
        if excess <= 0.0 {
            best = Some(trial);
            high = reached.min(middle);
        } else {
            closest = closest.min(excess);
            low = middle;
        }
    }
    best.ok_or_else(|| Error::Nothing {
        file: model.file(),
        reason: if closest.is_finite() {
            format!("no plan that was tried keeps {judge}; the closest misses it by {closest:.2}")
        } else {
            "no rewrite pays".into()
        },
    })
}
