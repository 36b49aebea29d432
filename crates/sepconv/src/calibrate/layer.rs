//! What one convolution shows of a batch.

use std::borrow::Cow;
use std::fmt::Display;
use std::sync::Arc;

use sepconv_factor::{ConvGeometry, PositionSampler};
use sepconv_ir::Tensor;
use sepconv_passes::{Product, Site};

use super::CalibrationSettings;
use super::ends::Ends;
use super::geometry::geometry;
use crate::error::Error;
use crate::loaded::Loaded;

/// A convolution whose inputs and outputs are sampled.
pub(crate) struct Tap<'a> {
    pub site: &'a Site,
    pub ends: Ends,
    /// What its outputs are multiplied by.
    pub factors: Option<Arc<[f64]>>,
    seed: u64,
    per_sample: usize,
    model: &'a Loaded,
}

/// Patches of each group and outputs of one sample.
pub(crate) struct Sampled {
    pub patches: Vec<Vec<f32>>,
    pub outputs: Vec<f32>,
    /// What is added to the outputs, or nothing.
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

impl<'a> Tap<'a> {
    /// Looks at `per_sample` positions of every sample.
    pub fn new(
        model: &'a Loaded,
        site: &'a Site,
        settings: &CalibrationSettings,
        per_sample: usize,
        factors: Option<Arc<[f64]>>,
    ) -> Result<Self, Error> {
        let ends = Ends::of(model, site).ok_or_else(|| odd(model, site, "it has no input"))?;
        Ok(Self {
            site,
            ends,
            factors,
            seed: settings.source.seed(),
            per_sample,
            model,
        })
    }

    pub fn odd(&self, reason: impl Display) -> Error {
        odd(self.model, self.site, reason)
    }

    /// The outputs at the sampled positions `[positions, Co]`, times the factors, of the rows of a
    /// batch that begins with sample `first`: `y` is `[rows, Co, output...]`.
    pub fn outputs(&self, first: usize, valid: usize, y: &Tensor) -> Result<Vec<Vec<f32>>, Error> {
        let sampler = self.sampler(ConvGeometry::unit(0));
        let y = &*self.maps(y)?;
        let (values, wide) =
            rows(y).ok_or_else(|| self.odd("its output is no batch of numbers"))?;
        let rows = values.chunks_exact(wide).take(valid).enumerate();
        let outputs = rows.map(|(row, y)| sampler.outputs((first + row) as u64, y));
        let outputs = outputs.collect::<Result<Vec<_>, _>>();
        let mut outputs = outputs.map_err(|e| self.odd(e))?;
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

    /// What is seen of a batch: `x` is `[rows, Ci, input...]`; `targets` are the outputs of
    /// the original at the sampled positions, less those of `shortcut` where there is one.
    pub fn sample(
        &self,
        first: usize,
        valid: usize,
        x: &Tensor,
        shortcut: &Tensor,
        targets: &[Vec<f32>],
    ) -> Result<Vec<Sampled>, Error> {
        let x = &*self.maps(x)?;
        let input = self.input_extents(x)?;
        let geometry =
            geometry(&self.site.attributes, &input).ok_or_else(|| self.odd("unknown padding"))?;
        let sampler = self.sampler(geometry);
        let (values, wide) = rows(x).ok_or_else(|| self.odd("its input is no batch of numbers"))?;
        let others = match self.ends.shortcut {
            Some(_) => Some(self.outputs(first, valid, shortcut)?),
            None => None,
        };
        let maps = values.chunks_exact(wide).take(valid).zip(targets);
        maps.enumerate()
            .map(|(row, (x, target))| {
                let patches = sampler.patches((first + row) as u64, x, &input);
                let mut outputs = target.clone();
                let others = others.as_ref().and_then(|o| o.get(row)).cloned();
                let others = others.unwrap_or_default();
                outputs.iter_mut().zip(&others).for_each(|(y, s)| *y -= s);
                Ok(Sampled {
                    patches: patches.map_err(|e| self.odd(e))?,
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
        let output = self.site.output_spatial.as_ref();
        let total = output.map(|o| o.iter().product());
        self.per_sample.min(total.unwrap_or(usize::MAX))
    }

    /// A batch `[rows, channels, ...]`: values of matrix products have their channels last.
    fn maps<'t>(&self, t: &'t Tensor) -> Result<Cow<'t, Tensor>, Error> {
        if self.site.product.is_none() {
            return Ok(Cow::Borrowed(t));
        }
        let maps = Product::as_maps(t).map(Cow::Owned);
        maps.ok_or_else(|| self.odd("an operand is no batch of rows"))
    }

    fn input_extents(&self, x: &Tensor) -> Result<Vec<usize>, Error> {
        let axes = self.site.attributes.axes();
        match x.dims() {
            [_, _, spatial @ ..] if spatial.len() == axes => Ok(spatial.to_vec()),
            _ => Err(self.odd("its input is of another rank than its kernel")),
        }
    }

    fn sampler(&self, geometry: ConvGeometry) -> PositionSampler {
        PositionSampler::new(&self.site.kernel, geometry, self.seed, self.per_sample)
    }
}

fn odd(model: &Loaded, site: &Site, reason: impl Display) -> Error {
    Error::Interface {
        file: model.file(),
        reason: format!("calibration of node '{}': {reason}", site.name),
    }
}

/// The values of a batch, and how many a row has.
fn rows(t: &Tensor) -> Option<(Cow<'_, [f32]>, usize)> {
    let values = t.to_f32()?;
    let wide = values.len().checked_div(*t.dims().first()?)?;
    (wide > 0).then_some((values, wide))
}
