//! Data sets and preprocessing for calibration and evaluation.
//!
//! [`Dataset::open`] reads every supported format behind one interface, checks
//! it against the model's inputs ([`InputSpec`]) and hands out batches that are
//! ready for the model, after the [`Preprocess`] recipe. [`synthetic()`] makes
//! seeded random inputs for when there is no data.
//!
//! ```no_run
//! use sepconv_ir::DType;
//! use sepconv_data::{Dataset, InputSpec, Preprocess, Request};
//!
//! # fn main() -> Result<(), sepconv_data::DataError> {
//! let input = InputSpec::new("input", DType::F32, vec![None, Some(3), Some(32), Some(32)]);
//! let mut request = Request::new(vec![input]);
//! request.preprocess = Preprocess {
//!     scale: sepconv_data::parse_number("1/255")?,
//!     ..Preprocess::default()
//! };
//! let dataset = Dataset::open("calib.npz".as_ref(), &request)?;
//! for batch in dataset.batches(16) {
//!     let batch = batch?;
//!     assert_eq!(batch.inputs[0].dims()[0], batch.valid);
//! }
//! # Ok(())
//! # }
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod annotated;
mod annotations;
mod archive;
mod batch;
mod batches;
mod coco;
mod convert;
mod dataset;
mod dense;
mod draw;
mod encode;
mod error;
mod feed;
mod folder;
mod geometry;
mod labels;
mod layout;
mod listing;
mod mask_files;
mod names;
mod npy;
mod npz;
mod numbers;
mod part;
mod picture;
mod planes;
mod preprocess;
mod request;
mod size;
mod storage;
mod synthetic;
mod table;
mod tensor;
mod testsets;
mod write;

pub use annotations::{Annotations, Category, IGNORED, Mask, Object};
pub use batch::Batch;
pub use batches::Batches;
pub use dataset::Dataset;
pub use encode::encode_png;
pub use error::DataError;
pub use layout::Layout;
pub use listing::Skipped;
pub use numbers::{parse_number, parse_numbers};
pub use part::Part;
pub use preprocess::{ChannelOrder, Preprocess};
pub use request::{InputSpec, Labels, Request};
pub use size::{Crop, Resize};
pub use synthetic::{INT_RANGE, SyntheticKind, synthetic};
pub use write::write_npz;
