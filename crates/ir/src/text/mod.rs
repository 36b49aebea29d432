//! Graphs as text: `Display` of a [`Graph`](crate::Graph) writes it, and `str::parse` reads it.
//!
//! A line is an input, a constant, an operator or an output. Operators may read values of later
//! lines. `;` begins a comment, blank lines count for nothing.
//!
//! ```text
//! graph    = { [ line ] [ ";" comment ] newline }
//! line     = "input" name [ ":" type ]
//!          | ( "const" | "default" ) name ":" tensor     default: callers may override it
//!          | [ outputs ] "=" operator
//!          | "output" name
//! outputs  = ( name [ ":" type ] | "_" ) { "," … }       "_": an output left out
//! operator = [ domain "::" ] kind [ "@" overload ] [ "{" key "=" value { "," … } "}" ]
//!            "(" [ inputs ] ")" [ "captures" name { "," name } ] [ "#" name ]
//! inputs   = ( name | "_" ) { "," … }                    "_": an input left out
//! type     = dtype [ "[" [ extent { "," extent } ] "]" ] no brackets: of unknown rank
//! extent   = integer | symbol | "?"
//! tensor   = [ "sparse" ] dtype "[" [ integer { "," integer } ] "]" [ contents ]
//! contents = "[" [ number { "," number } ] "]"           row-major
//!          | "fill" "(" number ")"                       all elements
//!          | "noise" "(" seed ")"                        seeded floats from -1 to 1
//! value    = integer | float | string | "…"              "…": a graph, or what else is not read
//!          | "[" [ value { "," value } ] "]"             all of one kind; empty: integers
//!          | ( "floats" | "strings" ) "[" "]"
//!          | tensor
//! ```
//!
//! A float has a point, an exponent, or is `inf` or `NaN`; so `1` is an integer. Names, symbols and
//! types that are not a word of letters, digits and `_ . / + - :` (no `:` at the end) stand in
//! quotes. In quotes, `\\`, `\"`, `\n` and `\xNN` (a byte) are escapes.
//!
//! The printer writes the contents of at most 32 elements, and of more where `fill` or `noise`
//! say them (seeds below 65536); others are left out. A tensor without contents is parsed as one
//! that is not read ([`Tensor::data`](crate::Tensor::data) is `None`).
//!
//! A domain has no colon. Encoded sources, documentation, metadata, reserved names, and declared types of constants are
//! not in the text.
//!
//! ```
//! use sepconv_ir::Graph;
//!
//! let text = "\
//! input x: f32[N,2]
//! const w: f32[2,1] [0.5, -1.0]
//! y = MatMul(x, w) # product
//! output y
//! ";
//! let graph: Graph = text.parse().unwrap();
//! assert_eq!(graph.to_string(), text);
//! let error = "y = Relu(x)".parse::<Graph>().unwrap_err();
//! assert_eq!(error.to_string(), "line 1, column 10: nothing produces 'x'");
//! ```

mod contents;
mod error;
mod lexer;
mod line;
mod parser;
mod printer;
mod quote;
#[cfg(test)]
mod tests;
mod values;

pub use error::{ParseError, ParseErrorKind};
