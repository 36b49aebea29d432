//! Input shapes that the user fixes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Shapes fixed by the user: input name to extents.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pins(BTreeMap<String, Vec<u64>>);

/// Pins that can't be parsed or do not fit the model: a mistake of the user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// Not of the form `name=1x3x224x224`.
    #[error("input shape '{0}' is not of the form NAME=1x3x224x224")]
    Syntax(String),
    /// An extent is not a positive number.
    #[error("input shape '{text}': '{extent}' is not a positive extent")]
    Extent {
        /// The whole argument.
        text: String,
        /// The offending part.
        extent: String,
    },
    /// An input is pinned twice.
    #[error("input '{0}' is given a shape twice")]
    Twice(String),
    /// No input has that name.
    #[error("no input is called '{name}' (inputs: {inputs})")]
    NoSuchInput {
        /// The name given.
        name: String,
        /// The inputs that there are.
        inputs: String,
    },
    /// The rank differs from the declared one.
    #[error("input '{name}' is declared as [{declared}]: {found} extents do not fit")]
    Rank {
        /// The input.
        name: String,
        /// Its declared dimensions.
        declared: String,
        /// Number of extents given.
        found: usize,
    },
    /// An extent differs from the one that the model fixes.
    #[error("input '{name}' is declared as [{declared}]: axis {axis} can't be {extent}")]
    Fixed {
        /// The input.
        name: String,
        /// Its declared dimensions.
        declared: String,
        /// The offending axis.
        axis: usize,
        /// The extent given.
        extent: u64,
    },
    /// One symbol of the model would have two extents.
    #[error("input '{name}', axis {axis}: '{symbol}' can't be both {first} and {second}")]
    Symbol {
        /// The input pinned last.
        name: String,
        /// The offending axis.
        axis: usize,
        /// The symbol.
        symbol: String,
        /// Its extent so far.
        first: u64,
        /// The extent given now.
        second: u64,
    },
}

impl Pins {
    /// Parses arguments of the form `name=1x3x224x224`. The last `=` separates, so that names
    /// may contain one.
    ///
    /// # Errors
    /// [`PinError::Syntax`], [`PinError::Extent`] or [`PinError::Twice`].
    pub fn parse<S: AsRef<str>>(arguments: impl IntoIterator<Item = S>) -> Result<Self, PinError> {
        let mut pins = Self::default();
        for argument in arguments {
            let text = argument.as_ref();
            let (name, dims) = text
                .rsplit_once('=')
                .filter(|(name, dims)| !name.is_empty() && !dims.is_empty())
                .ok_or_else(|| PinError::Syntax(text.to_owned()))?;
            let extent = |part: &str| {
                let number = part.parse().ok().filter(|n| *n > 0);
                number.ok_or_else(|| PinError::Extent {
                    text: text.to_owned(),
                    extent: part.to_owned(),
                })
            };
            let dims = dims.split('x').map(extent).collect::<Result<_, _>>()?;
            pins.insert(name, dims)?;
        }
        Ok(pins)
    }

    /// Pins an input to extents, outermost first.
    ///
    /// # Errors
    /// [`PinError::Twice`].
    pub fn insert(&mut self, name: impl Into<String>, dims: Vec<u64>) -> Result<(), PinError> {
        let name = name.into();
        if self.0.contains_key(&name) {
            return Err(PinError::Twice(name));
        }
        self.0.insert(name, dims);
        Ok(())
    }

    /// The extents that an input is pinned to.
    pub fn get(&self, name: &str) -> Option<&[u64]> {
        self.0.get(name).map(Vec::as_slice)
    }

    /// All pins, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u64])> {
        self.0.iter().map(|(n, d)| (n.as_str(), d.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn several_pins() {
        let pins = Pins::parse(["x=1x3x224x224", "a=b:0=7"]).unwrap();
        assert_eq!(pins.get("x"), Some(&[1, 3, 224, 224][..]));
        assert_eq!(pins.get("a=b:0"), Some(&[7][..]));
        assert_eq!(pins.iter().count(), 2);
    }

    #[test]
    fn errors_are_one_line() {
        let error = |argument: &str| Pins::parse([argument]).unwrap_err().to_string();
        for argument in ["x", "x=", "=1x3", ""] {
            let expected = format!("input shape '{argument}' is not of the form NAME=1x3x224x224");
            assert_eq!(error(argument), expected);
        }
        for (argument, extent) in [
            ("x=1x0", "0"),
            ("x=1xx3", ""),
            ("x=1x-3", "-3"),
            ("x=99999999999999999999", "99999999999999999999"),
        ] {
            let expected = format!("input shape '{argument}': '{extent}' is not a positive extent");
            assert_eq!(error(argument), expected);
        }
        let twice = Pins::parse(["x=1", "x=1"]).unwrap_err();
        assert_eq!(twice, PinError::Twice("x".into()));
    }
}
