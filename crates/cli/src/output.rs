//! Tables for people, JSON for machines, one line for errors.

use std::cell::Cell;
use std::io::{IsTerminal, Write};
use std::time::Instant;

use anstyle::{AnsiColor, Style};
use sepconv::passes::{Kept, PassError, Reasons};
use sepconv::quantization::{QuantizedLayer, in_seven_bits};
use sepconv::targets::TargetError;
use sepconv::{Advice, Measure, SpecError, Unshaped};
use serde::Serialize;
use serde_json::Value;

use crate::error_line::{one_line, print_error};
use crate::global::Global;
use crate::progress::{Medium, Shown};
use crate::refusal::worded;

/// Printer of a command, with its formats. Colours appear on terminals only.
pub struct Output {
    json: bool,
    quiet: bool,
    verbose: bool,
    begun: Instant,
    /// The command as typed.
    command: String,
    /// Those that JSON has yet to list.
    warnings: Cell<Vec<String>>,
}

const BOLD: Style = Style::new().bold();
const YELLOW: Style = AnsiColor::Yellow.on_default();

impl Output {
    /// `command`: the command as typed.
    pub fn new(global: &Global, command: String) -> Self {
        Self {
            json: global.json,
            quiet: global.quiet,
            verbose: global.verbose > 0,
            begun: Instant::now(),
            command,
            warnings: Cell::default(),
        }
    }

    /// The command as typed, for reports.
    pub fn command(&self) -> String {
        self.command.clone()
    }

    /// True where machines read the output.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// True where details are wanted.
    pub fn is_verbose(&self) -> bool {
        self.verbose
    }

    /// Prints a value as JSON, where machines read; an object with the warnings so far, if there were
    /// any, in its list `warnings`.
    pub fn json(&self, value: &impl Serialize) {
        if !self.json {
            return;
        }
        let warnings = self.warnings.take();
        let text = match (warnings.is_empty(), serde_json::to_value(value)) {
            (false, Ok(Value::Object(mut object))) => {
                let list = object
                    .entry("warnings")
                    .or_insert_with(|| Vec::<Value>::new().into());
                if let Value::Array(list) = list {
                    list.extend(warnings.into_iter().map(Value::from));
                }
                serde_json::to_string_pretty(&object)
            }
            _ => serde_json::to_string_pretty(value),
        };
        if let Ok(text) = text {
            self.raw(&format!("{text}\n"));
        }
    }

    /// Prints a warning on standard error: the command goes on, and its result may not be the one
    /// that was meant. Call before [`Output::json`].
    pub fn warning(&self, text: impl AsRef<str>) {
        let text = one_line(text.as_ref());
        if !self.quiet {
            let line = format!("{YELLOW}warning:{YELLOW:#} {text}\n");
            let _ = anstream::stderr().write_all(line.as_bytes());
        }
        let mut warnings = self.warnings.take();
        warnings.push(text);
        self.warnings.set(warnings);
    }

    /// Prints a line for people.
    pub fn line(&self, text: impl AsRef<str>) {
        if !self.json && !self.quiet {
            self.raw(&format!("{}\n", text.as_ref()));
        }
    }

    /// Prints a heading for people.
    pub fn heading(&self, text: impl AsRef<str>) {
        self.line(format!("{BOLD}{}{BOLD:#}", text.as_ref()));
    }

    /// Prints a remark on standard error.
    pub fn note(&self, text: impl AsRef<str>) {
        if !self.quiet && !self.json {
            let line = format!("{YELLOW}note:{YELLOW:#} {}\n", text.as_ref());
            let _ = anstream::stderr().write_all(line.as_bytes());
        }
    }

    /// True where nothing but errors is to be printed.
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Prints as it is. A closed pipe is not an error.
    pub fn raw(&self, text: &str) {
        let _ = anstream::stdout().write_all(text.as_bytes());
    }

    /// Prints an error on one line of standard error.
    pub fn error(&self, error: &anyhow::Error) {
        // The reason for which a file that an option names is refused is an error as any other.
        let text = match error.downcast_ref() {
            Some(SpecError::File(file)) => chain(error) + &hint(file),
            Some(refused) => worded(refused),
            None => chain(error) + &error.downcast_ref().map_or(String::new(), hint),
        };
        print_error(&text);
    }

    /// Shows progress on standard error: a bar on a terminal, lines elsewhere.
    pub fn progress(&self) -> Shown {
        let medium = match std::io::stderr().is_terminal() {
            _ if self.quiet => Medium::Nothing,
            true => Medium::Terminal,
            false => Medium::Log,
        };
        Shown::new(medium, self.begun)
    }

    /// A name that leaves room for `others` columns in the terminal, without its middle where it
    /// is longer; whole where details are wanted.
    pub fn name(&self, name: &str, others: usize) -> String {
        /// Columns of a name, however narrow the terminal is.
        const LEAST: usize = 24;
        if self.verbose {
            return name.to_owned();
        }
        shortened(name, columns().saturating_sub(others).max(LEAST))
    }

    /// Prints rows in aligned columns, the first to the left, the others to the right. Text in
    /// the first column is taken for a name, see [`Output::name`].
    pub fn table(&self, header: &[&str], rows: &[Vec<String>]) {
        let longest = |i: usize| {
            let cells = rows.iter().filter_map(|r| r.get(i));
            let longest = cells.map(|c| c.chars().count()).max().unwrap_or(0);
            longest.max(header[i].chars().count())
        };
        let others: usize = (1..header.len()).map(|i| 2 + longest(i)).sum();
        let named = rows.iter().map(|row| {
            let mut row = row.clone();
            if let Some(name) = row.first_mut() {
                *name = self.name(name, others);
            }
            row
        });
        let rows: Vec<Vec<String>> = named.collect();
        let width = |i: usize| {
            let cells = rows.iter().filter_map(|r| r.get(i));
            let longest = cells.map(|c| c.chars().count()).max().unwrap_or(0);
            longest.max(header[i].chars().count())
        };
        let widths: Vec<usize> = (0..header.len()).map(width).collect();
        let format = |cells: &mut dyn Iterator<Item = &str>| {
            let padded = cells.zip(&widths).enumerate().map(|(i, (cell, w))| {
                let gap = " ".repeat(w.saturating_sub(cell.chars().count()));
                if i == 0 {
                    format!("{cell}{gap}")
                } else {
                    format!("{gap}{cell}")
                }
            });
            padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        self.heading(format(&mut header.iter().copied()));
        for row in &rows {
            self.line(format(&mut row.iter().map(String::as_str)));
        }
    }
}

/// The option that helps with an error.
fn hint(error: &sepconv::Error) -> String {
    match error {
        sepconv::Error::UnknownShapes { unshaped, .. } => unshaped_hint(unshaped).into(),
        sepconv::Error::Advised { advice, .. } => advice_hint(*advice).into(),
        sepconv::Error::AllKept { reasons, .. }
        | sepconv::Error::Pass {
            source: PassError::NothingToDo(reasons),
            ..
        } => reasons_hint(reasons),
        sepconv::Error::Onnx(sepconv::onnx::OnnxError::Exists { .. }) => {
            " (use --force to replace it)".into()
        }
        sepconv::Error::Target {
            source: TargetError::Load {
                target: "tract", ..
            },
            ..
        } => " (ONNX Runtime may: --target onnxruntime)".into(),
        _ => String::new(),
    }
}

/// The options that help with layers that stay, each once.
fn reasons_hint(reasons: &Reasons) -> String {
    let mut hints = String::new();
    for hint in reasons.kinds().map(kept_hint) {
        if !hints.contains(hint) {
            hints.push_str(hint);
        }
    }
    hints
}

/// The option that helps with a layer that stays.
pub fn kept_hint(kept: &Kept) -> &'static str {
    match kept {
        Kept::InSubgraph => " (--rank and --energy without --target reach it)",
        Kept::Quantized => " (--quantized looks through it)",
        Kept::Memory { .. } => " (--max-memory allows more)",
        Kept::UnknownShape => " (pin it with --input-shape)",
        _ => "",
    }
}

/// Advice in the words of the command line.
fn advice_hint(advice: Advice) -> &'static str {
    match advice {
        Advice::PinInputShape => " (pin it with --input-shape)",
        Advice::GiveOriginal => " (--original names one)",
        Advice::GiveLatencyTarget => " (--target tract, onnxruntime or openvino)",
        Advice::GiveJudgingData => ": give --calib or --eval",
        Advice::GiveUnjudgedBudget => {
            "; give a budget (--rank, --energy or --target-macs) to compress it unchecked"
        }
        Advice::GiveCalibrationOrBudget => {
            ": give --calib, or choose a budget (--rank, --energy, --target-macs) or a lower --min-snr"
        }
        Advice::GiveLowerBound => {
            " (--max-drop or --min-snr asks for less; --speedup and --target-macs take what they cost)"
        }
        Advice::GiveLowerRatio => {
            " (--min-snr asks for less; --speedup and --target-macs take what they cost)"
        }
        Advice::NameTask => {
            " (with --task named its own outputs alone are judged; --speedup and --target-macs take what they cost)"
        }
        Advice::GiveTargetOrSnr => ": give --eval with a target, or --min-snr",
        Advice::GiveCalibration => ": give --calib",
        Advice::GiveSameCalibration => ": give the same with --calib",
        Advice::AllowSlower => " (--allow-slower writes it all the same)",
        Advice::GiveMoreTime => " (with a longer --max-time there may be one)",
        Advice::RaiseOpset => " (--opset 13 raises one of 7 to 12)",
        Advice::LeaveOutCalibration => ": leave out --calib",
        _ => "",
    }
}

/// The option that helps with shapes that are not known.
pub fn unshaped_hint(unshaped: &Unshaped) -> &'static str {
    if unshaped.inputs.is_empty() {
        ""
    } else {
        " (--input-shape gives it)"
    }
}

/// `text` in at most `width` characters, without its middle where it is longer.
fn shortened(text: &str, width: usize) -> String {
    let count = text.chars().count();
    if count <= width {
        return text.to_owned();
    }
    let kept = width.saturating_sub(1);
    let head: String = text.chars().take(kept.div_ceil(2)).collect();
    let tail: String = text.chars().skip(count - kept / 2).collect();
    format!("{head}…{tail}")
}

/// Columns of the terminal: as `COLUMNS` says, else as it is. 100 where there is none.
fn columns() -> usize {
    let named = std::env::var("COLUMNS").ok();
    let named = named.and_then(|n| n.trim().parse().ok()).filter(|n| *n > 0);
    let real = || Some(usize::from(terminal_size::terminal_size()?.0.0));
    named.or_else(real).unwrap_or(100)
}

/// An error with its context, leaving out causes that the message before them quotes.
fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let message = cause.to_string();
        if text.is_empty() {
            text = message;
        } else if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
    }
    text
}

/// A count with a unit: `40.6 M`.
pub fn si(value: u64) -> String {
    let units = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    let v = value as f64;
    match units.iter().find(|(size, _)| v >= *size) {
        Some((size, unit)) => format!("{:.3} {unit}", v / size),
        None => format!("{value}"),
    }
}

/// A size in bytes: `1.08 MB`.
pub fn bytes(value: usize) -> String {
    format!(
        "{}B",
        if value < 1000 {
            format!("{value} ")
        } else {
            si(value as u64)
        }
    )
}

/// The end of a line on layers in eight bits: the number of those whose weights are rounded to seven.
pub fn in_seven(layers: &[QuantizedLayer]) -> String {
    match in_seven_bits(layers) {
        0 => String::new(),
        seven => format!(" (weights of 7 bits in {seven})"),
    }
}

/// A figure in dB; `none` where there is no figure.
pub fn db(value: Option<f64>, none: &str) -> String {
    value.map_or_else(|| none.to_owned(), |v| format!("{v:.1} dB"))
}

/// A measured value with its unit: `91.73 %`.
pub fn quantity(measure: &Measure) -> String {
    let number = match measure.value {
        v if v.is_nan() => return "undefined".into(),
        f64::INFINITY => "infinite".into(),
        v => format!("{v:.*}", measure.metric.decimals()),
    };
    format!("{number} {}", measure.metric.unit())
        .trim_end()
        .to_owned()
}

/// The standard error of a measured value in its unit, without it.
pub fn stderr(measure: &Measure) -> Option<String> {
    let error = measure.stderr?;
    Some(format!("{error:.*}", measure.metric.decimals()))
}

/// The worst value at 95 % confidence, without its unit.
pub fn limit(measure: &Measure) -> Option<String> {
    let limit = measure.limit?;
    Some(format!("{limit:.*}", measure.metric.decimals()))
}

/// Such as `recall of detections 14.00 % (at worst 9.10)`.
pub fn with_limit(measure: &Measure) -> String {
    let value = format!("{} {}", measure.metric.label(), quantity(measure));
    match limit(measure) {
        Some(limit) => format!("{value} (at worst {limit})"),
        None => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_that_stay_have_each_hint_once() {
        let memory = |needed| Kept::Memory {
            needed,
            allowed: 1 << 20,
        };
        let kept = [
            memory(5 << 20),
            Kept::Sparse,
            Kept::Quantized,
            memory(7 << 20),
        ];
        let error = sepconv::Error::AllKept {
            file: "m.onnx".into(),
            reasons: kept.iter().collect(),
        };
        let expected = " (--max-memory allows more) (--quantized looks through it)";
        assert_eq!(hint(&error), expected);
    }

    #[test]
    fn the_middle_of_a_name_is_left_out() {
        assert_eq!(shortened("abcdefgh", 8), "abcdefgh");
        assert_eq!(shortened("abcdefghi", 8), "abcd…ghi");
        assert_eq!(shortened("äöüßäöüßäöü", 5), "äö…öü");
        assert_eq!(shortened("abc", 0), "…");
    }
}
