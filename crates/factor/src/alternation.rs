//! Alternation over the groups of a convolution, and the promises of [`Fitter::fit`].

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock};

use rayon::prelude::*;

use crate::chain::Chain;
use crate::error::FactorError;
use crate::factored::Factored;
use crate::family::{Decomposition, check_rank};
use crate::fit::{
    Calibration, ChannelLayout, Estimate, Fit, Fitter, GroupSolver, Weights, balance, best_bias,
    held_out_error, widened,
};
use crate::kernel::Kernel;
use crate::once::made_once;

/// A [`Fitter`] that alternates.
pub(crate) struct Alternation<'a> {
    family: &'static dyn Decomposition,
    calibration: &'a Calibration<'a>,
    factored: OnceLock<Box<dyn Factored>>,
    solvers: Vec<Box<dyn GroupSolver + 'a>>,
    rounds: usize,
    done: Mutex<BTreeMap<usize, Fit>>,
}

/// A chain that may become the fit.
struct Candidate {
    chain: Chain,
    kernel: Kernel,
    error_fit: f64,
    error_held_out: Option<f64>,
    rounds: usize,
    is_floor: bool,
}

impl Candidate {
    /// The error that ends the alternation and decides between chains.
    fn error(&self) -> f64 {
        self.error_held_out.unwrap_or(self.error_fit)
    }
}

impl<'a> Alternation<'a> {
    /// A fitter of `family` with a solver for every group.
    pub fn new<S: GroupSolver + 'a>(
        family: &'static dyn Decomposition,
        calibration: &'a Calibration<'a>,
        solvers: impl Iterator<Item = Result<S, FactorError>>,
    ) -> Result<Self, FactorError> {
        let boxed = solvers.map(|s| s.map(|s| Box::new(s) as Box<dyn GroupSolver>));
        let solvers: Vec<Box<dyn GroupSolver + 'a>> = boxed.collect::<Result<_, _>>()?;
        let closed = solvers.iter().all(|s| s.is_closed());
        Ok(Self {
            family,
            calibration,
            factored: OnceLock::new(),
            solvers,
            rounds: if closed {
                0
            } else {
                calibration.options().rounds
            },
            done: Mutex::new(BTreeMap::new()),
        })
    }

    /// The data-free decomposition, made where it is first asked for.
    fn factored(&self) -> Result<&dyn Factored, FactorError> {
        let make = || self.family.factor(self.calibration.kernel());
        Ok(made_once(&self.factored, make)?.as_ref())
    }

    /// The chain of `weights`, balanced and rounded.
    fn chain(&self, rank: usize, weights: &Weights) -> Result<Chain, FactorError> {
        let shapes = self
            .family
            .stages(self.calibration.kernel().shape(), rank)?;
        let mut weights = weights.clone();
        balance(&shapes, &mut weights);
        Ok(Chain::of_weights(self.family.name(), rank, shapes, weights))
    }

    /// A chain that is not fitted at its rank.
    fn floor(&self, chain: Chain) -> Result<Candidate, FactorError> {
        let (kernel, error) = self.error_of(&chain)?;
        Ok(Candidate {
            is_floor: true,
            ..self.candidate(chain, kernel, error, 0)?
        })
    }

    /// A chain whose [`Alternation::error_of`] is known.
    fn candidate(
        &self,
        chain: Chain,
        kernel: Kernel,
        error: f64,
        rounds: usize,
    ) -> Result<Candidate, FactorError> {
        let statistics = self.calibration.statistics();
        let (error_fit, error_held_out) = match statistics.held_out.count {
            0 => (error, None),
            _ => (statistics.fit.score_kernel(&kernel)?, Some(error)),
        };
        Ok(Candidate {
            chain,
            kernel,
            error_fit,
            error_held_out,
            rounds,
            is_floor: false,
        })
    }

    /// A chain's product, and its held-out error; that of the fit where none is held out.
    fn error_of(&self, chain: &Chain) -> Result<(Kernel, f64), FactorError> {
        let kernel = chain.compose()?;
        let statistics = self.calibration.statistics();
        let error = match held_out_error(statistics, &kernel)? {
            Some(error) => error,
            None => statistics.fit.score_kernel(&kernel)?,
        };
        Ok((kernel, error))
    }

    /// Every group's solver on its part of the weights.
    fn each_group(
        &self,
        work: impl Fn(&dyn GroupSolver, usize) -> Result<Weights, FactorError> + Sync,
    ) -> Result<Weights, FactorError> {
        let groups = self.solvers.par_iter().enumerate();
        let parts: Vec<Weights> = groups
            .map(|(group, solver)| work(solver.as_ref(), group))
            .collect::<Result<_, _>>()?;
        let stages = parts.first().map_or(0, Vec::len);
        let stage = |s: usize| parts.iter().flat_map(|p| p[s].iter().copied()).collect();
        Ok((0..stages).map(stage).collect())
    }

    /// The weights after one round.
    fn improved(&self, rank: usize, weights: &Weights) -> Result<Weights, FactorError> {
        let groups = self.solvers.len();
        self.each_group(|solver, group| {
            let part = |w: &Vec<f64>| w[w.len() / groups * group..][..w.len() / groups].to_vec();
            let mut weights: Weights = weights.iter().map(part).collect();
            solver.improve(rank, &mut weights)?;
            Ok(weights)
        })
    }

    /// Alternates from `weights` while the held-out error falls; the best chain on the way.
    fn alternate(&self, rank: usize, mut weights: Weights) -> Result<Candidate, FactorError> {
        let tolerance = self.calibration.options().tolerance;
        let (mut best, mut best_round) = (self.chain(rank, &weights)?, 0);
        let (mut kernel, mut error) = self.error_of(&best)?;
        for round in 1..=self.rounds {
            weights = self.improved(rank, &weights)?;
            let chain = self.chain(rank, &weights)?;
            let (product, found) = self.error_of(&chain)?;
            let before = error;
            if found < error {
                (best, best_round, kernel, error) = (chain, round, product, found);
            }
            if before - error <= tolerance * before {
                break;
            }
        }
        self.candidate(best, kernel, error, best_round)
    }

    /// The fit at `rank`, given the one at the rank below.
    fn fit_above(&self, rank: usize, lower: Option<&Fit>) -> Result<Fit, FactorError> {
        let start = self.each_group(|solver, _| solver.start(rank))?;
        let mut candidates = vec![self.alternate(rank, start)?];
        let mut floors = Vec::new();
        if self.calibration.options().floor {
            floors.push(self.floor(self.factored()?.chain(rank)?)?);
        }
        if let Some(lower) = lower {
            floors.push(self.at_rank(rank, &lower.chain)?);
        }
        let lowest = floors
            .iter()
            .map(|c| c.error_fit)
            .fold(f64::INFINITY, f64::min);
        // The slack is the size of rounding where the error is zero.
        let keeps = |c: &Candidate| c.error_fit <= lowest * (1.0 + 1e-9) + 1e-13;
        if self.rounds > 0
            && !candidates.iter().all(keeps)
            && let Some(floor) = floors.iter().find(|c| keeps(c))
        {
            let from = self.alternate(rank, floor.chain.weights())?;
            candidates.push(Candidate {
                is_floor: from.rounds == 0,
                ..from
            });
        }
        candidates.extend(floors);
        let best = candidates
            .into_iter()
            .filter(keeps)
            .min_by(|a, b| a.error().total_cmp(&b.error()))
            .ok_or(FactorError::Statistics("an error is not a number"))?;
        self.fit_of(best)
    }

    /// A chain that was chosen, with its best bias.
    fn fit_of(&self, best: Candidate) -> Result<Fit, FactorError> {
        let mut chain = best.chain;
        chain.bias = best_bias(self.calibration.statistics(), &best.kernel)?;
        Ok(Fit {
            chain,
            error_fit: best.error_fit,
            error_held_out: best.error_held_out,
            error_activated: None,
            rounds: best.rounds,
            is_floor: best.is_floor,
        })
    }

    /// A chain of a lower rank with channels of zeros added.
    fn at_rank(&self, rank: usize, lower: &Chain) -> Result<Candidate, FactorError> {
        let shape = self.calibration.kernel().shape();
        let shapes = self.family.stages(shape, rank)?;
        let from = ChannelLayout {
            stages: &lower.shapes(),
            widths: &self.family.widths(shape, lower.rank),
        };
        let to = ChannelLayout {
            stages: &shapes,
            widths: &self.family.widths(shape, rank),
        };
        let weights = widened(&lower.weights(), &from, &to);
        self.floor(Chain::of_weights(self.family.name(), rank, shapes, weights))
    }

    fn remembered(&self, rank: usize) -> Option<Fit> {
        self.done.lock().ok()?.get(&rank).cloned()
    }
}

impl Fitter for Alternation<'_> {
    fn fit(&self, rank: usize) -> Result<Fit, FactorError> {
        let shape = self.calibration.kernel().shape();
        check_rank(self.family, shape, rank)?;
        let mut ranks: Vec<usize> = Vec::new();
        if self.calibration.options().monotone {
            ranks.extend(self.family.ranks(shape)?.iter().take_while(|&r| r < rank));
        }
        ranks.push(rank);
        let mut last: Option<Fit> = None;
        for rank in ranks {
            let fit = match self.remembered(rank) {
                Some(fit) => fit,
                None => self.fit_above(rank, last.as_ref())?,
            };
            if let Ok(mut done) = self.done.lock() {
                done.insert(rank, fit.clone());
            }
            last = Some(fit);
        }
        last.ok_or(FactorError::Rank { rank, max: 0 })
    }

    fn estimate(&self, rank: usize) -> Result<Estimate, FactorError> {
        check_rank(self.family, self.calibration.kernel().shape(), rank)?;
        let mut weights = self.each_group(|solver, _| solver.start(rank))?;
        if self.rounds > 0 {
            weights = self.improved(rank, &weights)?;
        }
        let mut chain = self.chain(rank, &weights)?;
        let (kernel, error) = self.error_of(&chain)?;
        chain.bias = best_bias(self.calibration.statistics(), &kernel)?;
        Ok(Estimate { chain, error })
    }

    fn resume(&self, chain: &Chain) -> Result<Chain, FactorError> {
        let rank = chain.rank;
        check_rank(self.family, self.calibration.kernel().shape(), rank)?;
        let mut weights = match self.rounds {
            0 => self.each_group(|solver, _| solver.start(rank))?,
            _ => chain.weights(),
        };
        for _ in 0..self.rounds {
            weights = self.improved(rank, &weights)?;
        }
        let mut chain = self.chain(rank, &weights)?;
        chain.bias = best_bias(self.calibration.statistics(), &chain.compose()?)?;
        Ok(chain)
    }
}
