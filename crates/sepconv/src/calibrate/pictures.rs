//! Pictures that nobody took, for fits without data.
//!
//! A convolution's weights say nothing of what it will see, but for a network of pictures much
//! of it can be guessed: natural images have a 1/f amplitude spectrum (Field 1987), and their
//! colours go together. Run through the network, such fields give every layer inputs with
//! plausible spatial correlations and, after the activations, plausible means: enough to fit
//! to, with a strong pull towards the original weights for what they get wrong.

use sepconv_data::{
    Array, DataError, Dataset, InputSpec, Layout, Preprocess, SyntheticKind, synthetic,
};
use sepconv_factor::FitOptions;
use sepconv_ir::{DType, Tensor};
use sepconv_targets::Target;

use super::{CalibrationSettings, Schedule, Source};
use crate::error::Error;
use crate::inputs::data_specs;
use crate::inputs::magnitudes::{convolutions, deviations, distances};
use crate::loaded::Loaded;
use crate::prepared::Prepared;
use crate::runner::to_tensor;

/// Share of the variance that the channels of a picture have in common.
const COMMON: f64 = 0.9;

/// Pull towards the original weight, see [`FitOptions::ridge`]. Measured: docs/accuracy.md.
const RIDGE: f64 = 0.1;

/// Output positions per layer.
const POSITIONS: usize = 20_000;

/// MACs that a fit to pictures may take by itself, about a minute on two cores.
const MOST: f64 = 1.5e12;

/// Synthetic pictures to fit to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pictures {
    /// How many.
    pub samples: usize,
    /// Seed.
    pub seed: u64,
    /// What the network expects to be done to 8-bit pictures; `None` guesses the range.
    pub preprocess: Option<Preprocess>,
}

impl CalibrationSettings {
    /// A fit to synthetic pictures. `None` where the network does not take pictures: one
    /// float input `[n, c, h, w]` or `[n, h, w, c]` with up to four channels.
    pub(crate) fn pictures(
        prepared: &Prepared,
        seed: u64,
        preprocess: Option<Preprocess>,
    ) -> Option<Self> {
        let model = &prepared.folded;
        let specs = model.input_specs()?;
        let [input] = specs.as_slice() else {
            return None;
        };
        let (batch, planar) = planar(model, &input.dims)?;
        let [1..=4, height, width] = planar else {
            return None;
        };
        if !input.dtype.is_float() || height.min(width) < 8 {
            return None;
        }
        let by_size = 4_000_000 / (height * width);
        let by_macs = 200_000_000_000 / model.cost.macs.max(1);
        let samples = by_size.min(by_macs as usize).clamp(16, 512);
        Some(Self {
            positions: POSITIONS,
            fit: FitOptions {
                ridge: RIDGE,
                // What is active on pictures that nobody took need not be on real ones.
                steps: 0,
                ..Self::fit_options()
            },
            schedule: Schedule::Sequential,
            ..Self::of(Source::Pictures(Pictures {
                samples: samples.next_multiple_of(batch.max(1)),
                seed,
                preprocess,
            }))
        })
    }

    /// Whether a fit to pictures is cheap enough to be made unasked.
    pub(crate) fn is_cheap(&self, prepared: &Prepared) -> bool {
        let Source::Pictures(pictures) = &self.source else {
            return false;
        };
        // Runtimes emulate other types on most processors.
        let specs = prepared.folded.input_specs().unwrap_or_default();
        if specs.iter().any(|s| s.dtype != DType::F32) {
            return false;
        }
        let forward = 2.0 * pictures.samples as f64 * prepared.folded.cost.macs as f64;
        let gram = prepared.survey.sites().map(|(site, _)| {
            let d = (site.kernel.group_in() * site.kernel.taps()) as f64;
            site.kernel.groups as f64 * d * d * (0.5 * self.positions as f64 + d)
        });
        forward + gram.sum::<f64>() <= MOST
    }
}

impl Pictures {
    /// The pictures as a data set of the model.
    pub(crate) fn dataset(&self, model: &Loaded, target: &dyn Target) -> Result<Dataset, Error> {
        let specs = data_specs(model)?;
        let array = match &self.preprocess {
            Some(recipe) => self.draw(model, Range::Byte, Some(recipe))?,
            None => {
                let range = self.guess(model, target)?;
                self.draw(model, range, None)?
            }
        };
        Ok(Dataset::from_arrays(&specs, vec![array])?)
    }

    /// The range of pixel values that the network seems to expect. With its own range a
    /// network's maps are about as large as its biases; so a range is plausible where their
    /// deviation is near one, at the first convolution and over all of them. 0 to 255 is
    /// taken where both say so. Inputs of mean 0 and variance 1 are near enough to 0 to 1
    /// for a fit.
    fn guess(&self, model: &Loaded, target: &dyn Target) -> Result<Range, Error> {
        let few = Self {
            samples: model
                .input_specs()
                .and_then(|s| s.first().map(|s| s.dims[0]))
                .unwrap_or(1)
                .max(4),
            ..self.clone()
        };
        let distances = [Range::Unit, Range::Byte]
            .map(|range| Ok::<_, Error>(distances(&few.deviations(model, target, range)?)));
        let [unit, byte] = distances;
        let (unit, byte) = (unit?, byte?);
        Ok(if (0..2).all(|i| byte[i] < unit[i]) {
            Range::Byte
        } else {
            Range::Unit
        })
    }

    /// The median over channels of the deviation within a map, for every convolution.
    fn deviations(
        &self,
        model: &Loaded,
        target: &dyn Target,
        range: Range,
    ) -> Result<Vec<f64>, Error> {
        let outputs = convolutions(model, u64::MAX);
        let array = self.draw(model, range, None)?;
        let batch = model.input_specs().map_or(1, |s| s[0].dims[0]).max(1);
        let specs = model.input_specs().unwrap_or_default();
        let mut sets = Vec::new();
        for start in (0..self.samples).step_by(batch) {
            let end = start + batch;
            let rows = array.rows(start..end).ok_or_else(|| DataError::Rows {
                start,
                end,
                expected: format!("rows within 0..{}", self.samples),
            })?;
            sets.push(vec![rows]);
        }
        deviations(model, target, &outputs, (&specs, &sets))
    }

    fn draw(
        &self,
        model: &Loaded,
        range: Range,
        recipe: Option<&Preprocess>,
    ) -> Result<Array, Error> {
        let odd = || Error::Interface {
            file: model.file(),
            reason: "the shape of an input is unknown (pin it with --input-shape)".into(),
        };
        let spec = model.input_specs().and_then(|s| s.into_iter().next());
        let spec = spec.ok_or_else(odd)?;
        let (_, [channels, height, width]) = planar(model, &spec.dims).ok_or_else(odd)?;
        let field = |channels: usize, seed: u64| -> Result<Vec<f32>, Error> {
            let dims = [None, Some(channels), Some(height), Some(width)];
            let float = sepconv_data::Dtype::F32;
            let spec = InputSpec {
                layout: Some(Layout::Nchw),
                ..InputSpec::new(&spec.name, float, dims.to_vec())
            };
            let arrays = synthetic(&[spec], self.samples, seed, SyntheticKind::Normal)?;
            let first = arrays.into_iter().next().and_then(to_tensor);
            let values = first.as_ref().and_then(Tensor::to_f32);
            Ok(values.ok_or_else(odd)?.into_owned())
        };
        let layout = layout_of(model);
        let (own, common) = (
            field(channels, self.seed)?,
            field(1, self.seed.wrapping_add(1))?,
        );
        let plane = height * width;
        let per = |list: Option<&Vec<f64>>, c: usize, none: f64| {
            list.and_then(|l| l.get(c).or(l.first()))
                .copied()
                .unwrap_or(none)
        };
        let mut values = vec![0.0; own.len()];
        for (i, own) in own.iter().enumerate() {
            let (sample, c, at) = (i / (channels * plane), i / plane % channels, i % plane);
            let place = match layout {
                Layout::Nchw => i,
                Layout::Nhwc => (sample * plane + at) * channels + c,
            };
            let common = f64::from(common[sample * plane + at]);
            let normal = if channels == 1 {
                f64::from(*own)
            } else {
                COMMON.sqrt() * common + (1.0 - COMMON).sqrt() * f64::from(*own)
            };
            let unit = (0.5 + 0.25 * normal).clamp(0.0, 1.0);
            let value = match range {
                Range::Unit => unit,
                Range::Byte => (255.0 * unit).round(),
            };
            let value = match recipe {
                Some(r) => {
                    (value * r.scale - per(Some(&r.mean), c, 0.0)) / per(Some(&r.std), c, 1.0)
                }
                None => value,
            };
            values[place] = value as f32;
        }
        let mut shape = spec.dims.clone();
        shape[0] = self.samples;
        Tensor::from_floats(spec.dtype, shape, values).ok_or_else(odd)
    }
}

/// Pixel values.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Range {
    /// 0 to 1.
    Unit,
    /// 0 to 255.
    Byte,
}

/// The layout of the only input.
fn layout_of(model: &Loaded) -> Layout {
    let specs = data_specs(model).unwrap_or_default();
    specs.first().map_or(Layout::Nchw, |s| s.layout_or(None))
}

/// The batch, and the channels, rows and columns of the only input, of that shape.
fn planar(model: &Loaded, dims: &[usize]) -> Option<(usize, [usize; 3])> {
    let &[batch, a, b, c] = dims else {
        return None;
    };
    Some(match layout_of(model) {
        Layout::Nchw => (batch, [a, b, c]),
        Layout::Nhwc => (batch, [c, a, b]),
    })
}
