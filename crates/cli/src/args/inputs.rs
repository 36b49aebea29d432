//! The inputs that models are run on.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use sepconv::data::SyntheticKind;
use sepconv::ir::Tensor;
use sepconv::{Loaded, SampleSpec, synthetic_inputs};

/// The inputs that models are run on.
#[derive(Debug, Args)]
pub struct InputArgs {
    /// Inputs: .npz, .npy, a folder of pictures, or ONNX test sets [default: seeded random ones]
    // A common option, behind the beginning of a section.
    #[arg(long, value_name = "DATA", alias = "input", help_heading = None::<&str>, display_order = 0)]
    pub data: Option<PathBuf>,
    #[command(flatten)]
    pub samples: SampleSpec,
}

impl InputArgs {
    /// Inputs of `model`: the data given, or so many random ones.
    pub fn read(&self, model: &Loaded, samples: usize, seed: u64) -> Result<Vec<Vec<Tensor>>> {
        Ok(match &self.data {
            Some(path) => self.samples.source(path, seed)?.inputs(model)?,
            None if samples == 0 => bail!("--samples 0: at least one is needed"),
            None => synthetic_inputs(model, samples, seed, SyntheticKind::Normal)?,
        })
    }
}
