//! The planner's predicted losses against measured ones:
//!
//! ```text
//! cargo run --release -p sepconv --example loss_model -- MODEL CALIB PLANS [TOML]
//! ```
//!
//! Prints predicted and measured losses of arbitrary plans, and their rank correlation
//! (Spearman).
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::path::Path;

use sepconv::data::Preprocess;
use sepconv::{Budget, CalibrationSettings, DataSource, Loaded, Pins, Settings, validate};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, calib, plans, rest @ ..] = args.as_slice() else {
        return Err("usage: loss_model MODEL CALIB PLANS [TOML]".into());
    };
    let mut source = DataSource::new(calib);
    if let Some(recipe) = rest.first() {
        source.preprocess = Preprocess::from_toml_file(Path::new(recipe))?;
    }
    let settings = Settings {
        budget: Budget::TargetMacs(0.5),
        calibration: Some(CalibrationSettings::new(source)),
        ..Settings::default()
    };
    let model = Loaded::open(Path::new(model), &Pins::default())?;
    let found = validate(&model, &settings, plans.parse()?, &())?;
    println!("predicted,measured");
    for p in &found {
        println!("{:.5},{:.5}", p.predicted, p.measured);
    }
    let (a, b): (Vec<f64>, Vec<f64>) = found.iter().map(|p| (p.predicted, p.measured)).unzip();
    println!(
        "rank correlation {:.3}",
        correlation(&ranks(&a), &ranks(&b))
    );
    Ok(())
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let below = |v: &f64| values.iter().filter(|w| *w < v).count() as f64;
    values.iter().map(below).collect()
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let n = a.len() as f64;
    let mean = |v: &[f64]| v.iter().sum::<f64>() / n;
    let (ma, mb) = (mean(a), mean(b));
    let sum =
        |f: &dyn Fn(f64, f64) -> f64| a.iter().zip(b).map(|(x, y)| f(x - ma, y - mb)).sum::<f64>();
    sum(&|x, y| x * y) / (sum(&|x, _| x * x) * sum(&|_, y| y * y)).sqrt()
}
