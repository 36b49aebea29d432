//! Values in all the forms that JSON has for them.

use std::num::NonZeroUsize;
use std::str::FromStr;
use std::time::Duration;

use sepconv_data::DataError;
use sepconv_model::{parse_memory, parse_time};
use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Number;

/// Passes of `tune` over the data where it is asked for without a number.
pub const EPOCHS: usize = 20;

/// A number, or text.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a number or text")]
enum Item {
    Number(Number),
    Text(String),
}

impl Item {
    fn text(self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text,
        }
    }
}

/// One value, or a list.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a number, text, or a list of them")]
enum Items {
    One(Item),
    List(Vec<Item>),
}

impl Items {
    /// As the command line takes them; nothing where the list is empty.
    fn text(self, separator: &str) -> Option<String> {
        let items = match self {
            Self::One(item) => return Some(item.text()),
            Self::List(items) => items,
        };
        let items: Vec<String> = items.into_iter().map(Item::text).collect();
        (!items.is_empty()).then(|| items.join(separator))
    }
}

/// Numbers, one for all channels or one each.
pub fn numbers<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(Items::deserialize(from)?.text(","))
}

/// A name of the data crate, or sides of pictures.
pub fn parsed<'de, D, T>(from: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err = DataError>,
{
    let text = Items::deserialize(from)?.text("x");
    // The option is named by whoever reads all options.
    text.map(|text| text.parse())
        .transpose()
        .map_err(|error| match error {
            DataError::Value {
                expected, found, ..
            } => D::Error::custom(format!("expected {expected}, found {found}")),
            other => D::Error::custom(other),
        })
}

/// Bytes of memory, see [`parse_memory`].
pub fn memory<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    let text = Item::deserialize(from)?.text();
    parse_memory(&text).map(Some).map_err(D::Error::custom)
}

/// A span of time, see [`parse_time`].
pub fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let text = Item::deserialize(from)?.text();
    parse_time(&text).map(Some).map_err(D::Error::custom)
}

/// At least one thread.
pub fn threads<'de, D: Deserializer<'de>>(from: D) -> Result<NonZeroUsize, D::Error> {
    let found = usize::deserialize(from)?;
    NonZeroUsize::new(found).ok_or_else(|| D::Error::custom("expected at least 1, found 0"))
}

/// Epochs of training; 0 is none.
pub fn epochs<'de, D: Deserializer<'de>>(from: D) -> Result<Option<usize>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a number of epochs, true or false")]
    enum Epochs {
        Usual(bool),
        Number(usize),
    }
    Ok(match Epochs::deserialize(from)? {
        Epochs::Usual(true) => Some(EPOCHS),
        Epochs::Usual(false) | Epochs::Number(0) => None,
        Epochs::Number(epochs) => Some(epochs),
    })
}

/// One name, or a list.
pub fn names<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected text or a list of texts")]
    enum Names {
        One(String),
        List(Vec<String>),
    }
    Ok(match Names::deserialize(from)? {
        Names::One(name) => vec![name],
        Names::List(names) => names,
    })
}

/// The same, each name perhaps several with commas between.
pub fn comma_separated<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let names = names(from)?;
    let split = names.iter().flat_map(|name| name.split(','));
    Ok(split.map(str::to_owned).collect())
}
