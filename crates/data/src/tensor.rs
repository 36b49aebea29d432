//! ONNX `TensorProto` files, as `test_data_set_*` directories hold them.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use half::{bf16, f16};
use prost::Message;

use crate::array::{Array, count};
use crate::dtype::Dtype;
use crate::error::DataError;

/// The largest file that protobuf allows, bytes.
const MAX_FILE: u64 = (1 << 31) - 1;

/// The fields of `onnx.TensorProto` that hold a plain tensor.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct TensorProto {
    #[prost(int64, repeated, tag = "1")]
    pub dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub data_type: i32,
    #[prost(float, repeated, tag = "4")]
    pub float_data: Vec<f32>,
    #[prost(int32, repeated, tag = "5")]
    pub int32_data: Vec<i32>,
    #[prost(int64, repeated, tag = "7")]
    pub int64_data: Vec<i64>,
    #[prost(string, tag = "8")]
    pub name: String,
    #[prost(bytes = "vec", tag = "9")]
    pub raw_data: Vec<u8>,
    #[prost(double, repeated, tag = "10")]
    pub double_data: Vec<f64>,
    #[prost(uint64, repeated, tag = "11")]
    pub uint64_data: Vec<u64>,
    /// 1 when the data lies in another file.
    #[prost(int32, tag = "14")]
    pub data_location: i32,
}

/// Reads one tensor file.
pub(crate) fn read(path: &Path) -> Result<Array, DataError> {
    let mut bytes = Vec::new();
    File::open(path)
        .map_err(DataError::io(path, "open"))?
        .take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(DataError::io(path, "read"))?;
    let bad = |found: String| DataError::malformed(path, "an ONNX TensorProto", found);
    if bytes.len() as u64 > MAX_FILE {
        return Err(bad(format!("more than {MAX_FILE} bytes")));
    }
    let proto = TensorProto::decode(&bytes[..]).map_err(|e| bad(e.to_string()))?;
    to_array(proto).map_err(bad)
}

/// The tensor as an array, or what is wrong with it.
fn to_array(proto: TensorProto) -> Result<Array, String> {
    if proto.data_location != 0 {
        return Err("data in an external file".into());
    }
    let dtype = Dtype::from_onnx(proto.data_type)
        .ok_or_else(|| format!("data type {} (no plain number or bool)", proto.data_type))?;
    let shape: Vec<usize> = proto
        .dims
        .iter()
        .map(|&d| usize::try_from(d))
        .collect::<Result<_, _>>()
        .map_err(|_| format!("dims {:?}", proto.dims))?;
    let elements = count(&shape).ok_or_else(|| format!("dims {shape:?}"))?;
    let wrong = |n: usize| format!("{n} elements of {dtype} for dims {shape:?}");
    if !proto.raw_data.is_empty() {
        let bytes = proto.raw_data;
        if bytes.len() != elements * dtype.size() {
            return Err(wrong(bytes.len() / dtype.size()));
        }
        return Array::new(dtype, shape.clone(), bytes).map_err(|e| e.to_string());
    }
    let ints = &proto.int32_data;
    let bits = || -> Result<Vec<u16>, String> {
        let narrow = ints.iter().map(|&v| u16::try_from(v));
        narrow.collect::<Result<_, _>>().map_err(|e| e.to_string())
    };
    let held = match dtype {
        Dtype::F32 => Array::from_slice(&[proto.float_data.len()], &proto.float_data),
        Dtype::F64 => Array::from_slice(&[proto.double_data.len()], &proto.double_data),
        Dtype::I64 => Array::from_slice(&[proto.int64_data.len()], &proto.int64_data),
        Dtype::U64 | Dtype::U32 => {
            Array::from_slice(&[proto.uint64_data.len()], &proto.uint64_data)
        }
        Dtype::F16 => {
            let halves: Vec<f16> = bits()?.into_iter().map(f16::from_bits).collect();
            Array::from_slice(&[halves.len()], &halves)
        }
        Dtype::Bf16 => {
            let halves: Vec<bf16> = bits()?.into_iter().map(bf16::from_bits).collect();
            Array::from_slice(&[halves.len()], &halves)
        }
        _ => Array::from_slice(&[ints.len()], ints),
    };
    let held = held
        .and_then(|array| array.cast(dtype))
        .map_err(|e| e.to_string())?;
    let n = held.len();
    held.reshape(shape.clone()).map_err(|_| wrong(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proto(data_type: i32, dims: &[i64]) -> TensorProto {
        TensorProto {
            dims: dims.to_vec(),
            data_type,
            ..TensorProto::default()
        }
    }

    /// Writes an f32 tensor to a file.
    fn save(path: &Path, dims: &[i64], values: &[f32]) {
        let tensor = TensorProto {
            raw_data: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            ..proto(1, dims)
        };
        std::fs::write(path, tensor.encode_to_vec()).unwrap();
    }

    #[test]
    fn every_field_is_read() {
        let ints = |data_type| TensorProto {
            int32_data: vec![0, 1],
            ..proto(data_type, &[2])
        };
        for (data_type, dtype) in [
            (2, Dtype::U8),
            (3, Dtype::I8),
            (4, Dtype::U16),
            (5, Dtype::I16),
            (6, Dtype::I32),
            (9, Dtype::Bool),
        ] {
            let array = to_array(ints(data_type)).unwrap();
            assert_eq!((array.dtype(), &*array.as_f32()), (dtype, &[0.0, 1.0][..]));
        }
        let half = TensorProto {
            int32_data: vec![0x3c00],
            ..proto(10, &[1])
        };
        assert_eq!(&*to_array(half).unwrap().as_f32(), &[1.0]);
        let wide = TensorProto {
            int64_data: vec![-5],
            ..proto(7, &[1])
        };
        assert_eq!(to_array(wide).unwrap().as_i64().unwrap(), [-5]);
        let unsigned = TensorProto {
            uint64_data: vec![7],
            ..proto(12, &[1])
        };
        assert_eq!(to_array(unsigned).unwrap().dtype(), Dtype::U32);
        let double = TensorProto {
            double_data: vec![0.5],
            ..proto(11, &[1, 1])
        };
        assert_eq!(to_array(double).unwrap().shape(), &[1, 1]);
    }

    #[test]
    fn hostile_tensors_are_refused() {
        let short = TensorProto {
            float_data: vec![1.0],
            ..proto(1, &[1_000_000, 1_000_000])
        };
        assert!(to_array(short).unwrap_err().contains("1 elements of f32"));
        assert!(to_array(proto(1, &[i64::MAX, i64::MAX])).is_err());
        assert!(to_array(proto(1, &[-1])).is_err());
        assert!(
            to_array(proto(8, &[1]))
                .unwrap_err()
                .contains("data type 8")
        );
        let outside = TensorProto {
            data_location: 1,
            ..proto(1, &[1])
        };
        assert!(to_array(outside).unwrap_err().contains("external"));
        let overflow = TensorProto {
            int32_data: vec![256],
            ..proto(2, &[1])
        };
        assert!(to_array(overflow).is_err());
    }

    #[test]
    fn damaged_files_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("input_0.pb");
        save(&path, &[1, 2], &[1.0, 2.0]);
        assert_eq!(&*read(&path).unwrap().as_f32(), &[1.0, 2.0]);
        let good = std::fs::read(&path).unwrap();
        for cut in 0..good.len() {
            std::fs::write(&path, &good[..cut]).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(
                error.contains("input_0.pb") && !error.contains('\n'),
                "{error}"
            );
        }
    }
}
