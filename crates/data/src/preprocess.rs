//! Preprocessing of a picture between the file and the model.

use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{DataError, clean};
use crate::layout::Layout;
use crate::numbers;
use crate::size::{Crop, MAX_SIDE, Resize};

/// The order in which the model wants its colour channels. Files are taken to hold RGB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelOrder {
    /// Red, green, blue: as in the file.
    #[default]
    Rgb,
    /// Blue, green, red: the first and the third channel change places.
    Bgr,
}

impl FromStr for ChannelOrder {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        match text {
            "rgb" => Ok(Self::Rgb),
            "bgr" => Ok(Self::Bgr),
            _ => Err(DataError::value(
                "channel-order",
                "rgb or bgr",
                format!("'{text}'"),
            )),
        }
    }
}

/// The preprocessing recipe: the keys of its TOML file are those of the command line.
///
/// The steps, in order: `layout`, `resize`, centre `crop`, `channel-order`,
/// then `(x * scale - mean) / std` per channel (in the order the model sees),
/// the model's own layout, and the conversion to the input's dtype. Pixel
/// values are f32 on the way, the arithmetic is done in f64 and rounded once.
/// The default changes nothing.
///
/// It applies to every model input of rank 4 (pictures and picture arrays);
/// inputs of other ranks, indices and ONNX `test_data_set_*` tensors, which
/// are model inputs already, pass as they are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Preprocess {
    /// The factor on pixel values; a number or a fraction such as "1/255".
    #[serde(deserialize_with = "numbers::one")]
    pub scale: f64,
    /// Subtracted after scaling: one value per channel, one for all, or empty for 0.
    #[serde(deserialize_with = "numbers::many")]
    pub mean: Vec<f64>,
    /// Divided by last: one value per channel, one for all, or empty for 1.
    #[serde(deserialize_with = "numbers::many")]
    pub std: Vec<f64>,
    /// The channel order of the model.
    pub channel_order: ChannelOrder,
    /// The size before the crop; bilinear with antialiasing (a triangle filter).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resize: Option<Resize>,
    /// The size cut out of the centre.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crop: Option<Crop>,
    /// The layout of picture arrays, in files and in memory; they are turned to the model's where
    /// that is another. `None`: they are laid out as the model takes them. It is taken for the
    /// model's layout as well where nothing else tells that one ([`crate::InputSpec::layout`]).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layout: Option<Layout>,
}

impl Default for Preprocess {
    fn default() -> Self {
        Self {
            scale: 1.0,
            mean: Vec::new(),
            std: Vec::new(),
            channel_order: ChannelOrder::Rgb,
            resize: None,
            crop: None,
            layout: None,
        }
    }
}

impl Preprocess {
    /// Reads a recipe from a TOML file and checks it.
    ///
    /// # Errors
    /// [`DataError::Io`] when the file cannot be read, [`DataError::Malformed`]
    /// (naming line, key or value) when it is no valid recipe.
    pub fn from_toml_file(path: &Path) -> Result<Self, DataError> {
        let text = std::fs::read_to_string(path).map_err(DataError::io(path, "read"))?;
        let recipe: Self = toml::from_str(&text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let line = text.bytes().take(start).filter(|&b| b == b'\n').count() + 1;
            let why = error.message().replace(['\n', '\r'], " ");
            DataError::malformed(
                path,
                "a preprocessing recipe in TOML",
                format!("at line {line}: {why}"),
            )
        })?;
        recipe.validate().map_err(|error| {
            DataError::malformed(path, "a sound preprocessing recipe", clean(error))
        })?;
        Ok(recipe)
    }

    /// True where scale, mean or std are other than the defaults, which leave values as they are.
    pub fn changes_values(&self) -> bool {
        let plain = Self::default();
        (self.scale, &self.mean, &self.std) != (plain.scale, &plain.mean, &plain.std)
    }

    /// Checks the values, whatever they came from.
    ///
    /// # Errors
    /// [`DataError::Value`] for a scale of 0, a std that is not above 0,
    /// values that are not finite, and lists of different lengths (1 goes with any).
    pub fn validate(&self) -> Result<(), DataError> {
        if !self.scale.is_finite() || self.scale == 0.0 {
            return Err(DataError::value(
                "scale",
                "a finite number other than 0",
                self.scale,
            ));
        }
        if let Some(bad) = self.mean.iter().find(|x| !x.is_finite()) {
            return Err(DataError::value("mean", "finite numbers", bad));
        }
        if let Some(bad) = self.std.iter().find(|x| !(x.is_finite() && **x > 0.0)) {
            return Err(DataError::value("std", "finite numbers above 0", bad));
        }
        let (mean, std) = (self.mean.len(), self.std.len());
        if mean > 1 && std > 1 && mean != std {
            return Err(DataError::value(
                "std",
                format!("1 or {mean} values, as for mean"),
                format!("{std} values"),
            ));
        }
        let sides = match self.resize {
            Some(Resize::ShortSide(side)) => vec![("resize", side)],
            Some(Resize::Exact { width, height }) => vec![("resize", width), ("resize", height)],
            None => Vec::new(),
        };
        let crop = self.crop.iter().flat_map(|c| [c.width, c.height]);
        let sides = sides.into_iter().chain(crop.map(|side| ("crop", side)));
        for (what, side) in sides {
            if !(1..=MAX_SIDE).contains(&side) {
                return Err(DataError::value(
                    what,
                    format!("sides of 1 to {MAX_SIDE}"),
                    side,
                ));
            }
        }
        Ok(())
    }

    /// True where samples pass unchanged, but for layout and dtype.
    #[must_use]
    pub fn is_identity(&self) -> bool {
        !self.changes_geometry() && self.channel_order == ChannelOrder::Rgb && !self.has_affine()
    }

    pub(crate) fn changes_geometry(&self) -> bool {
        self.resize.is_some() || self.crop.is_some()
    }

    /// True where `(x * scale - mean) / std` is anything but `x`.
    pub(crate) fn has_affine(&self) -> bool {
        self.scale != 1.0
            || self.mean.iter().any(|&x| x != 0.0)
            || self.std.iter().any(|&x| x != 1.0)
    }

    /// The mean and the std of channel `c`.
    pub(crate) fn channel(&self, c: usize) -> (f64, f64) {
        let pick = |list: &[f64], default: f64| match list {
            [] => default,
            [one] => *one,
            _ => list.get(c).copied().unwrap_or(default),
        };
        (pick(&self.mean, 0.0), pick(&self.std, 1.0))
    }

    /// Checks that the per-channel values and the channel order suit `channels` channels.
    pub(crate) fn check_channels(&self, input: &str, channels: usize) -> Result<(), DataError> {
        for (what, list) in [("mean", &self.mean), ("std", &self.std)] {
            if list.len() > 1 && list.len() != channels {
                return Err(DataError::value(
                    format!("{what} for input '{input}'"),
                    format!("1 or {channels} values, one per channel"),
                    format!("{} values", list.len()),
                ));
            }
        }
        if self.channel_order == ChannelOrder::Bgr && channels != 3 {
            return Err(DataError::value(
                format!("channel-order bgr for input '{input}'"),
                "3 channels",
                channels,
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Preprocess, DataError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("recipe.toml");
        std::fs::write(&path, text).unwrap();
        Preprocess::from_toml_file(&path)
    }

    #[test]
    fn values_stay_as_they_are_without_scale_mean_and_std() {
        for plain in ["", "resize = 256\nlayout = \"nhwc\"\n", "scale = 1\n"] {
            assert!(!load(plain).unwrap().changes_values(), "{plain}");
        }
        for changed in ["scale = \"1/255\"\n", "mean = 0.5\n", "std = [1, 2, 1]\n"] {
            assert!(load(changed).unwrap().changes_values(), "{changed}");
        }
    }

    #[test]
    fn a_full_recipe() {
        let recipe = load(
            "scale = \"1/255\"\nmean = [0.485, \"0.456\", 0.406]\nstd = \"0.5,0.25,1/4\"\n\
             channel-order = \"bgr\"\nresize = 256\ncrop = \"224x192\"\nlayout = \"nhwc\"\n",
        )
        .unwrap();
        let expected = Preprocess {
            scale: 1.0 / 255.0,
            mean: vec![0.485, 0.456, 0.406],
            std: vec![0.5, 0.25, 0.25],
            channel_order: ChannelOrder::Bgr,
            resize: Some(Resize::ShortSide(256)),
            crop: Some(Crop {
                width: 224,
                height: 192,
            }),
            layout: Some(Layout::Nhwc),
        };
        assert_eq!(recipe, expected);
        let again: Preprocess = toml::from_str(&toml::to_string(&recipe).unwrap()).unwrap();
        assert_eq!(again, expected);
    }

    #[test]
    fn the_empty_recipe_changes_nothing() {
        let recipe = load("").unwrap();
        assert_eq!(recipe, Preprocess::default());
        assert!(recipe.is_identity());
        assert!(!load("mean = 0.5").unwrap().is_identity());
    }

    #[test]
    fn bad_recipes_are_one_line() {
        for (text, part) in [
            ("scael = 2", "scael"),
            ("std = [1, 0, 1]", "std: expected finite numbers above 0"),
            ("scale = 0", "scale: expected a finite number other than 0"),
            ("scale = \"1/0\"", "'1/0'"),
            ("\nmean = [1, 2]\nstd = [1, 2, 3]", "1 or 2 values"),
            ("\n\nmean = true", "line 3"),
            ("channel-order = \"rbg\"", "rbg"),
            ("crop = 0", "crop"),
            ("resize = \"a\"", "resize"),
            ("x = = 1", "line 1"),
        ] {
            let error = load(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
            assert!(error.contains("recipe.toml"), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn channels_are_checked() {
        let recipe = Preprocess {
            mean: vec![1.0, 2.0, 3.0],
            ..Preprocess::default()
        };
        assert!(recipe.check_channels("x", 3).is_ok());
        assert!(recipe.check_channels("x", 1).is_err());
        assert_eq!(recipe.channel(2), (3.0, 1.0));
    }
}
