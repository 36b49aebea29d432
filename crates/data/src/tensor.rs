//! ONNX `TensorProto` files, as `test_data_set_*` directories hold them.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sepconv_ir::Tensor;
use sepconv_onnx::decode_tensor;

use crate::dense::dense;
use crate::error::DataError;

/// The largest file that protobuf allows, bytes.
const MAX_FILE: u64 = (1 << 31) - 1;

/// Reads one tensor file.
pub(crate) fn read(path: &Path) -> Result<Tensor, DataError> {
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
    let tensor = decode_tensor(&bytes.into()).map_err(|e| bad(e.to_string()))?;
    let (dtype, shape) = (tensor.dtype(), tensor.dims().to_vec());
    match tensor.data().filter(|_| dtype.size().is_some()) {
        Some(data) => dense(dtype, shape, data.clone()).map_err(|e| bad(e.to_string())),
        None => {
            let code = dtype.code();
            Err(bad(format!("data type {code} (no plain number or bool)")))
        }
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use sepconv_ir::DType;
    use sepconv_onnx::proto::TensorProto;

    use super::*;

    fn proto(data_type: i32, dims: &[i64]) -> TensorProto {
        TensorProto {
            dims: dims.to_vec(),
            data_type: Some(data_type),
            ..TensorProto::default()
        }
    }

    /// The tensor of a file that holds `proto`, or the reason why it has none.
    fn reread(proto: &TensorProto) -> Result<Tensor, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("input_0.pb");
        std::fs::write(&path, proto.encode_to_vec()).unwrap();
        read(&path).map_err(|e| e.to_string())
    }

    #[test]
    fn numbers_and_bools_are_read() {
        let types = [
            (2, DType::U8),
            (3, DType::I8),
            (4, DType::U16),
            (5, DType::I16),
            (6, DType::I32),
            (9, DType::Bool),
        ];
        for (data_type, dtype) in types {
            let tensor = TensorProto {
                int32_data: vec![0, 1],
                ..proto(data_type, &[2])
            };
            let tensor = reread(&tensor).unwrap();
            let expected = Tensor::from_i64s(dtype, vec![2], &[0, 1]);
            assert_eq!(Some(tensor), expected);
        }
        let unsigned = TensorProto {
            uint64_data: vec![7],
            ..proto(12, &[1])
        };
        assert_eq!(reread(&unsigned).unwrap().dtype(), DType::U32);
        let double = TensorProto {
            double_data: vec![0.5],
            ..proto(11, &[1, 1])
        };
        assert_eq!(reread(&double).unwrap().dims(), &[1, 1]);
    }

    #[test]
    fn hostile_tensors_are_refused() {
        let short = TensorProto {
            float_data: vec![1.0],
            ..proto(1, &[1_000_000, 1_000_000])
        };
        assert!(reread(&short).unwrap_err().contains("4 bytes of data"));
        assert!(reread(&proto(1, &[i64::MAX, i64::MAX])).is_err());
        assert!(reread(&proto(1, &[-1])).is_err());
        let text = reread(&proto(8, &[1])).unwrap_err();
        assert!(text.contains("data type 8 (no plain number or bool)"));
        assert!(
            reread(&proto(22, &[0]))
                .unwrap_err()
                .contains("data type 22")
        );
        let outside = TensorProto {
            data_location: Some(1),
            ..proto(1, &[1])
        };
        assert!(reread(&outside).unwrap_err().contains("external"));
        let overflow = TensorProto {
            int32_data: vec![256],
            ..proto(2, &[1])
        };
        assert!(reread(&overflow).is_err());
        let no_bool = TensorProto {
            raw_data: Some(vec![2].into()),
            ..proto(9, &[1])
        };
        assert!(reread(&no_bool).unwrap_err().contains("a byte of 2"));
    }

    #[test]
    fn damaged_files_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("input_0.pb");
        let raw: Vec<u8> = [1.0f32, 2.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        let tensor = TensorProto {
            raw_data: Some(raw.into()),
            ..proto(1, &[1, 2])
        };
        let good = tensor.encode_to_vec();
        std::fs::write(&path, &good).unwrap();
        let whole = read(&path).unwrap();
        assert_eq!(&*whole.to_f32().unwrap(), &[1.0, 2.0]);
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
