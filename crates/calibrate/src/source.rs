//! The samples that layers are fitted to.

use sepconv_data::{Dataset, Labels};
use sepconv_model::{Error, Loaded};
use sepconv_spec::Source;
use sepconv_targets::Target;

use crate::pictures::dataset;

/// The samples of a source as a data set of `model`; `target` runs the model where the range of
/// synthetic pictures is guessed.
///
/// # Errors
/// [`Error::Data`] where the data can't be read or do not fit, [`Error::Target`] where the runtime
/// can't run the model.
pub fn open(source: &Source, model: &Loaded, target: &dyn Target) -> Result<Dataset, Error> {
    match source {
        Source::Data(source) => source.open(model, Labels::Ignore),
        Source::Pictures(pictures) => dataset(pictures, model, target),
    }
}
