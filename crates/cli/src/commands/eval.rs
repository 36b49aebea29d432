//! `sepconv eval`.

use anyhow::Result;
use sepconv::{Loaded, evaluate};

use crate::args::EvalArgs;
use crate::output::Output;

pub fn run(args: &EvalArgs, out: &Output) -> Result<()> {
    let target = args.target.find()?;
    let model = Loaded::open(&args.model, &args.shapes.pins()?)?;
    let source = args.preprocess.source(&args.data, 0)?;
    let progress = out.progress();
    let result = evaluate(&model, target, &source, &progress)?;
    drop(progress);
    out.json(&result);
    out.line(format!(
        "{}: {} {:.2} % (standard error {:.2} points, n = {})",
        model.file(),
        result.metric,
        result.value,
        result.stderr,
        result.n
    ));
    Ok(())
}
