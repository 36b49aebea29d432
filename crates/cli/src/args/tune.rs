//! Options of training.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use sepconv::training::Compute;
use sepconv::{DataSpec, ShapeSpec};

use super::{TargetArgs, examples};

#[derive(Debug, Args)]
#[command(after_help = examples::TUNE)]
pub struct TuneArgs {
    /// The original: the teacher
    pub original: PathBuf,
    /// The model that was made from it
    pub model: PathBuf,
    /// Where to write [default: MODEL with the ending .tuned.onnx]
    #[arg(long, short, value_name = "OUT")]
    pub output: Option<PathBuf>,
    /// Unlabelled data that is trained on: .npz, .npy, a folder of pictures, or ONNX test sets
    #[arg(long, value_name = "DATA")]
    pub calib: PathBuf,
    /// Data on which all three models are evaluated
    #[arg(long, value_name = "DATA")]
    pub eval: Option<PathBuf>,
    /// Replace existing files
    #[arg(long)]
    pub force: bool,
    /// Seed of the order of samples, of augmentation and of the part that is held out
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    pub seed: u64,
    #[command(flatten)]
    pub shapes: ShapeSpec,
    // Last: they begin sections of the help.
    #[command(flatten)]
    pub options: TuneOptions,
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(flatten)]
    pub data: DataSpec,
}

/// Settings of the training.
#[derive(Debug, Args)]
#[command(next_help_heading = "Tuning")]
pub struct TuneOptions {
    /// Passes over the data, at most
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub epochs: usize,
    /// Samples of a step [default: 32 for classes, fewer for maps of more than 640 elements]
    #[arg(long, value_name = "N")]
    pub batch: Option<usize>,
    /// The largest step's size, relative to the weights that it moves; falls to 0 along a cosine
    /// [default: 0.0005 for classes, else 0.002]
    #[arg(long, value_name = "X")]
    pub learning_rate: Option<f64>,
    /// How outputs are compared: divergence of classes, squares or differences [auto: kl for
    /// classes, l2 for anything else]
    #[arg(long, value_enum, default_value_t = LossArg::Auto)]
    pub loss: LossArg,
    /// Temperature of the divergence
    #[arg(long, value_name = "T", default_value_t = 2.0)]
    pub temperature: f64,
    /// Weight of the values behind rewritten layers beside that of the outputs; 0 leaves them out
    #[arg(long, value_name = "W", default_value_t = 0.1)]
    pub block_weight: f64,
    /// Train one rewritten layer after the other: for models too large for the whole
    #[arg(long)]
    pub block_wise: bool,
    /// Epochs without a gain on the held-out samples after which training ends
    #[arg(long, value_name = "N", default_value_t = 6)]
    pub patience: usize,
    /// Mirror half of the pictures
    #[arg(long)]
    pub flip: bool,
    /// Shift pictures by up to N pixels
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub shift: usize,
    /// Device that trains: cpu, cuda or cuda:N (an NVIDIA GPU), metal or metal:N (an Apple GPU); GPUs in
    /// builds with the cargo feature of that name
    #[arg(long, value_name = "DEVICE", default_value_t = Compute::Cpu)]
    pub device: Compute,
    /// Keep the state in this file after every epoch, and go on from it
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum LossArg {
    /// By the kind of the outputs
    Auto,
    /// Kullback-Leibler divergence
    Kl,
    /// Mean square
    L2,
    /// Mean absolute difference
    L1,
}
