//! Doubts about data, told before the work.

use sepconv::targets::Target;
use sepconv::{DataSource, DataWarning, Loaded, Settings};

use crate::output::Output;

/// Tells of the data that settings name.
pub fn of_settings(out: &Output, model: &std::path::Path, settings: &Settings) {
    let sources: Vec<&DataSource> = settings.sources().collect();
    if out.is_quiet() || sources.is_empty() {
        return;
    }
    // A file that can't be opened is an error of the work itself.
    if let Ok(model) = Loaded::open(model, &settings.pins) {
        of_data(out, &model, &sources, settings.target);
    }
}

/// Tells of data for a model; once where calibration and evaluation are odd alike.
pub fn of_data(out: &Output, model: &Loaded, sources: &[&DataSource], target: &dyn Target) {
    if out.is_quiet() {
        return;
    }
    let mut told = Vec::new();
    for source in sources {
        for warning in source.warnings(model, target).unwrap_or_default() {
            if told.contains(&warning) {
                continue;
            }
            match &warning {
                DataWarning::Range { factor, .. } if *factor < 1.0 => out.warning(format!(
                    "{warning} (--scale 1/{:.0} would bring them near; --mean and --std as it was trained)",
                    1.0 / factor
                )),
                DataWarning::Range { .. } => out.warning(format!("{warning} (see --scale)")),
                _ => out.note(warning.to_string()),
            }
            told.push(warning);
        }
    }
}
