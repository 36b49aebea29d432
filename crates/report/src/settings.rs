//! The table of settings, versions, data and machine.

use super::data::{CalibrationReport, DataReport};
use super::format::exact;
use super::report::Report;
use super::table::{Cell, Table};
use sepconv::{Budget, Verdict};

/// Table of settings and versions.
pub(super) fn table(report: &Report) -> Table {
    let mut table = Table::new("settings", "Settings and versions", Vec::new());
    let mut row = |name: &str, cell: Cell| table.row(vec![Cell::text(name), cell]);
    let (settings, versions) = (&report.settings, &report.versions);
    row("Model", Cell::code(&report.model));
    if let Some(output) = &report.output {
        row("Written to", Cell::code(output));
    }
    if let Some(asked) = settings.budget {
        row("Budget", Cell::text(&budget(asked)));
    }
    if let Some(s) = &report.solution {
        let time = s
            .time
            .map_or_else(String::new, |t| format!(" in {t:.4} of the time"));
        let text = format!(
            "{:.4} of the cost planned{time}, expected loss {:.3e} (no plan has less than {:.3e})",
            s.fraction, s.loss, s.bound
        );
        row("Allocation", Cell::text(&text));
    }
    if let Some(verdict) = &report.verdict {
        row("Verdict", Cell::text(&said(verdict)));
    }
    row("Order", Cell::text(&name_of(&settings.order)));
    if !settings.families.is_empty() {
        row("Families", Cell::text(&settings.families.join(", ")));
    }
    row("Lowering", Cell::text(&settings.lowering));
    row("Assumed extents", list(&settings.assumed));
    row("Extents as the data has them", list(&settings.shaped));
    match &settings.calibration {
        Some(c) => {
            row("Fitted to", Cell::text(&calibration(c)));
        }
        None => row("Fitted to", Cell::text("the weights alone")),
    }
    row("Evaluation data", data(settings.eval.as_ref()));
    row("Seed", Cell::text(&report.seed.to_string()));
    row("sepconv", Cell::text(versions.sepconv));
    let measured = format!("{} {}", versions.target, versions.target_version);
    row("Measured with", Cell::text(&measured));
    if let Some(l) = &versions.latency {
        let plural = if l.threads == 1 { "" } else { "s" };
        let text = format!("{} {}, {} thread{plural}", l.target, l.version, l.threads);
        row("Timed with", Cell::text(&text));
    }
    row("Machine", Cell::text(&report.machine));
    row("Layout of report.json", Cell::text(report.schema));
    table
}

fn data(data: Option<&DataReport>) -> Cell {
    let Some(data) = data else {
        return Cell::text("none");
    };
    Cell::text(&format!("{}{}", data.path, samples(data.samples)))
}

fn samples(samples: Option<usize>) -> String {
    samples.map_or(String::new(), |n| format!(", {} samples", exact(n as u64)))
}

fn calibration(c: &CalibrationReport) -> String {
    format!(
        "{}{}, {} output positions per layer, one of {} samples held out{}",
        c.data,
        samples(c.samples),
        exact(c.positions as u64),
        c.held_out_every,
        if c.weighted {
            ""
        } else {
            ", all channels alike"
        }
    )
}

fn list(items: &[String]) -> Cell {
    match items {
        [] => Cell::text("none"),
        items => Cell::code(&items.join(", ")),
    }
}

fn budget(budget: Budget) -> String {
    match budget {
        Budget::Rank(rank) => format!("rank {rank} in every layer"),
        Budget::Energy(share) => format!("{share} of every kernel's energy kept"),
        Budget::TargetMacs(share) => format!("at most {share} of the MACs"),
        Budget::TargetParams(share) => format!("at most {share} of the parameters"),
        Budget::TargetSize(share) => format!("at most {share} of the bytes"),
        Budget::TargetLatency(share) => format!("at most {share} of the time"),
        Budget::TargetCost(share) => format!("at most {share} of the cost"),
        Budget::MaxDrop(drop) => format!("at most {drop} points or dB worse"),
        Budget::MinSnr(db) => format!("output SNR of at least {db}\u{a0}dB"),
    }
}

/// The verdict of the data on a budget that is judged.
fn said(verdict: &Verdict) -> String {
    let unit = verdict.unit;
    let number = |v: Option<f64>| v.map_or("not defined".into(), |v| format!("{v:.2} {unit}"));
    let least = match (verdict.limit, verdict.shown, verdict.needed) {
        (Some(limit), true, _) => format!("at worst {limit:.2} {unit} at 95 % confidence"),
        (_, _, Some(needed)) => format!(
            "not shown: at worst {} at 95 % confidence, {needed} samples or more are needed",
            number(verdict.limit)
        ),
        (_, _, None) => "not shown: no data".to_owned(),
    };
    let value = number(verdict.value);
    let one_class = verdict.one_class.map_or(String::new(), |share| {
        format!(" ({share:.1} % of them of one class, whose agreement says little)")
    });
    let missed = match verdict.is_missed() {
        true => format!(", missing the {:.2} {unit} asked for", verdict.allowed),
        false => String::new(),
    };
    format!(
        "{} {value} on {} samples{one_class}{missed}, {least}",
        verdict.figure(),
        exact(verdict.samples as u64)
    )
}

/// The name under which a setting is serialised.
fn name_of(setting: &impl serde::Serialize) -> String {
    match serde_json::to_value(setting) {
        Ok(serde_json::Value::String(name)) => name,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{calibrated, evaluated, swept};
    use super::*;

    #[test]
    fn settings_are_words() {
        let html = table(&evaluated()).html();
        assert!(html.contains("at most 0.45 of the MACs") && html.contains("<td>best</td>"));
        assert!(html.contains("cifar10-test.npz, 10,000 samples"));
        assert!(html.contains("Machine") && html.contains("2 cores"));
    }

    #[test]
    fn a_verdict_says_what_is_shown_and_what_is_not() {
        let verdict = Verdict {
            metric: "agreement",
            unit: "%",
            allowed: 99.0,
            value: Some(100.0),
            limit: Some(94.18),
            samples: 50,
            needed: Some(299),
            shown: false,
            one_class: None,
            relaxed: None,
            outputs: None,
            higher_is_better: true,
        };
        let mut report = evaluated();
        report.verdict = Some(verdict.clone());
        let html = table(&report).html();
        assert!(
            html.contains("agreement 100.00 % on 50 samples, not shown: at worst 94.18 %")
                && html.contains("299 samples or more"),
            "{html}"
        );
        let shown = Verdict {
            limit: Some(99.3),
            shown: true,
            ..verdict.clone()
        };
        assert!(said(&shown).ends_with("at worst 99.30 % at 95 % confidence"));
        let none = Verdict {
            needed: None,
            ..verdict.clone()
        };
        assert!(said(&none).ends_with("not shown: no data"));
        let one_class = Verdict {
            one_class: Some(98.0),
            ..verdict
        };
        assert!(said(&one_class).contains("50 samples (98.0 % of them of one class"));
    }

    #[test]
    fn data_fitted_to_and_what_timed() {
        let html = table(&calibrated()).html();
        assert!(html.contains("train.npz, 2,000 samples, 60,000 output positions"));
        assert!(html.contains("onnxruntime 1.27.0, 1 thread<"));
        assert!(html.contains("expected loss 1.200e-2"));
        let html = table(&swept()).html();
        assert!(!html.contains("Written to") && !html.contains("Budget"));
    }
}
