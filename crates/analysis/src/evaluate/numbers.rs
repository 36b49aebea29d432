//! Elements of tensors as numbers.

use sepconv_ir::{DType, Tensor};

/// The elements of a tensor: floats as f64, integers and booleans as i64.
pub(super) enum Numbers {
    Floats(Vec<f64>),
    Ints(Vec<i64>),
}

impl Numbers {
    /// `None` for strings, 8-bit floats, and unsigned integers of 64 bits, which do not fit.
    pub fn of(tensor: &Tensor) -> Option<Self> {
        if tensor.dtype().is_float() {
            return tensor.to_f64().map(Self::Floats);
        }
        let fits = tensor.dtype() != DType::U64;
        fits.then(|| tensor.to_i64())?.map(Self::Ints)
    }

    /// As a tensor of a type: floats rounded to nearest, integers modulo their range. `None` where
    /// they are not numbers of that kind.
    pub fn tensor(&self, dtype: DType, dims: Vec<usize>) -> Option<Tensor> {
        match self {
            Self::Floats(all) => Tensor::from_f64s(dtype, dims, all),
            Self::Ints(all) => Tensor::from_i64s(dtype, dims, all),
        }
    }
}
