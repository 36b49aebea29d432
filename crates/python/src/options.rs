//! From keyword arguments to the library's settings. Names and defaults are the command line's.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use pyo3::FromPyObject;
use sepconv::data::{DataError, Preprocess, parse_number, parse_numbers};
use sepconv::factor::{families, family};
use sepconv::passes::{Lowering, lowering, lowerings};
use sepconv::{
    Budget, CalibrationSettings, DataFree, DataSource, Families, LatencyTarget, Loaded, Order,
    Pins, SavedPlan, Schedule, Selection, Settings, TuneSettings, parse_memory, targets,
};

use crate::arrays::Calibration;
use crate::work::Failure;

/// The keyword arguments, all of them given; the package fills in the defaults.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct Options {
    rank: Option<usize>,
    energy: Option<f64>,
    target_macs: Option<f64>,
    target_params: Option<f64>,
    target_size: Option<f64>,
    target_latency: Option<f64>,
    max_drop: Option<f64>,
    min_snr: Option<f64>,
    /// A plan as JSON, and what errors call it.
    plan: Option<(String, String)>,
    allow_costlier: bool,
    families: Vec<String>,
    order: String,
    lowering: String,
    layers: Vec<String>,
    skip: Vec<String>,
    quantized: bool,
    input_shape: Vec<(String, Vec<u64>)>,
    target: String,
    threads: usize,
    data_free: Option<String>,
    /// Epochs.
    tune: Option<usize>,
    eval: Option<PathBuf>,
    classes: Option<PathBuf>,
    peak: Option<f64>,
    preprocess: Option<PathBuf>,
    scale: Option<String>,
    mean: Option<String>,
    std: Option<String>,
    channel_order: Option<String>,
    resize: Option<String>,
    crop: Option<String>,
    layout: Option<String>,
    max_samples: Option<usize>,
    positions: usize,
    max_memory: Option<String>,
    rounds: usize,
    steps: usize,
    unweighted: bool,
    block: usize,
    seed: u64,
    cache: bool,
    force: bool,
}

impl Options {
    /// The settings; `model` is read where the order of its inputs has to be known.
    pub fn settings(
        &self,
        calibration: Option<Calibration>,
        model: impl Fn() -> Result<Loaded, Failure>,
    ) -> Result<Settings, Failure> {
        let budget = self.budget()?;
        let recipe = self.recipe()?;
        let plan = self.plan.as_ref().map(|(name, json)| parse(name, json));
        let data = calibration.map(|c| c.source(&model)).transpose()?;
        let data = data.map(|source| self.data(source, &recipe));
        // Not fitted to, but what figures are to come from.
        let (fitted, closing) = match self.data_free {
            None => (data, None),
            Some(_) => (None, data),
        };
        let calibration = fitted.map(|source| self.calibration(source));
        let pictures = recipe.changes_values().then(|| recipe.clone());
        let mut settings = Settings {
            tune: self.tuning(calibration.as_ref())?,
            plan: plan.transpose()?.map(Arc::new),
            families: self.families()?,
            lowering: self.lowering()?,
            selection: Selection::new(&self.layers, &self.skip)
                .map_err(|e| argument("layers or skip", e))?,
            quantized: self.quantized,
            pins: self.pins()?,
            seed: self.seed,
            force: self.force,
            costlier: self.allow_costlier,
            calibration,
            closing,
            data_free: match self.data_free.as_deref() {
                None => DataFree::Auto(pictures),
                Some("pictures") => DataFree::Pictures(pictures),
                Some("weights") => DataFree::Weights,
                Some(other) => return Err(unknown("data_free", other, &["pictures", "weights"])),
            },
            eval: self.eval.as_ref().map(|path| DataSource {
                preprocess: recipe.clone(),
                classes: self.classes.clone(),
                peak: self.peak,
                seed: self.seed,
                ..DataSource::new(path)
            }),
            latency: self.latency()?,
            ..self.with_memory()?
        };
        settings.budget = match budget {
            Some(budget) => budget,
            None => {
                let model = settings.shaped(model()?)?;
                let calibrated = settings.calibration.is_some();
                Budget::usual(&model, calibrated, settings.eval.is_some())
            }
        };
        Ok(settings)
    }

    /// The defaults, but for the memory that was allowed.
    fn with_memory(&self) -> Result<Settings, Failure> {
        let mut settings = Settings::default();
        if let Some(text) = &self.max_memory {
            settings.max_memory = parse_memory(text).map_err(|e| argument("max_memory", e))?;
        }
        Ok(settings)
    }

    /// Training on the calibration data.
    fn tuning(&self, data: Option<&CalibrationSettings>) -> Result<Option<TuneSettings>, Failure> {
        let Some(epochs) = self.tune else {
            return Ok(None);
        };
        let data = data.ok_or_else(|| argument("tune", "it needs data: calib"))?;
        let mut settings = TuneSettings::new(data.source.clone());
        settings.train.epochs = epochs;
        Ok(Some(settings))
    }

    /// The shapes of `input_shape`.
    pub fn pins(&self) -> Result<Pins, Failure> {
        let mut pins = Pins::default();
        for (name, dims) in &self.input_shape {
            if dims.contains(&0) {
                return Err(argument(
                    "input_shape",
                    format!("'{name}' has an extent of 0"),
                ));
            }
            pins.insert(name, dims.clone())
                .map_err(|e| argument("input_shape", e))?;
        }
        Ok(pins)
    }

    /// The one that is given, if one is.
    fn budget(&self) -> Result<Option<Budget>, Failure> {
        let all = [
            ("rank", self.rank.map(Budget::Rank)),
            ("energy", self.energy.map(Budget::Energy)),
            ("target_macs", self.target_macs.map(Budget::TargetMacs)),
            (
                "target_params",
                self.target_params.map(Budget::TargetParams),
            ),
            ("target_size", self.target_size.map(Budget::TargetSize)),
            (
                "target_latency",
                self.target_latency.map(Budget::TargetLatency),
            ),
            ("max_drop", self.max_drop.map(Budget::MaxDrop)),
            ("min_snr", self.min_snr.map(Budget::MinSnr)),
        ];
        let given = all.into_iter().filter_map(|(name, b)| Some((name, b?)));
        let given: Vec<(&str, Budget)> = given.collect();
        let mut names: Vec<&str> = given.iter().map(|(name, _)| *name).collect();
        names.extend(self.plan.as_ref().map(|_| "plan"));
        match (names.as_slice(), given.first()) {
            ([_, _, ..], _) => Err(Failure::Argument(format!(
                "one budget at a time: {} are given",
                names.join(" and ")
            ))),
            (_, given) => Ok(given.map(|(_, budget)| *budget)),
        }
    }

    fn families(&self) -> Result<Families, Failure> {
        let known = |name: &str| family(name.strip_prefix('+').unwrap_or(name)).is_some();
        if let Some(name) = self.families.iter().find(|name| !known(name)) {
            let known: Vec<&str> = families().iter().map(|f| f.name()).collect();
            return Err(unknown("families", name, &known));
        }
        let order = match self.order.as_str() {
            "best" => Order::Best,
            "dw-pw" => Order::DwPw,
            "pw-dw" => Order::PwDw,
            other => return Err(unknown("order", other, &["best", "dw-pw", "pw-dw"])),
        };
        Ok(Families {
            order,
            names: self.families.clone(),
            ..Families::default()
        })
    }

    fn lowering(&self) -> Result<Option<&'static dyn Lowering>, Failure> {
        let found = lowering(&self.lowering);
        if found.is_none() && self.lowering != "auto" {
            let known: Vec<&str> = lowerings().iter().map(|l| l.name()).collect();
            return Err(unknown(
                "lowering",
                &self.lowering,
                &[&["auto"], &known[..]].concat(),
            ));
        }
        Ok(found)
    }

    fn latency(&self) -> Result<Option<LatencyTarget>, Failure> {
        let threads = NonZeroUsize::new(self.threads);
        let threads = threads.ok_or_else(|| argument("threads", "expected at least 1, found 0"))?;
        if self.target == "macs" {
            return Ok(None);
        }
        let failed = |e: targets::TargetError| argument("target", e);
        let target = targets::find(&self.target).map_err(failed)?;
        target.available().map_err(failed)?;
        Ok(Some(LatencyTarget { target, threads }))
    }

    /// Preprocessing of pixel values.
    fn recipe(&self) -> Result<Preprocess, Failure> {
        let mut recipe = match &self.preprocess {
            Some(file) => Preprocess::from_toml_file(file)?,
            None => Preprocess::default(),
        };
        if let Some(text) = &self.scale {
            recipe.scale = parse_number(text).map_err(|e| argument("scale", e))?;
        }
        if let Some(text) = &self.mean {
            recipe.mean = parse_numbers(text).map_err(|e| argument("mean", e))?;
        }
        if let Some(text) = &self.std {
            recipe.std = parse_numbers(text).map_err(|e| argument("std", e))?;
        }
        if let Some(order) = parsed(self.channel_order.as_deref())? {
            recipe.channel_order = order;
        }
        if let Some(layout) = parsed(self.layout.as_deref())? {
            recipe.layout = Some(layout);
        }
        recipe.resize = parsed(self.resize.as_deref())?.or(recipe.resize);
        recipe.crop = parsed(self.crop.as_deref())?.or(recipe.crop);
        recipe.validate()?;
        Ok(recipe)
    }

    /// The data of `calib`, and how it is read.
    fn data(&self, source: DataSource, recipe: &Preprocess) -> DataSource {
        DataSource {
            preprocess: recipe.clone(),
            classes: self.classes.clone(),
            peak: self.peak,
            max_samples: self.max_samples,
            seed: self.seed,
            ..source
        }
    }

    fn calibration(&self, source: DataSource) -> CalibrationSettings {
        let mut settings = CalibrationSettings::new(source);
        settings.positions = self.positions;
        settings.fit.rounds = self.rounds;
        settings.fit.steps = self.steps;
        settings.weighted = !self.unweighted;
        settings.cache = sepconv::latency::cache_folder().filter(|_| self.cache);
        settings.schedule = match self.block {
            0 => Schedule::Parallel,
            1 => Schedule::Sequential,
            n => Schedule::Blocks(n),
        };
        settings
    }
}

/// An option of the data crate, where it is given.
fn parsed<T>(text: Option<&str>) -> Result<Option<T>, Failure>
where
    T: FromStr<Err = DataError>,
{
    Ok(text.map(str::parse).transpose()?)
}

fn parse(name: &str, json: &str) -> Result<SavedPlan, Failure> {
    SavedPlan::parse(json).map_err(|reason| {
        Failure::Library(sepconv::Error::Plan {
            file: name.to_owned(),
            reason,
        })
    })
}

fn argument(name: &str, reason: impl std::fmt::Display) -> Failure {
    Failure::Argument(format!("{name}: {reason}"))
}

fn unknown(argument: &str, found: &str, known: &[&str]) -> Failure {
    let found = found.escape_debug();
    Failure::Argument(format!(
        "{argument}: there is no '{found}' (there are {})",
        known.join(", ")
    ))
}
