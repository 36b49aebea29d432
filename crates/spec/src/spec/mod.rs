//! The options as they were given: the one definition of each.
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

/// The options of a run. Serialised, it is one flat object with a value for every option.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Spec {
    /// How much to compress.
    #[serde(flatten)]
    pub budget: BudgetSpec,
    /// The measure of the cost.
    #[serde(flatten)]
    pub target: TargetSpec,
    /// The layers that are rewritten, and their forms.
    #[serde(flatten)]
    pub space: SearchSpace,
    /// The data that layers are fitted to, and the fits.
    #[serde(flatten)]
    pub fit: FitSpec,
    /// Options of the run as a whole.
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
