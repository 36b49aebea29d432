//! Samples of one convolution from a batch.

use std::borrow::Cow;
use std::fmt::Display;
use std::sync::Arc;

use sepconv_factor::{
    ConvGeometry, FactorError, InputMap, PositionSampler, SplitStatisticsBuilder, held_out_of,
};
use sepconv_ir::Tensor;
use sepconv_passes::{Kept, Product, Site};

use sepconv_model::{Error, Loaded, Samples};

use crate::endpoints::Endpoints;
use crate::geometry::geometry;
use crate::memory_limit::Need;
use crate::surveyed_model::Fitting;

/// A convolution whose inputs and outputs are sampled.
pub(crate) struct LayerSampler<'a> {
    pub site: &'a Site,
    pub endpoints: Endpoints,
    /// Factors `[Co]` that its outputs are multiplied by.
    pub factors: Option<Arc<[f64]>>,
    /// Form and memory of its statistics, or the reason for which there is no room.
    pub need: Result<Need, Kept>,
    seed: u64,
    per_sample: usize,
    /// Of so many samples one is looked at.
    every: usize,
    /// Maps of a sample, as far as extents are known.
    each: usize,
}

/// Reason for which a layer can't be fitted to its samples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unfit(pub String);

impl Unfit {
    pub fn of(reason: impl Display) -> Self {
        Self(reason.to_string())
    }

    /// The reason for which the layer stays: the lack of room, where `need` has one.
    pub fn kept(self, need: &Result<Need, Kept>) -> Kept {
        need.clone().err().unwrap_or(Kept::Unfitted(self.0))
    }
}

impl From<FactorError> for Unfit {
    fn from(source: FactorError) -> Self {
        Self::of(source)
    }
}

/// Patches of each group and outputs of one sample.
pub(crate) struct Sampled {
    pub patches: Vec<Vec<f32>>,
    pub outputs: Vec<f32>,
    /// Values that are added to the outputs; may be empty.
    pub others: Vec<f32>,
}

impl Sampled {
    /// One of every so many positions, from `first` on.
    pub fn thinned(&self, first: usize, every: usize, channels: usize) -> Self {
        let rows = self.outputs.len() / channels.max(1);
        let thin = |values: &Vec<f32>| -> Vec<f32> {
            if every == 1 || values.is_empty() {
                return values.clone();
            }
            let kept = values.chunks_exact(values.len() / rows).skip(first);
            kept.step_by(every).flatten().copied().collect()
        };
        Self {
            patches: self.patches.iter().map(thin).collect(),
            outputs: thin(&self.outputs),
            others: thin(&self.others),
        }
    }
}

impl<'a> LayerSampler<'a> {
    /// Looks at as many positions of each of the `samples` as the settings say, or as there is
    /// room for.
    pub fn new(
        model: &'a Loaded,
        site: &'a Site,
        samples: &Samples,
        factors: Option<Arc<[f64]>>,
        fitting: Fitting<'_>,
    ) -> Result<Self, Error> {
        let maps = usize::try_from(site.batch).unwrap_or(usize::MAX);
        let (each, samples) = (maps_of_each(maps, samples.rows()), samples.len());
        let settings = fitting.calibration;
        let endpoints = Endpoints::of(model, site).ok_or_else(|| Error::Interface {
            file: model.file(),
            reason: format!("calibration of node '{}': it has no input", site.name),
        })?;
        let mut sampler = Self {
            site,
            endpoints,
            factors,
            need: Err(Kept::Planned),
            seed: settings.source.seed(),
            per_sample: 0,
            every: 1,
            each,
        };
        let most = fitting
            .sampling
            .positions(settings.positions, sampler.patch_len());
        sampler.per_sample = most.div_ceil(samples.max(1));
        let positions = samples.saturating_mul(sampler.positions_per_sample());
        sampler.need = fitting.memory.need(&site.kernel, positions);
        match &sampler.need {
            Ok(Need { patches: None, .. }) => {}
            Ok(Need {
                patches: Some(most),
                ..
            }) => {
                sampler.every = samples.div_ceil(*most).max(1);
                let looked = samples.div_ceil(sampler.every).max(1);
                sampler.per_sample = sampler.per_sample.min((most / looked).max(1));
            }
            Err(_) => sampler.per_sample = 0,
        }
        Ok(sampler)
    }

    /// The outputs at the sampled positions `[positions, Co]`, times the factors, of every sample of a
    /// batch: `y` is `[maps, Co, output...]`.
    pub fn outputs(&self, batch: BatchSamples, y: &Tensor) -> Result<Vec<Vec<f32>>, Unfit> {
        let unit = ConvGeometry::unit(0);
        let y = &*self.maps(y)?;
        let maps =
            Maps::of(y, batch).ok_or_else(|| Unfit::of("its output is no batch of numbers"))?;
        let outputs = (0..batch.valid).map(|row| {
            let looked = self.looked_at(maps.each, batch.first + row);
            let mut outputs = Vec::new();
            for map in looked.maps() {
                let drawn = self.position_sampler(&unit, looked.positions);
                let number = maps.number(batch.first + row, map);
                outputs.extend(drawn.outputs(number, maps.values(row, map))?);
            }
            Ok::<_, Unfit>(outputs)
        });
        let mut outputs = outputs.collect::<Result<Vec<_>, _>>()?;
        if let Some(factors) = &self.factors {
            let positions = outputs
                .iter_mut()
                .flat_map(|o| o.chunks_exact_mut(factors.len()));
            positions.for_each(|y| {
                let channels = y.iter_mut().zip(&**factors);
                channels.for_each(|(y, f)| *y = (f64::from(*y) * f) as f32);
            });
        }
        Ok(outputs)
    }

    /// Samples of a batch: `x` is `[maps, Ci, input...]`; `targets` are the outputs of the
    /// original at the sampled positions, less those of `shortcut` where there is one.
    pub fn sample(
        &self,
        batch: BatchSamples,
        x: &Tensor,
        shortcut: &Tensor,
        targets: &[Vec<f32>],
    ) -> Result<Vec<Sampled>, Unfit> {
        let x = &*self.maps(x)?;
        let input = self.input_extents(x)?;
        let geometry =
            geometry(&self.site.attributes, &input).ok_or_else(|| Unfit::of("unknown padding"))?;
        let maps =
            Maps::of(x, batch).ok_or_else(|| Unfit::of("its input is no batch of numbers"))?;
        let others = match self.endpoints.shortcut {
            Some(_) => Some(self.outputs(batch, shortcut)?),
            None => None,
        };
        let rows = targets.iter().take(batch.valid).enumerate();
        rows.map(|(row, target)| {
            let looked = self.looked_at(maps.each, batch.first + row);
            let mut patches = vec![Vec::new(); self.site.kernel.groups];
            for map in looked.maps() {
                let drawn = self.position_sampler(&geometry, looked.positions);
                let number = maps.number(batch.first + row, map);
                let map = InputMap {
                    values: maps.values(row, map),
                    extents: &input,
                };
                let own = drawn.patches(number, map)?;
                patches
                    .iter_mut()
                    .zip(own)
                    .for_each(|(all, own)| all.extend(own));
            }
            let mut outputs = target.clone();
            let others = others.as_ref().and_then(|o| o.get(row)).cloned();
            let others = others.unwrap_or_default();
            outputs.iter_mut().zip(&others).for_each(|(y, s)| *y -= s);
            Ok(Sampled {
                patches,
                outputs,
                others,
            })
        })
        .collect()
    }

    /// Bytes of the outputs of `samples` samples, at most.
    pub fn output_bytes(&self, samples: usize) -> usize {
        let positions = self.positions_per_sample();
        4 * samples * positions * self.site.kernel.out_channels
    }

    /// Length of a patch.
    pub fn patch_len(&self) -> usize {
        let kernel = &self.site.kernel;
        kernel.in_channels / kernel.groups * kernel.taps()
    }

    /// Bytes of the patches of one sample, at most.
    pub fn patch_bytes(&self) -> usize {
        let kernel = &self.site.kernel;
        4 * self.positions_per_sample() * kernel.in_channels * kernel.taps()
    }

    fn positions_per_sample(&self) -> usize {
        self.looked_at(self.each, 0).positions_of_all()
    }

    /// A batch `[rows, channels, ...]`: values of matrix products have their channels last.
    fn maps<'t>(&self, t: &'t Tensor) -> Result<Cow<'t, Tensor>, Unfit> {
        if self.site.product.is_none() {
            return Ok(Cow::Borrowed(t));
        }
        let maps = Product::as_maps(t).map(Cow::Owned);
        maps.ok_or_else(|| Unfit::of("an operand is no batch of rows"))
    }

    fn input_extents(&self, x: &Tensor) -> Result<Vec<usize>, Unfit> {
        let axes = self.site.attributes.axes();
        match x.dims() {
            [_, _, spatial @ ..] if spatial.len() == axes => Ok(spatial.to_vec()),
            _ => Err(Unfit::of("its input is of another rank than its kernel")),
        }
    }

    /// The maps that are looked at of a sample that has `each`, and the positions of one.
    fn looked_at(&self, each: usize, sample: usize) -> LookedAt {
        let output = self.site.output_spatial.as_ref();
        let total: usize = output.map_or(usize::MAX, |o| o.iter().product());
        let all = match sample.is_multiple_of(self.every) {
            true => self.per_sample,
            false => 0,
        };
        LookedAt::of(each, total, all)
    }

    /// Draws so many positions of a map.
    fn position_sampler(&self, geometry: &ConvGeometry, positions: usize) -> PositionSampler {
        PositionSampler::new(&self.site.kernel, geometry.clone(), self.seed, positions)
    }

    /// A builder of its statistics of `samples` samples.
    pub fn builder(
        &self,
        samples: usize,
        held_out_every: u64,
    ) -> Result<SplitStatisticsBuilder, Unfit> {
        let kernel = &self.site.kernel;
        let need = self.need.as_ref().map_err(Unfit::of)?;
        let positions = samples as u64 * self.positions_per_sample() as u64;
        let held_out = held_out_of(positions, held_out_every);
        let make = match need.patches {
            Some(_) => SplitStatisticsBuilder::of_patches,
            None if held_out <= self.patch_len() as u64 => {
                SplitStatisticsBuilder::holding_out_patches
            }
            None => SplitStatisticsBuilder::new,
        };
        let builder = make(kernel, self.seed, held_out_every)?;
        // Of maps of unknown extents the positions are no more than a bound.
        Ok(match self.site.output_spatial {
            Some(_) => builder.expecting(positions),
            None => builder,
        })
    }
}

/// The samples of a batch: the number of the first, the number of rows that are samples, and that of all rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchSamples {
    first: usize,
    valid: usize,
    rows: usize,
}

impl BatchSamples {
    pub fn of(samples: &Samples, batch: usize) -> Self {
        Self {
            first: samples.first(batch),
            valid: samples.valid(batch),
            rows: samples.rows(),
        }
    }
}

/// The maps of a batch along its first axis: one of each sample, or several, such as the frames of a clip.
struct Maps<'t> {
    values: Cow<'t, [f32]>,
    /// Values of a map.
    wide: usize,
    /// Maps of a sample.
    each: usize,
}

impl<'t> Maps<'t> {
    /// `None` for other than numbers, for no values, and for fewer maps than samples.
    fn of(t: &'t Tensor, batch: BatchSamples) -> Option<Self> {
        let values = t.to_f32()?;
        let all = *t.dims().first()?;
        let wide = values.len().checked_div(all)?;
        let each = maps_of_each(all, batch.rows);
        let fits = wide > 0 && all >= batch.valid * each;
        fits.then_some(Self { values, wide, each })
    }

    /// Values of a map of the sample in a row.
    fn values(&self, row: usize, map: usize) -> &[f32] {
        &self.values[(row * self.each + map) * self.wide..][..self.wide]
    }

    /// The number of a map among those of all samples.
    fn number(&self, sample: usize, map: usize) -> u64 {
        (sample * self.each + map) as u64
    }
}

/// Maps of a sample, of which `rows` make a batch of so many.
fn maps_of_each(maps: usize, rows: usize) -> usize {
    let rows = rows.max(1);
    match maps.is_multiple_of(rows) {
        true => (maps / rows).max(1),
        false => 1,
    }
}

/// The maps of a sample that are looked at.
#[derive(Debug, PartialEq)]
struct LookedAt {
    maps: usize,
    /// Of so many maps one is looked at.
    every: usize,
    /// Positions of a map.
    positions: usize,
}

impl LookedAt {
    /// Of `all` positions of a sample that has `each` maps of `total`, as many of every map.
    fn of(each: usize, total: usize, all: usize) -> Self {
        let most = all.min(total.saturating_mul(each));
        Self {
            maps: if most > 0 { each } else { 0 },
            every: each.div_ceil(most.max(1)),
            positions: most / each.max(1).min(most.max(1)),
        }
    }

    fn maps(&self) -> impl Iterator<Item = usize> + use<> {
        (0..self.maps).step_by(self.every.max(1))
    }

    /// Positions of all maps.
    fn positions_of_all(&self) -> usize {
        self.maps.div_ceil(self.every.max(1)) * self.positions
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn samples_may_have_several_maps() {
        let batch = BatchSamples {
            first: 4,
            valid: 1,
            rows: 2,
        };
        let values: Vec<f32> = (0..24).map(|v| v as f32).collect();
        let t = Tensor::from_f32(vec![6, 1, 4], values);
        let maps = Maps::of(&t, batch).unwrap();
        assert_eq!((maps.each, maps.wide), (3, 4));
        assert_eq!(maps.values(0, 2), [8.0, 9.0, 10.0, 11.0]);
        assert_eq!(maps.number(5, 1), 16);
        // An axis that holds other than samples is taken as it is.
        let odd = Tensor::from_f32(vec![3, 1], vec![0.0; 3]);
        assert_eq!(Maps::of(&odd, batch).unwrap().each, 1);
        let none = Tensor::from_f32(vec![2, 0], vec![]);
        assert!(Maps::of(&none, batch).is_none());
    }

    #[test]
    fn several_maps_are_looked_at_evenly() {
        let seen = |each, total, all| {
            let looked = LookedAt::of(each, total, all);
            (looked.maps().collect::<Vec<_>>(), looked.positions)
        };
        assert_eq!(seen(1, 49, 20), (vec![0], 20));
        assert_eq!(seen(1, 49, 60), (vec![0], 49));
        assert_eq!(seen(4, 49, 100), (vec![0, 1, 2, 3], 25));
        // Maps of one position: tokens, or what a pool leaves.
        assert_eq!(seen(3, 1, 100), (vec![0, 1, 2], 1));
        assert_eq!(seen(7, 4, 3), (vec![0, 3, 6], 1));
        assert_eq!(seen(7, 4, 0), (vec![], 0));
        assert_eq!(LookedAt::of(7, 4, 3).positions_of_all(), 3);
    }
}
