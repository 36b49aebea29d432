//! From arguments to the library's settings.

use anyhow::{Result, bail};
use sepconv::factor::family;
use sepconv::{
    CalibrationSettings, DataFree, DataSource, Families, Schedule, Selection, Settings,
    TuneSettings,
};

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
    let calibration = calibration(args)?;
    // Not fitted to, but what figures are to come from.
    let closing = match (&args.calib, &calibration) {
        (Some(path), None) => Some(args.data.source(path, args.seed)?),
        _ => None,
    };
    Ok(Settings {
        closing,
        tune: tuning(args, calibration.as_ref())?,
        families: families(args)?,
        calibration,
        data_free: match args.data_free {
            None => DataFree::Auto(args.data.samples.pixels()?),
            Some(DataFreeArg::Pictures) => DataFree::Pictures(args.data.samples.pixels()?),
            Some(DataFreeArg::Weights) => DataFree::Weights,
        },
        latency: args.latency()?,
        lowering: args.lowering.lowering(),
        selection: Selection::new(&args.layers, &args.skip)?,
        quantized: args.quantized,
        pins: args.shapes.pins()?,
        seed: args.seed,
        force: args.force,
        eval,
        ..with_memory(args.max_memory)
    })
}

/// The defaults, but for the memory that was allowed.
fn with_memory(allowed: Option<u64>) -> Settings {
    let usual = Settings::default();
    Settings {
        max_memory: allowed.unwrap_or(usual.max_memory),
        ..usual
    }
}

/// Training on the calibration data.
fn tuning(args: &FitArgs, data: Option<&CalibrationSettings>) -> Result<Option<TuneSettings>> {
    let Some(epochs) = args.tune else {
        return Ok(None);
    };
    let Some(data) = data else {
        bail!("--tune needs data: --calib");
    };
    let mut settings = TuneSettings::new(data.source.clone());
    settings.train.epochs = epochs;
    Ok(Some(settings))
}

fn families(args: &FitArgs) -> Result<Families> {
    for name in &args.families {
        if family(name.strip_prefix('+').unwrap_or(name)).is_none() {
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
        ..Families::default()
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
    settings.weighted = !args.unweighted;
    settings.cache = sepconv::latency::cache_folder();
    settings.schedule = match args.block {
        0 => Schedule::Parallel,
        1 => Schedule::Sequential,
        n => Schedule::Blocks(n),
    };
    Ok(Some(settings))
}
