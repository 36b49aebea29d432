//! `report.csv`: the curve, one row per point.

use super::escape::csv_field;
use sepconv::{CurvePoint, Series};
use sepconv_eval::{Evaluation, Measure};

/// The columns that every curve has. `macs`, `params` and `time` are fractions of the
/// original's; `metric` to `n` are of the primary measure.
const COLUMNS: [&str; 12] = [
    "series", "label", "macs", "params", "time", "metric", "against", "output", "value", "stderr",
    "n", "snr_db",
];

/// The curve as CSV (RFC 4180). Every measure but the primary one has two columns of its own,
/// such as `top-5 labels logits` and `top-5 labels logits stderr`.
pub(super) fn curve(points: &[CurvePoint]) -> String {
    let others = others(points);
    let mut head: Vec<String> = COLUMNS.map(str::to_owned).to_vec();
    for measure in &others {
        head.extend([name(measure), format!("{} stderr", name(measure))]);
    }
    let mut text = line(&head);
    for point in points {
        let evaluation = point.evaluation.as_ref();
        let mut cells = first(point, evaluation.map(|e| &e.primary));
        for measure in &others {
            let own = evaluation.and_then(|e| e.same(measure));
            cells.push(number(own.map(|m| m.value)));
            cells.push(number(own.and_then(|m| m.stderr)));
        }
        text.push_str(&line(&cells));
    }
    text
}

fn first(point: &CurvePoint, primary: Option<&Measure>) -> Vec<String> {
    let word = |f: fn(&Measure) -> &str| primary.map_or(String::new(), |m| f(m).to_owned());
    vec![
        series(point.series).to_owned(),
        point.label.clone(),
        number(Some(point.macs)),
        number(Some(point.params)),
        number(point.time),
        word(|m| m.metric.name()),
        word(|m| m.against.name()),
        word(|m| &m.output),
        number(primary.map(|m| m.value)),
        number(primary.and_then(|m| m.stderr)),
        primary.map_or(String::new(), |m| m.n.to_string()),
        number(point.snr_db),
    ]
}

/// As in JSON.
pub(super) fn series(series: Series) -> &'static str {
    match series {
        Series::Original => "original",
        Series::Result => "result",
        Series::Allocated => "allocated",
        Series::Tuned => "tuned",
        Series::Int8 => "int8",
        Series::Both => "both",
        Series::Uniform => "uniform",
        Series::PaperDwPw => "paper-dw-pw",
        Series::PaperPwDw => "paper-pw-dw",
        Series::PaperEnergy => "paper-energy",
    }
}

/// Measures beside the primary one, by their first appearance.
fn others(points: &[CurvePoint]) -> Vec<&Measure> {
    let key = |m: &Measure| (m.metric, m.against, m.output.clone());
    let mut found: Vec<&Measure> = Vec::new();
    let evaluations = points.iter().filter_map(|p| p.evaluation.as_ref());
    for Evaluation {
        primary, measures, ..
    } in evaluations
    {
        for measure in measures.iter().filter(|m| key(m) != key(primary)) {
            if !found.iter().any(|m| key(m) == key(measure)) {
                found.push(measure);
            }
        }
    }
    found
}

fn name(m: &Measure) -> String {
    format!("{} {} {}", m.metric.name(), m.against.name(), m.output)
}

/// All digits; an empty field for none.
fn number(value: Option<f64>) -> String {
    value
        .filter(|v| !v.is_nan())
        .map_or(String::new(), |v| v.to_string())
}

fn line(cells: &[String]) -> String {
    let cells: Vec<String> = cells.iter().map(|c| csv_field(c)).collect();
    format!("{}\r\n", cells.join(","))
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{evaluated, hostile, not_run, swept};
    use super::*;

    #[test]
    fn a_row_per_point_with_all_digits() {
        let report = evaluated();
        let text = curve(&report.curve);
        let lines: Vec<&str> = text.split("\r\n").collect();
        assert_eq!(lines.len(), report.curve.len() + 2);
        assert!(lines[0].ends_with(
            "snr_db,top-5 labels logits,top-5 labels logits stderr,\
             agreement original logits,agreement original logits stderr,\
             kl original logits,kl original logits stderr"
        ));
        assert!(
            lines[4].starts_with("result,result,0.446,0.4683"),
            "{}",
            lines[4]
        );
        assert!(lines[4].contains(",,top-1,labels,logits,91.32,0.2815"));
        let columns = lines[0].split(',').count();
        for line in &lines[1..lines.len() - 1] {
            assert_eq!(line.split(',').count(), columns, "{line}");
        }
    }

    #[test]
    fn series_are_called_as_in_json() {
        for point in swept().curve {
            let name = serde_json::to_value(point.series).unwrap_or_default();
            assert_eq!(name, series(point.series));
        }
    }

    #[test]
    fn nothing_measured_is_empty_and_labels_are_quoted() {
        let text = curve(&not_run().curve);
        assert!(text.contains("uniform,rank 1,0.169,0.17745"));
        let text = curve(&hostile().curve);
        assert!(text.contains("uniform,\"<script>alert(\"\"1\"\")</script>\",0.6"));
    }
}
