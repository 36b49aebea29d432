//! Means and covariances of the inputs of layers, as they are read from eight bits.

use std::borrow::Cow;

use rayon::prelude::*;
use sepconv_calibrate::geometry;
use sepconv_factor::linalg::dense;
use sepconv_factor::{FactorError, InputMap, sample_positions};
use sepconv_ir::{Tensor, ValueId};
use sepconv_model::Error;

use crate::grid::Grid;
use crate::layers::Layer;
use crate::windows::{Run, valid_part};

/// Values of a patch whose covariance is kept as one block, at most: a covariance is kept in blocks of
/// neighbouring channels, and errors are made up for within a block.
const WIDE: usize = 1152;

/// One patch of so many is kept as it is.
const KEPT_EVERY: usize = 32;

/// Moments of one layer's inputs.
#[derive(Clone)]
pub(crate) struct Moments {
    /// One per group.
    pub groups: Vec<GroupMoments>,
    /// Number of patches.
    pub count: usize,
}

/// Moments of the patches of one group.
#[derive(Clone, Default)]
pub(crate) struct GroupMoments {
    /// Mean of the patches `[d]` in floats.
    pub mean: Vec<f64>,
    /// Mean of the patches `[d]` in eight bits.
    pub snapped: Vec<f64>,
    /// Mean squared distance of a value in eight bits from that in floats.
    pub noise: f64,
    /// Covariances of the patches in eight bits, `[width, width]` each, side by side.
    pub blocks: Vec<Vec<f64>>,
    /// Some of the patches `[n, d]` in integers.
    pub kept: Vec<u8>,
}

impl Moments {
    fn new(layer: &Layer) -> Result<Self, FactorError> {
        let d = layer.width();
        let block = width_of_blocks(layer);
        let group = || {
            let blocks = (0..d).step_by(block).map(|first| {
                let width = block.min(d - first);
                dense::zeros(width, width)
            });
            Ok(GroupMoments {
                mean: vec![0.0; d],
                snapped: vec![0.0; d],
                noise: 0.0,
                blocks: blocks.collect::<Result<_, FactorError>>()?,
                kept: Vec::new(),
            })
        };
        let groups = (0..layer.shape.groups).map(|_| group());
        Ok(Self {
            groups: groups.collect::<Result<_, FactorError>>()?,
            count: 0,
        })
    }

    /// Those of the patches of all `parts` together, of one layer's shape: covariances about each part's own mean,
    /// weighted by the patches.
    pub fn pooled<'a>(parts: &[&'a Self]) -> Cow<'a, Self> {
        if let [only] = parts {
            return Cow::Borrowed(only);
        }
        let count: usize = parts.iter().map(|own| own.count).sum();
        let shares = parts
            .iter()
            .map(|own| own.count as f64 / count.max(1) as f64);
        let shares: Vec<f64> = shares.collect();
        let groups = (0..parts.first().map_or(0, |own| own.groups.len())).map(|group| {
            let own = parts.iter().map(|own| &own.groups[group]);
            GroupMoments::mixed(own.zip(shares.iter().copied()))
        });
        Cow::Owned(Self {
            groups: groups.collect(),
            count,
        })
    }

    /// Adds patches `[n, d]` of every group.
    fn push(&mut self, groups: &[Vec<f32>], grid: Grid) {
        let before = self.count;
        for (own, patches) in self.groups.iter_mut().zip(groups) {
            own.push(patches, grid);
            own.keep(patches, before, grid);
        }
        let d = self.groups.first().map_or(1, |g| g.mean.len());
        self.count += groups.first().map_or(0, |p| p.len() / d.max(1));
    }

    fn finish(&mut self) {
        let n = self.count.max(1) as f64;
        for group in &mut self.groups {
            group.mean.iter_mut().for_each(|m| *m /= n);
            group.snapped.iter_mut().for_each(|m| *m /= n);
            group.noise /= n * group.mean.len().max(1) as f64;
            let mut first = 0;
            for block in &mut group.blocks {
                let width = block.len().isqrt();
                let mean = &group.snapped[first..][..width];
                for (row, m) in block.chunks_exact_mut(width).zip(mean) {
                    row.iter_mut().for_each(|v| *v /= n);
                    dense::axpy(row, -m, mean);
                }
                first += width;
            }
        }
    }
}

impl GroupMoments {
    /// The sum of moments times the shares beside them.
    fn mixed<'a>(parts: impl Iterator<Item = (&'a Self, f64)>) -> Self {
        let mut mixed = Self::default();
        for (own, share) in parts {
            mixed.noise += share * own.noise;
            add_times(&mut mixed.mean, share, &own.mean);
            add_times(&mut mixed.snapped, share, &own.snapped);
            mixed.blocks.resize(own.blocks.len(), Vec::new());
            for (sum, block) in mixed.blocks.iter_mut().zip(&own.blocks) {
                add_times(sum, share, block);
            }
        }
        mixed
    }

    /// Keeps some of patches `[n, d]`, `before` of which came earlier.
    fn keep(&mut self, patches: &[f32], before: usize, grid: Grid) {
        let first = (KEPT_EVERY - before % KEPT_EVERY) % KEPT_EVERY;
        let rows = patches.chunks_exact(self.mean.len().max(1));
        for row in rows.skip(first).step_by(KEPT_EVERY) {
            self.kept.extend(row.iter().map(|v| grid.integer(*v) as u8));
        }
    }

    fn push(&mut self, patches: &[f32], grid: Grid) {
        let d = self.mean.len();
        let rows = patches.len() / d.max(1);
        let snapped: Vec<f64> = patches.iter().map(|v| f64::from(grid.snap(*v))).collect();
        let both = patches.iter().zip(&snapped);
        let noise = both.map(|(v, snapped)| (f64::from(*v) - snapped).powi(2));
        self.noise += noise.sum::<f64>();
        for (floats, snapped) in patches.chunks_exact(d).zip(snapped.chunks_exact(d)) {
            let both = self.mean.iter_mut().zip(floats);
            both.for_each(|(m, v)| *m += f64::from(*v));
            dense::axpy(&mut self.snapped, 1.0, snapped);
        }
        let mut first = 0;
        for block in &mut self.blocks {
            let width = block.len().isqrt();
            let columns = snapped
                .chunks_exact(d)
                .flat_map(|row| &row[first..first + width]);
            let x: Vec<f64> = columns.copied().collect();
            let turned = dense::transposed(&x, rows, width);
            let (a, b) = (
                dense::view(&turned, width, rows),
                dense::view(&x, rows, width),
            );
            dense::product(block, true, a, b);
            first += width;
        }
    }
}

/// `sum += share x`, of a sum that begins empty.
fn add_times(sum: &mut Vec<f64>, share: f64, x: &[f64]) {
    sum.resize(x.len(), 0.0);
    dense::axpy(sum, share, x);
}

/// Width of the blocks of a layer's covariances, whole channels.
pub(crate) fn width_of_blocks(layer: &Layer) -> usize {
    let taps = layer.shape.taps();
    (WIDE / taps).max(1) * taps
}

/// Moments of the inputs of layers, which are read by the grids beside them, from running the model.
/// `positions` is how many patches of a layer are looked at, over all samples.
pub(crate) fn moments(
    run: Run<'_>,
    layers: &[(&Layer, Grid)],
    positions: usize,
    seed: u64,
) -> Result<Vec<Result<Moments, FactorError>>, Error> {
    let mut all: Vec<Result<Moments, FactorError>> = layers
        .iter()
        .map(|(layer, _)| Moments::new(layer))
        .collect();
    let wanted: Vec<ValueId> = layers.iter().map(|(layer, _)| layer.input).collect();
    let samples = run.samples;
    let most = positions.div_ceil(samples.len().max(1));
    let see = |batch: usize, values: Vec<Tensor>| {
        let (valid, rows) = (samples.valid(batch), samples.rows());
        let pairs = layers.iter().zip(&values);
        let patches = pairs.map(|((layer, _), value)| {
            let drawn = Drawn {
                seed,
                sample: samples.first(batch),
                most,
                valid,
                rows,
            };
            drawn.patches(layer, value)
        });
        patches.collect::<Vec<_>>()
    };
    let take = |seen: Vec<Result<Vec<Vec<f32>>, FactorError>>| {
        let layers = all.par_iter_mut().zip(seen).zip(layers);
        layers.for_each(|((own, patches), (_, grid))| match (&mut *own, patches) {
            (Ok(moments), Ok(patches)) => moments.push(&patches, *grid),
            (Ok(_), Err(error)) => *own = Err(error),
            (Err(_), _) => {}
        });
    };
    run.each("statistics", &wanted, see, take)?;
    all.iter_mut().flatten().for_each(Moments::finish);
    Ok(all)
}

/// A draw of the positions of a batch.
struct Drawn {
    seed: u64,
    /// Number of the first sample.
    sample: usize,
    /// Positions of a sample, at most.
    most: usize,
    /// Rows of the batch that are samples, and all of its rows.
    valid: usize,
    rows: usize,
}

impl Drawn {
    /// Patches `[n, d]` of every group of a layer, from its input.
    fn patches(&self, layer: &Layer, value: &Tensor) -> Result<Vec<Vec<f32>>, FactorError> {
        let numbers = value
            .to_f32()
            .ok_or(FactorError::Statistics("an input of no numbers"))?;
        let numbers = valid_part(&numbers, self.valid, self.rows);
        let mut groups = vec![Vec::new(); layer.shape.groups];
        let Some(read) = &layer.geometry else {
            let d = layer.width();
            let total = numbers.len() / d;
            for at in sample_positions(self.seed, self.sample as u64, total, self.most * self.valid)
            {
                groups[0].extend_from_slice(&numbers[at * d..][..d]);
            }
            return Ok(groups);
        };
        let unfit = FactorError::Statistics("an input of another rank than the weights");
        let extents = value.dims().get(2..).ok_or(unfit.clone())?;
        let geometry = geometry(read, extents).ok_or(unfit)?;
        let total = geometry
            .output_spatial(&layer.shape, extents)?
            .iter()
            .product();
        let wide: usize = value.dims()[1..].iter().product();
        // The first axis may hold several maps of a sample, such as the frames of a clip.
        let maps = numbers.len() / wide.max(1);
        let each = maps.div_ceil(self.valid.max(1)).max(1);
        for (row, values) in numbers.chunks_exact(wide.max(1)).enumerate() {
            let map = (self.sample * each + row) as u64;
            let positions = sample_positions(self.seed, map, total, self.most.div_ceil(each));
            let map = InputMap { values, extents };
            let patches = geometry.gather(&layer.shape, map, &positions)?;
            for (group, own) in groups.iter_mut().zip(patches) {
                group.extend(own);
            }
        }
        Ok(groups)
    }
}
