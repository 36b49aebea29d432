//! Finding and loading ONNX Runtime's shared library.
//!
//! Tried in this order: the path given to [`use_library`], `$SEPCONV_ONNXRUNTIME`,
//! `$ORT_DYLIB_PATH`, the library's usual names on the loader's path, and the PyPI wheel
//! `onnxruntime` in the active virtual environment or in `./.venv`. What is named and does
//! not load is an error, what is only looked for is passed over.

use std::ffi::{CStr, OsStr};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use ort::environment::Environment;
use ort::logging::LogLevel;

use super::NAME;
use crate::error::TargetError;
use crate::panics::guarded;
use crate::text::one_line;

/// Variables that name the library, the first that is set counts.
const VARIABLES: [&str; 2] = ["SEPCONV_ONNXRUNTIME", "ORT_DYLIB_PATH"];

/// The library, once per process.
pub(super) struct Library {
    pub environment: Environment,
    pub version: String,
}

static GIVEN: OnceLock<PathBuf> = OnceLock::new();
static LIBRARY: OnceLock<Result<Library, TargetError>> = OnceLock::new();

/// Names the shared library of ONNX Runtime that is to be used: the file, the folder that
/// holds it, or a virtual environment with the PyPI package. For programs to call once, before
/// the target `onnxruntime` is used.
///
/// # Errors
/// [`TargetError::TooLate`] where a library was named or looked for before.
pub fn use_library(path: &Path) -> Result<(), TargetError> {
    let late = || TargetError::TooLate {
        target: NAME,
        path: path.to_owned(),
    };
    if LIBRARY.get().is_some() {
        return Err(late());
    }
    GIVEN.set(path.to_owned()).map_err(|_| late())
}

/// The library, loaded on the first call.
pub(super) fn library() -> Result<&'static Library, TargetError> {
    let found = LIBRARY.get_or_init(|| {
        find().map_err(|reason| TargetError::Unavailable {
            target: NAME,
            reason: one_line(&reason),
        })
    });
    found.as_ref().map_err(Clone::clone)
}

fn find() -> Result<Library, String> {
    let variable = VARIABLES.iter().find_map(|name| {
        let value = std::env::var_os(name).filter(|v| !v.is_empty())?;
        Some((format!("${name}"), PathBuf::from(value)))
    });
    let given = GIVEN
        .get()
        .map(|path| ("the path given".to_owned(), path.clone()));
    if let Some((origin, path)) = given.or(variable) {
        let library = named(&path).and_then(|path| open(&path));
        return library.map_err(|e| format!("{} ({origin}): {e}", path.display()));
    }
    let mut last = None;
    for path in candidates() {
        match open(&path) {
            Ok(library) => return Ok(library),
            // Only a wheel is known to be there: what it says is worth telling.
            Err(e) if path.is_absolute() => last = Some(format!("{}: {e}", path.display())),
            Err(_) => {}
        }
    }
    Err(last.unwrap_or_else(|| {
        format!(
            "its shared library was not found (install the PyPI package onnxruntime in the active \
             virtual environment or in ./.venv, or name the library in ${})",
            VARIABLES[0]
        )
    }))
}

/// An absolute path of the library that was named: a file, a folder with it, or a virtual
/// environment with the wheel.
fn named(path: &Path) -> Result<PathBuf, String> {
    let absolute = path.canonicalize().map_err(|e| e.to_string())?;
    if !absolute.is_dir() {
        return Ok(absolute);
    }
    in_folder(&absolute)
        .or_else(|| in_environment(&absolute))
        .ok_or_else(|| format!("it holds no {}", pattern()))
}

/// Names for the loader's path, then files of wheels.
fn candidates() -> Vec<PathBuf> {
    let (prefix, suffix) = (std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let mut found: Vec<PathBuf> = ["", ".1"]
        .iter()
        .map(|tail| format!("{prefix}onnxruntime{suffix}{tail}").into())
        .collect();
    let active = std::env::var_os("VIRTUAL_ENV").map(PathBuf::from);
    let environments = active.into_iter().chain([PathBuf::from(".venv")]);
    found.extend(environments.filter_map(|folder| in_environment(&folder)));
    found
}

/// The library of the wheel in a virtual environment.
fn in_environment(folder: &Path) -> Option<PathBuf> {
    let folder = folder.canonicalize().ok()?;
    let packages = ["lib", "Lib"].iter().flat_map(|lib| {
        let lib = folder.join(lib);
        let pythons = sorted(&lib);
        pythons
            .into_iter()
            .map(|python| python.join("site-packages"))
            .chain([lib.join("site-packages")])
    });
    packages
        .map(|p| p.join("onnxruntime/capi"))
        .find_map(|capi| in_folder(&capi))
}

fn in_folder(folder: &Path) -> Option<PathBuf> {
    let name = pattern();
    let fits = |path: &PathBuf| {
        let file = path.file_name().and_then(OsStr::to_str).unwrap_or("");
        // libonnxruntime.so, libonnxruntime.so.1.32.0, libonnxruntime.1.32.0.dylib
        let rest = file.strip_prefix(name.as_str());
        rest.is_some_and(|r| r.starts_with('.') && !r.ends_with(".py"))
    };
    sorted(folder).into_iter().find(fits)
}

fn pattern() -> String {
    format!("{}onnxruntime", std::env::consts::DLL_PREFIX)
}

/// Entries of a folder by name; none where it can't be read.
fn sorted(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|e| e.path()).collect();
    paths.sort();
    paths
}

fn open(path: &Path) -> Result<Library, String> {
    guarded(|| {
        let builder = ort::init_from(path).map_err(|e| e.to_string())?;
        let environment = builder.with_name("sepconv").with_telemetry(false);
        let environment = environment.build().map_err(|e| e.to_string())?;
        // Errors are returned; its log would repeat them on standard error.
        environment.set_log_level(LogLevel::Fatal);
        Ok(Library {
            environment,
            version: version(path)?,
        })
    })
    .and_then(|result| result)
}

/// The version that a library which has been loaded from `path` says it is.
fn version(path: &Path) -> Result<String, String> {
    type GetBase = unsafe extern "C" fn() -> *const ort::sys::OrtApiBase;
    // SAFETY: the library is loaded already, so that no initialiser runs; the symbol has had
    // this signature in every release of ONNX Runtime, returns a pointer to a static table or
    // null, and the version is a static string.
    unsafe {
        let library = libloading::Library::new(path).map_err(|e| e.to_string())?;
        let base: libloading::Symbol<'_, GetBase> =
            library.get(b"OrtGetApiBase").map_err(|e| e.to_string())?;
        let base = base().as_ref().ok_or("it has no API table")?;
        let text = CStr::from_ptr((base.GetVersionString)());
        Ok(text.to_string_lossy().into_owned())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn wheels_are_found_in_a_virtual_environment() {
        let scratch = tempfile::tempdir().unwrap();
        let capi = scratch
            .path()
            .join("lib/python3.11/site-packages/onnxruntime/capi");
        std::fs::create_dir_all(&capi).unwrap();
        assert_eq!(in_environment(scratch.path()), None);
        let name = pattern();
        std::fs::write(capi.join(format!("{name}_providers_shared.so")), "").unwrap();
        std::fs::write(capi.join(format!("{name}.py")), "").unwrap();
        assert_eq!(in_environment(scratch.path()), None);
        std::fs::write(capi.join(format!("{name}.so.1.32.0")), "").unwrap();
        let found = in_environment(scratch.path()).unwrap();
        assert!(found.is_absolute() && found.ends_with(format!("{name}.so.1.32.0")));
        assert_eq!(named(&capi).unwrap(), found);
        assert_eq!(named(scratch.path()).unwrap(), found);
    }

    #[test]
    fn files_that_are_no_library_are_refused_with_a_reason() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("libonnxruntime.so");
        assert!(named(&path).is_err());
        std::fs::write(&path, "not a library").unwrap();
        let error = open(&named(&path).unwrap()).err().unwrap();
        assert!(!error.is_empty() && !error.contains("panicked"), "{error}");
        assert!(
            named(scratch.path())
                .unwrap()
                .ends_with("libonnxruntime.so")
        );
    }
}
