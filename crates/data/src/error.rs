//! The one error type of the crate: every message is a single line.

use std::fmt::Display;
use std::path::{Path, PathBuf};

/// The longest stretch of foreign text (a name, a header) quoted in a message.
const QUOTE_LIMIT: usize = 240;

/// Refusal of a data set, a preprocessing recipe or an array.
///
/// Each message is one line that names the file (or the flag, or the input)
/// and tells the expected value and the one that was found. Text that comes from a
/// file is stripped of control characters and cut to a readable length.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The operating system refused to read or write a file.
    #[error("{}: cannot {action}: {}", show(path), clean(source))]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The attempt, as a verb ("open", "read").
        action: &'static str,
        /// Error of the system.
        source: std::io::Error,
    },
    /// A file is not what its format promises: truncated, corrupt, hostile, or of another kind.
    #[error("{}: expected {expected}, found {found}", show(path))]
    Malformed {
        /// The file or directory.
        path: PathBuf,
        /// Content of a good file.
        expected: String,
        /// Content of this one.
        found: String,
    },
    /// The data set is well formed but does not suit the model: shape, dtype, count or label.
    #[error("{}: {what}: expected {expected}, found {found}", show(path))]
    Mismatch {
        /// The file or directory.
        path: PathBuf,
        /// The array, picture or label in question.
        what: String,
        /// Demand of the model or the request.
        expected: String,
        /// Content of the data set.
        found: String,
    },
    /// The data set has no samples.
    #[error("{}: expected at least one sample, found none ({detail})", show(path))]
    Empty {
        /// The file or directory.
        path: PathBuf,
        /// Places that were searched for samples.
        detail: String,
    },
    /// The data set has neither labels nor a target, and one of them is required.
    #[error(
        "{}: expected labels or a target (an array 'labels' or 'target', class folders, \
         output_0.pb, boxes or masks apart), found neither",
        show(path)
    )]
    Unlabelled {
        /// The file or directory.
        path: PathBuf,
    },
    /// A preprocessing value, as a flag or as a key of a TOML file, makes no sense.
    #[error("{what}: expected {expected}, found {found}")]
    Value {
        /// The flag or the key.
        what: String,
        /// The syntax or range that is allowed.
        expected: String,
        /// The text or value given.
        found: String,
    },
    /// A model input that no data set of this kind can feed, or that the request describes badly.
    #[error("model input '{input}': expected {expected}, found {found}")]
    Input {
        /// The name of the input.
        input: String,
        /// Inputs that can be fed.
        expected: String,
        /// Inputs that the model declares.
        found: String,
    },
    /// Elements do not fit a shape or a dtype.
    #[error("array: expected {expected}, found {found}")]
    Array {
        /// Demand of the shape or dtype.
        expected: String,
        /// Value that was given.
        found: String,
    },
    /// Rows outside the data set, or more of them than one batch of the model holds.
    #[error("batch of rows {start}..{end}: expected {expected}")]
    Rows {
        /// First row asked for.
        start: usize,
        /// One past the last row asked for.
        end: usize,
        /// Which ranges are allowed.
        expected: String,
    },
}

impl DataError {
    /// An [`DataError::Io`], for `map_err`.
    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| DataError::Io {
            path,
            action,
            source,
        }
    }

    pub(crate) fn malformed(path: &Path, expected: impl Display, found: impl Display) -> Self {
        DataError::Malformed {
            path: path.to_path_buf(),
            expected: clean(expected),
            found: clean(found),
        }
    }

    pub(crate) fn mismatch(
        path: &Path,
        what: impl Display,
        expected: impl Display,
        found: impl Display,
    ) -> Self {
        DataError::Mismatch {
            path: path.to_path_buf(),
            what: clean(what),
            expected: clean(expected),
            found: clean(found),
        }
    }

    pub(crate) fn empty(path: &Path, detail: impl Display) -> Self {
        DataError::Empty {
            path: path.to_path_buf(),
            detail: clean(detail),
        }
    }

    pub(crate) fn value(what: impl Display, expected: impl Display, found: impl Display) -> Self {
        DataError::Value {
            what: clean(what),
            expected: clean(expected),
            found: clean(found),
        }
    }

    pub(crate) fn input(input: &str, expected: impl Display, found: impl Display) -> Self {
        DataError::Input {
            input: clean(input),
            expected: clean(expected),
            found: clean(found),
        }
    }

    pub(crate) fn array(expected: impl Display, found: impl Display) -> Self {
        DataError::Array {
            expected: clean(expected),
            found: clean(found),
        }
    }
}

/// The path as one line of text.
pub(crate) fn show(path: &Path) -> String {
    path.display()
        .to_string()
        .chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

/// Foreign text as one line: control characters become '?', long text is cut.
pub(crate) fn clean(text: impl Display) -> String {
    let text = text.to_string();
    let mut out = String::with_capacity(text.len().min(QUOTE_LIMIT + 3));
    for (i, c) in text.chars().enumerate() {
        if i == QUOTE_LIMIT {
            out.push_str("...");
            break;
        }
        out.push(if c.is_control() { '?' } else { c });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_stay_on_one_line() {
        let hostile = "a\nb\u{1b}[31m".repeat(1000);
        let error = DataError::mismatch(Path::new("x\ny.npz"), &hostile, &hostile, &hostile);
        let text = error.to_string();
        assert!(!text.contains('\n') && !text.contains('\u{1b}'), "{text}");
        assert!(text.starts_with("x?y.npz: a?b"), "{text}");
        assert!(text.len() < 4 * QUOTE_LIMIT, "{}", text.len());
    }
}
