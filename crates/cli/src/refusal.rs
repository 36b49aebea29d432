//! Refused options in the words of the command line.

use sepconv::SpecError;

/// A line that names flags.
pub fn worded(error: &SpecError) -> String {
    match error {
        SpecError::Type { option, reason } | SpecError::Value { option, reason } => {
            format!("{}: {reason}", flag(option))
        }
        SpecError::Family { found, known } => format!(
            "--families: no family '{found}' (there are {})",
            known.join(", ")
        ),
        SpecError::NeedsData { option, needed } => {
            format!("{} needs data: {}", flag(option), flag(needed))
        }
        SpecError::Budgets { options } => {
            let flags: Vec<String> = options.iter().map(|option| flag(option)).collect();
            format!("one budget at a time: {} are given", flags.join(" and "))
        }
        SpecError::Refused { reason, .. } => reason.clone(),
        // The arguments make neither.
        SpecError::Syntax(_) | SpecError::Unknown { .. } | SpecError::File(_) => error.to_string(),
    }
}

fn flag(option: &str) -> String {
    format!("--{}", option.replace('_', "-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_named_as_flags() {
        let value = SpecError::Value {
            option: "max_memory".into(),
            reason: "'much' is no size".into(),
        };
        assert_eq!(worded(&value), "--max-memory: 'much' is no size");
        let needs = SpecError::NeedsData {
            option: "tune",
            needed: "calib",
        };
        assert_eq!(worded(&needs), "--tune needs data: --calib");
        let budgets = SpecError::Budgets {
            options: vec!["rank", "target_macs"],
        };
        let expected = "one budget at a time: --rank and --target-macs are given";
        assert_eq!(worded(&budgets), expected);
        let refused = SpecError::refused(&["target"])("no target 'x'");
        assert_eq!(worded(&refused), "no target 'x'");
    }
}
