//! The largest saving that keeps outputs within a signal-to-noise ratio.

use sepconv_data::SyntheticKind;
use sepconv_passes::planners::MacBudget;
use sepconv_passes::{Candidate, Survey};

use crate::compress::Compressed;
use crate::error::Error;
use crate::loaded::Loaded;
use crate::prepared::Prepared;
use crate::progress::{Progress, Stage};
use crate::reference::{Reference, synthetic_runs};
use crate::settings::Settings;

/// Bisections of the budget: the result is within 1/2^7 of the range of the best.
const ROUNDS: usize = 7;

/// Input ranges that models are made for; the worst of them counts.
const KINDS: [SyntheticKind; 3] = [
    SyntheticKind::Normal,
    SyntheticKind::Unit,
    SyntheticKind::Byte,
];

/// Bisects the MAC budget for the smallest whose outputs stay within `floor` dB of the
/// original on seeded synthetic inputs. The signal is what varies between samples (an output
/// that is mostly constant would flatter any rewrite), over three input ranges (normalised,
/// 0..1 and 0..255), the worst of which counts.
pub(crate) fn search(
    model: &Loaded,
    prepared: &Prepared,
    settings: &Settings,
    floor: f64,
    progress: &dyn Progress,
) -> Result<Compressed, Error> {
    let nothing = |reason: String| Error::Nothing {
        file: model.file(),
        reason,
    };
    let least = least_fraction(&prepared.survey, model.cost.macs)
        .ok_or_else(|| nothing(format!("no convolution qualifies: {}", prepared.reasons())))?;
    let references = references(model, settings, progress).map_err(|e| match e {
        Error::Target { source, .. } => nothing(format!(
            "its outputs can't be checked ({source}); give a budget (--rank, --energy or \
             --target-macs) to compress it unchecked"
        )),
        other => other,
    })?;
    let mut best: Option<Compressed> = None;
    let mut closest = f64::NEG_INFINITY;
    let (mut low, mut high) = (least, 1.0);
    let stage = Stage::begin(progress, "searching", ROUNDS);
    for round in 0..ROUNDS {
        stage.step(round)?;
        // The first trial is a small saving: many models offer no more without data.
        let keep = if round == 0 {
            0.75 * high + 0.25 * low
        } else {
            0.5 * (low + high)
        };
        let trial = prepared.by(&MacBudget { keep }, settings, model.cost.macs)?;
        let snr = worst_snr(&trial.model, settings, &references, progress)?;
        closest = closest.max(snr);
        if snr >= floor && !trial.applied.is_empty() {
            high = keep;
            best = Some(trial);
        } else {
            low = keep;
        }
    }
    best.ok_or_else(|| {
        nothing(format!(
            "no saving keeps the outputs within {floor} dB of the original without data \
             (the closest try reached {closest:.1} dB); calibration data would allow far more, \
             or choose a budget (--rank, --energy, --target-macs) or a lower --min-snr"
        ))
    })
}

/// The smallest fraction of the MACs that any plan reaches; `None` where none saves.
fn least_fraction(survey: &Survey, total: u64) -> Option<f64> {
    let saving = survey
        .sites()
        .filter(|(site, _)| site.macs.is_some())
        .filter_map(|(_, candidates)| {
            let cheapest = candidates.iter().min_by_key(|c| c.macs)?;
            Candidate::saves(cheapest).then(|| cheapest.macs_before - cheapest.macs)
        });
    let saved: u64 = saving.sum();
    (saved > 0 && total > 0).then(|| 1.0 - saved as f64 / total as f64)
}

fn references(
    model: &Loaded,
    settings: &Settings,
    progress: &dyn Progress,
) -> Result<Vec<Reference>, Error> {
    let runs = synthetic_runs(model.cost.macs, 2);
    let references = KINDS.iter();
    let references = references.map(|k| Reference::random(model, settings, runs, *k, progress));
    references.collect()
}

fn worst_snr(
    trial: &Loaded,
    settings: &Settings,
    references: &[Reference],
    progress: &dyn Progress,
) -> Result<f64, Error> {
    let mut worst = f64::INFINITY;
    for r in references {
        let compared = r.compare(trial, settings, progress)?;
        worst = worst.min(compared.strictest_snr().unwrap_or(f64::NEG_INFINITY));
    }
    Ok(worst)
}
