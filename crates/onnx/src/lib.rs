//! ONNX protobuf to the IR and back, without loss.
//!
//! A [`Document`] is an ONNX file: a [`sepconv_ir::Model`] that passes edit, and an envelope
//! that remembers every encoded record of the file around it. Writing emits the records that
//! nobody touched exactly as they were read — unknown fields, field order and non-canonical
//! encodings included — so that an untouched model is written back byte for byte, and a
//! compressed one differs only in the nodes and initializers that passes replaced.
//! Weights are slices of the mapped file from import to export; they are never copied.
//!
//! The message types in [`proto`] are generated from ONNX's own `onnx-ml.proto` (1.23).

mod attribute;
mod body;
mod detach;
mod document;
mod encode;
mod envelope;
mod error;
mod export;
mod external;
mod file;
mod import;
mod inline;
mod layout;
mod mapping;
#[rustfmt::skip]
#[allow(missing_docs, clippy::all, rustdoc::all)]
pub mod proto;
mod raise;
mod raising;
mod references;
mod rope;
mod scope;
mod splice;
mod stage;
mod staging;
mod tensor;
mod wire;

pub use body::Body;
pub use detach::Detached;
pub use document::Document;
pub use error::{OnnxError, TensorError};
pub use file::{Staged, write_atomic};
pub use raise::RAISED;
pub use raising::ValueKind;
pub use rope::Rope;
pub use splice::Tidy;
pub use staging::{Temporary, remove_temporary};
pub use tensor::{TensorType, decode_tensor};
