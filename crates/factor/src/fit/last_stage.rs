//! The fit that every family has: the last stage in closed form.
//!
//! A chain whose last stage only mixes channels is linear in that stage. With the features
//! `A = `product of the stages before it, `[M/g, d]` for one group, the best last stage is
//! `P = (B + eps W) A^T (A (C + eps I) A^T)^-1`: least squares on the outputs of the front.
//! The front stays that of the weights alone. Other chains stay as they are; both get the best
//! bias.

use super::calibration::Calibration;
use super::fitter::{Estimate, Fit, Fitter, best_bias, held_out_error};
use crate::chain::Chain;
use crate::compose::compose;
use crate::error::FactorError;
use crate::factored::Factored;
use crate::kernel::Kernel;
use crate::linalg::cholesky::Cholesky;
use crate::linalg::dense;

/// The fitter of families that bring none of their own.
pub(crate) struct LastStage<'a> {
    factored: Box<dyn Factored>,
    calibration: &'a Calibration<'a>,
}

impl<'a> LastStage<'a> {
    pub fn new(factored: Box<dyn Factored>, calibration: &'a Calibration<'a>) -> Self {
        Self {
            factored,
            calibration,
        }
    }

    /// `chain` with the best last stage; `None` where that stage does more than mix channels.
    fn refitted(&self, chain: &Chain) -> Result<Option<Chain>, FactorError> {
        let groups = self.calibration.kernel().shape().groups;
        let Some((last, before)) = chain.stages.split_last() else {
            return Ok(None);
        };
        let mixes = !last.shape.axes.contains(&true) && last.shape.kernel.groups == groups;
        if before.is_empty() || !mixes {
            return Ok(None);
        }
        let front = compose(before)?;
        if !front.shape().groups.is_multiple_of(groups) {
            return Ok(None);
        }
        let (m, d) = self.calibration.statistics().fit.extents();
        let mut weight = Vec::with_capacity(last.weight.len());
        for (group, target) in self.calibration.targets().iter().enumerate() {
            let features = features(&front, groups, group);
            let n = features.len() / d;
            let transposed = dense::transposed(&features, n, d);
            let transposed = dense::view(&transposed, d, n);
            let statistics = &self.calibration.statistics().fit;
            let seen = statistics.ridged(group, target.ridge, &features)?;
            let mut gram = vec![0.0; n * n];
            dense::product(&mut gram, false, dense::view(&seen, n, d), transposed);
            let mut best = vec![0.0; m * n];
            dense::product(
                &mut best,
                false,
                dense::view(&target.cross, m, d),
                transposed,
            );
            Cholesky::regularised(&gram, n)?.solve(&mut best);
            weight.extend(best);
        }
        let mut refitted = chain.clone();
        if let Some(last) = refitted.stages.last_mut() {
            last.weight = weight;
        }
        Ok(Some(refitted))
    }

    /// `chain`, refitted where that lowers the error on the positions fitted to.
    fn fit_of(&self, chain: Chain) -> Result<Fit, FactorError> {
        let statistics = self.calibration.statistics();
        let mut error_fit = statistics.fit.score(&chain)?;
        let mut chain = chain;
        if let Some(refitted) = self.refitted(&chain)? {
            let error = statistics.fit.score(&refitted)?;
            if error < error_fit {
                (chain, error_fit) = (refitted, error);
            }
        }
        let kernel = chain.compose()?;
        chain.bias = best_bias(statistics, &kernel)?;
        Ok(Fit {
            chain,
            error_fit,
            error_held_out: held_out_error(statistics, &kernel)?,
            error_activated: None,
            rounds: 0,
            is_floor: false,
        })
    }
}

impl Fitter for LastStage<'_> {
    fn fit(&self, rank: usize) -> Result<Fit, FactorError> {
        self.fit_of(self.factored.chain(rank)?)
    }

    fn estimate(&self, rank: usize) -> Result<Estimate, FactorError> {
        let fit = self.fit(rank)?;
        Ok(Estimate {
            error: fit.error_held_out.unwrap_or(fit.error_fit),
            chain: fit.chain,
        })
    }

    fn resume(&self, chain: &Chain) -> Result<Chain, FactorError> {
        Ok(self.fit_of(chain.clone())?.chain)
    }
}

/// The rows `[M/g, d]` of a front that belong to one of `groups` groups, as dense as that group.
fn features(front: &Kernel, groups: usize, group: usize) -> Vec<f64> {
    let shape = front.shape();
    let taps = shape.taps();
    let (inputs, own) = (shape.in_channels / groups * taps, shape.group_in() * taps);
    let rows = shape.out_channels / groups;
    let mut features = vec![0.0; rows * inputs];
    for (r, row) in features.chunks_exact_mut(inputs).enumerate() {
        let output = group * rows + r;
        // The first input that it reads, counted from the first of the group.
        let first = output / shape.group_out() * own - group * inputs;
        let weights = &front.data()[output * own..][..own];
        for (to, &w) in row[first..].iter_mut().zip(weights) {
            *to = w;
        }
    }
    features
}
