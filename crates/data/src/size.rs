//! Picture sizes as flags spell them: `256` or `320x240`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::DataError;

/// The largest side that a resize or a crop may ask for, in pixels.
pub(crate) const MAX_SIDE: usize = 32_768;

/// The size that a picture is resized to before the crop.
///
/// As text: `256` makes the shorter side 256 pixels and keeps the aspect
/// ratio (the longer side rounds down); `320x240` makes it exactly 320 wide
/// and 240 high.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resize {
    /// The new length of the shorter side, pixels.
    ShortSide(usize),
    /// The exact new size, pixels.
    Exact {
        /// Pixels across.
        width: usize,
        /// Pixels down.
        height: usize,
    },
}

/// The size of a centre crop; as text `224` (a square) or `320x240` (width by height), pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crop {
    /// Pixels across.
    pub width: usize,
    /// Pixels down.
    pub height: usize,
}

impl Resize {
    /// The size (height, width) that a picture of `height` by `width` is given.
    #[must_use]
    pub fn size(self, height: usize, width: usize) -> (usize, usize) {
        match self {
            Resize::Exact { width, height } => (height, width),
            Resize::ShortSide(side) => {
                let short = height.min(width).max(1);
                let long = |x: usize| (x as u128 * side as u128 / short as u128) as usize;
                (long(height), long(width))
            }
        }
    }
}

fn side(text: &str) -> Option<usize> {
    let side = text.trim().parse().ok()?;
    (1..=MAX_SIDE).contains(&side).then_some(side)
}

fn pair(text: &str) -> Option<(usize, usize)> {
    let (width, height) = text.split_once('x')?;
    Some((side(width)?, side(height)?))
}

impl FromStr for Resize {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        let exact = pair(text).map(|(width, height)| Resize::Exact { width, height });
        exact
            .or_else(|| side(text).map(Resize::ShortSide))
            .ok_or_else(|| {
                DataError::value(
                    "resize",
                    format!(
                        "a short side such as 256 or a WIDTHxHEIGHT such as 320x240, sides 1 to {MAX_SIDE}"
                    ),
                    format!("'{text}'"),
                )
            })
    }
}

impl FromStr for Crop {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        pair(text)
            .or_else(|| side(text).map(|s| (s, s)))
            .map(|(width, height)| Crop { width, height })
            .ok_or_else(|| {
                DataError::value(
                    "crop",
                    format!(
                        "a side such as 224 or a WIDTHxHEIGHT such as 320x240, sides 1 to {MAX_SIDE}"
                    ),
                    format!("'{text}'"),
                )
            })
    }
}

impl fmt::Display for Resize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Resize::ShortSide(side) => write!(f, "{side}"),
            Resize::Exact { width, height } => write!(f, "{width}x{height}"),
        }
    }
}

impl fmt::Display for Crop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.width == self.height {
            write!(f, "{}", self.width)
        } else {
            write!(f, "{}x{}", self.width, self.height)
        }
    }
}

/// A size in TOML: an integer or a string.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected a side such as 256 or a string such as \"320x240\""
)]
enum Spelling {
    Side(u64),
    Text(String),
}

impl Spelling {
    fn parse<T: FromStr<Err = DataError>, E: serde::de::Error>(self) -> Result<T, E> {
        let text = match self {
            Spelling::Side(side) => side.to_string(),
            Spelling::Text(text) => text,
        };
        text.parse().map_err(E::custom)
    }
}

macro_rules! as_text {
    ($($t:ty)*) => {$(
        impl<'de> Deserialize<'de> for $t {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                Spelling::deserialize(from)?.parse()
            }
        }
        impl Serialize for $t {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
    )*};
}

as_text!(Resize Crop);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_go_both_ways() {
        for text in ["256", "320x240"] {
            assert_eq!(text.parse::<Resize>().unwrap().to_string(), text);
            assert_eq!(text.parse::<Crop>().unwrap().to_string(), text);
        }
        assert_eq!(
            "224".parse::<Crop>().unwrap(),
            Crop {
                width: 224,
                height: 224
            }
        );
    }

    #[test]
    fn bad_sizes_are_refused() {
        for bad in ["0", "-1", "x", "10x", "10x0", "99999", "1.5", ""] {
            assert!(bad.parse::<Resize>().is_err(), "{bad}");
            assert!(bad.parse::<Crop>().is_err(), "{bad}");
        }
    }

    #[test]
    fn short_side_keeps_the_aspect_ratio() {
        let resize = Resize::ShortSide(256);
        assert_eq!(resize.size(500, 375), (341, 256));
        assert_eq!(resize.size(100, 300), (256, 768));
    }
}
