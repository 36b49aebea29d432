//! `sepconv run`.

use anyhow::{Result, bail};
use sepconv::data::SyntheticKind;
use sepconv::{Loaded, load_inputs, run_to_npz, synthetic_inputs};

use crate::args::RunArgs;
use crate::output::Output;

pub fn run(args: &RunArgs, out: &Output) -> Result<()> {
    if !args.force && args.output.exists() {
        bail!(
            "{}: exists already (use --force to replace it)",
            args.output.display()
        );
    }
    let target = args.target.find()?;
    let model = Loaded::open(&args.model, &args.shapes.pins()?)?;
    let inputs = match &args.input {
        Some(path) => load_inputs(&model, path)?,
        None => synthetic_inputs(&model, args.samples, args.seed, SyntheticKind::Normal)?,
    };
    let progress = out.progress();
    let written = run_to_npz(&model, target, &inputs, &args.output, &progress)?;
    drop(progress);
    let entries = written
        .iter()
        .map(|(name, shape)| serde_json::json!({ "name": name, "shape": shape }));
    out.json(&serde_json::json!({
        "output": args.output.display().to_string(),
        "outputs": entries.collect::<Vec<_>>(),
    }));
    for (name, shape) in &written {
        out.line(format!("{name}: {shape:?}"));
    }
    out.line(format!("wrote {}", args.output.display()));
    Ok(())
}
