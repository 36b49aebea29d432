//! The command line as it is typed.

mod examples;
mod inputs;
#[cfg(test)]
mod tests;
mod tune;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::Result;
use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand};
use sepconv::targets::{self, Target};
use sepconv::{
    BudgetSpec, DataSpec, FitSpec, QuantizeSpec, RunSpec, SearchSpace, ShapeSpec, Spec, TargetSpec,
};

pub use inputs::InputArgs;
pub use tune::{LossArg, TuneArgs, TuneOptions};

use crate::claims::Claims;
use crate::files::ReportArgs;
use crate::global::Global;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// Closing lines of the top command's help and of the man page.
const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    refused or failed, with one line on standard error that names the file, the node and the
       reason
  2    wrong usage
  130  interrupted (Ctrl-C, SIGINT)
  143  ended by SIGTERM

Long runs tell of their progress on standard error: a bar on a terminal, elsewhere a line per stage
and one a minute; with --quiet nothing. Interrupted, a command ends within 2 seconds and leaves no
half-written file.";

/// Compress the convolutions of ONNX models into separable ones.
#[derive(Debug, Parser)]
#[command(
    name = "sepconv",
    version,
    styles = STYLES,
    max_term_width = 100,
    after_help = format!("{EXIT_CODES}\n\n{}", examples::SEPCONV)
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List a model's convolutions, and the energy and cost of every rank
    Inspect(InspectArgs),
    /// Replace convolutions by separable ones and write the smaller model
    Compress(Box<CompressArgs>),
    /// Measure the whole curve: accuracy against MACs, parameters and time
    Sweep(Box<SweepArgs>),
    /// Train a compressed model towards the original on unlabelled data
    Tune(Box<TuneArgs>),
    /// Turn a float model into one of eight bits (QDQ)
    Quantize(QuantizeArgs),
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
#[command(after_help = examples::INSPECT)]
pub struct InspectArgs {
    /// ONNX model
    pub model: PathBuf,
    #[command(flatten)]
    pub report: ReportArgs,
    #[command(flatten)]
    pub shapes: ShapeSpec,
}

#[derive(Debug, Args)]
#[command(after_help = examples::COMPRESS)]
pub struct CompressArgs {
    /// ONNX model
    pub model: PathBuf,
    /// Where to write [default: MODEL with the ending .sep.onnx]
    #[arg(long, short, value_name = "OUT")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub budget: BudgetSpec,
    /// Also write the plan: layers, families, ranks and lowerings, as JSON for --plan
    #[arg(long, value_name = "FILE")]
    pub save_plan: Option<PathBuf>,
    #[command(flatten)]
    pub fit: FitArgs,
}

#[derive(Debug, Args)]
#[command(
    after_help = examples::SWEEP,
    mut_arg("target", |target| target.help(SWEEP_TARGET)),
    // A curve has the points that are slower as well.
    mut_arg("allow_slower", |slower| slower.hide(true))
)]
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

/// Help of `sweep --target`.
const SWEEP_TARGET: &str = "Measure of the cost: macs, or a runtime (tract, onnxruntime, openvino) whose measured time \
                            decides what is rewritten, and how; auto is the first that is there of onnxruntime, openvino and \
                            tract [default: macs]";

/// The options that `compress` and `sweep` share.
#[derive(Debug, Args)]
pub struct FitArgs {
    #[command(flatten)]
    pub target: TargetSpec,
    #[command(flatten)]
    pub library: LibraryArgs,
    #[command(flatten)]
    pub space: SearchSpace,
    /// Folder for report.json, .csv, .md and .html and curve.svg, with the measured curve
    // A common option, in the midst of sections.
    #[arg(long, value_name = "DIR", help_heading = None::<&str>, display_order = 18)]
    pub report: Option<PathBuf>,
    #[command(flatten)]
    pub fit: FitSpec,
    #[command(flatten)]
    pub run: RunSpec,
    #[command(flatten)]
    pub data: DataSpec,
}

impl CompressArgs {
    /// The options as a spec.
    pub fn spec(&self) -> Spec {
        Spec {
            budget: self.budget.clone(),
            ..self.fit.spec()
        }
    }
}

impl FitArgs {
    /// The files that are read: the model, and the data with what belongs to them.
    pub fn reads(&self, model: &PathBuf) -> Claims {
        let claims = data(Claims::default().reads("the model", model), &self.data);
        let claims = claims.reads("--calib", &self.fit.calib);
        claims.reads("--eval", &self.run.eval)
    }

    /// The options as a spec without a budget.
    pub fn spec(&self) -> Spec {
        Spec {
            budget: BudgetSpec::default(),
            target: self.target.clone(),
            space: self.space.clone(),
            fit: self.fit.clone(),
            run: self.run.clone(),
            data: self.data.clone(),
        }
    }
}

/// The files that say how data are read.
pub fn data(claims: Claims, data: &DataSpec) -> Claims {
    let claims = claims.reads("--labels", &data.labels);
    claims.reads("--classes", &data.classes)
}

#[derive(Debug, Args)]
#[command(after_help = examples::QUANTIZE)]
pub struct QuantizeArgs {
    /// ONNX model in floats, of opset 13 or later; of 7 to 12 with --opset
    pub model: PathBuf,
    /// Unlabelled data that ranges and weights are chosen by: .npz, .npy, a folder of pictures, or
    /// ONNX test sets
    #[arg(long, value_name = "DATA")]
    pub calib: PathBuf,
    /// Where to write [default: MODEL with the ending .int8.onnx]
    #[arg(long, short, value_name = "OUT")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub options: QuantizeSpec,
    #[command(flatten)]
    pub library: LibraryArgs,
}

#[derive(Debug, Args)]
#[command(after_help = examples::COMPARE)]
pub struct CompareArgs {
    /// The original
    #[arg(value_name = "ORIGINAL")]
    pub a: PathBuf,
    /// The model that is held against it
    #[arg(value_name = "MODEL")]
    pub b: PathBuf,
    /// Number of random inputs
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub samples: usize,
    /// Seed of random inputs, and of draws from data
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    pub seed: u64,
    #[command(flatten)]
    pub report: ReportArgs,
    #[command(flatten)]
    pub shapes: ShapeSpec,
    // Last: they begin sections of the help.
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(flatten)]
    pub inputs: InputArgs,
}

#[derive(Debug, Args)]
#[command(after_help = examples::EVAL)]
pub struct EvalArgs {
    /// ONNX model
    pub model: PathBuf,
    /// Data: an .npz with `images` (or an array named like the input) and `labels` or `target`,
    /// a folder with one sub-folder of pictures per class, or ONNX test sets; pictures with boxes or
    /// masks apart (--labels); with --original also data without labels
    #[arg(long, value_name = "DATA")]
    pub data: PathBuf,
    /// The model that MODEL was made from: measures how close MODEL stays to it
    #[arg(long, value_name = "ORIGINAL")]
    pub original: Option<PathBuf>,
    /// Seed of draws from data
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    pub seed: u64,
    #[command(flatten)]
    pub report: ReportArgs,
    #[command(flatten)]
    pub shapes: ShapeSpec,
    // Last: they begin sections of the help.
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(flatten)]
    pub preprocess: DataSpec,
}

#[derive(Debug, Args)]
#[command(after_help = examples::RUN)]
pub struct RunArgs {
    /// ONNX model
    pub model: PathBuf,
    /// Where to write the outputs: an .npz with arrays named like the graph outputs
    #[arg(long, short, value_name = "OUT")]
    pub output: PathBuf,
    /// Number of random inputs
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub samples: usize,
    /// Seed of random inputs, and of draws from data
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    pub seed: u64,
    /// Replace existing files
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub shapes: ShapeSpec,
    // Last: they begin sections of the help.
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(flatten)]
    pub inputs: InputArgs,
}

#[derive(Debug, Args)]
#[command(after_help = examples::BENCH)]
pub struct BenchArgs {
    /// ONNX models; ratios are to the first
    #[arg(required = true, value_name = "MODEL")]
    pub models: Vec<PathBuf>,
    /// Runtime: tract, onnxruntime, openvino, or all that are available (repeatable)
    #[arg(long, value_name = "NAME", default_value = "tract")]
    pub target: Vec<String>,
    /// Threads of one run, several numbers with commas between [default: 1 and all cores]
    #[arg(long, value_name = "N", value_delimiter = ',')]
    pub threads: Vec<NonZeroUsize>,
    /// Rounds, in each of which every model is timed once [default: 30, or as many as take one of the models 10 s, 4 at least]
    #[arg(long, value_name = "N", conflicts_with = "seconds")]
    pub runs: Option<NonZeroUsize>,
    /// Instead: rounds until every model has been timed so long
    #[arg(long, value_name = "S")]
    pub seconds: Option<f64>,
    /// Seed of random inputs
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    pub seed: u64,
    /// Where to write the figures as JSON, beside printing them
    #[arg(long, short, value_name = "OUT")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub report: ReportArgs,
    #[command(flatten)]
    pub shapes: ShapeSpec,
    // Last: it begins a section of the help.
    #[command(flatten)]
    pub library: LibraryArgs,
}

/// The runtime that models run on.
#[derive(Debug, Args)]
pub struct TargetArgs {
    /// Runtime: tract, onnxruntime or openvino
    // A common option, behind the beginning of a section.
    #[arg(long, value_name = "NAME", default_value = "tract", help_heading = None::<&str>)]
    pub target: String,
    #[command(flatten)]
    pub library: LibraryArgs,
}

impl TargetArgs {
    /// The target, if it is available.
    pub fn find(&self) -> Result<&'static dyn Target> {
        self.library.announce()?;
        available(&self.target)
    }
}

/// The runtime of that name, where it is there.
fn available(name: &str) -> Result<&'static dyn Target> {
    let target = targets::find(name)?;
    target.available()?;
    Ok(target)
}

/// Shared libraries of runtimes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Runtime")]
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
    /// Tells the targets where their libraries are. One that does not load is an error.
    pub fn announce(&self) -> Result<()> {
        if let Some(path) = &self.onnxruntime {
            targets::use_onnxruntime(path)?;
            targets::find("onnxruntime")?.available()?;
        }
        if let Some(path) = &self.openvino {
            targets::use_openvino(path)?;
            targets::find("openvino")?.available()?;
        }
        Ok(())
    }
}

#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// Shell
    pub shell: clap_complete::Shell,
}
