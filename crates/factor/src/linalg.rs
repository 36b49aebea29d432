//! Dense f64 helpers: everything here works on row-major slices and knows nothing of kernels.
//!
//! | Module | Job |
//! |---|---|
//! | [`eigen`] | symmetric eigenproblem, by the fastest solver for its size |
//! | [`gram`] | Gram matrices of tall matrices, accumulated block by block |

pub mod eigen;
pub mod gram;
