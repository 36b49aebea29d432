//! What was asked for, as it was given: the one definition of every option.
//!
//! The parts are plain data. The command line takes them as arguments (feature `clap`), Python as
//! JSON; the documentation of a field is its help. A value that has no right form is refused where
//! the part is made, one that does not fit another where settings are made of the whole.

mod budget;
mod choices;
mod data;
mod error;
mod fit;
#[cfg(feature = "clap")]
mod heading;
mod run;
mod samples;
mod shapes;
mod space;
mod target;
mod values;

pub use budget::{BudgetSpec, GivenPlan};
pub use choices::{DataFreeChoice, EffortChoice, LoweringChoice, OrderChoice, TaskChoice};
pub use data::DataSpec;
pub use error::SpecError;
pub use fit::FitSpec;
pub use run::RunSpec;
pub use samples::SampleSpec;
pub use shapes::ShapeSpec;
pub use space::SearchSpace;
pub use target::TargetSpec;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What was asked for. Serialised, it is one flat object with a value for every option.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Spec {
    /// How much to compress.
    #[serde(flatten)]
    pub budget: BudgetSpec,
    /// What the model is to be cheap on.
    #[serde(flatten)]
    pub target: TargetSpec,
    /// What may become of a layer.
    #[serde(flatten)]
    pub space: SearchSpace,
    /// What the layers are fitted to, and how.
    #[serde(flatten)]
    pub fit: FitSpec,
    /// What holds for the whole run.
    #[serde(flatten)]
    pub run: RunSpec,
    /// How data are read.
    #[serde(flatten)]
    pub data: DataSpec,
}

impl Spec {
    /// Names of all options, sorted.
    pub fn options() -> Vec<String> {
        match serde_json::to_value(Self::default()) {
            Ok(Value::Object(all)) => all.into_iter().map(|(name, _)| name).collect(),
            _ => Vec::new(),
        }
    }

    /// Reads options from a JSON object. One that is left out or null has its default.
    ///
    /// # Errors
    /// [`SpecError::Unknown`], [`SpecError::Type`] or [`SpecError::Value`] names the option;
    /// [`SpecError::Syntax`] where the text is no object.
    pub fn from_json(text: &str) -> Result<Self, SpecError> {
        let mut given: Map<String, Value> = serde_json::from_str(text).map_err(syntax)?;
        given.retain(|_, value| !value.is_null());
        let known = Self::options();
        if let Some(option) = given.keys().find(|name| !known.contains(name)) {
            return Err(SpecError::Unknown {
                option: option.clone(),
            });
        }
        serde_json::from_value(Value::Object(given.clone())).map_err(|error| {
            // The error of the whole does not say which option it is about.
            let mut alone = given.into_iter().filter_map(|(option, value)| {
                let only = Map::from_iter([(option.clone(), value)]);
                let error = serde_json::from_value::<Self>(Value::Object(only)).err()?;
                Some(SpecError::of(option, error))
            });
            alone.next().unwrap_or_else(|| syntax(error))
        })
    }
}

fn syntax(error: serde_json::Error) -> SpecError {
    SpecError::Syntax(error.to_string())
}

#[cfg(test)]
mod tests;
