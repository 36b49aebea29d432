//! Tables of measured figures.

use super::curve_data::series_name;
use super::format::{
    capital, cosine, decibels, described, fixed, measured, percent, seconds, si, small,
};
use super::report::Report;
use super::table::{Cell, Table};
use sepconv::{CurvePoint, Series};
use sepconv::{EightBits, Tuning};
use sepconv_eval::BenchRun;
use sepconv_eval::OutputComparison;
use sepconv_tune::{Epoch, Loss};

/// The outputs against the original's.
pub(super) fn outputs(outputs: &[OutputComparison], caption: &str) -> Table {
    let mut head = vec![Cell::text("Output"), Cell::text("Shape")];
    let figures = [
        "Max. abs.",
        "Max. rel.",
        "SNR",
        "Worst channel",
        "Cosine",
        "Top-1 agreement",
    ];
    head.extend(figures.map(Cell::number));
    let mut table = Table::new("outputs", caption, head);
    for output in outputs {
        table.row(output_row(output));
    }
    table
}

fn output_row(output: &OutputComparison) -> Vec<Cell> {
    let dims: Vec<String> = output.shape.iter().map(ToString::to_string).collect();
    let shape = if dims.is_empty() {
        "scalar".into()
    } else {
        dims.join("×")
    };
    let mut cells = vec![Cell::code(&output.name), Cell::text(&shape)];
    if let Some(why) = &output.not_compared {
        cells.push(Cell::text(&format!("not compared: {why}")).over(6));
        return cells;
    }
    let number = |value: Option<f64>, show: fn(f64) -> String| match value {
        Some(value) => Cell::number(&show(value)).exactly(value),
        None => Cell::maybe(None).titled("not finite or not defined"),
    };
    let same = output.max_abs == Some(0.0);
    cells.extend([
        number(output.max_abs, small),
        number(output.max_rel, small),
        if same {
            Cell::number("∞").titled("no difference").exactly("inf")
        } else {
            number(output.snr_db, decibels)
        },
        match output.worst_channel_snr() {
            Some(db) if db == f64::INFINITY => Cell::number("∞").exactly("inf"),
            db => number(db, decibels),
        },
        number(output.cosine, cosine),
        number(output.top1_agreement, percent),
    ]);
    cells
}

/// The layers of a result in eight bits, with the reasons of those in floats.
pub(super) fn eight_bits(record: &EightBits) -> Table {
    let head = ["Layer", "Operator", "Precision", "Reason"].map(Cell::text);
    let mut table = Table::new(
        "eight-bits",
        "Precision of the layers of the result",
        head.into(),
    );
    for layer in &record.layers {
        let precision = if layer.kept.is_none() { "int8" } else { "f32" };
        table.row(vec![
            Cell::code(&layer.name),
            Cell::text(&layer.op_type),
            Cell::text(precision),
            Cell::text(layer.kept.as_deref().unwrap_or_default()),
        ]);
    }
    table
}

/// The epochs of a training.
pub(super) fn tuning(tuning: &Tuning, run: &[Epoch]) -> Table {
    let classes = tuning.losses.iter().any(|(_, l)| *l == Loss::Kl);
    let agreement = match classes {
        true => "Agreement on them (%)",
        false => "SNR on them (dB)",
    };
    let head = [
        "Epoch",
        "Training loss",
        "Loss on held-out samples",
        agreement,
        "Seconds",
    ];
    let caption = format!(
        "{} numbers of {} rewritten layers trained on {} samples, {} of them held out",
        tuning.parameters, tuning.blocks, tuning.samples, tuning.held_out
    );
    let mut table = Table::new("tuning", &caption, head.map(Cell::number).into());
    for (i, epoch) in run.iter().enumerate() {
        table.row(vec![
            Cell::number(&i.to_string()),
            Cell::number(&small(epoch.loss)).exactly(epoch.loss),
            Cell::number(&small(epoch.held_out_loss)).exactly(epoch.held_out_loss),
            Cell::number(&fixed(epoch.held_out_agreement, 2)).exactly(epoch.held_out_agreement),
            Cell::number(&fixed(epoch.seconds, 1)).exactly(epoch.seconds),
        ]);
    }
    table
}

/// The points of the curve by series, with the figures that any of them has.
pub(super) fn points(report: &Report) -> Table {
    let curve = &report.curve;
    let primary = |p: &CurvePoint| p.evaluation.as_ref().map(|e| e.primary.clone());
    let evaluated = curve.iter().find_map(primary);
    let judged = evaluated.as_ref();
    let judged = judged.map_or(String::new(), |m| capital(described(m.metric, m.against)));
    let snrs = curve.iter().any(|p| p.snr_db.is_some());
    let times = curve.iter().any(|p| p.time.is_some());
    let ends = |s: Series| matches!(s, Series::Original | Series::Result);
    let several = curve
        .iter()
        .any(|p| !ends(p.series) && p.series != Series::Uniform);
    let mut head = vec![Cell::text("Point")];
    if several {
        head.push(Cell::text("Series"));
    }
    let snr = format!("SNR on {}", report.inputs.label());
    let numbers = [
        ("MACs", true),
        ("Parameters", true),
        ("Time", times),
        (judged.as_str(), evaluated.is_some()),
        (snr.as_str(), snrs),
    ];
    head.extend(numbers.iter().filter(|h| h.1).map(|h| Cell::number(h.0)));
    let caption = match times {
        true => "Points of the curve; MACs, parameters and time as fractions of the original's",
        false => "Points of the curve; MACs and parameters as fractions of the original's",
    };
    let mut table = Table::new("points", caption, head);
    let mut sorted: Vec<&CurvePoint> = curve.iter().collect();
    if several {
        sorted.sort_by_key(|p| p.series as usize);
    }
    let fraction = |f: f64| Cell::number(&small(f)).exactly(f);
    for point in sorted {
        let mut cells = vec![Cell::text(&point.label)];
        if several {
            cells.push(Cell::text(series_name(point.series)));
        }
        cells.extend([fraction(point.macs), fraction(point.params)]);
        if times {
            cells.push(point.time.map_or_else(|| Cell::maybe(None), fraction));
        }
        if evaluated.is_some() {
            cells.push(Cell::maybe(primary(point).as_ref().map(measured)));
        }
        if snrs {
            cells.push(Cell::maybe(point.snr_db.map(decibels)));
        }
        table.row(cells);
    }
    table
}

/// Models timed beside one another.
pub(super) fn timing(runs: &[BenchRun]) -> Table {
    let mut head = ["Model", "Runtime", "Machine"].map(Cell::text).to_vec();
    let figures = [
        "Threads", "Rounds", "MACs", "Least", "Median", "Speed-up", "5 %", "95 %",
    ];
    head.extend(figures.map(Cell::number));
    let caption = "Seconds per run, the models taking turns; speed-up: over the first model, \
                   median and quantiles of the rounds";
    let mut table = Table::new("timing", caption, head);
    let time = |s: f64| Cell::number(&seconds(s)).exactly(s);
    let times = |f: f64| Cell::number(&format!("{}×", fixed(f, 2))).exactly(f);
    for run in runs {
        for m in &run.models {
            table.row(vec![
                Cell::code(&m.file),
                Cell::text(&format!("{} {}", run.target, run.version)),
                Cell::text(&run.machine),
                Cell::number(&run.threads.to_string()),
                Cell::number(&m.timing.samples.to_string()),
                Cell::number(&si(m.macs)).exactly(m.macs),
                time(m.timing.min),
                time(m.timing.median),
                times(m.speed_up.median),
                times(m.speed_up.low),
                times(m.speed_up.high),
            ]);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{evaluated, hostile, not_run, snr_only, swept, timing as run};
    use super::*;

    #[test]
    fn outputs_without_figures() {
        let html = outputs(&hostile().outputs, "").html();
        assert!(html.contains("not compared: shapes differ"));
        assert!(html.contains("title=\"no difference\">∞"));
    }

    #[test]
    fn points_have_no_empty_columns() {
        let columns = |report| points(&report).html().matches("scope=\"col\"").count();
        assert_eq!(columns(evaluated()), 5);
        assert_eq!(columns(snr_only()), 4);
        assert_eq!(columns(not_run()), 3);
        assert_eq!(columns(swept()), 6);
    }

    #[test]
    fn points_say_what_inputs_they_are_of() {
        let text = points(&snr_only()).markdown();
        assert!(
            text.contains("SNR on held-out calibration samples |"),
            "{text}"
        );
        let page = snr_only().markdown();
        let caption = "outputs on held-out calibration samples";
        assert!(
            page.contains(caption) && !page.contains("synthetic inputs"),
            "{page}"
        );
    }

    #[test]
    fn points_of_several_series_are_told_apart() {
        let report = swept();
        let text = points(&report).markdown();
        assert!(
            text.contains("| rank 2 | paper, rank K, PW→DW | "),
            "{text}"
        );
        let rows: Vec<&str> = text.lines().filter(|l| l.starts_with("| ")).collect();
        // The head and the rule.
        assert_eq!(rows.len(), report.curve.len() + 2);
        assert!(rows[2].contains("original"), "{}", rows[2]);
    }

    #[test]
    fn times_have_units_and_exact_values() {
        let table = timing(&[run()]);
        assert!(table.html().contains("title=\"0.00125\">1.25\u{a0}ms<"));
        let csv = table.csv();
        assert!(csv.contains(",0.00125,2,1.9,2.1\r\n"), "{csv}");
    }
}
