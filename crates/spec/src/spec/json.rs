//! Options as one JSON object.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::SpecError;

/// Names of all options of `defaults`, sorted.
pub fn options(defaults: &impl Serialize) -> Vec<String> {
    match serde_json::to_value(defaults) {
        Ok(Value::Object(all)) => all.into_iter().map(|(name, _)| name).collect(),
        _ => Vec::new(),
    }
}

/// Reads options from a JSON object. One that is left out or null has its default.
///
/// # Errors
/// [`SpecError::Unknown`], [`SpecError::Type`] or [`SpecError::Value`] names the option;
/// [`SpecError::Syntax`] where the text is no object.
pub fn read<T: Default + Serialize + DeserializeOwned>(text: &str) -> Result<T, SpecError> {
    let mut given: Map<String, Value> = serde_json::from_str(text).map_err(syntax)?;
    given.retain(|_, value| !value.is_null());
    let known = options(&T::default());
    if let Some(option) = given.keys().find(|name| !known.contains(name)) {
        return Err(SpecError::Unknown {
            option: option.clone(),
        });
    }
    serde_json::from_value(Value::Object(given.clone())).map_err(|error| {
        // The error of the whole does not say which option it is about.
        let mut alone = given.into_iter().filter_map(|(option, value)| {
            let only = Map::from_iter([(option.clone(), value)]);
            let error = serde_json::from_value::<T>(Value::Object(only)).err()?;
            Some(SpecError::of(option, error))
        });
        alone.next().unwrap_or_else(|| syntax(error))
    })
}

fn syntax(error: serde_json::Error) -> SpecError {
    SpecError::Syntax(error.to_string())
}
