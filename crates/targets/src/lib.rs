//! Runtimes that execute exported models.
//!
//! A [`Target`] loads the bytes of a model (a [`Detached`](sepconv_onnx::Detached) encoding,
//! weights shared with the document) for fixed input shapes and gives a [`Session`] that runs
//! it. Each target is one file and one line in [`targets`].

mod error;
mod fastest;
mod input;
mod library;
mod model;
mod onnxruntime;
mod openvino;
mod panics;
mod target;
mod text;
mod tract;

pub use self::openvino::use_library as use_openvino;
pub use error::TargetError;
pub use input::InputSpec;
pub use onnxruntime::use_library as use_onnxruntime;
pub use panics::silence_caught_panics;
pub use target::{LoadOptions, Prepared, Session, Target};

/// All targets, in order of preference.
pub fn targets() -> &'static [&'static dyn Target] {
    &[
        &tract::Tract,
        &onnxruntime::OnnxRuntime,
        &openvino::OpenVino,
    ]
}

/// The target that accuracy is measured on unless another is named.
pub fn reference() -> &'static dyn Target {
    &tract::Tract
}

/// The runtime that models are deployed on here: the first that is available of ONNX Runtime,
/// OpenVINO and tract, which always is.
pub fn deployed() -> &'static dyn Target {
    let runtimes: [&'static dyn Target; 2] = [&onnxruntime::OnnxRuntime, &openvino::OpenVino];
    let found = runtimes.into_iter().find(|t| t.available().is_ok());
    found.unwrap_or(&tract::Tract)
}

/// The runtime for passes over much data whose bytes need not be those of [`reference()`]: ONNX Runtime
/// where it is available, with tract for the models that it refuses; else tract.
pub fn fastest() -> &'static dyn Target {
    match fastest::Fastest.available() {
        Ok(()) => &fastest::Fastest,
        Err(_) => reference(),
    }
}

/// The target of that name, available here or not.
///
/// # Errors
/// [`TargetError::Unknown`] lists the names.
pub fn find(name: &str) -> Result<&'static dyn Target, TargetError> {
    let found = targets().iter().find(|t| t.name() == name).copied();
    found.ok_or_else(|| TargetError::Unknown {
        name: name.to_owned(),
        known: targets()
            .iter()
            .map(|t| t.name())
            .collect::<Vec<_>>()
            .join(", "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_found_by_their_own_name() {
        for target in targets() {
            assert_eq!(find(target.name()).map(|t| t.name()), Ok(target.name()));
        }
        assert_eq!(
            find("gpu").map(|t| t.name()).map_err(|e| e.to_string()),
            Err("no target 'gpu' (there are tract, onnxruntime, openvino)".into())
        );
    }
}
