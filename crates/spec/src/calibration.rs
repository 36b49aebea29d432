//! How layers are fitted to data.

use std::fmt;
use std::path::PathBuf;

use sepconv_data::Preprocess;
use sepconv_factor::FitOptions;
use sepconv_model::DataSource;
use serde::{Deserialize, Serialize};

/// The source of the samples that layers are fitted to.
#[derive(Debug, Clone)]
pub enum Source {
    /// Unlabelled data.
    Data(DataSource),
    /// Synthetic pictures, where there is no data.
    Pictures(Pictures),
}

impl Source {
    /// Seed of the draws: samples, positions.
    pub fn seed(&self) -> u64 {
        match self {
            Self::Data(source) => source.seed,
            Self::Pictures(pictures) => pictures.seed,
        }
    }

    /// The data, where it is no stand-in.
    pub fn data(&self) -> Option<&DataSource> {
        match self {
            Self::Data(source) => Some(source),
            Self::Pictures(_) => None,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data(source) => write!(f, "{}", source.path.display()),
            Self::Pictures(pictures) => write!(f, "{} synthetic pictures", pictures.samples),
        }
    }
}

/// How layers are fitted to data.
#[derive(Debug, Clone)]
pub struct CalibrationSettings {
    /// The source of the samples.
    pub source: Source,
    /// Output positions per layer, over all samples.
    pub positions: usize,
    /// Candidates that are fitted for a plan, and beside a plan's own.
    pub effort: Effort,
    /// Of so many samples one is held out, to end the alternation; 0 holds out none.
    pub held_out_every: u64,
    /// The least-squares fits.
    pub fit: FitOptions,
    /// How many layers share a pass over the data.
    pub schedule: Schedule,
    /// True where the chosen chain is fitted again to all positions, held-out ones included, for patches of up to
    /// 1152 values.
    pub refit: bool,
    /// True where output channels count by how much the network's outputs depend on them, where the
    /// source is data, the outputs are no classes and operators have gradients; else all alike.
    pub weighted: bool,
    /// Folder in which the statistics of planning are kept, so that another budget for the
    /// same model and data needs no pass over them; `None` keeps none.
    pub cache: Option<PathBuf>,
}

impl CalibrationSettings {
    /// Defaults for a data set.
    pub fn new(source: DataSource) -> Self {
        Self::of(Source::Data(source))
    }

    /// Defaults for any source.
    pub fn of(source: Source) -> Self {
        Self {
            source,
            positions: Effort::default().positions(),
            effort: Effort::default(),
            held_out_every: 8,
            fit: Self::fit_options(),
            schedule: Schedule::Sequential,
            refit: true,
            weighted: true,
            cache: None,
        }
    }

    /// The same with short fits: of so many rounds, before activations, and not fitted again to all positions.
    #[must_use]
    pub fn shortened(&self, rounds: usize) -> Self {
        Self {
            fit: FitOptions {
                rounds,
                steps: 0,
                ..self.fit
            },
            refit: false,
            ..self.clone()
        }
    }

    /// Options of fits of one rank per layer: lower ranks would only cost time.
    pub fn fit_options() -> FitOptions {
        FitOptions {
            rounds: Effort::default().rounds(),
            steps: Effort::default().steps(),
            monotone: false,
            ..FitOptions::default()
        }
    }
}

/// Work that is spent on a fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effort {
    /// About a third of the usual work.
    Quick,
    /// The usual work.
    #[default]
    Normal,
    /// About three times the usual work.
    Thorough,
}

impl Effort {
    /// Output positions per layer, over all samples, at most.
    pub fn positions(self) -> usize {
        match self {
            Self::Quick => 16_384,
            Self::Normal => 60_000,
            Self::Thorough => 200_000,
        }
    }

    /// Rounds of alternating least squares at most.
    pub fn rounds(self) -> usize {
        match self {
            Self::Quick => 2,
            Self::Normal => 8,
            Self::Thorough => 16,
        }
    }

    /// Steps towards the values behind an activation at most.
    pub fn steps(self) -> usize {
        match self {
            Self::Quick => 3,
            Self::Normal => 12,
            Self::Thorough => 24,
        }
    }
}

/// How many layers share a pass over the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// One pass per layer, each of which sees the errors of all layers before it. A pass runs
    /// the part between two layers, so that all passes together run the network once.
    Sequential,
    /// One pass for so many layers, which don't see each other's errors.
    Blocks(usize),
    /// One pass for all layers: every layer sees the original network's inputs.
    Parallel,
}

impl Schedule {
    /// Layers that share a pass, at most.
    pub fn layers(self) -> usize {
        match self {
            Self::Sequential => 1,
            Self::Blocks(n) => n.max(1),
            Self::Parallel => usize::MAX,
        }
    }
}

/// Synthetic pictures to fit to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pictures {
    /// How many.
    pub samples: usize,
    /// Seed.
    pub seed: u64,
    /// The preprocessing of 8-bit pictures that the network expects; `None` guesses the range.
    pub preprocess: Option<Preprocess>,
}
