//! Layers in eight bits, as they are printed.

use sepconv::EightBits;
use sepconv::quantization::in_floats;

use crate::output::{Output, in_seven};

/// Layers in eight bits, and the times of the choice between the forms.
pub(super) fn print(record: &EightBits, out: &Output) {
    let floats: Vec<(&str, &str)> = in_floats(&record.layers).collect();
    let eight = record.layers.len() - floats.len();
    let kept = match floats.len() {
        0 => String::new(),
        n => format!(", {n} in floats"),
    };
    let seven = in_seven(&record.layers);
    out.line(format!("  eight bits  {eight} layers{seven}{kept}"));
    if out.is_verbose() {
        for (name, reason) in floats {
            out.line(format!("              '{name}': {reason}"));
        }
    }
    let speeds: Vec<f64> = record
        .timing
        .models
        .iter()
        .map(|m| m.speed_up.median)
        .collect();
    if let [_, alone, rest @ ..] = speeds.as_slice() {
        let both = match (rest, record.separable) {
            ([both], true) => format!(", with separable forms {both:.2}x"),
            ([both], false) => {
                format!(", with separable forms {both:.2}x: the convolutions stay as they are")
            }
            _ => String::new(),
        };
        let (target, version) = (&record.timing.target, &record.timing.version);
        out.line(format!(
            "  speed       eight bits alone {alone:.2}x{both} ({target} {version})"
        ));
        let result = if record.separable { rest.first() } else { None };
        if let Some(missed) = &record.missed {
            out.note(missed.to_string());
        }
        if let Some(floats) = record.simpler.filter(|s| s > result.unwrap_or(alone)) {
            out.note(format!(
                "the model in floats is {floats:.2} times as fast with its activations in simpler operators"
            ));
        }
    }
}
