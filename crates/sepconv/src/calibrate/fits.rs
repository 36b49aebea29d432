//! The candidates of one layer, fitted.

use sepconv_factor::{
    Calibration, Chain, FactorError, Fit, FitOptions, Kernel, Observed, PostActivation,
    SplitStatistics,
};
use sepconv_passes::{Candidate, Families, Site};

use super::CalibrationSettings;
use super::collector::Seen;
use crate::loaded::Loaded;
use crate::progress::Progress;

/// What is left on the positions held out, where there are any.
pub(super) fn held_out(fit: &Fit) -> f64 {
    fit.error_held_out.unwrap_or(fit.error_fit)
}

/// What fits of a layer to outputs that are multiplied by factors, where there are any, start from.
pub(super) fn calibrated<'a>(
    model: &Loaded,
    site: &Site,
    (statistics, factors): (&'a SplitStatistics, Option<&[f64]>),
    settings: &CalibrationSettings,
) -> Result<Calibration<'a>, FactorError> {
    let kernel = kernel(model, site, factors)?;
    Calibration::new(&kernel, statistics, settings.fit)
}

/// A fit of every candidate; of some, where the work is cancelled. One that fails leaves the
/// others. Of one family at a time: its fitter and its fits are dropped before the next.
pub(super) fn fits<'a>(
    calibration: &'a Calibration<'a>,
    candidates: &'a [Candidate],
    families: &'a Families,
    progress: &'a dyn Progress,
) -> impl Iterator<Item = Result<Fit, FactorError>> + 'a {
    let own = candidates.chunk_by(|a, b| a.family == b.family);
    own.filter_map(|own| Some((families.find(&own[0].family)?, own)))
        .flat_map(move |(family, own)| {
            let left = own.iter().take_while(|_| !progress.cancelled());
            let fits: Vec<_> = match family.fitter(calibration) {
                Ok(fitter) => left.map(|c| fitter.fit(c.rank)).collect(),
                Err(error) => left.map(|_| Err(error.clone())).collect(),
            };
            fits
        })
}

fn kernel(model: &Loaded, site: &Site, factors: Option<&[f64]>) -> Result<Kernel, FactorError> {
    let weights = site.weights(model.graph());
    let weights = weights.map_err(|_| FactorError::Shape("the weight is gone"))?;
    factors.map_or(Ok(weights.clone()), |f| weights.with_outputs_scaled(f))
}

/// A chain that was fitted to outputs times `factors`, for the outputs as they are.
pub(super) fn as_they_were(chain: &mut Chain, factors: &[f64]) {
    let inverse: Vec<f64> = factors.iter().map(|f| 1.0 / f).collect();
    chain.scale_outputs(&inverse);
}

/// Of the candidates that leave least on the positions held out, so many are improved by what
/// passes the activation behind them before one is taken.
const CONTENDERS: usize = 2;

/// The best candidate by what it leaves on the positions held out, behind the activation
/// where there is one, fitted as well as can be.
pub(super) fn best_fit(
    model: &Loaded,
    site: &Site,
    candidates: &[Candidate],
    seen: &Seen,
    how: (&Families, &CalibrationSettings),
) -> Result<Option<(Candidate, Fit)>, FactorError> {
    let mut best = scaled_fit(model, site, candidates, seen, how)?;
    if let (Some((_, fit)), Some(factors)) = (&mut best, &seen.factors) {
        as_they_were(&mut fit.chain, factors);
    }
    Ok(best)
}

fn scaled_fit(
    model: &Loaded,
    site: &Site,
    candidates: &[Candidate],
    seen: &Seen,
    (families, settings): (&Families, &CalibrationSettings),
) -> Result<Option<(Candidate, Fit)>, FactorError> {
    if candidates.is_empty() {
        return Ok(None);
    }
    let (statistics, factors) = (&seen.statistics, seen.factors.as_deref());
    let behind = seen
        .behind
        .as_ref()
        .map(|(activation, positions)| PostActivation {
            activation: *activation,
            positions,
            whole: settings.refit,
        });
    let how = (families, settings);
    let most = if behind.is_some() { CONTENDERS } else { 1 };
    let mut contenders: Vec<(f64, &Candidate, Fit)> = Vec::new();
    let mut failed = None;
    let calibration = calibrated(model, site, (statistics, factors), settings)?;
    let fits = fits(&calibration, candidates, families, &());
    for (candidate, fit) in candidates.iter().zip(fits) {
        let fit = match fit {
            Ok(fit) => fit,
            Err(error) => {
                failed = Some(error);
                continue;
            }
        };
        let error = match &behind {
            Some(behind) => behind.error(&fit.chain)?,
            None => held_out(&fit),
        };
        contenders.push((error, candidate, fit));
        contenders.sort_by(|a, b| a.0.total_cmp(&b.0));
        contenders.truncate(most);
    }
    drop(calibration);
    if let (true, Some(error)) = (contenders.is_empty(), failed) {
        return Err(error);
    }
    let Some(behind) = &behind else {
        let Some((_, candidate, mut fit)) = contenders.into_iter().next() else {
            return Ok(None);
        };
        if let Some(chain) = refit(
            model,
            site,
            candidate,
            fit.rounds,
            (statistics, factors),
            how,
        )? {
            fit.chain = chain;
        }
        return Ok(Some((candidate.clone(), fit)));
    };
    let kernel = kernel(model, site, factors)?;
    let mut best: Option<(f64, &Candidate, Fit)> = None;
    for (error, candidate, fit) in contenders {
        let Some(family) = families.find(&candidate.family) else {
            continue;
        };
        let observed = Observed {
            kernel: &kernel,
            statistics,
        };
        let fit = behind.improve(observed, family, &fit, settings.fit)?;
        let error = fit.error_activated.unwrap_or(error);
        if best.as_ref().is_none_or(|(least, ..)| error < *least) {
            best = Some((error, candidate, fit));
        }
    }
    Ok(best.map(|(_, candidate, fit)| (candidate.clone(), fit)))
}

/// The chosen chain fitted again to all positions, with as many rounds as were best for the
/// positions held out. `None` where nothing was held out.
fn refit(
    model: &Loaded,
    site: &Site,
    candidate: &Candidate,
    rounds: usize,
    (statistics, factors): (&SplitStatistics, Option<&[f64]>),
    (families, settings): (&Families, &CalibrationSettings),
) -> Result<Option<Chain>, FactorError> {
    if !settings.refit || statistics.held_out.count() == 0 {
        return Ok(None);
    }
    let whole = statistics.whole()?;
    let settings = CalibrationSettings {
        fit: FitOptions {
            rounds,
            tolerance: 0.0,
            monotone: false,
            ..settings.fit
        },
        ..settings.clone()
    };
    let one = std::slice::from_ref(candidate);
    let calibration = calibrated(model, site, (&whole, factors), &settings)?;
    let fit = fits(&calibration, one, families, &()).next().transpose()?;
    Ok(fit.map(|fit| fit.chain))
}
