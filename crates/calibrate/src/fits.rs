//! The candidates of one layer, fitted.

use rayon::prelude::*;
use sepconv_factor::{
    Calibration, Chain, FactorError, Fit, FitOptions, Fitter, Kernel, Observed, PostActivation,
    SplitStatistics,
};
use sepconv_passes::{Candidate, Families, Site};

use sepconv_model::{Loaded, Progress};
use sepconv_spec::{CalibrationSettings, Effort};

use crate::collector::LayerStatistics;
use crate::surveyed_model::Fitting;

/// Statistics of a layer whose outputs are multiplied by factors, where there are any.
#[derive(Clone, Copy)]
pub(crate) struct Scaled<'a> {
    pub statistics: &'a SplitStatistics,
    pub factors: Option<&'a [f64]>,
}

/// Error of a fit on the positions held out; on those fitted to, where none are.
pub(crate) fn held_out(fit: &Fit) -> f64 {
    fit.error_held_out.unwrap_or(fit.error_fit)
}

/// The start of all fits of a layer.
pub(crate) fn calibrated<'a>(
    model: &Loaded,
    site: &Site,
    seen: Scaled<'a>,
    options: FitOptions,
) -> Result<Calibration<'a>, FactorError> {
    let kernel = kernel(model, site, seen.factors)?;
    Calibration::new(&kernel, seen.statistics, options)
}

/// The fit of every candidate; of some, where the work is cancelled. One that fails leaves the
/// others. Of one family at a time: its fitter and its fits are dropped before the next.
pub(crate) fn each_fitted<'a, 'c: 'a, T: 'a>(
    calibration: &'a Calibration<'a>,
    candidates: &'c [Candidate],
    families: &'a Families,
    progress: &'a dyn Progress,
    fit: impl Fn(&dyn Fitter, &'c Candidate) -> Result<T, FactorError> + Copy + 'a,
) -> impl Iterator<Item = Result<T, FactorError>> + 'a {
    let own = candidates.chunk_by(|a, b| a.family == b.family);
    own.filter_map(|own| Some((families.find(&own[0].family)?, own)))
        .flat_map(move |(family, own)| {
            let left = own.iter().take_while(|_| !progress.cancelled());
            let fits: Vec<_> = match family.fitter(calibration) {
                Ok(fitter) => left.map(|c| fit(fitter.as_ref(), c)).collect(),
                Err(error) => left.map(|_| Err(error.clone())).collect(),
            };
            fits
        })
}

/// As [`each_fitted`], of all families beside one another.
pub(crate) fn fitted_beside<'a, 'c: 'a, T: Send + 'a>(
    calibration: &'a Calibration<'a>,
    candidates: &'c [Candidate],
    families: &'a Families,
    progress: &'a dyn Progress,
    fit: impl Fn(&dyn Fitter, &'c Candidate) -> Result<T, FactorError> + Copy + Sync + 'a,
) -> Vec<Result<T, FactorError>> {
    let own: Vec<&'c [Candidate]> = candidates.chunk_by(|a, b| a.family == b.family).collect();
    let own = own.into_par_iter();
    let fits = own.map(|own| each_fitted(calibration, own, families, progress, fit).collect());
    let fits: Vec<Vec<_>> = fits.collect();
    fits.into_iter().flatten().collect()
}

/// True where fits of a layer take little memory and are too short to keep all cores busy: several are made beside
/// one another.
pub(crate) fn is_narrow(site: &Site) -> bool {
    site.kernel.group_in() * site.kernel.taps() <= NARROW
}

fn kernel(model: &Loaded, site: &Site, factors: Option<&[f64]>) -> Result<Kernel, FactorError> {
    let weights = site.weights(model.graph());
    let weights = weights.map_err(|_| FactorError::Shape("the weight is gone"))?;
    factors.map_or(Ok(weights.clone()), |f| weights.with_outputs_scaled(f))
}

/// A chain that was fitted to outputs times `factors`, for the outputs as they are.
pub(crate) fn as_they_were(chain: &mut Chain, factors: &[f64]) {
    let inverse: Vec<f64> = factors.iter().map(|f| 1.0 / f).collect();
    chain.scale_outputs(&inverse);
}

/// Number of candidates of least error on the positions held out that are improved behind the
/// activation before one is taken, and their errors at most as a multiple of the least: that is about
/// as much as one gains there.
const CONTENDERS: usize = 2;
const NEAR: f64 = 1.03;

/// The candidate of least error on the positions held out, behind the activation where there
/// is one, fitted as well as can be.
pub(crate) fn best_fit(
    model: &Loaded,
    site: &Site,
    candidates: &[Candidate],
    seen: &LayerStatistics,
    fitting: Fitting<'_>,
) -> Result<Option<(Candidate, Fit)>, FactorError> {
    if candidates.is_empty() {
        return Ok(None);
    }
    let layer = Layer {
        model,
        site,
        seen: Scaled {
            statistics: &seen.statistics,
            factors: seen.factors.as_deref(),
        },
        families: fitting.families,
        settings: fitting.calibration,
    };
    let behind = seen
        .behind
        .as_ref()
        .map(|(activation, positions)| PostActivation {
            activation: *activation,
            positions,
            whole: layer.is_refitted(),
        });
    let contenders = layer.contenders(candidates, behind.as_ref())?;
    let mut best = match &behind {
        Some(behind) => layer.improved(contenders, behind)?,
        None => layer.refitted(contenders)?,
    };
    if let (Some((_, fit)), Some(factors)) = (&mut best, &seen.factors) {
        as_they_were(&mut fit.chain, factors);
    }
    Ok(best)
}

/// Rounds of a fit to all positions, from the fit to most of them on.
const AGAIN: usize = 2;

/// Length of a patch up to which the fits of a layer are made beside one another, and its best chain is fitted on to
/// all positions: of longer patches that takes a third of the time of a fit, and gains nothing.
const NARROW: usize = 1152;

/// A layer that is fitted.
struct Layer<'a> {
    model: &'a Loaded,
    site: &'a Site,
    seen: Scaled<'a>,
    families: &'a Families,
    settings: &'a CalibrationSettings,
}

/// A candidate's fit, and its error.
struct Contender<'c> {
    error: f64,
    candidate: &'c Candidate,
    fit: Fit,
}

impl Layer<'_> {
    /// True where the best chain is fitted on to the positions held out as well.
    fn is_refitted(&self) -> bool {
        self.settings.refit && is_narrow(self.site)
    }

    /// The candidates that leave least, the best first.
    fn contenders<'c>(
        &self,
        candidates: &'c [Candidate],
        behind: Option<&PostActivation<'_>>,
    ) -> Result<Vec<Contender<'c>>, FactorError> {
        let most = match self.settings.effort {
            Effort::Quick => 1,
            _ if behind.is_some() => CONTENDERS,
            _ => 1,
        };
        let calibration = calibrated(self.model, self.site, self.seen, self.settings.fit)?;
        let contend = |fitter: &dyn Fitter, candidate: &'c Candidate| {
            let fit = fitter.fit(candidate.rank)?;
            let error = match behind {
                Some(behind) => behind.error(&fit.chain)?,
                None => held_out(&fit),
            };
            Ok(Contender {
                error,
                candidate,
                fit,
            })
        };
        let fitted: Vec<Result<Contender<'c>, FactorError>> = match is_narrow(self.site) {
            true => fitted_beside(&calibration, candidates, self.families, &(), contend),
            false => each_fitted(&calibration, candidates, self.families, &(), contend).collect(),
        };
        let mut contenders: Vec<Contender<'c>> = Vec::new();
        let mut failed = None;
        for contender in fitted {
            match contender {
                Ok(contender) => contenders.push(contender),
                Err(error) => failed = Some(error),
            }
        }
        contenders.sort_by(|a, b| a.error.total_cmp(&b.error));
        let least = contenders.first().map_or(0.0, |first| first.error);
        contenders.retain(|contender| contender.error <= NEAR * least);
        contenders.truncate(most);
        match failed {
            Some(error) if contenders.is_empty() => Err(error),
            _ => Ok(contenders),
        }
    }

    /// The contender that leaves least behind the activation once its fit is improved by that.
    fn improved<'c>(
        &self,
        contenders: Vec<Contender<'c>>,
        behind: &PostActivation<'_>,
    ) -> Result<Option<(Candidate, Fit)>, FactorError> {
        let kernel = kernel(self.model, self.site, self.seen.factors)?;
        let improve = |contender: Contender<'c>| -> Result<Option<Contender<'c>>, FactorError> {
            let Some(family) = self.families.find(&contender.candidate.family) else {
                return Ok(None);
            };
            let statistics = self.seen.statistics;
            let observed = Observed {
                kernel: &kernel,
                statistics,
            };
            let fit = behind.improve(observed, family, &contender.fit, self.settings.fit)?;
            Ok(Some(Contender {
                error: fit.error_activated.unwrap_or(contender.error),
                fit,
                ..contender
            }))
        };
        let improved: Vec<Result<Option<Contender<'_>>, FactorError>> = match is_narrow(self.site) {
            true => contenders.into_par_iter().map(improve).collect(),
            false => contenders.into_iter().map(improve).collect(),
        };
        let mut best: Option<Contender<'_>> = None;
        for contender in improved {
            let Some(contender) = contender? else {
                continue;
            };
            if best
                .as_ref()
                .is_none_or(|best| contender.error < best.error)
            {
                best = Some(contender);
            }
        }
        Ok(best.map(|best| (best.candidate.clone(), best.fit)))
    }

    /// The first contender, its chain fitted on to all positions, with no more rounds than were best
    /// for the positions held out; as it is where nothing was held out, and where fitted chains are worse
    /// on those than one of the weights alone.
    fn refitted(
        &self,
        contenders: Vec<Contender<'_>>,
    ) -> Result<Option<(Candidate, Fit)>, FactorError> {
        let Some(Contender {
            candidate, mut fit, ..
        }) = contenders.into_iter().next()
        else {
            return Ok(None);
        };
        if self.is_refitted()
            && !fit.is_floor
            && self.seen.statistics.held_out.count() > 0
            && let Some(family) = self.families.find(&candidate.family)
        {
            let whole = self.seen.statistics.whole()?;
            let options = FitOptions {
                rounds: fit.rounds.min(AGAIN),
                tolerance: 0.0,
                monotone: false,
                ..self.settings.fit
            };
            let seen = Scaled {
                statistics: &whole,
                ..self.seen
            };
            let calibration = calibrated(self.model, self.site, seen, options)?;
            fit.chain = family.fitter(&calibration)?.resume(&fit.chain)?;
        }
        Ok(Some((candidate.clone(), fit)))
    }
}
