//! Calibration data as Python hands it over.

use std::path::PathBuf;

use bytes::Bytes;
use numpy::{PyArrayDescrMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use sepconv::data::InputSpec;
use sepconv::ir::{DType, Tensor};
use sepconv::{DataSource, Loaded, SpecError, data_specs};

use crate::work::Failure;

/// The data that layers are fitted to.
pub enum Calibration {
    /// A data set on disk.
    Path(PathBuf),
    /// Arrays with the names of the graph inputs, or one without a name for the only input.
    Arrays(Vec<Given>),
}

/// An array of an input.
pub struct Given {
    name: Option<String>,
    array: Tensor,
    /// The batches that it was joined of; 1 where it is as the caller gave it.
    batches: usize,
}

impl Given {
    /// Refuses samples without a batch axis, which were joined along another axis.
    fn check_batches(&self, input: &InputSpec) -> Result<(), Failure> {
        let rank = self.array.dims().len();
        if self.batches < 2 || input.whole || rank + 1 != least_axes(input) {
            return Ok(());
        }
        Err(Failure::Argument(format!(
            "calib: each item of an iterable is a batch with its batch axis: items of {rank} axes are given for input \
             '{}' of {} axes (of a list of single samples, give np.stack of it)",
            input.name,
            input.dims.len(),
        )))
    }
}

/// The axes of a batch at least: pictures of one channel may leave out that of the channels.
fn least_axes(input: &InputSpec) -> usize {
    let axes = input.dims.len();
    match input.dims.as_slice() {
        [_, Some(1), _, _] | [_, _, _, Some(1)] => axes - 1,
        _ => axes,
    }
}

impl FromPyObject<'_, '_> for Calibration {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        type Item<'py> = (Option<String>, Bound<'py, PyUntypedArray>, usize);
        let Ok(items) = object.extract::<Vec<Item<'_>>>() else {
            return Ok(Self::Path(object.extract()?));
        };
        let shared = |(name, array, batches): Item<'_>| {
            let array = share(&array)?;
            Ok(Given {
                name,
                array,
                batches,
            })
        };
        Ok(Self::Arrays(
            items.into_iter().map(shared).collect::<PyResult<_>>()?,
        ))
    }
}

impl Calibration {
    /// As the library takes it: arrays in the order of the graph's inputs.
    pub fn source(
        self,
        model: impl FnOnce() -> Result<Loaded, SpecError>,
    ) -> Result<DataSource, Failure> {
        let arrays = match self {
            Self::Path(path) => return Ok(DataSource::new(path)),
            Self::Arrays(arrays) => arrays,
        };
        let unnamed = arrays.len() == 1 && arrays.iter().all(|given| given.name.is_none());
        if unnamed && arrays.iter().all(|given| given.batches < 2) {
            let arrays = arrays.into_iter().map(|given| given.array);
            return Ok(DataSource::memory(arrays.collect()));
        }
        let inputs = data_specs(&model().map_err(Failure::Spec)?)?;
        let sorted = match unnamed {
            true => arrays,
            false => sorted(arrays, &inputs)?,
        };
        for (given, input) in sorted.iter().zip(&inputs) {
            given.check_batches(input)?;
        }
        let arrays = sorted.into_iter().map(|given| given.array);
        Ok(DataSource::memory(arrays.collect()))
    }
}

/// The arrays in the order of the inputs.
fn sorted(mut arrays: Vec<Given>, inputs: &[InputSpec]) -> Result<Vec<Given>, Failure> {
    let mut sorted = Vec::new();
    for input in inputs {
        let found = arrays
            .iter()
            .position(|given| given.name.as_ref() == Some(&input.name));
        let found = found.ok_or_else(|| {
            Failure::Argument(format!(
                "calib: no array for the model's input '{}'",
                input.name
            ))
        })?;
        sorted.push(arrays.swap_remove(found));
    }
    match arrays.first() {
        Some(given) => {
            let names: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
            Err(Failure::Argument(format!(
                "calib: the model has no input '{}' (inputs: {})",
                given.name.as_deref().unwrap_or_default(),
                names.join(", ")
            )))
        }
        None => Ok(sorted),
    }
}

/// The memory of an array that this keeps alive.
struct Memory {
    _array: Py<PyUntypedArray>,
    start: *const u8,
    length: usize,
}

// SAFETY: the pointer is to memory that `_array` owns, which is `Send`; this only reads.
unsafe impl Send for Memory {}

impl AsRef<[u8]> for Memory {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `share` took both from a contiguous array, which does not move its memory while
        // it has more than one owner: NumPy then refuses to resize it. That nobody writes to the
        // array meanwhile is asked of callers (docs/python.md); elements are plain numbers, of
        // which any bits are one.
        unsafe { std::slice::from_raw_parts(self.start, self.length) }
    }
}

/// The array where it lies.
fn share(array: &Bound<'_, PyUntypedArray>) -> PyResult<Tensor> {
    let dtype = array.dtype();
    let kind = dtype.getattr("name")?.extract::<String>()?;
    let native = dtype.is_native_byteorder() != Some(false) && !dtype.has_object();
    let known = match kind.as_str() {
        "float32" => Some(DType::F32),
        "float64" => Some(DType::F64),
        "float16" => Some(DType::F16),
        "bfloat16" => Some(DType::BF16),
        "uint8" => Some(DType::U8),
        "int8" => Some(DType::I8),
        "uint16" => Some(DType::U16),
        "int16" => Some(DType::I16),
        "uint32" => Some(DType::U32),
        "int32" => Some(DType::I32),
        "uint64" => Some(DType::U64),
        "int64" => Some(DType::I64),
        "bool" => Some(DType::Bool),
        _ => None,
    };
    let known = known.filter(|known| known.size() == Some(dtype.itemsize()) && native);
    let odd = || {
        PyTypeError::new_err(format!(
            "calib: expected a contiguous array of numbers, found {}",
            kind.escape_debug()
        ))
    };
    let known = known.filter(|_| array.is_c_contiguous()).ok_or_else(odd)?;
    let memory = Memory {
        _array: array.clone().unbind(),
        // SAFETY: `array` is an array object, alive as long as it is borrowed here.
        start: unsafe { (*array.as_array_ptr()).fields.data }
            .cast_const()
            .cast(),
        length: array.len() * dtype.itemsize(),
    };
    let shape = array.shape().to_vec();
    Tensor::new(known, shape, Bytes::from_owner(memory)).ok_or_else(odd)
}
