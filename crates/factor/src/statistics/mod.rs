//! Second-order statistics of a convolution's input patches and target outputs: all that a
//! calibrated fit needs, whatever the family and the rank.
//!
//! Over `n` sampled output positions, with `x` the patch of a group (`d = Ci/g * taps` values in
//! the order of ONNX's `W`) as the network compressed so far delivers it, and `y` the output of
//! the original network (asymmetric reconstruction, Zhang et al. 2015, arXiv 1505.06798,
//! section 3.3): the means of both, `C = cov(x)`, `B = cov(y, x)` and the variance of each output.
//!
//! **Score.** A linear map `We` `[Co, d]` with the best bias, `mean_y - We mean_x`, leaves the
//! relative squared error `1 - (2 <We, B> - <We C, We>) / |y|^2`. For a chain, `We` is its
//! product. That is exact with zero padding too: every stage but the last is without a bias, so a
//! padded zero is the same zero before and after a pointwise stage, and each spatial axis is
//! padded by the one stage that carries it.
//!
//! **Wide patches.** Where a patch has more values than there are positions, the patches themselves
//! are kept in place of `C` ([`StatisticsBuilder::of_patches`]): fewer numbers by `d / n`, and all
//! products with `C` are made of them. Fits and scores are the same to rounding.
//!
//! **Figures**, on a shared 2-core AMD EPYC that others used at the time (load 6); `cargo bench -p
//! sepconv-factor --bench calibrate`. Milliseconds on one thread to add a block of 512 patches to
//! `C`, by whole products or by panels of so many rows from the diagonal on:
//!
//! | d | nalgebra, whole | faer, whole | faer, 48 | faer, 96 (used) | faer, 192 |
//! |---|---|---|---|---|---|
//! | 576 | 7.7 | 8.2 | 4.8 | 4.9 | 5.2 |
//! | 1152 | 49 | 35 | 25 | 30 | 32 |
//! | 4608 | 734 | 816 | 514 | 461 | 452 |
//!
//! Statistics of 60,000 positions, one thread: 0.9 s at d = 576, 4.2 s at d = 1152.

mod builder;
mod codec;
mod covariance;
mod split;

use std::borrow::Cow;

pub use builder::StatisticsBuilder;
pub(crate) use covariance::Covariance;
pub use split::{
    PositionSampler, SplitStatistics, SplitStatisticsBuilder, held_out_of, is_held_out,
};

use crate::chain::Chain;
use crate::error::FactorError;
use crate::kernel::Kernel;
use crate::linalg::dense::{self, Real};
use crate::patch_matrix::PatchMatrix;
use crate::shape::KernelShape;

/// Length of a patch up to which the products of a block of positions are in double precision: these
/// take little time.
const DOUBLE: usize = 256;

/// Columns of `C` that one step of [`Statistics::score`] multiplies.
const PANEL: usize = 128;

/// Statistics of one group of a convolution.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct GroupStatistics {
    /// Mean patch `[d]`.
    pub mean_x: Vec<f64>,
    /// `C`.
    pub covariance: Covariance,
    /// `B`, row-major `[Co/g, d]`.
    pub cross: Vec<f64>,
}

/// Means and covariances (divided by the number of positions) of one convolution. Built by
/// [`StatisticsBuilder`]; stored by [`Statistics::to_bytes`] or by serde, as the same bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Statistics {
    pub(crate) shape: KernelShape,
    pub(crate) count: u64,
    pub(crate) mean_y: Vec<f64>,
    pub(crate) variance_y: Vec<f64>,
    pub(crate) groups: Vec<GroupStatistics>,
}

impl Statistics {
    /// The geometry of the convolution.
    pub fn shape(&self) -> &KernelShape {
        &self.shape
    }

    /// Number of positions.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Mean output `[Co]`.
    pub fn mean_y(&self) -> &[f64] {
        &self.mean_y
    }

    /// Variance of each output `[Co]`; the sum is `|y - mean_y|^2` per position.
    pub fn variance_y(&self) -> &[f64] {
        &self.variance_y
    }

    /// Mean patch `[d]` of a group.
    ///
    /// # Panics
    /// Where there is no such group.
    pub fn mean_x(&self, group: usize) -> &[f64] {
        &self.groups[group].mean_x
    }

    /// `C = cov(x)` of a group, row-major `[d, d]`; computed where the patches themselves are kept,
    /// see [`StatisticsBuilder::of_patches`].
    ///
    /// # Errors
    /// [`FactorError::Memory`] where it can't be allocated.
    ///
    /// # Panics
    /// Where there is no such group.
    pub fn covariance(&self, group: usize) -> Result<Cow<'_, [f64]>, FactorError> {
        let group = &self.groups[group];
        group.covariance.dense(&group.mean_x)
    }

    /// True where the patches themselves are kept, in place of their covariance.
    pub fn keeps_patches(&self) -> bool {
        let kept = |g: &GroupStatistics| matches!(g.covariance, Covariance::Patches(_));
        self.groups.iter().all(kept)
    }

    /// Those of no position.
    pub(crate) fn empty(shape: &KernelShape) -> Self {
        let (m, d) = (shape.group_out(), shape.group_in() * shape.taps());
        let group = GroupStatistics {
            mean_x: vec![0.0; d],
            covariance: Covariance::empty(),
            cross: vec![0.0; m * d],
        };
        Self {
            shape: shape.clone(),
            count: 0,
            mean_y: vec![0.0; shape.out_channels],
            variance_y: vec![0.0; shape.out_channels],
            groups: vec![group; shape.groups],
        }
    }

    /// `B = cov(y, x)` of a group, row-major `[Co/g, d]`.
    ///
    /// # Panics
    /// Where there is no such group.
    pub fn cross(&self, group: usize) -> &[f64] {
        &self.groups[group].cross
    }

    /// The statistics of both sets of positions (Chan, Golub and LeVeque 1979). Merge in a fixed
    /// order for fixed bytes.
    ///
    /// # Errors
    /// [`FactorError::Statistics`] where the shapes differ; [`FactorError::Memory`].
    pub fn merge(&self, other: &Self) -> Result<Self, FactorError> {
        if self.shape != other.shape {
            return Err(FactorError::Statistics("of kernels of different shapes"));
        }
        if other.count == 0 {
            return Ok(self.clone());
        }
        if self.count == 0 {
            return Ok(other.clone());
        }
        let count = self.count + other.count;
        let share = other.count as f64 / count as f64;
        // mean = a + share (b - a); covariance = (1 - share) A + share B + between * (b - a)^2.
        let between = share * (1.0 - share);
        let mut merged = self.clone();
        merged.count = count;
        let difference =
            |a: &[f64], b: &[f64]| -> Vec<f64> { a.iter().zip(b).map(|(a, b)| b - a).collect() };
        let mix = |a: &mut [f64], b: &[f64]| {
            a.iter_mut()
                .zip(b)
                .for_each(|(a, b)| *a += share * (b - *a));
        };
        let dy = difference(&self.mean_y, &other.mean_y);
        mix(&mut merged.mean_y, &other.mean_y);
        mix(&mut merged.variance_y, &other.variance_y);
        for (v, dy) in merged.variance_y.iter_mut().zip(&dy) {
            *v += between * dy * dy;
        }
        let outputs = self.shape.group_out();
        let parts = merged.groups.iter_mut().zip(&other.groups);
        for ((to, from), dy) in parts.zip(dy.chunks_exact(outputs)) {
            let dx = difference(&to.mean_x, &from.mean_x);
            let (mean, others) = (&to.mean_x, &from.mean_x);
            to.covariance = (to.covariance).mixed(&from.covariance, mean, others, share)?;
            mix(&mut to.mean_x, &from.mean_x);
            mix(&mut to.cross, &from.cross);
            let d = dx.len();
            for (row, y) in to.cross.chunks_exact_mut(d).zip(dy) {
                dense::axpy(row, between * y, &dx);
            }
        }
        Ok(merged)
    }

    /// Relative squared error `|y - We x - b|^2 / |y - mean_y|^2` of a chain in place of the
    /// convolution, with the best bias; the chain's own bias is not looked at. 0 is perfect; 1
    /// is the error of a constant. Where the output is constant, the absolute error.
    ///
    /// # Errors
    /// [`FactorError::Chain`] and [`FactorError::NonFinite`] from [`Chain::compose`];
    /// [`FactorError::Statistics`] where the product has another shape.
    pub fn score(&self, chain: &Chain) -> Result<f64, FactorError> {
        self.score_kernel(&chain.compose()?)
    }

    /// [`Statistics::score`] of the convolution with another weight.
    ///
    /// # Errors
    /// [`FactorError::Statistics`] where the shape differs.
    pub fn score_kernel(&self, kernel: &Kernel) -> Result<f64, FactorError> {
        let residual: f64 = self.residuals(kernel)?.iter().sum();
        Ok(self.relative(residual))
    }

    /// Variance `[Co]` of `y - We x` for each output: the error of the kernel with the best bias.
    ///
    /// # Errors
    /// [`FactorError::Statistics`] where the shape differs.
    pub fn residuals(&self, kernel: &Kernel) -> Result<Vec<f64>, FactorError> {
        if *kernel.shape() != self.shape {
            return Err(FactorError::Statistics("of a kernel of another shape"));
        }
        let (m, d) = self.extents();
        let mut residuals = self.variance_y.clone();
        let parts = self.groups.iter().zip(kernel.data().chunks_exact(m * d));
        for ((group, we), out) in parts.zip(residuals.chunks_exact_mut(m)) {
            for (o, out) in out.iter_mut().enumerate() {
                *out -= 2.0 * dense::dot(&we[o * d..][..d], &group.cross[o * d..][..d]);
            }
            match &group.covariance {
                Covariance::Dense(c) => add_quadratic(we, c, m, d, out),
                Covariance::Patches(parts) => {
                    let rows = PatchMatrix::seen(parts, &group.mean_x);
                    match d <= DOUBLE {
                        true => add_squares(&rows.project(we), out),
                        false => add_squares(&rows.project(&dense::single(we)), out),
                    }
                }
            }
        }
        // One that is not a number stays: `f64::max` would make it the best.
        residuals.iter_mut().for_each(|r| {
            if *r < 0.0 {
                *r = 0.0;
            }
        });
        Ok(residuals)
    }

    /// The best bias `[Co]` for a kernel, `mean_y - We mean_x`.
    ///
    /// # Errors
    /// [`FactorError::Statistics`] where the shape differs.
    pub fn bias(&self, kernel: &Kernel) -> Result<Vec<f64>, FactorError> {
        if *kernel.shape() != self.shape {
            return Err(FactorError::Statistics("of a kernel of another shape"));
        }
        let (m, d) = self.extents();
        let rows = kernel.data().chunks_exact(d).zip(&self.mean_y).enumerate();
        let bias = rows.map(|(o, (row, mean))| mean - dense::dot(row, &self.groups[o / m].mean_x));
        Ok(bias.collect())
    }

    /// Relative squared error of a kernel with a bias of somebody else's choice.
    pub(crate) fn score_biased(&self, kernel: &Kernel, bias: &[f64]) -> Result<f64, FactorError> {
        let best = self.bias(kernel)?;
        let shift: f64 = best.iter().zip(bias).map(|(a, b)| (a - b) * (a - b)).sum();
        let residual: f64 = self.residuals(kernel)?.iter().sum();
        Ok(self.relative(residual + shift))
    }

    /// `maps (C + ridge I)` `[r, d]` of a group.
    pub(crate) fn ridged(
        &self,
        group: usize,
        ridge: f64,
        maps: &[f64],
    ) -> Result<Vec<f64>, FactorError> {
        let group = &self.groups[group];
        let d = group.mean_x.len();
        if let Some(rows) = group.covariance.rows(&group.mean_x) {
            let mut seen = rows.times(maps);
            dense::axpy(&mut seen, ridge, maps);
            return Ok(seen);
        }
        let mut covariance = group.covariance.dense(&group.mean_x)?.into_owned();
        dense::add_to_diagonal(&mut covariance, d, ridge);
        let mut seen = dense::zeros(maps.len() / d, d)?;
        let maps = dense::view(maps, maps.len() / d, d);
        dense::product(&mut seen, false, maps, dense::view(&covariance, d, d));
        Ok(seen)
    }

    /// True where every value is finite.
    fn is_finite(&self) -> bool {
        let finite = |values: &[f64]| values.iter().all(|v| v.is_finite());
        let group =
            |g: &GroupStatistics| finite(&g.mean_x) && g.covariance.is_finite() && finite(&g.cross);
        finite(&self.mean_y) && finite(&self.variance_y) && self.groups.iter().all(group)
    }

    fn relative(&self, residual: f64) -> f64 {
        let energy: f64 = self.variance_y.iter().sum();
        if energy > 0.0 {
            residual / energy
        } else {
            residual
        }
    }

    /// Outputs of a group, and the length `d` of its patches.
    pub(crate) fn extents(&self) -> (usize, usize) {
        let shape = &self.shape;
        (shape.group_out(), shape.group_in() * shape.taps())
    }
}

/// Adds the square of every column of `rows` `[n, outputs]` to that of `out` `[outputs]`.
fn add_squares<T: Real>(rows: &[T], out: &mut [f64]) {
    for row in rows.chunks_exact(out.len()) {
        for (out, value) in out.iter_mut().zip(row) {
            let value: f64 = (*value).into();
            *out += value * value;
        }
    }
}

/// `out[o] += w_o C w_o^T`; only the upper triangle of `C` is multiplied.
fn add_quadratic(we: &[f64], covariance: &[f64], m: usize, d: usize, out: &mut [f64]) {
    let (we_view, c) = (dense::view(we, m, d), dense::view(covariance, d, d));
    for begin in (0..d).step_by(PANEL) {
        let end = d.min(begin + PANEL);
        // Columns up to the end of this panel, of its rows: twice those before it, once its own.
        let mut product = vec![0.0; m * end];
        let rows = c.submatrix(begin, 0, end - begin, end);
        dense::product(
            &mut product,
            false,
            we_view.subcols(begin, end - begin),
            rows,
        );
        for (o, (p, out)) in product.chunks_exact(end).zip(&mut *out).enumerate() {
            let w = &we[o * d..][..end];
            *out += 2.0 * dense::dot(&p[..begin], &w[..begin]);
            *out += dense::dot(&p[begin..], &w[begin..]);
        }
    }
}
