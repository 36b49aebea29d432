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
mod json;
mod quantize;
mod run;
mod samples;
mod shapes;
mod space;
mod target;
mod values;

pub use budget::{BudgetSpec, GivenPlan};
pub use choices::{
    DataFreeChoice, EffortChoice, LoweringChoice, OrderChoice, PrecisionChoice, TaskChoice,
};
pub use data::DataSpec;
pub use error::SpecError;
pub use fit::FitSpec;
pub use quantize::QuantizeSpec;
pub use run::RunSpec;
pub use samples::SampleSpec;
pub use shapes::ShapeSpec;
pub use space::SearchSpace;
pub use target::TargetSpec;

use serde::{Deserialize, Serialize};

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
        json::options(&Self::default())
    }

    /// Reads options from a JSON object. One that is left out or null has its default.
    ///
    /// # Errors
    /// [`SpecError::Unknown`], [`SpecError::Type`] or [`SpecError::Value`] names the option;
    /// [`SpecError::Syntax`] where the text is no object.
    pub fn from_json(text: &str) -> Result<Self, SpecError> {
        json::read(text)
    }
}

#[cfg(test)]
mod tests;
