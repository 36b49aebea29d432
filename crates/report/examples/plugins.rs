//! All that a caller can bring, with the public API alone: a family of decompositions, a cost
//! model, a metric, a runtime and a planner, none of which sepconv knows.
//!
//! ```text
//! cargo run --release -p sepconv-report --example plugins
//! ```
//!
//! compresses `models/digits.onnx` with them and checks the result; `tests/plugins.rs` runs the
//! same.
#![allow(clippy::print_stdout)]

#[path = "plugins/cost.rs"]
mod cost;
#[path = "plugins/family.rs"]
mod family;
#[path = "plugins/metric.rs"]
mod metric;
#[path = "plugins/planner.rs"]
mod planner;
#[path = "plugins/runtime.rs"]
mod runtime;

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use sepconv::data::Preprocess;
use sepconv_report::Report;

use sepconv::{
    Budget, CalibrationSettings, Curve, DataSource, Evaluator, Families, Loaded, Outcome, Pins,
    Selection, Settings, compress, compress_bytes, evaluate_against,
};

use cost::Energy;
use family::BlockFirst;
use metric::TotalVariation;
use planner::Largest;
use runtime::Counted;

#[allow(dead_code)]
fn main() -> Result<(), Box<dyn Error>> {
    let outcome = run()?;
    let cost = outcome.solution.map_or(1.0, |s| s.fraction);
    let measure = outcome
        .compressed
        .evaluation
        .ok_or("not evaluated")?
        .primary;
    println!(
        "{} layers by block-pw, {:.0} % of the energy, {} {:.2} {}",
        outcome
            .layers
            .iter()
            .filter(|l| l.form() == "block-pw")
            .count(),
        100.0 * cost,
        measure.metric.label(),
        measure.value,
        measure.metric.unit(),
    );
    Ok(())
}

fn models(file: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../models")
        .join(file)
}

fn data(file: &str, samples: usize) -> DataSource {
    DataSource {
        preprocess: Preprocess {
            scale: 1.0 / 255.0,
            ..Preprocess::default()
        },
        max_samples: Some(samples),
        ..DataSource::new(models(file))
    }
}

/// Compresses the shipped model with everything from here.
pub fn run() -> Result<Outcome, Box<dyn Error>> {
    let bytes = std::fs::read(models("digits.onnx"))?;
    let mut calibration = CalibrationSettings::new(data("digits_calib.npz", 32));
    calibration.positions = 2_000;
    calibration.fit.rounds = 2;
    calibration.fit.steps = 2;
    // A runtime is handed over for as long as the program runs.
    let counted: &'static Counted =
        Box::leak(Box::new(Counted::new(sepconv::targets::reference())));
    let settings = Settings {
        budget: Budget::TargetCost(0.5),
        // This family alone: names leave out all others.
        families: Families {
            names: vec!["block-pw".into()],
            ..Families::default()
        }
        .with(Arc::new(BlockFirst { width: 8 })),
        selection: Selection::new(&["stem/conv2", "stage[12]*"], &[])?,
        calibration: Some(calibration),
        eval: Some(data("digits_eval.npz", 50)),
        target: counted,
        cost: Some(Arc::new(Energy)),
        metric: Some(Arc::new(TotalVariation)),
        ..Settings::default()
    };
    let (small, outcome) = compress_bytes(bytes.clone(), &settings, &())?;

    // The family: it took the place of convolutions, fitted to data, and of nothing else.
    let rewritten: Vec<_> = outcome.layers.iter().filter(|l| l.is_rewritten()).collect();
    assert!(rewritten.len() >= 3, "{rewritten:?}");
    assert!(
        rewritten.iter().all(|l| l.form() == "block-pw"),
        "{rewritten:?}"
    );
    assert!(rewritten.iter().all(|l| l.fit.is_some()));
    assert!(outcome.compressed.macs < outcome.original.macs);

    // The cost model: the budget holds in its unit.
    let fraction = outcome.solution.as_ref().ok_or("no solution")?.fraction;
    assert!(fraction <= 0.5, "{fraction}");

    // The metric: models are judged by it, and reports show it.
    let measure = &outcome
        .compressed
        .evaluation
        .as_ref()
        .ok_or("not evaluated")?
        .primary;
    assert_eq!(measure.metric.name(), "total-variation");
    assert!(measure.value > 0.0 && measure.value < 30.0, "{measure:?}");
    let original = &outcome
        .original
        .evaluation
        .as_ref()
        .ok_or("not evaluated")?
        .primary;
    assert_eq!(original.value, 0.0);
    let report = Report::new(&outcome, &settings, Curve::default(), None);
    assert!(report.json().contains("\"metric\": \"total-variation\""));
    assert!(
        report
            .html()
            .contains("otal variation of the class probabilities")
    );

    // The runtime: all that was measured was measured on it.
    assert_eq!(outcome.comparison.target, "counted");
    assert!(counted.runs() > 200, "{}", counted.runs());

    // The plan: applied again it gives the same bytes, if whoever applies it brings the family.
    let again = Settings {
        plan: Some(Arc::new(outcome.plan.clone())),
        ..settings.clone()
    };
    assert_eq!(compress_bytes(bytes.clone(), &again, &())?.0, small);
    let without = Settings {
        families: Families::default(),
        ..again
    };
    let error = compress_bytes(bytes, &without, &())
        .err()
        .ok_or("applied")?;
    assert!(
        error.to_string().contains("no family 'block-pw'"),
        "{error}"
    );

    judged(&settings)?;
    planned(&settings)?;
    Ok(outcome)
}

/// A greatest drop is in the metric's unit: on evaluation data, and on the part that is held out of
/// unlabelled data where there is none.
fn judged(settings: &Settings) -> Result<(), Box<dyn Error>> {
    let model = Loaded::open(&models("digits.onnx"), &Pins::default())?;
    for eval in [settings.eval.clone(), None] {
        let settings = Settings {
            budget: Budget::MaxDrop(2.0),
            families: Families {
                names: vec!["dw-pw".into()],
                ..Families::default()
            },
            selection: Selection::new(&["stage1*"], &[])?,
            eval,
            ..settings.clone()
        };
        let small = compress(&model, &settings, &())?;
        assert!(small.model.cost.macs < model.cost.macs);
        let Some(data) = &settings.eval else { continue };
        let evaluator = Evaluator::against(&model, data, settings.target)?
            .with_metric(Arc::new(TotalVariation));
        let found = evaluator.evaluate(&small.model, &())?.primary;
        assert!(found.value <= 2.0, "{found:?}");
        // Without the metric the same data are judged by their labels.
        let plain = evaluate_against(&model, &small.model, settings.target, data, &())?;
        assert_eq!(plain.primary.metric.name(), "top-1");
    }
    Ok(())
}

/// A planner takes the place of the budget.
fn planned(settings: &Settings) -> Result<(), Box<dyn Error>> {
    let model = Loaded::open(&models("digits.onnx"), &Pins::default())?;
    for calibration in [None, settings.calibration.clone()] {
        let fits = usize::from(calibration.is_some()) * 2;
        let settings = Settings {
            planner: Some(Arc::new(Largest {
                layers: 2,
                share: 0.5,
            })),
            data_free: sepconv::DataFree::Weights,
            calibration,
            ..settings.clone()
        };
        let small = compress(&model, &settings, &())?;
        assert_eq!(small.rewritten().count(), 2);
        assert_eq!(small.layers.iter().flat_map(|l| l.fit).count(), fits);
        for (_, candidate) in small.plan().rewritten() {
            assert!(candidate.macs * 2 <= candidate.macs_before);
        }
    }
    Ok(())
}
