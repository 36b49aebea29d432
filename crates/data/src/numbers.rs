//! Numbers as flags spell them: decimals, fractions, comma-separated lists.

use serde::Deserialize;

use crate::error::DataError;

/// Reads one number: a decimal ("0.5", "1e-3") or a fraction of two ("1/255").
///
/// # Errors
/// [`DataError::Value`] for anything else, a zero denominator and values that are not finite.
pub fn parse_number(text: &str) -> Result<f64, DataError> {
    let number = |part: &str| part.trim().parse::<f64>().ok().filter(|x| x.is_finite());
    let value = match text.split_once('/') {
        None => number(text),
        Some((above, below)) => number(above)
            .zip(number(below))
            .map(|(a, b)| a / b)
            .filter(|x| x.is_finite()),
    };
    value.ok_or_else(|| {
        DataError::value(
            "number",
            "a finite number or a fraction such as 1/255",
            format!("'{text}'"),
        )
    })
}

/// Reads a comma-separated list of numbers, each as [`parse_number`] takes it.
///
/// # Errors
/// [`DataError::Value`] naming the first element that is not a number; an empty list is one.
pub fn parse_numbers(text: &str) -> Result<Vec<f64>, DataError> {
    text.split(',').map(parse_number).collect()
}

/// A TOML value for one number.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected a number or a fraction such as \"1/255\""
)]
enum One {
    Number(f64),
    Text(String),
}

impl One {
    fn value(self) -> Result<f64, DataError> {
        match self {
            One::Number(x) if x.is_finite() => Ok(x),
            One::Number(x) => Err(DataError::value("number", "a finite number", x)),
            One::Text(text) => parse_number(&text),
        }
    }
}

/// A TOML value for a list of numbers.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected a number, a list of numbers, or a string of numbers with commas"
)]
enum Many {
    Number(f64),
    Text(String),
    List(Vec<One>),
}

/// Deserializes a number or a fraction string.
pub(crate) fn one<'de, D: serde::Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    One::deserialize(from)?
        .value()
        .map_err(serde::de::Error::custom)
}

/// Deserializes a number, a list, or a comma-separated string.
pub(crate) fn many<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<f64>, D::Error> {
    match Many::deserialize(from)? {
        Many::Number(x) => One::Number(x).value().map(|x| vec![x]),
        Many::Text(text) => parse_numbers(&text),
        Many::List(list) => list.into_iter().map(One::value).collect(),
    }
    .map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_fractions() {
        assert_eq!(parse_number("1/255").unwrap(), 1.0 / 255.0);
        assert_eq!(parse_number(" -2.5e1 ").unwrap(), -25.0);
        assert_eq!(
            parse_numbers("0.485, 0.456,1/2").unwrap(),
            [0.485, 0.456, 0.5]
        );
    }

    #[test]
    fn what_is_no_number_is_named() {
        for bad in ["", "a", "1/0", "0/0", "inf", "nan", "1/2/3", "1e999"] {
            let text = parse_number(bad).unwrap_err().to_string();
            assert!(text.ends_with(&format!("found '{bad}'")), "{text}");
        }
        let text = parse_numbers("1,,2").unwrap_err().to_string();
        assert_eq!(
            text,
            "number: expected a finite number or a fraction such as 1/255, found ''"
        );
    }
}
