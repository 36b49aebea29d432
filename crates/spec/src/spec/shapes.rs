//! Shapes of inputs.

use sepconv_analysis::Pins;
use serde::{Deserialize, Serialize};

use super::{SpecError, values};

/// Shapes of inputs with free dimensions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
pub struct ShapeSpec {
    /// Shape of an input with free dimensions, such as x=1x3x224x224 (repeatable)
    #[serde(deserialize_with = "values::names")]
    #[cfg_attr(feature = "clap", arg(long, value_name = "NAME=SHAPE"))]
    pub input_shape: Vec<String>,
}

impl ShapeSpec {
    /// The shapes.
    ///
    /// # Errors
    /// [`SpecError::Refused`].
    pub fn pins(&self) -> Result<Pins, SpecError> {
        Pins::parse(&self.input_shape).map_err(SpecError::refused(&["input_shape"]))
    }
}
