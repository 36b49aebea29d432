//! The inputs of a session.

use sepconv_ir::{DType, Tensor};

use crate::panics::guarded;

/// A graph input as a session is loaded for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputSpec {
    /// Name of the graph input.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Fixed shape, batch included.
    pub dims: Vec<usize>,
}

impl InputSpec {
    /// Checks that `tensor` has the type and shape that the session was loaded for.
    ///
    /// # Errors
    /// A phrase that names the input, the found and the expected.
    pub fn check(&self, tensor: &Tensor) -> Result<(), String> {
        if tensor.dims() == self.dims && tensor.dtype() == self.dtype {
            return Ok(());
        }
        Err(format!(
            "input '{}' is {}{:?}, expected {}{:?}",
            self.name,
            tensor.dtype(),
            tensor.dims(),
            self.dtype,
            self.dims
        ))
    }
}

/// Inputs as a runtime has them, each made by `convert`.
///
/// # Errors
/// A phrase, where their number does not fit or one of them does not.
pub(crate) fn converted<T, All: FromIterator<T>>(
    inputs: &[Tensor],
    specs: &[InputSpec],
    convert: impl Fn(&Tensor, &InputSpec) -> Result<T, String>,
) -> Result<All, String> {
    let (found, expected) = (inputs.len(), specs.len());
    if found != expected {
        return Err(format!("{found} inputs given, {expected} expected"));
    }
    let pairs = inputs.iter().zip(specs);
    pairs
        .map(|(tensor, spec)| guarded(|| convert(tensor, spec)).and_then(|result| result))
        .collect()
}
