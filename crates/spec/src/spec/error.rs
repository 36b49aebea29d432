//! Options that are refused, as data: each interface words them in its own terms.

use sepconv_model::Error;

/// Why options were refused. Options are named as in [`super::Spec::options`].
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// The text is no JSON object.
    #[error("options: {0}")]
    Syntax(String),
    /// No option has that name.
    #[error("there is no option '{option}'")]
    Unknown {
        /// The name.
        option: String,
    },
    /// The value is of another type than the option's.
    #[error("{option}: {reason}")]
    Type {
        /// The option.
        option: String,
        /// The value that was found, and the expected one.
        reason: String,
    },
    /// The value is none that the option can have.
    #[error("{option}: {reason}")]
    Value {
        /// The option.
        option: String,
        /// The fault.
        reason: String,
    },
    /// `families` names one that there is not.
    #[error("families: there is no '{found}' (there are {known})", known = .known.join(", "))]
    Family {
        /// The name.
        found: String,
        /// Those that there are.
        known: Vec<&'static str>,
    },
    /// More than one budget.
    #[error("one budget at a time: {given} are given", given = .options.join(" and "))]
    Budgets {
        /// Those that are given.
        options: Vec<&'static str>,
    },
    /// An option without the one that names the data that it needs.
    #[error("{option}: it needs data: {needed}")]
    NeedsData {
        /// The option.
        option: &'static str,
        /// The other one.
        needed: &'static str,
    },
    /// The subject of options is refused, for a reason that names it by itself.
    #[error("{named}: {reason}", named = .options.join(" or "))]
    Refused {
        /// The options that it may come from.
        options: &'static [&'static str],
        /// Why.
        reason: String,
    },
    /// A file that an option names can't be read or makes no sense.
    #[error(transparent)]
    File(Error),
}

impl SpecError {
    /// The error of one option's value.
    pub(super) fn of(option: String, error: serde_json::Error) -> Self {
        let reason = error.to_string();
        // `serde::de::Error::invalid_type` begins so.
        match reason.strip_prefix("invalid type: ") {
            Some(found) => Self::Type {
                option,
                reason: format!("found {found}"),
            },
            None => Self::Value { option, reason },
        }
    }

    /// For `map_err`: the value of `option` is wrong.
    pub(super) fn value<E: ToString>(option: &str) -> impl Fn(E) -> Self {
        move |reason| Self::Value {
            option: option.to_owned(),
            reason: reason.to_string(),
        }
    }

    /// For `map_err`: the subject of `options` is refused.
    pub fn refused<E: ToString>(options: &'static [&'static str]) -> impl Fn(E) -> Self {
        move |reason| Self::Refused {
            options,
            reason: reason.to_string(),
        }
    }
}

impl<E: Into<Error>> From<E> for SpecError {
    fn from(error: E) -> Self {
        Self::File(error.into())
    }
}
