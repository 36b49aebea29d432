//! Oddities of data that can be read.

use std::fmt;
use std::path::PathBuf;

use sepconv_data::{Dataset, Labels, Skipped};
use sepconv_ir::{DType, Tensor, ValueId};
use sepconv_targets::{InputSpec, Target};

use super::DataSource;
use super::head::{Head, Norm};
use super::magnitudes::{InputSets, convolutions, deviations, distances, each, median};
use super::session_specs;
use crate::error::Error;
use crate::loaded::Loaded;

/// Samples that are looked at.
const SAMPLES: usize = 4;

/// MACs of a run of the layers that are looked at, for one sample.
const MACS: u64 = 2_000_000_000;

/// A range this many times too large, or too small, is taken for another one: the root of 255,
/// half way between 0 to 1 and 0 to 255.
const FAR: f64 = 16.0;

/// An oddity of data that can be read.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum DataWarning {
    /// A folder of pictures holds other things as well, which are passed over.
    Skipped {
        /// The folder.
        path: PathBuf,
        /// They.
        skipped: Skipped,
    },
    /// The values do not look like those that the model takes, as its first layers tell: a
    /// constant that it divides by, a range of quantisation, recorded statistics of batch
    /// normalisation, or the size of its maps.
    Range {
        /// The data.
        path: PathBuf,
        /// The model's input.
        input: String,
        /// The least and the greatest value, preprocessed, of the samples that were looked at.
        values: (f64, f64),
        /// The factor that would bring them near: the reciprocal of the greatest value that
        /// integers of their size hold, or 255.
        factor: f64,
    },
    /// An input is given values that are not finite.
    NotFinite {
        /// The data.
        path: PathBuf,
        /// The model's input.
        input: String,
    },
    /// All samples that were looked at are the same.
    Alike {
        /// The data.
        path: PathBuf,
        /// Number of samples.
        samples: usize,
    },
}

impl fmt::Display for DataWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Skipped { path, skipped } => write!(
                f,
                "{}: passed over {} that {} no picture{}: {}",
                path.display(),
                skipped.count,
                if skipped.count == 1 { "is" } else { "are" },
                if skipped.count == 1 { "" } else { "s" },
                skipped.names()
            ),
            Self::NotFinite { path, input } => write!(
                f,
                "{}: input '{input}' is given values that are no numbers (NaN or infinite)",
                path.display()
            ),
            Self::Alike { path, samples } => write!(
                f,
                "{}: the {samples} samples that were looked at are the same: errors on them say nothing of others",
                path.display()
            ),
            Self::Range {
                path,
                input,
                values: (least, greatest),
                factor,
            } => {
                let (times, which) = match *factor < 1.0 {
                    true => (1.0 / factor, "smaller"),
                    false => (*factor, "larger"),
                };
                write!(
                    f,
                    "{}: input '{input}' is given {} to {}, but seems to take values about {times:.0} times {which}",
                    path.display(),
                    shown(*least),
                    shown(*greatest),
                )
            }
        }
    }
}

fn shown(value: f64) -> String {
    match value.fract() == 0.0 {
        true => format!("{value}"),
        false => format!("{value:.3}"),
    }
}

impl DataSource {
    /// Oddities of the data, though they can be read: files in a folder that are no pictures, and
    /// values that do not look like those that the model takes. At most four samples are looked
    /// at; layers are run on them where values are in doubt.
    ///
    /// # Errors
    /// [`Error::Data`] where the data can't be read or do not fit, [`Error::Target`] where the
    /// runtime can't run the first layers.
    pub fn warnings(&self, model: &Loaded, target: &dyn Target) -> Result<Vec<DataWarning>, Error> {
        let few = Self {
            max_samples: Some(self.max_samples.map_or(SAMPLES, |most| most.min(SAMPLES))),
            ..self.clone()
        };
        let dataset = few.open(model, Labels::Ignore)?;
        let skipped = dataset.skipped();
        let passed_over = (skipped.count > 0).then(|| DataWarning::Skipped {
            path: self.path.clone(),
            skipped,
        });
        let mut found: Vec<DataWarning> = passed_over.into_iter().collect();
        let given = Given::read(model, &dataset)?;
        if given.are_alike() {
            found.push(DataWarning::Alike {
                path: self.path.clone(),
                samples: dataset.len(),
            });
        }
        for (i, input) in model.shapes.inputs().iter().enumerate() {
            if !given.is_finite(i) {
                found.push(DataWarning::NotFinite {
                    path: self.path.clone(),
                    input: input.name.clone(),
                });
                continue;
            }
            let Some(values) = given.range(i) else {
                continue;
            };
            let factor = given.factor(model, target, i, input.value, values)?;
            found.extend(factor.map(|factor| DataWarning::Range {
                path: self.path.clone(),
                input: input.name.clone(),
                values: (values.least, values.greatest),
                factor,
            }));
        }
        Ok(found)
    }
}

/// Values of one input.
#[derive(Debug, Clone, Copy)]
struct Values {
    least: f64,
    greatest: f64,
    /// All are whole numbers.
    whole: bool,
}

impl Values {
    /// The greatest value that unsigned integers of their size hold, or signed ones.
    fn limit(self) -> f64 {
        let size = self.greatest.max(-self.least);
        // Pictures of eight bits that were resized go beyond their range.
        if !self.whole && size <= 1.25 * 255.0 {
            return 255.0;
        }
        let limits = [255.0, 32_768.0, 65_535.0];
        let enough = limits.into_iter().find(|limit| size <= *limit);
        enough.unwrap_or(size)
    }
}

/// A few samples as they are run.
struct Given {
    specs: Vec<InputSpec>,
    sets: Vec<Vec<Tensor>>,
}

impl Given {
    fn read(model: &Loaded, dataset: &Dataset) -> Result<Self, Error> {
        let batch = dataset.fixed_batch().unwrap_or(1);
        let mut sets = Vec::new();
        for read in dataset.batches(batch) {
            sets.push(read?.inputs);
        }
        Ok(Self {
            specs: session_specs(model, dataset, batch)?,
            sets,
        })
    }

    /// True where there are several samples, and all are the same.
    fn are_alike(&self) -> bool {
        let same = |pair: &[Vec<Tensor>]| {
            let inputs = pair[0].iter().zip(&pair[1]);
            inputs.into_iter().all(|(a, b)| a.data() == b.data())
        };
        self.sets.len() > 1 && self.sets.windows(2).all(same)
    }

    /// True where an input is of finite numbers, or of no floats.
    fn is_finite(&self, input: usize) -> bool {
        let tensors = self.sets.iter().filter_map(|set| set.get(input));
        let mut floats = tensors.filter(|tensor| tensor.dtype().is_float());
        floats.all(|tensor| {
            let values = tensor.to_f32();
            values.is_none_or(|values| values.iter().all(|v| v.is_finite()))
        })
    }

    /// The range of an input of floats.
    fn range(&self, input: usize) -> Option<Values> {
        let mut range = Values {
            least: f64::INFINITY,
            greatest: f64::NEG_INFINITY,
            whole: true,
        };
        for set in &self.sets {
            let tensor = set.get(input).filter(|t| t.dtype().is_float())?;
            for value in tensor.to_f32()?.iter().map(|v| f64::from(*v)) {
                range.least = range.least.min(value);
                range.greatest = range.greatest.max(value);
                range.whole &= value.fract() == 0.0;
            }
        }
        (range.least.is_finite() && range.greatest.is_finite()).then_some(range)
    }

    fn inputs(&self) -> InputSets<'_> {
        InputSets {
            specs: &self.specs,
            sets: &self.sets,
        }
    }

    /// The factor that brings the values near those that the model takes, where they are far.
    fn factor(
        &self,
        model: &Loaded,
        target: &dyn Target,
        input: usize,
        value: ValueId,
        values: Values,
    ) -> Result<Option<f64>, Error> {
        let size = values.greatest.max(-values.least);
        let small = values.least >= 0.0 && values.greatest <= 1.0 && size > 0.0;
        if size < FAR && !small {
            return Ok(None);
        }
        let down = 1.0 / values.limit();
        Ok(match Head::of(model.graph(), value) {
            Head::Scales => small.then_some(255.0),
            Head::Free => None,
            Head::Quantised(least, greatest) => {
                let takes = greatest.max(-least);
                match (size > FAR * takes, small && takes > FAR * size.max(1.0)) {
                    (true, _) => Some(down),
                    (_, true) => Some(255.0),
                    _ => None,
                }
            }
            Head::Norms(norms) => {
                let ratio = self.ratio(model, target, &norms)?;
                match (ratio > FAR && size >= FAR, ratio < 1.0 / FAR && small) {
                    (true, _) => Some(down),
                    (_, true) => Some(255.0),
                    _ => None,
                }
            }
            // Without a word of the graph, pictures of whole numbers alone are doubted.
            Head::Silent => {
                let rank = self.specs.get(input).map_or(0, |s| s.dims.len());
                let plain = values.whole && values.least >= 0.0 && rank == 4;
                let doubted =
                    size >= FAR && plain && self.is_too_large(model, target, input, down)?;
                doubted.then_some(down)
            }
        })
    }

    /// Deviations before batch normalisations over the recorded ones: the median over channels,
    /// and of the norms the ratio nearest to 1.
    fn ratio(&self, model: &Loaded, target: &dyn Target, norms: &[Norm]) -> Result<f64, Error> {
        let values: Vec<ValueId> = norms.iter().map(|n| n.value).collect();
        let mut sums: Vec<Vec<Sums>> = norms
            .iter()
            .map(|n| vec![Sums::default(); n.deviations.len()])
            .collect();
        each(model, target, &values, self.inputs(), |maps| {
            for (sums, map) in sums.iter_mut().zip(maps) {
                add(sums, map);
            }
        })?;
        let ratios = norms.iter().zip(&sums).map(|(norm, sums)| {
            let channels = sums.iter().zip(&norm.deviations);
            median(
                channels
                    .map(|(sum, recorded)| sum.deviation() / recorded)
                    .collect(),
            )
        });
        let nearest = ratios.min_by(|a, b| a.ln().abs().total_cmp(&b.ln().abs()));
        Ok(nearest.unwrap_or(1.0))
    }

    /// True where the maps of the first layers are nearer to the size of a network's own with the
    /// values times `factor` than as they are given.
    fn is_too_large(
        &self,
        model: &Loaded,
        target: &dyn Target,
        input: usize,
        factor: f64,
    ) -> Result<bool, Error> {
        let layers = convolutions(model, MACS);
        let scaled: Option<Vec<Vec<Tensor>>> = self
            .sets
            .iter()
            .map(|set| {
                let mut set = set.clone();
                set[input] = times(&set[input], factor)?;
                Some(set)
            })
            .collect();
        let Some(scaled) = scaled.filter(|_| !layers.is_empty()) else {
            return Ok(false);
        };
        let with = |sets: &[Vec<Tensor>]| -> Result<[f64; 2], Error> {
            let inputs = InputSets {
                specs: &self.specs,
                sets,
            };
            Ok(distances(&deviations(model, target, &layers, inputs)?))
        };
        let (given, scaled) = (with(&self.sets)?, with(&scaled)?);
        Ok((0..2).any(|i| scaled[i] < given[i]))
    }
}

/// Sums of one channel.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    count: f64,
    values: f64,
    squares: f64,
}

impl Sums {
    fn deviation(self) -> f64 {
        let mean = self.values / self.count.max(1.0);
        (self.squares / self.count.max(1.0) - mean * mean)
            .max(0.0)
            .sqrt()
    }
}

/// Adds the values of `[rows, channels, ...]`.
fn add(sums: &mut [Sums], map: &Tensor) {
    let (Some(values), [rows, channels, ..]) = (map.to_f32(), map.dims()) else {
        return;
    };
    let plane = values.len() / (rows * channels).max(1);
    for (i, values) in values.chunks_exact(plane.max(1)).enumerate() {
        let Some(sum) = sums.get_mut(i % channels) else {
            continue;
        };
        for value in values.iter().map(|v| f64::from(*v)) {
            sum.count += 1.0;
            sum.values += value;
            sum.squares += value * value;
        }
    }
}

/// A tensor of floats times a factor.
fn times(tensor: &Tensor, factor: f64) -> Option<Tensor> {
    let values = tensor.to_f32()?;
    let values = values
        .iter()
        .map(|v| (f64::from(*v) * factor) as f32)
        .collect();
    let dtype: DType = tensor.dtype();
    Tensor::from_floats(dtype, tensor.dims().to_vec(), values)
}
