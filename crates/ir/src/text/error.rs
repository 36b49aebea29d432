//! Errors of graphs in text form.

use crate::error::IrError;

/// The reason why a text is no graph, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {kind}")]
pub struct ParseError {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The fault.
    pub kind: ParseErrorKind,
}

/// A fault of a graph in text form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseErrorKind {
    /// The grammar asks for something else.
    #[error("expected {expected}, found {found}")]
    Unexpected {
        /// The part of the grammar.
        expected: &'static str,
        /// The token, quoted, or `the end of the line`.
        found: String,
    },
    /// A character that begins nothing.
    #[error("'{0}' begins nothing")]
    Character(char),
    /// A string without its closing quote.
    #[error("the string does not end")]
    Unterminated,
    /// An escape that is none of those known, or a name that is no UTF-8.
    #[error("an unknown escape, or a name that is no UTF-8")]
    Escape,
    /// A number that its type does not hold.
    #[error("'{number}' is no {kind}")]
    Number {
        /// The number as it is written.
        number: String,
        /// The type, such as `u8`.
        kind: String,
    },
    /// The contents are more or fewer than the extents say, or of a type that is not read.
    #[error("{found} elements for {tensor}")]
    Contents {
        /// Number of elements that are written.
        found: usize,
        /// Type and extents.
        tensor: String,
    },
    /// More elements than are made for `fill` and `noise`.
    #[error("{0} is too large")]
    TooLarge(String),
    /// A value that no line introduces.
    #[error("nothing produces '{0}'")]
    Missing(String),
    /// The lines contradict one another.
    #[error(transparent)]
    Graph(#[from] IrError),
}
