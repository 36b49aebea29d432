//! Layers whose shapes are not known.

use std::fmt;

use serde::Serialize;

/// Convolutions whose shapes are not known, and the inputs of the model that have none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Unshaped {
    /// Number of convolutions.
    pub convolutions: usize,
    /// Names of the inputs whose extents would tell the shapes.
    pub inputs: Vec<String>,
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
