//! Headings of the help.

/// The heading of options that most runs need: none, so that the help begins with them. The others
/// stand under the heading of their part.
pub const COMMON: Option<&'static str> = None;
