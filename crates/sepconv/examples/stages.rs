//! Wall-clock seconds of each stage of a compression:
//!
//! ```text
//! cargo run --release --workspace --example stages -- MODEL CALIB FRACTION [TOML]
//! ```
//!
//! Prints the stages and their wall-clock seconds in order. The part before "calibrating" is
//! planning. Statistics are kept in $SEPCONV_CACHE or the platform's cache folder: a second run
//! does not collect them again, and its planning is that after statistics.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use sepconv::data::Preprocess;
use sepconv::{
    Budget, CalibrationSettings, DataSource, Event, Loaded, Pins, Progress, Settings, compress,
};

/// The stages with the moments that they began and ended at.
#[derive(Default)]
struct Stages(Mutex<Vec<(String, Instant, Option<Instant>)>>);

impl Progress for Stages {
    fn on(&self, event: Event<'_>) {
        let Ok(mut stages) = self.0.lock() else {
            return;
        };
        match event {
            Event::Begin { stage, .. } => stages.push((stage.to_owned(), Instant::now(), None)),
            Event::Step { .. } | Event::Foreseen(_) => {}
            Event::End => {
                let open = stages.iter_mut().rev().find(|s| s.2.is_none());
                open.into_iter().for_each(|s| s.2 = Some(Instant::now()));
            }
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, calib, fraction, rest @ ..] = args.as_slice() else {
        return Err("usage: stages MODEL CALIB FRACTION [TOML]".into());
    };
    let mut source = DataSource::new(calib);
    if let Some(recipe) = rest.first() {
        source.preprocess = Preprocess::from_toml_file(Path::new(recipe))?;
    }
    let calibration = CalibrationSettings {
        cache: sepconv::latency::cache_folder(),
        ..CalibrationSettings::new(source)
    };
    let mut settings = Settings {
        budget: Budget::TargetMacs(fraction.parse()?),
        calibration: Some(calibration),
        ..Settings::default()
    };
    settings.families.widen();
    let model = Loaded::open(Path::new(model), &Pins::default())?;
    let (begun, stages) = (Instant::now(), Stages::default());
    compress(&model, &settings, &stages)?;
    let whole = begun.elapsed();
    let stages = stages.0.into_inner()?;
    for (stage, from, to) in stages {
        let seconds = to.map_or(f64::NAN, |to| (to - from).as_secs_f64());
        println!("{seconds:8.2}  {stage}");
    }
    println!("{:8.2}  in all", whole.as_secs_f64());
    Ok(())
}
