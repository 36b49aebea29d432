//! Layers whose shapes are not known.

use std::fmt;

use sepconv_passes::Survey;
use serde::Serialize;

use crate::loaded::Loaded;

/// Convolutions whose shapes are not known, and the inputs of the model that have none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Unshaped {
    /// How many.
    pub convolutions: usize,
    /// Names of the inputs whose extents would tell the shapes.
    pub inputs: Vec<String>,
}

impl Unshaped {
    /// Of so many convolutions of a model.
    pub fn of(model: &Loaded, convolutions: usize) -> Self {
        let inputs = model.shapes.inputs().iter();
        let unknown = inputs.filter(|i| i.shape.as_ref().is_none_or(|s| s.extents().is_none()));
        Self {
            convolutions,
            inputs: match convolutions {
                0 => Vec::new(),
                _ => unknown.map(|i| i.name.clone()).collect(),
            },
        }
    }

    /// Of the convolutions that could be rewritten, where the MACs of none of them are known.
    pub fn all(model: &Loaded, survey: &Survey) -> Option<Self> {
        let known = survey.sites().any(|(site, _)| site.macs.is_some());
        let count = survey.sites().count();
        (count > 0 && !known).then(|| Self::of(model, count))
    }
}

impl fmt::Display for Unshaped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.convolutions {
            1 => f.write_str("the shapes of 1 convolution are not known")?,
            n => write!(f, "the shapes of {n} convolutions are not known")?,
        }
        match self.inputs.as_slice() {
            [] => Ok(()),
            [one] => write!(f, ": input '{one}' has none"),
            many => write!(f, ": inputs '{}' have none", many.join("', '")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inputs_are_named() {
        let of = |convolutions, inputs: &[&str]| {
            let inputs = inputs.iter().map(ToString::to_string).collect();
            Unshaped {
                convolutions,
                inputs,
            }
            .to_string()
        };
        let two = "the shapes of 2 convolutions are not known";
        assert_eq!(of(2, &[]), two);
        assert_eq!(of(2, &["x"]), format!("{two}: input 'x' has none"));
        assert_eq!(
            of(2, &["x", "y"]),
            format!("{two}: inputs 'x', 'y' have none")
        );
        assert_eq!(of(1, &[]), "the shapes of 1 convolution are not known");
    }
}
