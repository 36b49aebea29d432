//! `sepconv compress`.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use sepconv::{Error, GivenPlan, Loaded, Settings, compress_file, curve};
use sepconv_report::Report;

use crate::args::CompressArgs;
use crate::claims::Claims;
use crate::doubts;
use crate::files;
use crate::output::Output;

mod eight_bits;
mod layers;
mod outputs;
mod sizes;
mod summary;

pub fn run(args: &CompressArgs, out: &Output) -> Result<()> {
    let output = args.output.clone().unwrap_or_else(|| beside(&args.model));
    claims(args, &output).enter()?;
    args.fit.library.announce()?;
    let spec = args.spec();
    let model = || Ok(Loaded::open(&args.model, &spec.run.shapes.pins()?)?);
    let settings = Settings::with_budget(&spec, None, model)?;
    check_free(args, &output)?;
    // A plan is refused at once where it does not fit, and a refusal is one line.
    if settings.plan.is_none() {
        doubts::of_settings(out, &args.model, &settings);
    }
    // In place, the model is another one by the time that the curve is made.
    let original = match &args.fit.report {
        Some(_) => Some(Loaded::open(&args.model, &settings.pins)?),
        None => None,
    };
    let progress = out.progress();
    let outcome = compress_file(&args.model, &output, &settings, &progress)?;
    if settings.plan.is_some() {
        doubts::of_settings(out, &args.model, &settings);
    }
    // The model stays whatever fails from here on, and so do its figures.
    let mut extras = Extras::default();
    if let Some(path) = &args.save_plan {
        extras.made("its plan", outcome.plan.write(path, settings.force));
    }
    let measured = original
        .as_ref()
        .map(|original| curve(original, &settings, &progress));
    let measured = match measured.transpose() {
        Err(Error::Cancelled) => return Err(Error::Cancelled.into()),
        Err(error) => {
            extras.made("the curve of its report", Err(error));
            None
        }
        Ok(measured) => measured,
    };
    let measured = measured.unwrap_or_default();
    drop(progress);
    if !measured.complete {
        out.note("--max-time was over: points of the report's curve are missing");
    }
    if args.fit.report.is_some() || out.is_json() {
        let report = Report::new(&outcome, &settings, measured, Some(out.command()));
        if let Some(folder) = &args.fit.report {
            extras.made("its report", report.write(folder, settings.force));
        }
        out.json(&report);
    }
    summary::print(&outcome, &settings, args.budget.is_usual(), out);
    if extras.made.contains(&"its report")
        && let Some(folder) = &args.fit.report
    {
        let page = folder.join("report.html");
        out.line(format!("  report      {}", page.display()));
    }
    if extras.made.contains(&"its plan")
        && let Some(path) = &args.save_plan
    {
        out.line(format!("  plan        {}", path.display()));
    }
    out.line(format!("wrote {}", outcome.output.display()));
    extras.result(&outcome.output)
}

/// What is made beside a model that is written.
#[derive(Default)]
struct Extras {
    made: Vec<&'static str>,
    failed: Vec<String>,
}

impl Extras {
    fn made(&mut self, what: &'static str, result: Result<(), Error>) {
        match result {
            Ok(()) => self.made.push(what),
            Err(error) => self.failed.push(format!("{what} was not: {error}")),
        }
    }

    /// An error that names all that is missing.
    fn result(self, model: &Path) -> Result<()> {
        match self.failed.is_empty() {
            true => Ok(()),
            false => bail!(
                "{} was written, {}",
                model.display(),
                self.failed.join("; ")
            ),
        }
    }
}

/// `dir/model.onnx` -> `dir/model.sep.onnx`.
fn beside(model: &Path) -> PathBuf {
    model.with_extension("sep.onnx")
}

/// The model may be replaced, and a plan by what becomes of it.
fn claims(args: &CompressArgs, output: &PathBuf) -> Claims {
    let plan = args.budget.plan.as_ref().and_then(|plan| match plan {
        GivenPlan::File(path) => Some(path),
        GivenPlan::Contents(_) => None,
    });
    let claims = args.fit.reads(&args.model).reads("--plan", plan);
    let claims = claims.replaces("the output", output, &args.model);
    let claims = match (&args.save_plan, plan) {
        (Some(saved), Some(plan)) => claims.replaces("--save-plan", saved, plan),
        (saved, _) => claims.writes("--save-plan", saved),
    };
    claims.reports(&args.fit.report)
}

/// Refuses before the work rather than after it.
fn check_free(args: &CompressArgs, output: &Path) -> Result<()> {
    files::check_free(output, args.fit.run.force)?;
    if let Some(path) = &args.save_plan {
        files::check_free(path, args.fit.run.force)?;
        files::check_place(path)?;
    }
    files::check_report(args.fit.report.as_deref(), args.fit.run.force)?;
    files::check_place(output)
}
