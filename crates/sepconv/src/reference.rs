//! The original's outputs on synthetic inputs, run once for all that is compared with it.

use sepconv_data::SyntheticKind;
use sepconv_ir::Tensor;

use crate::compare::Comparison;
use crate::error::Error;
use crate::inputs::synthetic_inputs;
use crate::loaded::Loaded;
use crate::progress::Progress;
use crate::runner::run;
use crate::settings::Settings;

/// Seeded inputs of one kind, and what the original makes of them.
pub(crate) struct Reference {
    inputs: Vec<Vec<Tensor>>,
    outputs: Vec<Vec<Tensor>>,
}

impl Reference {
    /// Runs the original on `runs` inputs.
    pub fn new(
        original: &Loaded,
        settings: &Settings,
        runs: usize,
        kind: SyntheticKind,
        progress: &dyn Progress,
    ) -> Result<Self, Error> {
        let inputs = synthetic_inputs(original, runs, settings.seed, kind)?;
        let outputs = run(original, settings.target, &inputs, progress)?;
        Ok(Self { inputs, outputs })
    }

    /// What a rewritten model makes of the inputs, compared.
    pub fn compare(
        &self,
        model: &Loaded,
        settings: &Settings,
        progress: &dyn Progress,
    ) -> Result<Comparison, Error> {
        let outputs = run(model, settings.target, &self.inputs, progress)?;
        let names = model.output_names();
        Ok(Comparison::of(
            settings.target.name(),
            &names,
            &self.outputs,
            &outputs,
        ))
    }
}
