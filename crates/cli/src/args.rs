//! What can be typed.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand, ValueEnum};
use sepconv::data::{ChannelOrder, Crop, Layout, Preprocess, Resize, parse_number, parse_numbers};
use sepconv::passes::{Lowering, lowering};
use sepconv::targets::{self, Target};
use sepconv::training::Compute;
use sepconv::{DataSource, LatencyTarget, Order, Pins};

use crate::files::ReportArgs;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// Compress the convolutions of ONNX models into separable ones.
///
/// Exit codes: 0 done; 1 refused or failed, with one line on standard error that names the
/// file, the node and the reason; 2 usage.
#[derive(Debug, Parser)]
#[command(name = "sepconv", version, styles = STYLES, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command.
#[derive(Debug, Args)]
pub struct Global {
    /// Print JSON for machines instead of tables
    #[arg(long, global = true)]
    pub json: bool,
    /// Print nothing but errors
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Print more: per-layer tables
    #[arg(long, short, global = true)]
    pub verbose: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List a model's convolutions and what every rank would keep and cost
    Inspect(InspectArgs),
    /// Replace convolutions by separable ones and write the smaller model
    Compress(Box<CompressArgs>),
    /// Measure the whole curve: accuracy against MACs, parameters and time
    Sweep(Box<SweepArgs>),
    /// Train a compressed model towards the original on unlabelled data
    Tune(Box<TuneArgs>),
    /// Run two models on the same inputs and compare their outputs
    Compare(CompareArgs),
    /// Measure a model on data: accuracy, PSNR, or how close it stays to the original
    Eval(EvalArgs),
    /// Run a model and write its outputs
    Run(RunArgs),
    /// Time models beside one another
    Bench(BenchArgs),
    /// Print shell completions
    Completions(CompletionsArgs),
    /// Print the man page
    Man,
}

#[derive(Debug, Args)]
pub struct InspectArgs {
    /// ONNX model
    pub model: PathBuf,
    #[command(flatten)]
    pub report: ReportArgs,
    #[command(flatten)]
    pub shapes: ShapeArgs,
}

#[derive(Debug, Args)]
pub struct CompressArgs {
    /// ONNX model
    pub model: PathBuf,
    /// Where to write [default: MODEL with the ending .sep.onnx]
    #[arg(long, short, value_name = "OUT")]
    pub output: Option<PathBuf>,
    /// The same rank K in every layer
    #[arg(long, value_name = "K", group = "budget")]
    pub rank: Option<usize>,
    /// Share of each kernel's squared norm to keep, per layer, in (0, 1]
    #[arg(long, value_name = "E", group = "budget")]
    pub energy: Option<f64>,
    /// Fraction of the model's MACs to keep, in (0, 1)
    #[arg(long, value_name = "R", group = "budget")]
    pub target_macs: Option<f64>,
    /// Fraction of the model's parameters to keep, in (0, 1)
    #[arg(long, value_name = "R", group = "budget")]
    pub target_params: Option<f64>,
    /// Fraction of the file's bytes to keep, in (0, 1)
    #[arg(long, value_name = "R", group = "budget")]
    pub target_size: Option<f64>,
    /// Fraction of the original's time on --target to keep, in (0, 1)
    #[arg(long, value_name = "R", group = "budget")]
    pub target_latency: Option<f64>,
    /// The cheapest model that is at most this much worse: points or dB of the main metric on
    /// --eval, else points of agreement with the original on held-out calibration data
    /// [default with --calib: 1, where outputs are classes or there is --eval]
    #[arg(long, value_name = "D", group = "budget")]
    pub max_drop: Option<f64>,
    /// The cheapest model whose outputs stay within this signal-to-noise ratio (dB) of the
    /// original, on held-out calibration data or on synthetic inputs [default otherwise: 30]
    #[arg(long, value_name = "DB", group = "budget")]
    pub min_snr: Option<f64>,
    /// Apply a plan that --save-plan wrote, in place of planning. It says all that --seed, --order,
    /// --lowering, --layers, --skip, --families, --input-shape and the options of fits say; give
    /// the same --calib, if it was made with one
    #[arg(
        long,
        value_name = "FILE",
        group = "budget",
        conflicts_with_all = [
            "allow_costlier", "order", "lowering", "layers", "skip", "quantized", "data_free", "families",
            "positions", "rounds", "steps", "unweighted", "block", "seed", "input_shape", "max_samples",
        ]
    )]
    pub plan: Option<PathBuf>,
    /// Also write the plan: layers, families, ranks and lowerings, as JSON for --plan
    #[arg(long, value_name = "FILE")]
    pub save_plan: Option<PathBuf>,
    /// Rewrite even where it costs more MACs (to verify that full rank is exact)
    #[arg(long)]
    pub allow_costlier: bool,
    #[command(flatten)]
    pub fit: FitArgs,
}

#[derive(Debug, Args)]
pub struct SweepArgs {
    /// ONNX model
    pub model: PathBuf,
    /// Fractions of the original's MACs (of its time, with --target) to plan for
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "0.9,0.8,0.7,0.6,0.55,0.5,0.45,0.4,0.35,0.3,0.25,0.2"
    )]
    pub fractions: Vec<f64>,
    /// Leaves out the baselines: uniform ranks, and the paper's method
    #[arg(long)]
    pub no_baselines: bool,
    /// Folder for the planned models
    #[arg(long, value_name = "DIR")]
    pub models: Option<PathBuf>,
    #[command(flatten)]
    pub fit: FitArgs,
}

/// What layers are fitted to, and how.
#[derive(Debug, Args)]
pub struct FitArgs {
    /// What the model is to be cheap on: macs, or a runtime (tract, onnxruntime, openvino) whose measured
    /// time decides what is rewritten, and how
    #[arg(long, value_name = "NAME", default_value = "macs")]
    pub target: String,
    /// Threads of one run on --target
    #[arg(long, value_name = "N", default_value_t = std::num::NonZeroUsize::MIN)]
    pub threads: std::num::NonZeroUsize,
    #[command(flatten)]
    pub library: LibraryArgs,
    /// Order of the depthwise and the pointwise convolution
    #[arg(long, value_enum, default_value_t = OrderArg::Best)]
    pub order: OrderArg,
    /// How separable convolutions are written into the graph
    #[arg(long, value_enum, default_value_t = LoweringArg::Auto)]
    pub lowering: LoweringArg,
    /// Only layers whose names match (repeatable; * matches anything)
    #[arg(long, value_name = "GLOB")]
    pub layers: Vec<String>,
    /// All but the layers whose names match (repeatable)
    #[arg(long, value_name = "GLOB")]
    pub skip: Vec<String>,
    /// Rewrite convolutions of quantised weights (behind DequantizeLinear) too, with floats
    #[arg(long)]
    pub quantized: bool,
    /// Folder for report.json, .csv, .md and .html and curve.svg, with the measured curve
    #[arg(long, value_name = "DIR")]
    pub report: Option<PathBuf>,
    /// Unlabelled data that the layers are fitted to: .npz, .npy, a folder of pictures, or ONNX
    /// test sets. Far more accurate than the weights alone
    #[arg(long, value_name = "DATA")]
    pub calib: Option<PathBuf>,
    /// Fit without data, even with --calib: to synthetic pictures, or to the weights alone
    /// (the method of the paper). Without --calib this is pictures where that is quick
    #[arg(
        long,
        value_name = "KIND",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "pictures"
    )]
    pub data_free: Option<DataFreeArg>,
    /// Families to choose from: dw-pw, pw-dw, spatial, channel, tucker, cp [default: dw-pw and
    /// pw-dw with --rank or --energy, else all of these]; +lowrank adds 1x1 convolutions,
    /// Gemm and MatMul by low rank to the default, as + does for any name
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub families: Vec<String>,
    /// Output positions per layer that are fitted to
    #[arg(long, value_name = "N", default_value_t = 60_000)]
    pub positions: usize,
    /// Memory that calibration may take: bytes, with K, M, G or T (powers of 1024), or a share of
    /// the machine's [default: 50%]. With less, fewer layers are looked at together, and fewer
    /// positions of wide ones
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    pub max_memory: Option<u64>,
    /// Rounds of alternating least squares at most
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub rounds: usize,
    /// Steps towards what a layer's activation lets through at most; 0 fits to the outputs
    /// before it
    #[arg(long, value_name = "N", default_value_t = 12)]
    pub steps: usize,
    /// Fit all output channels of a layer alike, not by how much the outputs depend on them (which
    /// is done where those are no classes)
    #[arg(long)]
    pub unweighted: bool,
    /// Layers that share a pass over the data: 1 is most accurate, 0 means all
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub block: usize,
    /// Then train the result towards the original on --calib, without labels, for so many epochs
    /// (`sepconv tune` has all options)
    #[arg(
        long,
        value_name = "EPOCHS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "20"
    )]
    pub tune: Option<usize>,
    /// Data on which the original and the result are evaluated: by labels or a target where it
    /// has them, and the result against the original
    #[arg(long, value_name = "DATA")]
    pub eval: Option<PathBuf>,
    /// Replace existing files
    #[arg(long)]
    pub force: bool,
    /// Seed of synthetic inputs
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    #[command(flatten)]
    pub shapes: ShapeArgs,
    #[command(flatten)]
    pub data: DataArgs,
}

#[derive(Debug, Args)]
pub struct TuneArgs {
    /// The original: the teacher
    pub original: PathBuf,
    /// The model that was made from it
    pub model: PathBuf,
    /// Where to write
    #[arg(long, short, value_name = "OUT")]
    pub output: PathBuf,
    /// Unlabelled data: .npz, .npy, a folder of pictures, or ONNX test sets
    #[arg(long, value_name = "DATA")]
    pub calib: PathBuf,
    #[command(flatten)]
    pub options: TuneOptions,
    /// Data on which all three models are evaluated
    #[arg(long, value_name = "DATA")]
    pub eval: Option<PathBuf>,
    /// Replace an existing file
    #[arg(long)]
    pub force: bool,
    /// Seed of the order of samples, of augmentation and of what is held out
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(flatten)]
    pub shapes: ShapeArgs,
    #[command(flatten)]
    pub data: DataArgs,
}

/// How a model is trained.
#[derive(Debug, Args)]
#[command(next_help_heading = "Tuning")]
pub struct TuneOptions {
    /// Passes over the data, at most
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub epochs: usize,
    /// Samples of a step [default: 32 for classes, fewer for maps of more than 640 elements]
    #[arg(long, value_name = "N")]
    pub batch: Option<usize>,
    /// The largest step's size, relative to what it moves; falls to 0 along a cosine
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
    /// What trains: cpu, cuda or cuda:N (an NVIDIA GPU), metal or metal:N (an Apple GPU); GPUs in
    /// builds with the cargo feature of that name
    #[arg(long, value_name = "DEVICE", default_value_t = Compute::Cpu)]
    pub device: Compute,
    /// Keep the state in this file after every epoch, and go on from it
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum LossArg {
    /// By what the outputs are
    Auto,
    /// Kullback-Leibler divergence
    Kl,
    /// Mean square
    L2,
    /// Mean absolute difference
    L1,
}

#[derive(Debug, Args)]
pub struct CompareArgs {
    /// The original
    pub a: PathBuf,
    /// The other
    pub b: PathBuf,
    /// Inputs: an .npz with arrays named like the graph inputs [default: seeded random ones]
    #[arg(long, value_name = "NPZ")]
    pub input: Option<PathBuf>,
    /// Number of random inputs
    #[arg(long, default_value_t = 8)]
    pub samples: usize,
    /// Seed of random inputs
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    #[command(flatten)]
    pub report: ReportArgs,
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(flatten)]
    pub shapes: ShapeArgs,
}

#[derive(Debug, Args)]
pub struct EvalArgs {
    /// ONNX model
    pub model: PathBuf,
    /// Data: an .npz with `images` (or an array named like the input) and `labels` or `target`,
    /// a folder with one sub-folder of pictures per class, or ONNX test sets; with --original
    /// also data without labels
    #[arg(long)]
    pub data: PathBuf,
    /// The model that MODEL was made from: measures how close MODEL stays to it
    #[arg(long, value_name = "MODEL")]
    pub original: Option<PathBuf>,
    #[command(flatten)]
    pub report: ReportArgs,
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(flatten)]
    pub shapes: ShapeArgs,
    #[command(flatten)]
    pub preprocess: DataArgs,
}

#[derive(Debug, Args)]
pub struct RunArgs {
    /// ONNX model
    pub model: PathBuf,
    /// Inputs: an .npz with arrays named like the graph inputs [default: seeded random ones]
    #[arg(long, value_name = "NPZ")]
    pub input: Option<PathBuf>,
    /// Where to write the outputs, as arrays named like the graph outputs
    #[arg(long, short, value_name = "NPZ")]
    pub output: PathBuf,
    /// Number of random inputs
    #[arg(long, default_value_t = 1)]
    pub samples: usize,
    /// Seed of random inputs
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Replace an existing file
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(flatten)]
    pub shapes: ShapeArgs,
}

#[derive(Debug, Args)]
pub struct BenchArgs {
    /// ONNX models; ratios are to the first
    #[arg(required = true, value_name = "MODEL")]
    pub models: Vec<PathBuf>,
    /// Runtime: tract, onnxruntime, openvino, or all that are available (repeatable)
    #[arg(long, value_name = "NAME", default_value = "tract")]
    pub target: Vec<String>,
    /// Numbers of threads [default: 1 and all cores]
    #[arg(long, value_name = "N,M", value_delimiter = ',')]
    pub threads: Vec<NonZeroUsize>,
    /// Rounds, in each of which every model is timed once
    #[arg(
        long,
        value_name = "N",
        default_value = "30",
        conflicts_with = "seconds"
    )]
    pub runs: NonZeroUsize,
    /// Instead: rounds until every model has been timed so long
    #[arg(long, value_name = "S")]
    pub seconds: Option<f64>,
    /// Seed of the random inputs
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Also write the figures as JSON
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub report: ReportArgs,
    #[command(flatten)]
    pub library: LibraryArgs,
    #[command(flatten)]
    pub shapes: ShapeArgs,
}

/// The runtime that models run on.
#[derive(Debug, Args)]
pub struct TargetArgs {
    /// Runtime: tract, onnxruntime or openvino
    #[arg(long, value_name = "NAME", default_value = "tract")]
    pub target: String,
    #[command(flatten)]
    pub library: LibraryArgs,
}

/// Bytes of memory: a number with K, M, G or T behind it, or a share of the machine's.
fn memory(text: &str) -> std::result::Result<u64, String> {
    let wrong =
        || format!("'{text}' is no size: bytes, such as 8G or 512M, or a share, such as 50%");
    let number = |digits: &str| -> std::result::Result<f64, String> {
        let number = digits.trim().parse::<f64>().ok();
        number
            .filter(|n| n.is_finite() && *n > 0.0)
            .ok_or_else(wrong)
    };
    if let Some(share) = text.strip_suffix('%') {
        let share = number(share)?;
        if share > 100.0 {
            return Err(format!("'{text}' is more than the machine has"));
        }
        return Ok((share / 100.0 * sepconv::machine_memory() as f64) as u64);
    }
    let short = text.strip_suffix("iB").or(text.strip_suffix(['B', 'b']));
    let short = short.unwrap_or(text);
    let powers = ["K", "M", "G", "T"];
    let power = powers
        .iter()
        .position(|p| short.to_ascii_uppercase().ends_with(p));
    let (digits, power) = match power {
        Some(power) => (&short[..short.len() - 1], power as i32 + 1),
        None => (short, 0),
    };
    Ok((number(digits)? * 1024_f64.powi(power)) as u64)
}

impl FitArgs {
    /// The runtime that the model is to be fast on, if it is one.
    pub fn latency(&self) -> Result<Option<LatencyTarget>> {
        self.library.announce()?;
        if self.target == "macs" {
            return Ok(None);
        }
        let target = targets::find(&self.target)?;
        target.available()?;
        let threads = self.threads;
        Ok(Some(LatencyTarget { target, threads }))
    }
}

impl TargetArgs {
    /// The target, if it is available.
    pub fn find(&self) -> Result<&'static dyn Target> {
        self.library.announce()?;
        let target = targets::find(&self.target)?;
        target.available()?;
        Ok(target)
    }
}

/// Shared libraries of runtimes.
#[derive(Debug, Args)]
pub struct LibraryArgs {
    /// Shared library of ONNX Runtime [default: $SEPCONV_ONNXRUNTIME, the loader's path, or
    /// the PyPI package in $VIRTUAL_ENV or ./.venv]
    #[arg(long, value_name = "LIB")]
    pub onnxruntime: Option<PathBuf>,
    /// Shared library openvino_c [default: $SEPCONV_OPENVINO, the loader's path, or the PyPI
    /// package in $VIRTUAL_ENV or ./.venv]
    #[arg(long, value_name = "LIB")]
    pub openvino: Option<PathBuf>,
}

impl LibraryArgs {
    /// Tells the targets where their libraries are.
    pub fn announce(&self) -> Result<()> {
        if let Some(path) = &self.onnxruntime {
            targets::use_onnxruntime(path)?;
        }
        if let Some(path) = &self.openvino {
            targets::use_openvino(path)?;
        }
        Ok(())
    }
}

#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// Shell
    pub shell: clap_complete::Shell,
}

/// Input shapes.
#[derive(Debug, Args)]
pub struct ShapeArgs {
    /// Shape of an input with free dimensions, such as x=1x3x224x224 (repeatable)
    #[arg(long, value_name = "NAME=SHAPE")]
    pub input_shape: Vec<String>,
}

impl ShapeArgs {
    pub fn pins(&self) -> Result<Pins> {
        Ok(Pins::parse(&self.input_shape)?)
    }
}

/// Preprocessing of data.
#[derive(Debug, Args)]
#[command(next_help_heading = "Data")]
pub struct DataArgs {
    /// Preprocessing from a TOML file with the keys scale, mean, std, channel-order, resize,
    /// crop, layout
    #[arg(long, value_name = "TOML")]
    pub preprocess: Option<PathBuf>,
    /// Factor on pixel values: a number or a fraction such as 1/255
    #[arg(long, value_name = "X")]
    pub scale: Option<String>,
    /// Subtracted after scaling: per channel, or one for all
    #[arg(long, value_name = "A,B,C", allow_hyphen_values = true)]
    pub mean: Option<String>,
    /// Divided by after that: per channel, or one for all
    #[arg(long, value_name = "A,B,C")]
    pub std: Option<String>,
    /// rgb or bgr
    #[arg(long)]
    pub channel_order: Option<ChannelOrder>,
    /// Short side in pixels, or WxH
    #[arg(long)]
    pub resize: Option<Resize>,
    /// Centre crop in pixels, or WxH
    #[arg(long)]
    pub crop: Option<Crop>,
    /// Layout of arrays: nchw or nhwc
    #[arg(long)]
    pub layout: Option<Layout>,
    /// File with one class folder name per line: line i is output i
    #[arg(long, value_name = "FILE")]
    pub classes: Option<PathBuf>,
    /// At most this many samples, drawn with the seed (of the calibration data, in compress)
    #[arg(long, value_name = "N")]
    pub max_samples: Option<usize>,
    /// Largest value of a picture, for PSNR and SSIM [default: 255 where the target is stored as
    /// u8, else 1]
    #[arg(long, value_name = "X")]
    pub peak: Option<f64>,
}

impl DataArgs {
    /// The data set at `path` with these settings.
    pub fn source(&self, path: &std::path::Path, seed: u64) -> Result<DataSource> {
        Ok(DataSource {
            path: path.to_owned(),
            preprocess: self.recipe()?,
            classes: self.classes.clone(),
            max_samples: self.max_samples,
            seed,
            peak: self.peak,
            ..DataSource::default()
        })
    }

    /// What is done to pixel values, where anything is said of it.
    pub fn pixels(&self) -> Result<Option<Preprocess>> {
        let recipe = self.recipe()?;
        let plain = Preprocess::default();
        let same = (recipe.scale, &recipe.mean, &recipe.std) == (1.0, &plain.mean, &plain.std);
        Ok((!same).then_some(recipe))
    }

    fn recipe(&self) -> Result<Preprocess> {
        let mut recipe = match &self.preprocess {
            Some(file) => Preprocess::from_toml_file(file)?,
            None => Preprocess::default(),
        };
        if let Some(text) = &self.scale {
            recipe.scale = parse_number(text).context("--scale")?;
        }
        if let Some(text) = &self.mean {
            recipe.mean = parse_numbers(text).context("--mean")?;
        }
        if let Some(text) = &self.std {
            recipe.std = parse_numbers(text).context("--std")?;
        }
        if let Some(order) = self.channel_order {
            recipe.channel_order = order;
        }
        if let Some(layout) = self.layout {
            recipe.layout = layout;
        }
        recipe.resize = self.resize.or(recipe.resize);
        recipe.crop = self.crop.or(recipe.crop);
        recipe.validate()?;
        Ok(recipe)
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum DataFreeArg {
    /// Synthetic pictures with the statistics of natural ones
    Pictures,
    /// The weights alone
    Weights,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum OrderArg {
    /// Depthwise, then pointwise
    DwPw,
    /// Pointwise, then depthwise
    PwDw,
    /// The better one for each layer
    Best,
}

impl From<OrderArg> for Order {
    fn from(order: OrderArg) -> Self {
        match order {
            OrderArg::DwPw => Self::DwPw,
            OrderArg::PwDw => Self::PwDw,
            OrderArg::Best => Self::Best,
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum LoweringArg {
    /// K depthwise and K pointwise convolutions, summed
    Branches,
    /// K depthwise convolutions, concatenated, one pointwise
    Concat,
    /// The input K times, one depthwise, one pointwise
    Tiled,
    /// One depthwise of multiplier K, one pointwise
    Fused,
    /// As branches, filters reading maps that were padded before: for tract (opset 9)
    BranchesPadded,
    /// As tiled, so padded
    TiledPadded,
    /// As fused, so padded
    FusedPadded,
    /// As branches, PW->DW, the input padded once before everything
    BranchesInputPadded,
    /// As fused, the input padded before the first pointwise
    FusedInputPadded,
    /// What runs fastest on most runtimes
    Auto,
}

impl LoweringArg {
    pub fn lowering(self) -> Option<&'static dyn Lowering> {
        lowering(self.to_possible_value()?.get_name())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn memory_is_bytes_or_a_share() {
        assert_eq!(memory("512M"), Ok(512 << 20));
        assert_eq!(memory("8G"), Ok(8 << 30));
        assert_eq!(memory("1.5GiB"), Ok(3 << 29));
        assert_eq!(memory("2gb"), Ok(2 << 30));
        assert_eq!(memory("1000"), Ok(1000));
        let half = sepconv::machine_memory() / 2;
        assert!(memory("50%").unwrap().abs_diff(half) < 2);
        for wrong in ["", "G", "-1", "0", "x", "120%", "nan", "1 e", "\u{e9}"] {
            assert!(memory(wrong).is_err(), "{wrong}");
        }
    }
}
