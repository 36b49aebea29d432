//! A plan as a file: made on one machine, applied on another, byte for byte the same model.

use std::path::Path;

use sepconv_analysis::Pins;
use sepconv_data::{Part, Preprocess};
use sepconv_factor::FitOptions;
use sepconv_model::{Advice, Error, Loaded};
use sepconv_onnx::{OnnxError, write_atomic};
use sepconv_passes::{LayerPlan, Order, Plan};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::calibration::{CalibrationSettings, Effort, Pictures, Schedule, Source};

/// Layout of plan files.
pub const PLAN_FORMAT: &str = "sepconv-plan/1";

/// The decisions for a model, and all that its weights depend on but the data: with the same
/// model, the same calibration data and the same version of sepconv it gives the same bytes.
/// Serialised as JSON, see `docs/plan.md`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedPlan {
    /// Layout of the file, `sepconv-plan/1`.
    pub format: String,
    /// Version of sepconv that made it.
    pub sepconv: String,
    /// The model that it is for.
    pub model: PlannedModel,
    /// Input shapes that were fixed.
    pub input_shapes: Pins,
    /// Globs of the layers that were meant; batch norms fold into these.
    pub selection: PlannedSelection,
    /// True where calls of local functions were written out, so that their layers could be planned.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub functions: bool,
    /// The order that was allowed of the depthwise and the pointwise convolution.
    pub order: Order,
    /// How the weights are fitted, and the data that eight bits have their ranges of; `None`: the data-free decomposition.
    pub fit: Option<PlannedFit>,
    /// One entry per convolution, in graph order.
    pub layers: Vec<LayerPlan>,
    /// True where `PRelu`s are written in simpler operators, see [`sepconv_passes::ExpandPRelu`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub expanded: bool,
    /// Names of layers that stay in floats where the result is in eight bits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub in_floats: Vec<String>,
}

/// A model, by its contents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedModel {
    /// Name of its file, without folders.
    pub file: String,
    /// Size in bytes, external data included.
    pub bytes: usize,
    /// SHA-256 of the file, followed by its external data files in the order of their names.
    pub sha256: String,
}

/// Globs of layer names, as [`sepconv_passes::Selection::new`] takes them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedSelection {
    /// Layers that are meant; all where it is empty.
    pub layers: Vec<String>,
    /// Layers that are not.
    pub skip: Vec<String>,
    /// True where quantised weights were looked through, see `Settings::quantized`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub quantized: bool,
}

/// How layers are fitted, see [`CalibrationSettings`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedFit {
    /// The data of the fits.
    pub to: PlannedSource,
    /// Output positions per layer, over all samples.
    pub positions: usize,
    /// Of so many samples one is held out.
    pub held_out_every: u64,
    /// How many layers share a pass over the data.
    pub schedule: Schedule,
    /// True where the chosen chain is fitted again to all positions, for patches of up to 1152 values.
    pub refit: bool,
    /// True where output channels count by how much the network's outputs depend on them.
    #[serde(default)]
    pub weighted: bool,
    /// The least-squares fits.
    pub options: FitOptions,
}

/// The data that layers are fitted to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum PlannedSource {
    /// Data, which whoever applies the plan has to bring.
    Data {
        /// Seed of the draws.
        seed: u64,
        /// At most this many samples.
        max_samples: Option<usize>,
        /// Preprocessing of pictures.
        preprocess: Preprocess,
        /// Which of the samples: the rest is held out.
        #[serde(default, skip_serializing_if = "is_whole")]
        part: Part,
    },
    /// Synthetic pictures, which the plan brings along.
    Pictures {
        /// Seed.
        seed: u64,
        /// How many.
        samples: usize,
        /// Their preprocessing; `None` guesses the range.
        preprocess: Option<Preprocess>,
    },
}

fn is_whole(part: &Part) -> bool {
    *part == Part::Whole
}

impl SavedPlan {
    /// Reads a plan file.
    ///
    /// # Errors
    /// [`Error::Plan`] where it is no plan of a layout that this version knows;
    /// [`Error::Onnx`] where it can't be read.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|source| OnnxError::Io {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text).map_err(|reason| Error::Plan {
            file: path.display().to_string(),
            reason,
        })
    }

    /// Reads a plan from JSON.
    ///
    /// # Errors
    /// A phrase that names its fault.
    pub fn parse(json: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Head {
            format: Option<String>,
        }
        let odd = |e: serde_json::Error| format!("it is no plan: {e}");
        let head: Head = serde_json::from_str(json).map_err(odd)?;
        match head.format.as_deref() {
            Some(PLAN_FORMAT) => serde_json::from_str(json).map_err(odd),
            Some(other) => Err(format!(
                "the plan is of the layout '{other}'; sepconv {} reads {PLAN_FORMAT}",
                env!("CARGO_PKG_VERSION")
            )),
            None => Err("it is no plan: it has no 'format'".into()),
        }
    }

    /// The plan as JSON, the same text for the same plan.
    pub fn json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Writes the plan; an existing file is replaced with `force` only.
    ///
    /// # Errors
    /// [`Error::Onnx`] naming the file.
    pub fn write(&self, path: &Path, force: bool) -> Result<(), Error> {
        Ok(write_atomic(path, force, self.json().as_bytes())?)
    }

    /// Refuses a model that the plan was not made for.
    ///
    /// # Errors
    /// [`Error::Plan`] names both.
    pub fn check(&self, model: &Loaded) -> Result<(), Error> {
        let found = PlannedModel::of(model).sha256;
        if found == self.model.sha256 {
            return Ok(());
        }
        let short = |hash: &str| hash.chars().take(12).collect::<String>();
        Err(Error::Plan {
            file: model.file(),
            reason: format!(
                "the plan was made for another model, '{}' with SHA-256 {}...; this one has {}...",
                self.model.file,
                short(&self.model.sha256),
                short(&found)
            ),
        })
    }

    /// The decisions.
    pub fn plan(&self) -> Plan {
        Plan {
            layers: self.layers.clone(),
        }
    }
}

impl PlannedModel {
    /// The name, size and hash of a model as it was read.
    pub fn of(model: &Loaded) -> Self {
        let document = model.as_read();
        let mut hash = Sha256::new();
        for segment in document.encode().segments() {
            hash.update(segment);
        }
        document.visit_external(&mut |part| hash.update(part));
        let name = document.path().and_then(Path::file_name);
        let hex = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
        Self {
            file: name.map_or_else(|| model.file(), |n| n.to_string_lossy().into_owned()),
            bytes: document.source_size(),
            sha256: hex,
        }
    }
}

impl PlannedFit {
    /// The fit that `calibration` asks for.
    pub fn of(calibration: &CalibrationSettings) -> Self {
        Self {
            to: match &calibration.source {
                Source::Data(data) => PlannedSource::Data {
                    seed: data.seed,
                    max_samples: data.max_samples,
                    preprocess: data.preprocess.clone(),
                    part: data.part,
                },
                Source::Pictures(pictures) => PlannedSource::Pictures {
                    seed: pictures.seed,
                    samples: pictures.samples,
                    preprocess: pictures.preprocess.clone(),
                },
            },
            positions: calibration.positions,
            held_out_every: calibration.held_out_every,
            schedule: calibration.schedule,
            refit: calibration.refit,
            weighted: calibration.weighted,
            options: calibration.fit,
        }
    }

    /// The settings of the fit, with the data that the caller brings.
    ///
    /// # Errors
    /// [`Error::Setting`] where the plan was fitted to data and none is given, or the other way
    /// round.
    pub fn settings(
        &self,
        data: Option<&CalibrationSettings>,
    ) -> Result<CalibrationSettings, Error> {
        let wrong = |text: &str, advice| Err(Error::Setting(text.to_owned()).advising(advice));
        let source = match (&self.to, data.map(|d| &d.source)) {
            (
                PlannedSource::Data {
                    seed,
                    max_samples,
                    preprocess,
                    part,
                },
                Some(Source::Data(given)),
            ) => {
                let mut source = given.clone();
                source.seed = *seed;
                source.max_samples = *max_samples;
                source.preprocess = preprocess.clone();
                source.part = *part;
                Source::Data(source)
            }
            (PlannedSource::Data { .. }, _) => {
                return wrong(
                    "the plan's weights are fitted to data",
                    Advice::GiveSameCalibration,
                );
            }
            (PlannedSource::Pictures { .. }, Some(Source::Data(_))) => {
                return wrong(
                    "the plan's weights are fitted to synthetic pictures",
                    Advice::LeaveOutCalibration,
                );
            }
            (
                PlannedSource::Pictures {
                    seed,
                    samples,
                    preprocess,
                },
                _,
            ) => Source::Pictures(Pictures {
                samples: *samples,
                seed: *seed,
                preprocess: preprocess.clone(),
            }),
        };
        Ok(CalibrationSettings {
            source,
            positions: self.positions,
            effort: Effort::default(),
            held_out_every: self.held_out_every,
            fit: self.options,
            schedule: self.schedule,
            refit: self.refit,
            weighted: self.weighted,
            cache: data.and_then(|d| d.cache.clone()),
        })
    }
}
