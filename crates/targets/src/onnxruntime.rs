//! ONNX Runtime, on its CPU provider, from a shared library that is found at run time.
//!
//! Nothing of it is needed to build, and nothing but this target needs it to run. Sessions
//! stop spinning when a run returns, so that the idle threads of one don't take the cores of
//! another that is timed beside it.

use std::borrow::Cow;
use std::ffi::CStr;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::memory::Allocator;
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{Session as OrtSession, SessionInputValue};
use ort::value::{DynTensor, DynTensorValueType, DynValue, TensorElementType};
use sepconv_ir::{DType, Tensor};
use sepconv_onnx::Detached;

use crate::error::TargetError;
use crate::input::{InputSpec, converted};
use crate::library::{Places, SharedLibrary};
use crate::model::{self, Folder, Source};
use crate::panics::guarded;
use crate::target::{LoadOptions, Prepared, Session, Target};
use crate::text::one_line;

const NAME: &str = "onnxruntime";

static LIBRARY: SharedLibrary<Library> = SharedLibrary::new(
    NAME,
    Places {
        variables: &["SEPCONV_ONNXRUNTIME", "ORT_DYLIB_PATH"],
        stem: "onnxruntime",
        versions: &[".1"],
        package: "onnxruntime",
        folder: "onnxruntime/capi",
    },
    load,
);

/// The environment of the loaded library.
struct Library {
    environment: Environment,
    version: String,
}

/// Names the shared library of ONNX Runtime that is to be used: the file, the folder that
/// holds it, or a virtual environment with the PyPI package. For programs to call once, before
/// the target `onnxruntime` is used.
///
/// # Errors
/// [`TargetError::TooLate`] where another library was named, or one was looked for before.
pub fn use_library(path: &Path) -> Result<(), TargetError> {
    LIBRARY.name(path)
}

/// ONNX Runtime.
pub(crate) struct OnnxRuntime;

impl Target for OnnxRuntime {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> String {
        LIBRARY.get().map(|l| l.version.clone()).unwrap_or_default()
    }

    fn available(&self) -> Result<(), TargetError> {
        LIBRARY.get().map(|_| ())
    }

    /// Its convolutions work on blocks of 16 channels where the processor has AVX-512, of 8
    /// elsewhere.
    fn channel_step(&self) -> usize {
        16
    }

    fn load_with(
        &self,
        model: &Detached,
        inputs: &[InputSpec],
        options: LoadOptions,
    ) -> Result<Box<dyn Session>, TargetError> {
        let library = LIBRARY.get()?;
        let error = |reason: String| TargetError::Load {
            target: NAME,
            reason: one_line(&reason),
        };
        if let Some(odd) = inputs.iter().find(|i| element_type(i.dtype).is_none()) {
            return Err(error(format!(
                "input '{}' is of type {}",
                odd.name, odd.dtype
            )));
        }
        let source = model::attach(model, model::LARGEST_MESSAGE).map_err(error)?;
        let sessions = Sessions::open(&library.environment, source, options).map_err(error)?;
        Ok(Box::new(Loaded {
            sessions,
            inputs: inputs.to_vec(),
        }))
    }
}

fn load(path: &Path) -> Result<Library, String> {
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

/// A session of `threads` threads.
fn open(environment: &Environment, source: &Source, threads: usize) -> Result<OrtSession, String> {
    guarded(|| built(environment, source, threads)).and_then(|result| result)
}

fn built(environment: &Environment, source: &Source, threads: usize) -> Result<OrtSession, String> {
    let text = |e: ort::Error<ort::session::builder::SessionBuilder>| e.to_string();
    let mut builder = OrtSession::builder(environment)
        .map_err(|e| e.to_string())?
        .with_intra_threads(threads)
        .map_err(text)?
        .with_optimization_level(GraphOptimizationLevel::All)
        .map_err(text)?
        .with_config_entry("session.force_spinning_stop", "1")
        .map_err(text)?
        .with_log_level(LogLevel::Fatal)
        .map_err(text)?;
    match source {
        Source::Bytes(bytes) => builder.commit_from_memory(bytes),
        Source::File(path, _) => builder.commit_from_file(path),
    }
    .map_err(|e| e.to_string())
}

/// The sessions of a model: its bindings run one sample at a time on each.
enum Sessions {
    /// One, of as many threads as were asked for.
    One {
        session: Mutex<OrtSession>,
        _weights: Option<Folder>,
    },
    /// As many as threads that run samples beside one another, of one thread each.
    Each {
        environment: Environment,
        idle: Mutex<Vec<OrtSession>>,
        source: Source,
    },
}

impl Sessions {
    fn open(
        environment: &Environment,
        source: Source,
        options: LoadOptions,
    ) -> Result<Self, String> {
        let threads = options.threads.map_or(1, usize::from);
        let first = open(environment, &source, threads)?;
        Ok(match options.threads {
            Some(_) => Self::One {
                session: Mutex::new(first),
                _weights: source.folder(),
            },
            None => Self::Each {
                environment: environment.clone(),
                idle: Mutex::new(vec![first]),
                source,
            },
        })
    }

    fn run<T>(&self, work: impl FnOnce(&mut OrtSession) -> Result<T, String>) -> Result<T, String> {
        let (environment, idle, source) = match self {
            Self::One { session, .. } => {
                let mut session = session.lock().unwrap_or_else(PoisonError::into_inner);
                return guarded(|| work(&mut session)).and_then(|result| result);
            }
            Self::Each {
                environment,
                idle,
                source,
            } => (environment, idle, source),
        };
        let idle = || idle.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = idle().pop();
        let mut session = taken.map_or_else(|| open(environment, source, 1), Ok)?;
        let done = guarded(|| work(&mut session)).and_then(|result| result);
        idle().push(session);
        done
    }
}

struct Loaded {
    sessions: Sessions,
    inputs: Vec<InputSpec>,
}

type Values = Vec<(String, DynTensor)>;

impl Loaded {
    fn values(&self, inputs: &[Tensor]) -> Result<Values, TargetError> {
        let named = |tensor: &Tensor, spec: &InputSpec| {
            let value = value(tensor, spec)?;
            Ok((spec.name.clone(), value))
        };
        converted(inputs, &self.inputs, named).map_err(failed)
    }

    fn outputs<T>(
        &self,
        values: &Values,
        read: impl Fn(&DynValue) -> Result<T, String>,
    ) -> Result<Vec<T>, TargetError> {
        let feed: Vec<(Cow<'_, str>, SessionInputValue<'_>)> = values
            .iter()
            .map(|(name, value)| (name.as_str().into(), value.into()))
            .collect();
        let run = |session: &mut OrtSession| {
            let outputs = session.run(feed).map_err(|e| e.to_string())?;
            outputs.values().map(|output| read(&output)).collect()
        };
        self.sessions.run(run).map_err(failed)
    }
}

impl Session for Loaded {
    fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, TargetError> {
        self.outputs(&self.values(inputs)?, tensor)
    }

    fn prepare<'a>(&'a self, inputs: &[Tensor]) -> Result<Box<dyn Prepared + 'a>, TargetError> {
        Ok(Box::new(InPlace {
            session: self,
            values: self.values(inputs)?,
        }))
    }
}

struct InPlace<'a> {
    session: &'a Loaded,
    values: Values,
}

impl Prepared for InPlace<'_> {
    fn run(&mut self) -> Result<(), TargetError> {
        self.session.outputs(&self.values, |_| Ok(())).map(drop)
    }
}

fn failed(reason: String) -> TargetError {
    TargetError::Run {
        target: NAME,
        reason: one_line(&reason),
    }
}

fn value(tensor: &Tensor, spec: &InputSpec) -> Result<DynTensor, String> {
    spec.check(tensor)?;
    let unsupported = || format!("input '{}' is of type {}", spec.name, spec.dtype);
    let ty = element_type(tensor.dtype()).ok_or_else(unsupported)?;
    let data = tensor.data().ok_or_else(unsupported)?;
    let mut value = DynTensor::new(&Allocator::default(), ty, tensor.dims().to_vec())
        .map_err(|e| e.to_string())?;
    if !data.is_empty() {
        // SAFETY: the default allocator's memory is the CPU's; the tensor has as many elements
        // of the same size as `data`, whose length `Tensor` guarantees.
        unsafe {
            let target = value.data_ptr_mut().cast::<u8>();
            std::ptr::copy_nonoverlapping(data.as_ptr(), target, data.len());
        }
    }
    Ok(value)
}

fn tensor(value: &DynValue) -> Result<Tensor, String> {
    let unsupported = || format!("an output is of type {}", value.dtype());
    let value = value
        .view()
        .downcast::<DynTensorValueType>()
        .map_err(|_| unsupported())?;
    let dtype = dtype(*value.data_type()).ok_or_else(unsupported)?;
    let dims: Option<Vec<usize>> = value.shape().iter().map(|d| (*d).try_into().ok()).collect();
    let dims = dims.ok_or_else(unsupported)?;
    let count = dims.iter().product::<usize>() * dtype.size().ok_or_else(unsupported)?;
    let data = match count {
        0 => Vec::new(),
        // SAFETY: the CPU provider's outputs lie in the CPU's memory, contiguous, with the
        // number of elements that their shape says.
        _ => unsafe { std::slice::from_raw_parts(value.data_ptr().cast::<u8>(), count) }.to_vec(),
    };
    Tensor::new(dtype, dims, data.into()).ok_or_else(unsupported)
}

const TYPES: [(DType, TensorElementType); 13] = [
    (DType::F32, TensorElementType::Float32),
    (DType::F64, TensorElementType::Float64),
    (DType::F16, TensorElementType::Float16),
    (DType::BF16, TensorElementType::Bfloat16),
    (DType::U8, TensorElementType::Uint8),
    (DType::I8, TensorElementType::Int8),
    (DType::U16, TensorElementType::Uint16),
    (DType::I16, TensorElementType::Int16),
    (DType::U32, TensorElementType::Uint32),
    (DType::I32, TensorElementType::Int32),
    (DType::U64, TensorElementType::Uint64),
    (DType::I64, TensorElementType::Int64),
    (DType::Bool, TensorElementType::Bool),
];

fn element_type(dtype: DType) -> Option<TensorElementType> {
    TYPES.iter().find(|t| t.0 == dtype).map(|t| t.1)
}

fn dtype(element: TensorElementType) -> Option<DType> {
    TYPES.iter().find(|t| t.1 == element).map(|t| t.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn files_that_are_no_library_are_refused_with_a_reason() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("libonnxruntime.so");
        std::fs::write(&path, "not a library").unwrap();
        let error = load(&path).err().unwrap();
        assert!(!error.is_empty() && !error.contains("panicked"), "{error}");
    }
}
