//! From arguments to the library's settings.

use anyhow::{Result, bail};
use sepconv::factor::family;
use sepconv::{CalibrationSettings, DataFree, DataSource, Families, Schedule, Selection, Settings};

use crate::args::{DataFreeArg, FitArgs};

/// Settings without a budget.
pub fn settings(args: &FitArgs) -> Result<Settings> {
    let eval = match &args.eval {
        Some(path) => Some(DataSource {
            max_samples: None,
            ..args.data.source(path, args.seed)?
        }),
        None => None,
    };
    Ok(Settings {
        families: families(args)?,
        calibration: calibration(args)?,
        data_free: match args.data_free {
            None => DataFree::Auto(args.data.pixels()?),
            Some(DataFreeArg::Pictures) => DataFree::Pictures(args.data.pixels()?),
            Some(DataFreeArg::Weights) => DataFree::Weights,
        },
        latency: args.latency()?,
        lowering: args.lowering.lowering(),
        selection: Selection::new(&args.layers, &args.skip)?,
        pins: args.shapes.pins()?,
        seed: args.seed,
        force: args.force,
        eval,
        ..Settings::default()
    })
}

fn families(args: &FitArgs) -> Result<Families> {
    for name in &args.families {
        if family(name).is_none() {
            let known: Vec<&str> = sepconv::factor::families()
                .iter()
                .map(|f| f.name())
                .collect();
            bail!(
                "--families: no family '{name}' (there are {})",
                known.join(", ")
            );
        }
    }
    Ok(Families {
        order: args.order.into(),
        names: args.families.clone(),
    })
}

fn calibration(args: &FitArgs) -> Result<Option<CalibrationSettings>> {
    let Some(path) = args.calib.as_ref().filter(|_| args.data_free.is_none()) else {
        return Ok(None);
    };
    let mut settings = CalibrationSettings::new(args.data.source(path, args.seed)?);
    settings.positions = args.positions;
    settings.fit.rounds = args.rounds;
    settings.fit.steps = args.steps;
    settings.cache = sepconv::latency::cache_folder();
    settings.schedule = match args.block {
        0 => Schedule::Parallel,
        1 => Schedule::Sequential,
        n => Schedule::Blocks(n),
    };
    Ok(Some(settings))
}
