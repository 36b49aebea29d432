//! `sepconv run`.

use anyhow::Result;
use sepconv::{Loaded, run_to_npz};

use crate::args::RunArgs;
use crate::claims::Claims;
use crate::files::check_free;
use crate::output::Output;

pub fn run(args: &RunArgs, out: &Output) -> Result<()> {
    let claims = Claims::default()
        .reads("the model", &args.model)
        .reads("--data", &args.inputs.data)
        .writes("the output", &args.output);
    claims.enter()?;
    check_free(&args.output, args.force)?;
    let target = args.target.find()?;
    let model = Loaded::open(&args.model, &args.shapes.pins()?)?;
    let inputs = args.inputs.read(&model, args.samples, args.seed)?;
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
