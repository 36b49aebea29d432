//! Pictures that nobody took, for fits without data.
//!
//! A convolution's weights say nothing of its inputs, but for a network of pictures much
//! of it can be guessed: natural images have a 1/f amplitude spectrum (Field 1987), and their
//! colours go together. Run through the network, such fields give every layer inputs with
//! plausible spatial correlations and, after the activations, plausible means: enough to fit
//! to, with a strong pull towards the original weights where they are wrong.

use sepconv_data::{DataError, Dataset, InputSpec, Layout, Preprocess, SyntheticKind, synthetic};
use sepconv_factor::FitOptions;
use sepconv_ir::{DType, Tensor};
use sepconv_targets::Target;

use sepconv_model::magnitudes::{InputSets, convolutions, deviations, distances};
use sepconv_model::{Advice, Error, Loaded, data_specs};
use sepconv_spec::{CalibrationSettings, Pictures, Schedule, Source};

use crate::surveyed_model::SurveyedModel;

/// Share of the variance that the channels of a picture have in common.
const COMMON: f64 = 0.9;

/// Pull towards the original weight, see [`FitOptions::ridge`]. Measured: docs/decisions/0011.
const RIDGE: f64 = 0.1;

/// Output positions per layer.
const POSITIONS: usize = 20_000;

/// MACs that a fit to pictures may take by itself, about a minute on two cores.
const MOST: f64 = 1.5e12;

/// A fit to synthetic pictures. `None` where the network does not take pictures: one
/// float input `[n, c, h, w]` or `[n, h, w, c]` with up to four channels.
pub fn pictures(
    surveyed: &SurveyedModel,
    seed: u64,
    preprocess: Option<Preprocess>,
) -> Option<CalibrationSettings> {
    let model = &surveyed.folded;
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
    Some(CalibrationSettings {
        positions: POSITIONS,
        fit: FitOptions {
            ridge: RIDGE,
            // A channel that is active on synthetic pictures need not be on real ones.
            steps: 0,
            ..CalibrationSettings::fit_options()
        },
        schedule: Schedule::Sequential,
        ..CalibrationSettings::of(Source::Pictures(Pictures {
            samples: samples.next_multiple_of(batch.max(1)),
            seed,
            preprocess,
        }))
    })
}

/// True for a fit to pictures that is cheap enough to be made unasked.
pub fn cheap_pictures(fit: &CalibrationSettings, surveyed: &SurveyedModel) -> bool {
    let Source::Pictures(pictures) = &fit.source else {
        return false;
    };
    // Runtimes emulate other types on most processors.
    let specs = surveyed.folded.input_specs().unwrap_or_default();
    if specs.iter().any(|s| s.dtype != DType::F32) {
        return false;
    }
    let forward = 2.0 * pictures.samples as f64 * surveyed.folded.cost.macs as f64;
    let gram = surveyed.survey.sites().map(|(site, _)| {
        let d = (site.kernel.group_in() * site.kernel.taps()) as f64;
        site.kernel.groups as f64 * d * d * (0.5 * fit.positions as f64 + d)
    });
    forward + gram.sum::<f64>() <= MOST
}

/// The pictures as a data set of the model.
pub(crate) fn dataset(
    pictures: &Pictures,
    model: &Loaded,
    target: &dyn Target,
) -> Result<Dataset, Error> {
    let specs = data_specs(model)?;
    let artist = Artist { pictures, model };
    let array = match &pictures.preprocess {
        Some(recipe) => artist.draw(Range::Byte, Some(recipe))?,
        None => artist.draw(artist.guess(target)?, None)?,
    };
    Ok(Dataset::from_arrays(&specs, vec![array])?)
}

/// Draws pictures for a model.
struct Artist<'a> {
    pictures: &'a Pictures,
    model: &'a Loaded,
}

impl Artist<'_> {
    /// The range of pixel values that the network seems to expect. With its own range a
    /// network's maps are about as large as its biases; so a range is plausible where their
    /// deviation is near one, at the first convolution and over all of them. 0 to 255 is
    /// taken where both say so. Inputs of mean 0 and variance 1 are near enough to 0 to 1
    /// for a fit.
    fn guess(&self, target: &dyn Target) -> Result<Range, Error> {
        let batch = (self.model.input_specs()).and_then(|s| s.first().map(|s| s.dims[0]));
        let few = Pictures {
            samples: 4_usize.next_multiple_of(batch.unwrap_or(1).max(1)),
            ..self.pictures.clone()
        };
        let few = Artist {
            pictures: &few,
            model: self.model,
        };
        let distances = [Range::Unit, Range::Byte]
            .map(|range| Ok::<_, Error>(distances(&few.deviations(target, range)?)));
        let [unit, byte] = distances;
        let (unit, byte) = (unit?, byte?);
        Ok(if (0..2).all(|i| byte[i] < unit[i]) {
            Range::Byte
        } else {
            Range::Unit
        })
    }

    /// The median over channels of the deviation within a map, for every convolution.
    fn deviations(&self, target: &dyn Target, range: Range) -> Result<Vec<f64>, Error> {
        let model = self.model;
        let outputs = convolutions(model, u64::MAX);
        let array = self.draw(range, None)?;
        let batch = model.input_specs().map_or(1, |s| s[0].dims[0]).max(1);
        let specs = model.input_specs().unwrap_or_default();
        let mut sets = Vec::new();
        for start in (0..self.pictures.samples).step_by(batch) {
            let end = start + batch;
            let rows = array.rows(start..end).ok_or_else(|| DataError::Rows {
                start,
                end,
                expected: format!("rows within 0..{}", self.pictures.samples),
            })?;
            sets.push(vec![rows]);
        }
        let inputs = InputSets {
            specs: &specs,
            sets: &sets,
        };
        deviations(model, target, &outputs, inputs)
    }

    fn draw(&self, range: Range, recipe: Option<&Preprocess>) -> Result<Tensor, Error> {
        let (model, pictures) = (self.model, self.pictures);
        let odd = || {
            let error = Error::Interface {
                file: model.file(),
                reason: "the shape of an input is unknown".into(),
            };
            error.advising(Advice::PinInputShape)
        };
        let spec = model.input_specs().and_then(|s| s.into_iter().next());
        let spec = spec.ok_or_else(odd)?;
        let (_, [channels, height, width]) = planar(model, &spec.dims).ok_or_else(odd)?;
        let field = |channels: usize, seed: u64| -> Result<Vec<f32>, Error> {
            let dims = [None, Some(channels), Some(height), Some(width)];
            let float = DType::F32;
            let spec = InputSpec {
                layout: Some(Layout::Nchw),
                ..InputSpec::new(&spec.name, float, dims.to_vec())
            };
            let arrays = synthetic(&[spec], pictures.samples, seed, SyntheticKind::Normal)?;
            let values = arrays.first().and_then(Tensor::to_f32);
            Ok(values.ok_or_else(odd)?.into_owned())
        };
        let layout = layout_of(model);
        let (own, common) = (
            field(channels, pictures.seed)?,
            field(1, pictures.seed.wrapping_add(1))?,
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
        shape[0] = pictures.samples;
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
