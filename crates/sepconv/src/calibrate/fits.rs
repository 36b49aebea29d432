//! The candidates of one layer, fitted.

use std::collections::BTreeMap;

use sepconv_factor::{
    Behind, Calibration, Chain, FactorError, Fit, FitOptions, Kernel, SplitStatistics,
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

/// A fit of every candidate to outputs that are multiplied by factors, where there are any; of some,
/// where the work is cancelled. One that fails leaves the others.
pub(super) fn fits(
    model: &Loaded,
    site: &Site,
    candidates: &[Candidate],
    (statistics, factors): (&SplitStatistics, Option<&[f64]>),
    (families, settings): (&Families, &CalibrationSettings),
    progress: &dyn Progress,
) -> Vec<Result<Fit, FactorError>> {
    let kernel = match kernel(model, site, factors) {
        Ok(kernel) => kernel,
        Err(error) => return vec![Err(error)],
    };
    let calibration = match Calibration::new(&kernel, statistics, settings.fit) {
        Ok(calibration) => calibration,
        Err(error) => return vec![Err(error)],
    };
    let mut fitters = BTreeMap::new();
    for candidate in candidates {
        if let Some(found) = families.find(&candidate.family)
            && !fitters.contains_key(found.name())
        {
            fitters.insert(found.name(), found.fitter(&calibration));
        }
    }
    let left = candidates.iter().take_while(|_| !progress.cancelled());
    let fits = left.filter_map(|c| match fitters.get(c.family.as_str())? {
        Ok(fitter) => Some(fitter.fit(c.rank)),
        Err(error) => Some(Err(error.clone())),
    });
    fits.collect()
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
    let (statistics, factors) = (&seen.statistics, seen.factors.as_deref());
    let behind = seen.behind.as_ref().map(|(activation, positions)| Behind {
        activation: *activation,
        positions,
    });
    let how = (families, settings);
    let fits = fits(model, site, candidates, (statistics, factors), how, &());
    let mut contenders: Vec<(f64, &Candidate, Fit)> = Vec::new();
    let mut failed = None;
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
    }
    if let (true, Some(error)) = (contenders.is_empty(), failed) {
        return Err(error);
    }
    contenders.sort_by(|a, b| a.0.total_cmp(&b.0));
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
    contenders.truncate(CONTENDERS);
    let mut best: Option<(f64, &Candidate, Fit)> = None;
    for (error, candidate, fit) in contenders {
        let Some(family) = families.find(&candidate.family) else {
            continue;
        };
        let options = (settings.fit, settings.refit);
        let fit = behind.improve(&kernel, statistics, family, &fit, options.0, options.1)?;
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
    let fits = fits(
        model,
        site,
        one,
        (&whole, factors),
        (families, &settings),
        &(),
    );
    let fit = fits.into_iter().next().transpose()?;
    Ok(fit.map(|fit| fit.chain))
}
