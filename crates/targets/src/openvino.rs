//! OpenVINO, on its CPU plugin, from a shared library that is found at run time.
//!
//! Nothing of it is needed to build, and nothing but this target needs it to run. It computes
//! in f32 also where the processor has faster narrow types, as the other targets do: else a
//! model would seem to have changed.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use openvino::{
    Core, DeviceType, Dimension, ElementType, InferRequest, PartialShape, RwPropertyKey, Shape,
    Tensor as OvTensor,
};
use sepconv_ir::{DType, Tensor};
use sepconv_onnx::Detached;

use crate::error::TargetError;
use crate::input::{InputSpec, converted};
use crate::library::{Places, SharedLibrary};
use crate::model::{self, Folder, Source};
use crate::panics::guarded;
use crate::target::{LoadOptions, Prepared, Session, Target};
use crate::text::one_line;

const NAME: &str = "openvino";

static LIBRARY: SharedLibrary<Library> = SharedLibrary::new(
    NAME,
    Places {
        variables: &["SEPCONV_OPENVINO"],
        stem: "openvino_c",
        versions: &[],
        package: "openvino",
        folder: "openvino/libs",
    },
    load,
);

/// The core of the loaded library. Settings are those of the core when it compiles a model, so that one
/// model is compiled at a time.
struct Library {
    core: Mutex<Core>,
    version: String,
}

/// Names the shared library `openvino_c` that is to be used: the file, the folder that holds it,
/// or a virtual environment with the PyPI package. For programs to call once, before the target
/// `openvino` is used.
///
/// # Errors
/// [`TargetError::TooLate`] where another library was named, or one was looked for before.
pub fn use_library(path: &Path) -> Result<(), TargetError> {
    LIBRARY.name(path)
}

/// OpenVINO.
pub(crate) struct OpenVino;

impl Target for OpenVino {
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
        let opened = guarded(|| {
            let mut core = library.core.lock().unwrap_or_else(PoisonError::into_inner);
            open(&mut core, &source, inputs, options)
        });
        let (request, outputs) = opened.and_then(|result| result).map_err(error)?;
        Ok(Box::new(Loaded {
            request: Mutex::new(request),
            inputs: inputs.to_vec(),
            outputs,
            _weights: source.folder(),
        }))
    }
}

fn load(path: &Path) -> Result<Library, String> {
    guarded(|| {
        openvino_sys::library::load_from(path)?;
        let version = openvino::version().build_number;
        Ok(Library {
            core: Mutex::new(Core::new().map_err(|e| e.to_string())?),
            // 2026.4.1-22982-0123456789a-releases/2026/4
            version: version.split('-').next().unwrap_or_default().to_owned(),
        })
    })
    .and_then(|result| result)
}

/// A request of the model compiled for these inputs, and the number of its outputs.
fn open(
    core: &mut Core,
    source: &Source,
    inputs: &[InputSpec],
    options: LoadOptions,
) -> Result<(InferRequest, usize), String> {
    let text = |e: openvino::InferenceError| e.to_string();
    // 0 means one thread per core.
    let threads = options.threads.map_or(0, usize::from).to_string();
    let settings = [
        (RwPropertyKey::InferenceNumThreads, threads.as_str()),
        (RwPropertyKey::HintPerformanceMode, "LATENCY"),
        (RwPropertyKey::HintInferencePrecision, "f32"),
        // Else all sessions of one thread would share the first core.
        (RwPropertyKey::HintEnableCpuPinning, "NO"),
    ];
    core.set_properties(&DeviceType::CPU, settings)
        .map_err(text)?;
    let mut model = match source {
        Source::Bytes(bytes) => core.read_model_from_buffer(bytes, None),
        Source::File(path, _) => {
            let path = path.to_str().ok_or("its temporary path is no Unicode")?;
            core.read_model_from_file(path, "")
        }
    }
    .map_err(text)?;
    let shapes = inputs.iter().map(|input| {
        let dims: Result<Vec<i64>, _> = input.dims.iter().map(|d| i64::try_from(*d)).collect();
        let dims: Vec<Dimension> = dims
            .map_err(|e| e.to_string())?
            .into_iter()
            .map(|d| Dimension::new(d, d))
            .collect();
        PartialShape::new(dims.len() as i64, &dims).map_err(text)
    });
    let shapes: Vec<PartialShape> = shapes.collect::<Result<_, String>>()?;
    let named: Vec<(&str, &PartialShape)> = inputs
        .iter()
        .zip(&shapes)
        .map(|(input, shape)| (input.name.as_str(), shape))
        .collect();
    model.reshape(&named).map_err(text)?;
    let mut compiled = core.compile_model(&model, DeviceType::CPU).map_err(text)?;
    let outputs = compiled.get_output_size().map_err(text)?;
    Ok((compiled.create_infer_request().map_err(text)?, outputs))
}

struct Loaded {
    /// A request runs one sample at a time.
    request: Mutex<InferRequest>,
    inputs: Vec<InputSpec>,
    outputs: usize,
    _weights: Option<Folder>,
}

type Values = Vec<OvTensor>;

impl Loaded {
    fn values(&self, inputs: &[Tensor]) -> Result<Values, TargetError> {
        converted(inputs, &self.inputs, value).map_err(failed)
    }

    /// Runs the model on `values` and hands `read` the request with its results.
    fn infer<T>(
        &self,
        values: &Values,
        read: impl FnOnce(&InferRequest) -> Result<T, String>,
    ) -> Result<T, TargetError> {
        let mut request = self.request.lock().unwrap_or_else(PoisonError::into_inner);
        guarded(|| {
            for (value, spec) in values.iter().zip(&self.inputs) {
                request
                    .set_tensor(&spec.name, value)
                    .map_err(|e| e.to_string())?;
            }
            request.infer().map_err(|e| e.to_string())?;
            read(&request)
        })
        .and_then(|result| result)
        .map_err(failed)
    }
}

impl Session for Loaded {
    fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, TargetError> {
        self.infer(&self.values(inputs)?, |request| {
            let outputs = (0..self.outputs).map(|i| {
                let output = request.get_output_tensor_by_index(i);
                tensor(&output.map_err(|e| e.to_string())?)
            });
            outputs.collect()
        })
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
        self.session.infer(&self.values, |_| Ok(()))
    }
}

fn failed(reason: String) -> TargetError {
    TargetError::Run {
        target: NAME,
        reason: one_line(&reason),
    }
}

fn value(tensor: &Tensor, spec: &InputSpec) -> Result<OvTensor, String> {
    spec.check(tensor)?;
    let unsupported = || format!("input '{}' is of type {}", spec.name, spec.dtype);
    let ty = element_type(tensor.dtype()).ok_or_else(unsupported)?;
    let data = tensor.data().ok_or_else(unsupported)?;
    let dims: Result<Vec<i64>, _> = tensor.dims().iter().map(|d| i64::try_from(*d)).collect();
    let shape = Shape::new(&dims.map_err(|e| e.to_string())?).map_err(|e| e.to_string())?;
    let mut value = OvTensor::new(ty, &shape).map_err(|e| e.to_string())?;
    if !data.is_empty() {
        let target = value.get_raw_data_mut().map_err(|e| e.to_string())?;
        target.copy_from_slice(data);
    }
    Ok(value)
}

fn tensor(value: &OvTensor) -> Result<Tensor, String> {
    let text = |e: openvino::InferenceError| e.to_string();
    let element = value.get_element_type().map_err(text)?;
    let unsupported = || format!("an output is of type {element}");
    let dtype = dtype(element).ok_or_else(unsupported)?;
    let shape = value.get_shape().map_err(text)?;
    let dims: Result<Vec<usize>, _> = shape
        .get_dimensions()
        .iter()
        .map(|d| (*d).try_into())
        .collect();
    let dims = dims.map_err(|_| unsupported())?;
    let data = match dims.contains(&0) {
        true => Vec::new(),
        false => value.get_raw_data().map_err(text)?.to_vec(),
    };
    Tensor::new(dtype, dims, data.into()).ok_or_else(unsupported)
}

const TYPES: [(DType, ElementType); 13] = [
    (DType::F32, ElementType::F32),
    (DType::F64, ElementType::F64),
    (DType::F16, ElementType::F16),
    (DType::BF16, ElementType::Bf16),
    (DType::U8, ElementType::U8),
    (DType::I8, ElementType::I8),
    (DType::U16, ElementType::U16),
    (DType::I16, ElementType::I16),
    (DType::U32, ElementType::U32),
    (DType::I32, ElementType::I32),
    (DType::U64, ElementType::U64),
    (DType::I64, ElementType::I64),
    (DType::Bool, ElementType::Boolean),
];

fn element_type(dtype: DType) -> Option<ElementType> {
    TYPES.iter().find(|t| t.0 == dtype).map(|t| t.1)
}

fn dtype(element: ElementType) -> Option<DType> {
    TYPES.iter().find(|t| t.1 == element).map(|t| t.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn files_that_are_no_library_are_refused_with_a_reason() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("libopenvino_c.so");
        std::fs::write(&path, "not a library").unwrap();
        let error = load(&path).err().unwrap();
        assert!(!error.is_empty() && !error.contains("panicked"), "{error}");
    }
}
