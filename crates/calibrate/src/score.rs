//! Every candidate of every layer scored: planners allocate by the scores.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;
use sepconv_factor::{Chain, Estimate, FactorError, Fitter, SplitStatistics};
use sepconv_passes::{Candidate, Kept, Site};

use sepconv_model::{Error, Stage, step};
use sepconv_spec::Effort;

use crate::cache::StatisticsCache;
use crate::collector::{Collector, Pass};
use crate::fits::{Scaled, as_they_were, calibrated, each_fitted, fitted_beside, is_narrow};
use crate::hurry::{little_time_to_score, no_time_to_score};
use crate::layer_sampler::Unfit;
use crate::memory_limit::Need;
use crate::sampling::Sampling;
use crate::sensitivity::sensitivities;
use crate::surveyed_model::{Fitting, Sensitivities, SurveyedModel};

/// Ranks of a family that are fitted, by the length of a patch up to which they are so many: a
/// fit takes time as its cube. The errors of the other ranks follow from them.
const FITTED: [(usize, usize); 4] = [(576, 6), (1152, 4), (4608, 3), (usize::MAX, 2)];

/// The logarithm of a family's error is about linear in this power of the rank.
const POWER: f64 = 0.6;

/// Errors of the candidates of one layer.
#[derive(Debug, Default)]
pub struct Score {
    /// Relative squared output error of every candidate when the layer alone is replaced.
    pub errors: Vec<f64>,
    /// Chains to probe the outputs with: of small and of large errors.
    pub probes: Vec<Probe>,
    /// Reason for which it could not be fitted.
    pub kept: Option<Kept>,
}

/// A chain for one layer.
#[derive(Debug)]
pub struct Probe {
    /// Its relative squared output error.
    pub error: f64,
    /// The chain.
    pub chain: Chain,
}

/// Ranks of a family that are fitted at most where little work is to be spent.
const QUICK: usize = 3;

/// Errors below are none.
const LEAST: f64 = 1e-9;

/// Errors that probes should have, about.
const PROBED: [f64; 3] = [0.02, 0.15, 0.6];

/// Scores every candidate of every layer, for a planner to allocate by. One pass over the data
/// for all layers whose statistics go into the memory together, and [`Fitter::estimate`].
///
/// # Errors
/// [`Error::Data`] where the data can't be read or do not fit, [`Error::Target`] where the runtime
/// can't run the network, [`Error::Cancelled`].
pub fn score(surveyed: &SurveyedModel, fitting: Fitting<'_>) -> Result<Vec<Score>, Error> {
    let model = &surveyed.folded;
    let limited = fitting.deadline.is_some();
    let sampling = Sampling::of_scores(model, fitting.calibration.effort, limited);
    let fitting = Fitting {
        sampling,
        ..fitting
    };
    let layers: Vec<(&Site, &[Candidate])> = surveyed.survey.sites().collect();
    let sites: Vec<&Site> = layers.iter().map(|(site, _)| *site).collect();
    if sites.is_empty() {
        let none = surveyed.survey.layers.iter().map(|_| Score::default());
        return Ok(none.collect());
    }
    let cache = StatisticsCache::open(model, &sites, fitting.calibration, fitting.runner);
    let factors = sensitivities(surveyed, fitting, cache.as_ref())?;
    let mut collector = Collector::new(model, &sites, factors, fitting)?;
    let needs = collector.needs();
    let memory = fitting.memory;
    // Statistics that don't go into the memory together are not kept between runs either.
    let cache = cache.filter(|_| memory.together(&needs) == sites.len());
    let cache = cache.map(|cache| cache.with_forms(&needs));
    let mut stored = cache.as_ref().and_then(|c| c.read(sites.len()));
    let scorer = Scorer {
        surveyed,
        factors,
        fitting,
        stage: Stage::begin(fitting.progress, "scoring", sites.len()),
        done: AtomicUsize::new(0),
    };
    // With the places of their layers.
    let mut scored: Vec<(usize, Score)> = Vec::with_capacity(sites.len());
    let mut first = 0;
    while first < sites.len() {
        if no_time_to_score(fitting.deadline) {
            let left = layers.iter().enumerate().skip(first);
            scored
                .extend(left.map(|(layer, (_, candidates))| (layer, scorer.unscored(candidates))));
            break;
        }
        let end = first + memory.together(&needs[first..]);
        let seen: Vec<Seen> = match stored.take() {
            Some(statistics) => statistics.into_iter().map(Ok).collect(),
            None => {
                let seen = step("collect/statistics", || {
                    collector.collect(None, first..end, Pass::default())
                })?;
                let seen = seen.into_iter().map(|seen| Ok(seen?.statistics));
                let seen: Vec<Seen> = seen.collect();
                // Those of a limited time may be of fewer samples.
                if let (Some(cache), None) = (&cache, fitting.deadline) {
                    cache.write(&seen);
                }
                seen
            }
        };
        let held = needs[first..end].iter().flatten();
        let held = held.map(|need| need.statistics).sum();
        let mut work: Vec<(usize, Seen)> = (first..end).zip(seen).collect();
        if limited {
            // The time may end before all are scored.
            work.sort_by_key(|(layer, _)| Reverse(sites[*layer].macs));
        }
        let own: Vec<_> = work
            .iter()
            .map(|(layer, _)| needs[*layer].clone())
            .collect();
        let score = |(layer, seen): (usize, Seen)| {
            let (site, candidates) = layers[layer];
            Ok((layer, scorer.score(site, candidates, seen, &needs[layer])?))
        };
        let (mut rest, mut begin) = (work.into_iter(), 0);
        while begin < own.len() {
            let some = memory.at_once(&own[begin..], held);
            let part: Vec<_> = rest.by_ref().take(some).collect();
            // A bridge hands them out in their order.
            let found = step("collect/estimates", || {
                let found = part.into_iter().par_bridge().map(score);
                found.collect::<Result<Vec<(usize, Score)>, Error>>()
            });
            scored.extend(found?);
            begin += some;
        }
        first = end;
    }
    scored.sort_by_key(|(layer, _)| *layer);
    let mut scored = scored.into_iter().map(|(_, score)| score);
    let layers = surveyed.survey.layers.iter();
    let scores = layers.map(|layer| match layer.site {
        Ok(_) => scored.next().unwrap_or_default(),
        Err(_) => Score::default(),
    });
    Ok(scores.collect())
}

/// Scores layers one by one.
struct Scorer<'a> {
    surveyed: &'a SurveyedModel,
    factors: &'a Sensitivities,
    fitting: Fitting<'a>,
    stage: Stage<'a>,
    done: AtomicUsize,
}

impl Scorer<'_> {
    /// The score of a layer for which there is no time.
    fn unscored(&self, candidates: &[Candidate]) -> Score {
        self.surveyed.hurry(|hurried| hurried.unscored += 1);
        Score::of_weights(candidates)
    }

    /// The score of a layer, by its statistics; of one without statistics, the reason.
    fn score(
        &self,
        site: &Site,
        candidates: &[Candidate],
        seen: Seen,
        need: &Result<Need, Kept>,
    ) -> Result<Score, Error> {
        let statistics = match seen {
            Ok(statistics) => statistics,
            Err(unfit) => return Ok(Score::kept(candidates, unfit.kept(need))),
        };
        if no_time_to_score(self.fitting.deadline) {
            return Ok(self.unscored(candidates));
        }
        let effort = match little_time_to_score(self.fitting.deadline) {
            true => Effort::Quick,
            false => self.fitting.calibration.effort,
        };
        let chosen = fitted_of(site, candidates, need, effort);
        let some: Vec<Candidate> = chosen.iter().map(|i| candidates[*i].clone()).collect();
        let seen = Scaled {
            statistics: &statistics,
            factors: self.factors.get(&site.node).map(|f| &**f),
        };
        let options = self.fitting.calibration.fit;
        let known = calibrated(&self.surveyed.folded, site, seen, options).and_then(|start| {
            let (families, progress) = (self.fitting.families, self.fitting.progress);
            let estimate = |fitter: &dyn Fitter, c: &Candidate| fitter.estimate(c.rank);
            let with = |known: Known, fit| known.with(fit, &some);
            let known = match is_narrow(site) {
                true => fitted_beside(&start, &some, families, progress, estimate)
                    .into_iter()
                    .fold(Known::default(), with),
                false => each_fitted(&start, &some, families, progress, estimate)
                    .fold(Known::default(), with),
            };
            known.of_some()
        });
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        self.stage.step(done)?;
        Ok(match known {
            Ok(known) => Score::of(candidates, &chosen, known, seen.factors),
            Err(reason) => Score::kept(candidates, Kept::Unfitted(reason.to_string())),
        })
    }
}

/// The candidates of a layer that are fitted, rising.
fn fitted_of(
    site: &Site,
    candidates: &[Candidate],
    need: &Result<Need, Kept>,
    effort: Effort,
) -> Vec<usize> {
    let patch = site.kernel.group_in() * site.kernel.taps();
    let most = FITTED.iter().find(|f| patch <= f.0).map_or(0, |f| f.1);
    let most = match effort {
        Effort::Quick => most.min(QUICK),
        Effort::Normal => most,
        Effort::Thorough => 2 * most,
    };
    match need.as_ref().is_ok_and(|need| need.patches.is_some()) {
        true => lower(candidates, most),
        false => spread(candidates, most),
    }
}

/// Statistics of a layer, or why there are none.
type Seen = Result<SplitStatistics, Unfit>;

/// Places of candidates, of every family up to `most`, spread over its ranks.
pub fn spread(candidates: &[Candidate], most: usize) -> Vec<usize> {
    let mut chosen = Vec::new();
    let mut first = 0;
    for family in candidates.chunk_by(|a, b| a.family == b.family) {
        let n = family.len();
        let some = n.min(most);
        chosen.extend((0..some).map(|i| first + i * (n - 1) / (some - 1).max(1)));
        first += n;
    }
    chosen
}

/// Errors of the candidates that were fitted, infinite where that failed, and their chains to probe with.
#[derive(Default)]
struct Known {
    /// Their errors.
    errors: Vec<f64>,
    /// For each of [`PROBED`] the index of the nearest.
    nearest: [Option<usize>; PROBED.len()],
    chains: BTreeMap<usize, Chain>,
    /// The last of the reasons for which some could not be fitted.
    failed: Option<FactorError>,
}

impl Known {
    /// With the fit of the next of `candidates`.
    fn with(mut self, fit: Result<Estimate, FactorError>, candidates: &[Candidate]) -> Self {
        let own = self.errors.len();
        let fit = match fit {
            Ok(fit) => fit,
            Err(reason) => {
                self.errors.push(f64::INFINITY);
                self.failed = Some(reason);
                return self;
            }
        };
        self.errors.push(match fit.error.is_nan() {
            true => f64::INFINITY,
            false => fit.error.max(0.0),
        });
        let errors = &self.errors;
        let distance = |i: usize, wanted: f64| (errors[i].max(LEAST) / wanted).ln().abs();
        if candidates.get(own).is_some_and(Candidate::saves) {
            for (nearest, wanted) in self.nearest.iter_mut().zip(PROBED) {
                let nearer = |i: usize| distance(own, wanted) < distance(i, wanted);
                if nearest.is_none_or(nearer) {
                    *nearest = Some(own);
                }
            }
        }
        self.chains.insert(own, fit.chain);
        let nearest = &self.nearest;
        self.chains.retain(|i, _| nearest.contains(&Some(*i)));
        self
    }

    /// The same, where at least one could be fitted.
    fn of_some(self) -> Result<Self, FactorError> {
        match &self.failed {
            Some(reason) if self.errors.iter().all(|e| e.is_infinite()) => Err(reason.clone()),
            _ => Ok(self),
        }
    }

    /// Chains to probe with, for outputs that are not multiplied by the factors any more.
    fn probes(mut self, factors: Option<&[f64]>) -> Vec<Probe> {
        let mut probed: Vec<usize> = self.nearest.iter().flatten().copied().collect();
        probed.dedup();
        let last = |at: usize| !probed[at + 1..].contains(&probed[at]);
        let probe = |at: usize| {
            let i = probed[at];
            let mut chain = match last(at) {
                true => self.chains.remove(&i)?,
                false => self.chains.get(&i)?.clone(),
            };
            if let Some(factors) = factors {
                as_they_were(&mut chain, factors);
            }
            let error = self.errors[i];
            Some(Probe { error, chain })
        };
        (0..probed.len()).filter_map(probe).collect()
    }
}

/// As [`spread`], over the lower half of every family's ranks: where patches are kept as they are
/// a fit takes time as its rank, and the ranks at about half of the layer's MACs are known best.
fn lower(candidates: &[Candidate], most: usize) -> Vec<usize> {
    let mut chosen = Vec::new();
    let mut first = 0;
    for family in candidates.chunk_by(|a, b| a.family == b.family) {
        let half = &family[..family.len().div_ceil(2)];
        chosen.extend(spread(half, most).into_iter().map(|i| first + i));
        first += family.len();
    }
    chosen
}

impl Score {
    /// By the weights alone: the relative squared error of the kernel.
    fn of_weights(candidates: &[Candidate]) -> Self {
        let errors = candidates.iter().map(|c| c.weight_error * c.weight_error);
        Self {
            errors: errors.collect(),
            ..Self::default()
        }
    }

    /// Of a layer that stays.
    fn kept(candidates: &[Candidate], kept: Kept) -> Self {
        Self {
            errors: vec![f64::INFINITY; candidates.len()],
            probes: Vec::new(),
            kept: Some(kept),
        }
    }

    /// From the errors of the candidates `chosen`, rising, whose outputs were multiplied by
    /// factors.
    fn of(
        candidates: &[Candidate],
        chosen: &[usize],
        known: Known,
        factors: Option<&[f64]>,
    ) -> Self {
        let fits = || chosen.iter().copied().zip(known.errors.iter().copied());
        let (chosen, errors): (Vec<usize>, Vec<f64>) =
            fits().filter(|fit| fit.1.is_finite()).unzip();
        let rank = |i: usize| (candidates[i].rank as f64).powf(POWER);
        let log = |at: usize| errors[at].max(LEAST).ln();
        // On the line in the logarithm through the fits `low` and `high`, of different ranks.
        let line = |i: usize, low: usize, high: usize| {
            let (from, to) = (rank(chosen[low]), rank(chosen[high]));
            let share = (rank(i) - from) / (to - from);
            (log(low) + share * (log(high) - log(low))).exp()
        };
        let alike = |at: usize, i: usize| candidates[chosen[at]].family == candidates[i].family;
        let between = |i: usize| {
            let after = chosen.partition_point(|c| *c < i);
            let before = after.checked_sub(1).filter(|at| alike(*at, i));
            match (before, chosen.get(after)) {
                (_, Some(c)) if *c == i => errors[after],
                (Some(low), Some(_)) if alike(after, i) => line(i, low, after),
                (Some(last), _) => match last.checked_sub(1).filter(|at| alike(*at, i)) {
                    Some(low) => line(i, low, last).min(errors[last]),
                    None => errors[last],
                },
                (None, _) => f64::INFINITY,
            }
        };
        let mut all: Vec<f64> = (0..candidates.len()).map(between).collect();
        for (failed, error) in fits().filter(|fit| fit.1.is_infinite()) {
            all[failed] = error;
        }
        Self {
            probes: known.probes(factors),
            errors: all,
            kept: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(family: &str, rank: usize) -> Candidate {
        Candidate {
            family: family.into(),
            rank,
            macs_before: 100,
            macs: 1,
            params: 1,
            energy: 0.0,
            weight_error: 0.0,
            lowering: None,
        }
    }

    #[test]
    fn errors_of_ranks_that_are_not_fitted_lie_between() {
        let all: Vec<Candidate> = (1..=3)
            .map(|r| candidate("dw-pw", r))
            .chain((1..=11).map(|r| candidate("spatial", 2 * r)))
            .collect();
        let chosen = spread(&all, 6);
        assert_eq!(chosen, [0, 1, 2, 3, 5, 7, 9, 11, 13]);
        let fit = |error: f64| Estimate {
            chain: Chain {
                family: "spatial",
                rank: 1,
                stages: Vec::new(),
                bias: None,
            },
            error,
        };
        // A line in the logarithm.
        let some: Vec<Candidate> = chosen.iter().map(|i| all[*i].clone()).collect();
        let falling = |rank: usize| (-0.5 * (rank as f64).powf(POWER)).exp();
        let errors = some.iter().map(|c| falling(c.rank));
        let known = errors.fold(Known::default(), |known, e| known.with(Ok(fit(e)), &some));
        assert!(known.chains.len() <= PROBED.len());
        let score = Score::of(&all, &chosen, known, None);
        for (candidate, error) in all.iter().zip(&score.errors) {
            let expected = falling(candidate.rank);
            assert!(
                (error / expected - 1.0).abs() < 1e-9,
                "{candidate:?} {error}"
            );
        }
        assert_eq!(score.probes.len(), 3);
    }

    #[test]
    fn a_candidate_that_fails_leaves_the_others() {
        let all: Vec<Candidate> = (1..=4).map(|r| candidate("cp", r)).collect();
        let reason = FactorError::Singular { order: 2 };
        let failed = || Err(reason.clone());
        let fit = |error: f64| {
            let chain = Chain {
                family: "cp",
                rank: 2,
                stages: Vec::new(),
                bias: None,
            };
            Ok(Estimate { chain, error })
        };
        let known = [fit(0.4), failed(), fit(0.1)].into_iter();
        let known = known.fold(Known::default(), |known, fit| known.with(fit, &all));
        let known = known.of_some().unwrap_or_default();
        let score = Score::of(&all, &[0, 1, 3], known, None);
        // The third lies between the first and the last.
        let [first, second, third, last] = score.errors[..] else {
            panic!("{:?}", score.errors);
        };
        assert!(second.is_infinite() && 0.1 < third && third < 0.4);
        assert_eq!((first, last, score.kept.is_none()), (0.4, 0.1, true));
        let none = Known::default().with(failed(), &all).of_some();
        assert_eq!(none.err(), Some(reason));
    }

    #[test]
    fn errors_beyond_the_last_fit_of_a_family_go_on_as_they_fell() {
        let all: Vec<Candidate> = (1..=9)
            .map(|r| candidate("dw-pw", r))
            .chain([candidate("channel", 4)])
            .collect();
        let chosen = lower(&all, 2);
        assert_eq!(chosen, [0, 4, 9]);
        let known = |errors: &[f64]| Known {
            errors: errors.to_vec(),
            ..Known::default()
        };
        let falling = Score::of(&all, &chosen, known(&[0.8, 0.2, 0.5]), None).errors;
        let steps = (9_f64.powf(POWER) - 1.0) / (5_f64.powf(POWER) - 1.0);
        let expected = 0.8 * 0.25_f64.powf(steps);
        assert!(
            (falling[8] - expected).abs() < 1e-12 && falling[9] == 0.5,
            "{falling:?}"
        );
        let rising = Score::of(&all, &chosen, known(&[0.2, 0.8, 0.5]), None).errors;
        assert_eq!(rising[8], 0.8);
    }
}
