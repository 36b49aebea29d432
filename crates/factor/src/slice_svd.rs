//! The SVD of every slice of a kernel, through the Gram matrix of the slice's shorter side.
//!
//! A slice is the `[rows, taps]` matrix of one input channel (rows: outputs of the group) or of
//! one output channel (rows: inputs of the group). With `n = min(rows, taps)`:
//!
//! 1. Gram matrix `G` `[n, n]` in f64, over the taps where `taps <= rows`, else over the rows.
//! 2. `G = Q diag(sigma^2) Q^T`. `Q` is orthonormal to machine precision even where `G` is
//!    singular or its small eigenvalues are noise.
//! 3. The other factor is the slice times `Q`, computed when a rank is asked for. So the product
//!    is exact at full rank whatever the condition: squaring it costs accuracy only in singular
//!    values below `1e-8` of the largest, which no f32 kernel resolves; at full rank nothing.
//!
//! Only `Q` is stored, `n^2` f64 per slice; the kernel is shared, not copied.
//!
//! **Scale.** Both factors of component `r` have the norm `sqrt(sigma_r)`, so that neither
//! overflows or vanishes in f16. `sigma_r` is floored at `sqrt(n eps) sigma_0` for this purpose
//! only; both factors of a zero slice are zero.
//! **Sign.** The largest entry of each spatial filter is positive; among entries within `1e-6` of
//! the largest magnitude, the first.
//!
//! **Speed**, in milliseconds, on a shared 2-core AMD EPYC whose clock varies twofold (ranges over
//! three runs); `cargo bench -p sepconv-factor --bench decompose -- vgg16`:
//!
//! | Work | 1 thread | 2 threads |
//! |---|---|---|
//! | 512x512x3x3, thin SVDs by nalgebra | 38 to 117 | |
//! | 512x512x3x3, `dw-pw`, all ranks | 8 to 15 | 5 to 14 |
//! | 512x512x3x3, `dw-pw`, cut at K = 2 | 5 to 9 | 3 to 5 |
//! | VGG-16, 13 layers, `dw-pw`, factored and cut at K = 3 | 76 to 173 | 44 to 91 |
//! | VGG-16, 13 layers, `pw-dw`, factored and cut at K = 3 | 88 to 172 | 52 to 84 |

use rayon::prelude::*;

use crate::error::FactorError;
use crate::kernel::Kernel;
use crate::linalg::{eigen, gram};
use crate::spectrum::Spectrum;

/// Slices that one task takes, neighbours in memory: their rows share cache lines.
const BLOCK: usize = 16;
/// Rows that are gathered at a time.
const TILE: usize = 32;

/// The channels that the slices of a kernel are indexed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SliceBy {
    /// One slice per input channel, `[Co / g, taps]`.
    Input,
    /// One slice per output channel, `[Ci / g, taps]`.
    Output,
}

/// Layout of the slices in the kernel's data; a row of a slice is contiguous.
struct Layout {
    by: SliceBy,
    count: usize,
    rows: usize,
    taps: usize,
    row_stride: usize,
    group_in: usize,
    group_out: usize,
}

impl Layout {
    fn new(kernel: &Kernel, by: SliceBy) -> Self {
        let shape = kernel.shape();
        let (taps, group_in, group_out) = (shape.taps(), shape.group_in(), shape.group_out());
        let (count, rows, row_stride) = match by {
            SliceBy::Input => (shape.in_channels, group_out, group_in * taps),
            SliceBy::Output => (shape.out_channels, group_in, taps),
        };
        Self {
            by,
            count,
            rows,
            taps,
            row_stride,
            group_in,
            group_out,
        }
    }

    /// Order of the Gram matrices, and the full rank.
    fn order(&self) -> usize {
        self.rows.min(self.taps)
    }

    /// True where the Gram matrices are over the taps.
    fn over_taps(&self) -> bool {
        self.taps <= self.rows
    }

    /// Position of the first weight of a slice.
    fn offset(&self, slice: usize) -> usize {
        match self.by {
            SliceBy::Input => {
                let (group, input) = (slice / self.group_in, slice % self.group_in);
                (group * self.group_out * self.group_in + input) * self.taps
            }
            SliceBy::Output => slice * self.group_in * self.taps,
        }
    }

    fn row<'a>(&self, data: &'a [f64], slice: usize, row: usize) -> &'a [f64] {
        &data[self.offset(slice) + row * self.row_stride..][..self.taps]
    }
}

/// The factored slices of one kernel.
pub(crate) struct SliceSvd {
    kernel: Kernel,
    layout: Layout,
    /// `[slice, component, n]`: rows of `Q^T`, with their sign fixed.
    bases: Vec<f64>,
    /// `[slice, component]`: `sqrt(sigma)`, floored; zero for a zero slice.
    scales: Vec<f64>,
    spectrum: Spectrum,
}

/// Memory of one thread.
#[derive(Default)]
struct Scratch {
    tile: Vec<f64>,
    grams: Vec<f64>,
    filter: Vec<f64>,
}

impl SliceSvd {
    /// Factors all slices, in parallel; every slice's result depends on that slice alone.
    ///
    /// # Errors
    /// [`FactorError::NoConvergence`].
    pub(crate) fn new(kernel: &Kernel, by: SliceBy) -> Result<Self, FactorError> {
        let layout = Layout::new(kernel, by);
        let n = layout.order();
        let mut bases = vec![0.0; layout.count * n * n];
        let mut energies = vec![0.0; layout.count * n];
        bases
            .par_chunks_mut(BLOCK * n * n)
            .zip(energies.par_chunks_mut(BLOCK * n))
            .enumerate()
            .try_for_each_init(Scratch::default, |scratch, (block, (bases, energies))| {
                let first = block * BLOCK;
                let block = SliceBlock {
                    first,
                    bases,
                    energies,
                };
                factor_block(&layout, kernel.data(), block, scratch)
            })?;

        let mut pooled = vec![0.0; n];
        let mut scales = energies;
        for energies in scales.chunks_mut(n) {
            let floor = energies[0] * n as f64 * f64::EPSILON;
            for (pool, energy) in pooled.iter_mut().zip(energies) {
                *pool += *energy;
                *energy = energy.max(floor).sqrt().sqrt();
            }
        }
        Ok(Self {
            kernel: kernel.clone(),
            layout,
            bases,
            scales,
            spectrum: Spectrum::new(pooled)?,
        })
    }

    pub(crate) fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    pub(crate) fn spectrum(&self) -> &Spectrum {
        &self.spectrum
    }

    /// Spatial filters `[slice, component < rank, taps]`.
    pub(crate) fn filters(&self, rank: usize) -> Vec<f64> {
        let taps = self.layout.taps;
        let mut filters = vec![0.0; self.layout.count * rank * taps];
        filters
            .par_chunks_mut(rank * taps)
            .enumerate()
            .for_each_init(Vec::new, |filter, (slice, out)| {
                for (component, out) in out.chunks_mut(taps).enumerate() {
                    let (basis, scale) = self.component(slice, component);
                    let factor = if self.layout.over_taps() {
                        filter.clear();
                        filter.extend_from_slice(basis);
                        scale
                    } else {
                        combine_rows(&self.layout, self.kernel.data(), slice, basis, filter);
                        inverse(scale)
                    };
                    for (out, f) in out.iter_mut().zip(filter.iter()) {
                        *out = f * factor;
                    }
                }
            });
        filters
    }

    /// Channel-mixing factors `[slice, component < rank, row]`.
    pub(crate) fn mixing_by_slice(&self, rank: usize) -> Vec<f64> {
        let rows = self.layout.rows;
        let mut mixing = vec![0.0; self.layout.count * rank * rows];
        let slices = mixing.par_chunks_mut(rank * rows).enumerate();
        slices.for_each(|(slice, out)| {
            for row in 0..rows {
                self.mix(slice, row, out[row..].iter_mut().step_by(rows));
            }
        });
        mixing
    }

    /// Channel-mixing factors of slices by input channel, `[output, input of its group,
    /// component < rank]`.
    pub(crate) fn mixing_by_row(&self, rank: usize) -> Vec<f64> {
        let (group_in, group_out) = (self.layout.group_in, self.layout.group_out);
        let outputs = self.kernel.shape().out_channels;
        let mut mixing = vec![0.0; outputs * group_in * rank];
        let rows = mixing.par_chunks_mut(group_in * rank).enumerate();
        rows.for_each(|(output, out)| {
            let (group, row) = (output / group_out, output % group_out);
            for (input, out) in out.chunks_mut(rank).enumerate() {
                self.mix(group * group_in + input, row, out.iter_mut());
            }
        });
        mixing
    }

    /// The entries of the first components' channel-mixing factors at one row of a slice.
    fn mix<'a>(&self, slice: usize, row: usize, out: impl Iterator<Item = &'a mut f64>) {
        let weights = self.layout.row(self.kernel.data(), slice, row);
        for (component, out) in out.enumerate() {
            let (basis, scale) = self.component(slice, component);
            *out = if self.layout.over_taps() {
                let products = weights.iter().zip(basis).map(|(w, b)| w * b);
                products.sum::<f64>() * inverse(scale)
            } else {
                basis[row] * scale
            };
        }
    }

    /// Basis vector and scale of a component.
    fn component(&self, slice: usize, component: usize) -> (&[f64], f64) {
        let n = self.layout.order();
        let index = slice * n + component;
        (&self.bases[index * n..][..n], self.scales[index])
    }
}

/// The factors of some slices that follow one another.
struct SliceBlock<'a> {
    /// The first slice.
    first: usize,
    /// `[slices, n, n]`.
    bases: &'a mut [f64],
    /// `[slices, n]`.
    energies: &'a mut [f64],
}

/// Factors the slices of a block.
fn factor_block(
    layout: &Layout,
    data: &[f64],
    block: SliceBlock<'_>,
    scratch: &mut Scratch,
) -> Result<(), FactorError> {
    let SliceBlock {
        first,
        bases,
        energies,
    } = block;
    let n = layout.order();
    scratch.grams.clear();
    scratch.grams.resize(bases.len(), 0.0);
    gram_matrices(layout, data, first, &mut scratch.grams, &mut scratch.tile);
    let slices = bases.chunks_mut(n * n).zip(energies.chunks_mut(n));
    for (index, ((basis, energies), matrix)) in
        slices.zip(scratch.grams.chunks_mut(n * n)).enumerate()
    {
        let slice = first + index;
        gram::mirror(matrix, n);
        eigen::symmetric_eigen(matrix, n, energies, basis)
            .ok_or(FactorError::NoConvergence { slice })?;
        for energy in energies {
            *energy = energy.max(0.0);
        }
        for vector in basis.chunks_mut(n) {
            let negative = if layout.over_taps() {
                leading_is_negative(vector)
            } else {
                combine_rows(layout, data, slice, vector, &mut scratch.filter);
                leading_is_negative(&scratch.filter)
            };
            if negative {
                vector.iter_mut().for_each(|x| *x = -*x);
            }
        }
    }
    Ok(())
}

/// Upper triangles of the Gram matrices `[slices, n, n]` of the slices from `first` on.
fn gram_matrices(
    layout: &Layout,
    data: &[f64],
    first: usize,
    grams: &mut [f64],
    tile: &mut Vec<f64>,
) {
    let n = layout.order();
    let height = layout.rows.max(layout.taps);
    for begin in (0..height).step_by(TILE) {
        let end = height.min(begin + TILE);
        for (index, gram) in grams.chunks_mut(n * n).enumerate() {
            let slice = first + index;
            tile.clear();
            if layout.over_taps() {
                for row in begin..end {
                    tile.extend_from_slice(layout.row(data, slice, row));
                }
            } else {
                for tap in begin..end {
                    let rows = 0..layout.rows;
                    tile.extend(rows.map(|r| layout.row(data, slice, r)[tap]));
                }
            }
            gram::accumulate(gram, tile, n);
        }
    }
}

/// The rows of a slice weighted by `basis` and summed: an unscaled spatial filter `[taps]`.
fn combine_rows(layout: &Layout, data: &[f64], slice: usize, basis: &[f64], filter: &mut Vec<f64>) {
    filter.clear();
    filter.resize(layout.taps, 0.0);
    for (row, &b) in basis.iter().enumerate() {
        for (f, &w) in filter.iter_mut().zip(layout.row(data, slice, row)) {
            *f += b * w;
        }
    }
}

/// True where the first of the entries with (nearly) the largest magnitude is negative.
fn leading_is_negative(vector: &[f64]) -> bool {
    let largest = vector.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
    vector
        .iter()
        .find(|x| x.abs() >= largest * (1.0 - 1e-6))
        .is_some_and(|&x| x < 0.0)
}

fn inverse(scale: f64) -> f64 {
    if scale > 0.0 { 1.0 / scale } else { 0.0 }
}
