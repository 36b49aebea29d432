//! Dense f64 helpers: everything here works on row-major slices and knows nothing of kernels.
//!
//! | Module | Job |
//! |---|---|
//! | [`dense`] | products of matrices, in parallel with the same bytes at any thread count |
//! | [`cholesky`] | factoring and solving symmetric positive definite systems |
//! | [`conjugate`] | the same where the matrix is only known by its products |
//! | [`eigen`] | symmetric eigenproblem, by the fastest solver for its size |
//! | [`gram`] | Gram matrices of tall matrices, accumulated block by block |
//! | [`singular`] | thin singular value decomposition of a wide matrix |

pub mod cholesky;
pub mod conjugate;
pub mod dense;
pub mod eigen;
pub mod gram;
pub mod singular;
