//! The constants that training moves.

use candle_core::Var;
use sepconv_ir::{DType, ValueId};

use crate::error::TuneError;

/// A constant that training moves.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// The initializer.
    pub value: ValueId,
    /// Its name.
    pub name: String,
    /// Its element type in the graph.
    pub dtype: DType,
    pub(crate) var: Var,
}

impl Parameter {
    /// Extents, outermost first.
    pub fn dims(&self) -> &[usize] {
        self.var.dims()
    }

    /// Its elements as they are now, in row-major order.
    ///
    /// # Errors
    /// [`TuneError::Library`].
    pub fn elements(&self) -> Result<Vec<f32>, TuneError> {
        Ok(self.var.flatten_all()?.to_vec1::<f32>()?)
    }
}
