//! Accumulation of [`Statistics`], block by block.

use std::sync::Arc;

use faer::MatRef;
use faer::traits::math_utils::zero;
use rayon::prelude::*;

use super::{Covariance, DOUBLE, GroupStatistics, Statistics};
use crate::error::FactorError;
use crate::linalg::dense::Real;
use crate::linalg::{dense, gram};
use crate::shape::KernelShape;

/// Positions that are multiplied at a time, and values where patches are kept.
const BLOCK: usize = 512;
const VALUES: usize = 1 << 20;
/// Rows of `C` that one task updates, from the diagonal on.
const PANEL: usize = 96;

/// Collects [`Statistics`] from patches and outputs.
///
/// Positions are buffered and multiplied in blocks of 512 after the mean of the first block is
/// subtracted: so large means (images in 0..255) cost no accuracy, and the bytes depend neither on
/// how the positions are cut into pushes nor on the number of threads. The products of a block are
/// in f64 for patches of up to 256 values, and for as many positions as a patch has values, of which
/// `C` is singular; else in f32. Of wider patches, where at least twice as many positions are expected
/// ([`SplitStatisticsBuilder::expecting`](super::SplitStatisticsBuilder::expecting)), all products are
/// in f32. They are summed in f64: an entry of `C` is off by about 1e-7 of its
/// standard deviations' product, a hundredth of the ridge that fits add to the diagonal.
pub struct StatisticsBuilder {
    shape: KernelShape,
    /// True where patches are kept in place of their covariance.
    keeps: bool,
    /// Positions of a block.
    block: usize,
    /// Positions at first whose products are in f64.
    double: u64,
    count: u64,
    buffered: usize,
    /// Buffered patches of each group `[buffered, d]`.
    patches: Vec<Vec<f32>>,
    /// Buffered outputs `[buffered, Co]`.
    outputs: Vec<f32>,
    groups: Vec<GroupSums>,
}

/// Sums over positions of one group, relative to the shifts.
struct GroupSums {
    shift_x: Vec<f64>,
    shift_y: Vec<f64>,
    sum_x: Vec<f64>,
    sum_y: Vec<f64>,
    /// Upper triangle, `[d, d]`; empty where patches are kept.
    scatter: Vec<f64>,
    /// Patches `[n, d]`, where they are kept.
    rows: Vec<f32>,
    /// `[Co/g, d]`.
    cross: Vec<f64>,
    square_y: Vec<f64>,
}

impl StatisticsBuilder {
    /// A builder without a position.
    ///
    /// # Errors
    /// [`FactorError::Shape`], [`FactorError::Memory`].
    pub fn new(shape: &KernelShape) -> Result<Self, FactorError> {
        Self::with(shape, false)
    }

    /// A builder that keeps the patches themselves, in f32, in place of their covariance: 4 `n d`
    /// bytes a group in place of 8 `d^2`. For patches of more values than there are positions;
    /// fits and scores are the same to rounding, and take memory and time by the positions.
    ///
    /// # Errors
    /// [`FactorError::Shape`], [`FactorError::Memory`].
    pub fn of_patches(shape: &KernelShape) -> Result<Self, FactorError> {
        Self::with(shape, true)
    }

    fn with(shape: &KernelShape, keeps: bool) -> Result<Self, FactorError> {
        shape.validate()?;
        let (m, d) = (shape.group_out(), shape.group_in() * shape.taps());
        let sums = || -> Result<GroupSums, FactorError> {
            Ok(GroupSums {
                shift_x: Vec::new(),
                shift_y: Vec::new(),
                sum_x: dense::zeros(1, d)?,
                sum_y: vec![0.0; m],
                scatter: if keeps {
                    Vec::new()
                } else {
                    dense::zeros(d, d)?
                },
                rows: Vec::new(),
                cross: dense::zeros(m, d)?,
                square_y: vec![0.0; m],
            })
        };
        let groups = (0..shape.groups).map(|_| sums());
        Ok(Self {
            shape: shape.clone(),
            keeps,
            block: if keeps {
                (VALUES / d).clamp(8, BLOCK)
            } else {
                BLOCK
            },
            double: if d <= DOUBLE { u64::MAX } else { d as u64 },
            count: 0,
            buffered: 0,
            patches: vec![Vec::new(); shape.groups],
            outputs: Vec::new(),
            groups: groups.collect::<Result<_, _>>()?,
        })
    }

    /// For so many positions in all.
    pub(super) fn expecting(mut self, positions: u64) -> Self {
        let d = self.shape.group_in() * self.shape.taps();
        if !self.keeps && d > DOUBLE && positions >= 2 * d as u64 {
            self.double = 0;
        }
        self
    }

    /// Adds `n` positions: for each group its patches, row-major `[n, d]`
    /// ([`crate::ConvGeometry::gather`]), and the outputs of the original convolution, row-major
    /// `[n, Co]` ([`crate::gather_outputs`]).
    ///
    /// # Errors
    /// [`FactorError::Statistics`] where a length does not fit; nothing is added then.
    /// [`FactorError::Memory`] where patches are kept and there is no room for them.
    pub fn push<P: AsRef<[f32]>>(&mut self, x: &[P], y: &[f32]) -> Result<(), FactorError> {
        let d = self.shape.group_in() * self.shape.taps();
        let co = self.shape.out_channels;
        let n = y.len() / co;
        let fits = x.len() == self.shape.groups && x.iter().all(|x| x.as_ref().len() == n * d);
        if !fits || n * co != y.len() {
            return Err(FactorError::Statistics(
                "patches and outputs do not fit the kernel",
            ));
        }
        let mut begin = 0;
        while begin < n {
            let end = n.min(begin + self.block - self.buffered);
            for (buffer, x) in self.patches.iter_mut().zip(x) {
                buffer.extend_from_slice(&x.as_ref()[begin * d..end * d]);
            }
            self.outputs.extend_from_slice(&y[begin * co..end * co]);
            self.buffered += end - begin;
            begin = end;
            if self.buffered == self.block {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// The statistics of all positions pushed.
    ///
    /// # Errors
    /// [`FactorError::Statistics`] where a value was not finite.
    pub fn finish(mut self) -> Result<Statistics, FactorError> {
        self.flush()?;
        let keeps = self.keeps;
        let count = self.count;
        let mut statistics = Statistics {
            shape: self.shape,
            count,
            mean_y: Vec::new(),
            variance_y: Vec::new(),
            groups: Vec::new(),
        };
        for sums in self.groups {
            let (group, mean_y, variance_y) = sums.finish(count as f64, keeps);
            statistics.groups.push(group);
            statistics.mean_y.extend(mean_y);
            statistics.variance_y.extend(variance_y);
        }
        if statistics.is_finite() {
            Ok(statistics)
        } else {
            Err(FactorError::Statistics("a value is not finite"))
        }
    }

    fn flush(&mut self) -> Result<(), FactorError> {
        if self.buffered == 0 {
            return Ok(());
        }
        if self.keeps {
            for (sums, patches) in self.groups.iter_mut().zip(&self.patches) {
                let had = sums.rows.try_reserve(patches.len());
                had.map_err(|_| FactorError::Memory {
                    bytes: 4 * (sums.rows.len() + patches.len()),
                })?;
                sums.rows.extend_from_slice(patches);
            }
        }
        let (n, m, co) = (
            self.buffered,
            self.shape.group_out(),
            self.shape.out_channels,
        );
        let (outputs, double) = (&self.outputs, self.count < self.double);
        let parts = self.groups.par_iter_mut().zip(&mut self.patches);
        parts.enumerate().for_each(|(group, (sums, patches))| {
            let rows = outputs.chunks_exact(co);
            let y: Vec<f32> = rows
                .flat_map(|row| row[group * m..][..m].iter().copied())
                .collect();
            sums.add(patches, &y, double);
            patches.clear();
        });
        self.outputs.clear();
        self.count += n as u64;
        self.buffered = 0;
        Ok(())
    }
}

impl GroupSums {
    /// Adds `n` positions, `x` `[n, d]` and `y` `[n, m]`, with products in f64 where `double`.
    fn add(&mut self, x: &[f32], y: &[f32], double: bool) {
        let (d, m) = (self.sum_x.len(), self.sum_y.len());
        let n = y.len() / m;
        if self.shift_x.is_empty() {
            self.shift_x = mean(x, n, d);
            self.shift_y = mean(y, n, m);
        }
        match double {
            true => self.add_shifted::<f64>(x, y),
            false => self.add_shifted::<f32>(x, y),
        }
    }

    /// Adds `n` positions less their shifts, with products in the precision of `T`.
    fn add_shifted<T: Real>(&mut self, x: &[f32], y: &[f32]) {
        let (d, m) = (self.sum_x.len(), self.sum_y.len());
        let n = y.len() / m;
        let shifted_x: Vec<T> = shifted(x, &self.shift_x, &mut self.sum_x);
        for row in y.chunks_exact(m) {
            let values = row.iter().zip(&self.shift_y);
            for (square, (&y, shift)) in self.square_y.iter_mut().zip(values) {
                let y = f64::from(y) - shift;
                *square += y * y;
            }
        }
        let shifted_y: Vec<T> = shifted(y, &self.shift_y, &mut self.sum_y);
        self.add_products(dense::view(&shifted_x, n, d), dense::view(&shifted_y, n, m));
    }

    /// Adds the products of the shifted positions of a block to the sums.
    fn add_products<T: Real>(&mut self, x: MatRef<'_, T>, y: MatRef<'_, T>) {
        let d = x.ncols();
        let rows = self.cross.par_chunks_mut(PANEL * d).enumerate();
        rows.for_each(|(index, out)| {
            let left = y.subcols(index * PANEL, out.len() / d);
            add_product(out, left, x);
        });
        let panels = self.scatter.par_chunks_mut(PANEL * d).enumerate();
        panels.for_each(|(index, panel)| {
            let (begin, height) = (index * PANEL, panel.len() / d);
            let (left, right) = (x.subcols(begin, height), x.subcols(begin, d - begin));
            add_product(panel, left, right);
        });
    }

    /// The statistics, the mean and the variance of the outputs.
    fn finish(mut self, count: f64, keeps: bool) -> (GroupStatistics, Vec<f64>, Vec<f64>) {
        let (d, m) = (self.sum_x.len(), self.sum_y.len());
        self.shift_x.resize(d, 0.0);
        self.shift_y.resize(m, 0.0);
        let scale = if count > 0.0 { 1.0 / count } else { 0.0 };
        let scaled = |v: &[f64]| v.iter().map(|x| x * scale).collect::<Vec<f64>>();
        let (dx, dy) = (scaled(&self.sum_x), scaled(&self.sum_y));
        let centre = |matrix: &mut [f64], left: &[f64]| {
            for (row, l) in matrix.chunks_exact_mut(d).zip(left) {
                for (value, r) in row.iter_mut().zip(&dx) {
                    *value = *value * scale - l * r;
                }
            }
        };
        centre(&mut self.scatter, &dx);
        centre(&mut self.cross, &dy);
        let covariance = if keeps {
            Covariance::Patches(vec![Arc::new(self.rows)])
        } else {
            gram::mirror(&mut self.scatter, d);
            (0..d).for_each(|i| self.scatter[i * d + i] = self.scatter[i * d + i].max(0.0));
            Covariance::Dense(Arc::new(self.scatter))
        };
        let squares = self.square_y.iter().zip(&dy);
        let variance = squares
            .map(|(s, dy)| (s * scale - dy * dy).max(0.0))
            .collect();
        let moved = |d: &[f64], s: &[f64]| d.iter().zip(s).map(|(d, s)| d + s).collect::<Vec<_>>();
        let group = GroupStatistics {
            mean_x: moved(&dx, &self.shift_x),
            covariance,
            cross: self.cross,
        };
        (group, moved(&dy, &self.shift_y), variance)
    }
}

/// Adds `left^T right` to the ends of the rows of `out`; the product is in the precision of its factors.
fn add_product<T: Real>(out: &mut [f64], left: MatRef<'_, T>, right: MatRef<'_, T>) {
    let (rows, columns) = (left.ncols(), right.ncols());
    let mut product = vec![zero::<T>(); rows * columns];
    dense::panel(&mut product, false, left.transpose(), right);
    let width = out.len() / rows;
    let rows = out
        .chunks_exact_mut(width)
        .zip(product.chunks_exact(columns));
    dense::vectorised(|| {
        for (row, product) in rows {
            let sums = row[width - columns..].iter_mut().zip(product);
            sums.for_each(|(sum, x)| *sum += (*x).into());
        }
    });
}

fn mean(rows: &[f32], n: usize, width: usize) -> Vec<f64> {
    let mut sums = vec![0.0; width];
    for row in rows.chunks_exact(width) {
        sums.iter_mut()
            .zip(row)
            .for_each(|(s, &x)| *s += f64::from(x));
    }
    sums.iter_mut().for_each(|s| *s /= n as f64);
    sums
}

/// The rows less `shift`; their sum in f64 is added to `sums`.
fn shifted<T: Real>(rows: &[f32], shift: &[f64], sums: &mut [f64]) -> Vec<T> {
    let mut out = vec![zero::<T>(); rows.len()];
    let wide = shift.len();
    dense::vectorised(|| {
        for (row, out) in rows.chunks_exact(wide).zip(out.chunks_exact_mut(wide)) {
            let values = row.iter().zip(shift).zip(&mut *sums);
            for (((x, shift), sum), out) in values.zip(out) {
                let value = f64::from(*x) - shift;
                *sum += value;
                *out = T::of(value);
            }
        }
    });
    out
}
