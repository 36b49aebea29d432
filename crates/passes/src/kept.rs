//! The reasons why a layer stays as it is.

use sepconv_factor::Skip;
use serde::{Deserialize, Serialize};

/// The reason why a convolution stays as it is; displays as a short phrase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum Kept {
    /// The user did not select it.
    #[error("not selected")]
    NotSelected,
    /// No family applies to its kernel.
    #[error("{0}")]
    Skip(Skip),
    /// The families and the order that are allowed leave none for it.
    #[error("none of the allowed families can be written here")]
    NoFamily,
    /// It is in a subgraph or a local function, whose calls are not counted.
    #[error("in a subgraph or function, whose runs are not counted")]
    InSubgraph,
    /// It is in a local function, and an attribute is given where that is called.
    #[error("an attribute is given by the function's caller")]
    Reference,
    /// Its weight is computed, an input, or may be overridden by callers.
    #[error("weight is not a constant")]
    NotConstant,
    /// Its weight is quantised, and that was not to be looked through.
    #[error("weight is quantised")]
    Quantized,
    /// Its weight is stored as a sparse tensor.
    #[error("sparse weight")]
    Sparse,
    /// It computes with integers: `ConvInteger`, `QLinearConv`.
    #[error("integer convolution")]
    Integer,
    /// It is an operator of a runtime that applies an activation as well: `FusedConv`.
    #[error("fused with its activation by a runtime")]
    Fused,
    /// Its weight lies in an external data file, and the model was read without it.
    #[error("weight lies in a data file that was not read")]
    Unread,
    /// Its weight is of a type that is not decomposed.
    #[error("weight of type {0}")]
    Type(String),
    /// Its weight holds a NaN or an infinity.
    #[error("weight is not finite")]
    NotFinite,
    /// Its attributes contradict one another or the weight.
    #[error("{0}")]
    Malformed(String),
    /// It is a matrix product of a form that is not rewritten.
    #[error("{0}")]
    Form(String),
    /// Every candidate costs as many MACs or more.
    #[error("no candidate saves MACs")]
    NoSaving,
    /// The planner preferred the original.
    #[error("the plan keeps it")]
    Planned,
    /// A runtime can't load or run the chain that would take its place.
    #[error("{0}")]
    Unrunnable(String),
    /// Statistics of its patches and fits to them take more memory than is allowed, both in bytes.
    #[error(
        "a fit of it takes {} MB of memory, {} MB are allowed",
        .needed.div_ceil(1 << 20),
        .allowed >> 20
    )]
    Memory {
        /// The memory that would have to be allowed.
        needed: u64,
        /// The memory that is.
        allowed: u64,
    },
    /// It could not be fitted to its statistics.
    #[error("not fitted: {0}")]
    Unfitted(String),
    /// Its input shape is unknown, so that a MAC budget can't count it.
    #[error("input shape unknown")]
    UnknownShape,
}
