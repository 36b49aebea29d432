//! Precisions other than that of the weights in the file.

use std::error::Error;

use sepconv_onnx::Document;

/// A precision that models are computed in and not written in yet, such as eight bits. Blocks and whole
/// models are written in it to be timed.
pub trait Precision: Send + Sync {
    /// Its name, by which timings are kept apart, such as `int8`.
    fn name(&self) -> &'static str;

    /// The model in this precision, with the operators and shapes of the final one; its numbers mean
    /// nothing. The layers of the names `floats`, and those whose names go on with `/` behind one of
    /// them, keep that of their weights.
    ///
    /// # Errors
    /// The reason for which the model has no such form.
    fn outline(
        &self,
        model: &Document,
        floats: &[String],
    ) -> Result<Document, Box<dyn Error + Send + Sync>>;
}
