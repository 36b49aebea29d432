//! The errors of this crate. Each variant's documentation says whose fault it is.

use crate::skip::Skip;

/// The reason why a shape, a kernel or a chain was refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FactorError {
    /// The caller's geometry is impossible: a zero extent, channels that `groups` does not
    /// divide, no spatial axis, or more elements than `usize` can count.
    #[error("invalid kernel shape: {0}")]
    Shape(&'static str),

    /// The caller's weight has the wrong number of elements for its shape.
    #[error("a kernel of shape {shape} has {expected} weights, not {found}")]
    Length {
        /// The shape, printed as ONNX's `W` (for example `64x3x7x7`).
        shape: String,
        /// Elements that the shape asks for.
        expected: usize,
        /// Elements that were given.
        found: usize,
    },

    /// The caller's weight holds a NaN or an infinity.
    #[error("weight {index} is not finite")]
    NonFinite {
        /// Row-major position of the first such element.
        index: usize,
    },

    /// The caller asked for a rank outside `1..=max`.
    #[error("rank {rank} is outside 1..={max}")]
    Rank {
        /// The rank that was asked for.
        rank: usize,
        /// The full rank of the decomposition.
        max: usize,
    },

    /// The family does not apply to this kernel; not an error of anybody, see [`Skip`].
    #[error("the family does not apply: {0}")]
    Skipped(#[from] Skip),

    /// The stages of a chain do not fit together: an error of the family that built it, or of
    /// the caller who edited it.
    #[error("stage {stage} of the chain: {reason}")]
    Chain {
        /// Index of the stage at fault, counted from the input.
        stage: usize,
        /// The misfit.
        reason: &'static str,
    },

    /// A spectrum was built from a negative, NaN or infinite energy.
    #[error("energy {index} of the spectrum is negative or not finite")]
    Spectrum {
        /// Index of the component at fault.
        index: usize,
    },

    /// The caller's convolution geometry or map does not fit the kernel.
    #[error("invalid convolution geometry: {0}")]
    Geometry(&'static str),

    /// The caller's metric does not fit the kernel, or a correlation is outside 0 to 0.99.
    #[error("invalid metric: {0}")]
    Metric(&'static str),

    /// The caller's statistics, or samples for them, do not fit the kernel, hold a value that is
    /// not finite, or were stored by something else.
    #[error("statistics: {0}")]
    Statistics(&'static str),

    /// A matrix whose extents the kernel's widths give is larger than an allocation can be.
    #[error("{bytes} bytes of memory are needed and can't be had")]
    Memory {
        /// Size of the matrix, `usize::MAX` where it can't be counted.
        bytes: usize,
    },

    /// A least-squares system could not be solved however strongly it was regularised. Not seen
    /// on finite statistics; please report it.
    #[error("a least-squares system of order {order} is not positive definite")]
    Singular {
        /// Number of unknowns.
        order: usize,
    },

    /// An eigenvalue iteration did not converge. Not seen on finite input; please report it.
    #[error("the eigenvalue iteration of slice {slice} did not converge")]
    NoConvergence {
        /// Index of the slice (input or output channel) of the kernel.
        slice: usize,
    },
}
