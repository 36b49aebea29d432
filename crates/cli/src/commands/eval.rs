//! `sepconv eval`.

use anyhow::Result;
use sepconv::{Against, Evaluation, Evaluator, Loaded};
use sepconv_report::CommandReport;

use crate::args::EvalArgs;
use crate::claims::Claims;
use crate::doubts;
use crate::output::{Output, limit, quantity, stderr, with_limit};
use crate::verdict;

pub fn run(args: &EvalArgs, out: &Output) -> Result<()> {
    let claims = Claims::default()
        .reads("the model", &args.model)
        .reads("--original", &args.original)
        .reads("--data", &args.data);
    claims.reports(&args.report.report).enter()?;
    args.report.check()?;
    let target = args.target.find()?;
    let pins = args.shapes.pins()?;
    let model = Loaded::open(&args.model, &pins)?;
    let original = args.original.as_ref();
    let original = original.map(|path| Loaded::open(path, &pins)).transpose()?;
    let source = args.preprocess.source(&args.data, args.seed)?;
    let evaluator = match &original {
        Some(original) => Evaluator::against(original, &source, target)?,
        None => Evaluator::new(&model, &source, target)?,
    };
    let progress = out.progress();
    let result = evaluator.evaluate(&model, &progress)?;
    drop(progress);
    doubts::of_data(out, &model, &[&source], target);
    out.json(&result);
    if let Some(headline) = headline(&result) {
        out.heading(headline);
    }
    out.line(format!(
        "{} on {} samples of {}, run by {}",
        model.file(),
        evaluator.samples(),
        args.data.display(),
        target.name()
    ));
    if let Some(task) = &result.task {
        out.line(format!("task {}: {}", task.task.name(), task.why));
    }
    if let Some(share) = result.one_class() {
        out.note(verdict::one_class(share));
    }
    let header = [
        "measure",
        "value",
        "standard error",
        "at worst (95 %)",
        "against",
        "output",
    ];
    let rows = result.measures.iter().map(|m| {
        vec![
            m.metric.name().to_owned(),
            quantity(m),
            stderr(m).unwrap_or_else(|| "-".into()),
            limit(m).unwrap_or_else(|| "-".into()),
            m.against.name().to_owned(),
            m.output.clone(),
        ]
    });
    out.table(&header, &rows.collect::<Vec<_>>());
    args.report.write(out, |command| {
        CommandReport::eval(&model.file(), &args.data, target.name(), &result, command)
    })
}

/// The task's own measures, the one that models are judged by first: such as `F1 of
/// detections 23.40 % (at worst 12.10 %), recall of detections 14.00 %, ... against the original`; those
/// against labels before them.
fn headline(result: &Evaluation) -> Option<String> {
    let task = result.task.as_ref()?;
    let own = |against: Against| {
        let own = result.measures.iter().take_while(|m| m.metric.is_of_task());
        let own = own.filter(|m| m.against == against);
        let own: Vec<String> = own.map(with_limit).collect();
        (!own.is_empty()).then(|| own.join(", "))
    };
    let labels = own(Against::Labels).map(|all| format!("{all} against the labels"));
    let original = own(Against::Original).map(|all| format!("{all} against the original"));
    let parts: Vec<String> = labels.into_iter().chain(original).collect();
    let named = task.task.name();
    (!parts.is_empty()).then(|| format!("{named}: {}", parts.join("; ")))
}
