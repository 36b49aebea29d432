//! `TensorProto` to [`Tensor`] without copying the data.

use bytes::Bytes;
use sepconv_ir::{DType, Tensor};

use crate::error::TensorError;
use crate::external::{DataFiles, Location};
use crate::wire::{Record, Value, records};

/// Element type and extents of a tensor.
pub type TensorType = (DType, Vec<usize>);

/// A decoded `TensorProto`.
pub(crate) struct NamedTensor {
    pub name: String,
    pub tensor: Tensor,
}

#[derive(Default)]
struct Fields {
    dims: Vec<u64>,
    data_type: i32,
    name: String,
    /// Little-endian chunks of `float_data`, `double_data` or `raw_data`.
    chunks: Vec<Bytes>,
    /// `int32_data`, `int64_data`, `uint64_data`.
    ints: Vec<u64>,
    has_ints: bool,
    location: Location,
    external: bool,
}

/// Decodes a `TensorProto`.
pub(crate) fn decode(message: &Bytes, files: &DataFiles) -> Result<NamedTensor, String> {
    let mut f = Fields::default();
    for record in records(message)? {
        f.read(&record)?;
    }
    let name = std::mem::take(&mut f.name);
    let tensor = f.finish(files)?;
    Ok(NamedTensor { name, tensor })
}

/// Reads a `TensorProto` that stands alone, as the files of ONNX test sets do. Strings and types
/// that [`Tensor`] does not read give an opaque one.
///
/// # Errors
/// [`TensorError`] where the message or a size in it is broken, a value does not fit its type, or
/// the data are in another file.
pub fn decode_tensor(message: &Bytes) -> Result<Tensor, TensorError> {
    let read = || {
        let mut f = Fields::default();
        for record in records(message)? {
            f.read(&record)?;
        }
        f.check()?;
        f.finish(&DataFiles::none())
    };
    read().map_err(TensorError)
}

impl Fields {
    /// Refuses values that would be cut off, and data that are elsewhere.
    fn check(&self) -> Result<(), String> {
        if self.external {
            return Err("data in an external file".into());
        }
        let dtype = DType::from_code(self.data_type);
        let fits = |v: i64| match dtype {
            DType::Bool => (0..=1).contains(&v),
            DType::I8 => i8::try_from(v).is_ok(),
            DType::U8 => u8::try_from(v).is_ok(),
            DType::I16 => i16::try_from(v).is_ok(),
            DType::U16 | DType::F16 | DType::BF16 => u16::try_from(v).is_ok(),
            DType::I32 => i32::try_from(v).is_ok(),
            DType::U32 => u32::try_from(v).is_ok(),
            _ => true,
        };
        let mut values = self.ints.iter().map(|v| *v as i64);
        match values.find(|v| !fits(*v)) {
            Some(odd) => Err(format!("the value {odd} in a tensor of {dtype}")),
            None => Ok(()),
        }
    }

    fn read(&mut self, r: &Record) -> Result<(), String> {
        match r.number {
            1 => r.varints(&mut self.dims)?,
            2 => self.data_type = r.varint()? as i32,
            4 | 10 => self.chunks.push(match &r.value {
                Value::Length(b) | Value::Fixed32(b) | Value::Fixed64(b) => b.clone(),
                _ => return Err(format!("field {} has the wrong wire type", r.number)),
            }),
            5 | 7 | 11 => {
                self.has_ints = true;
                r.varints(&mut self.ints)?;
            }
            8 => self.name = r.text()?.to_owned(),
            9 => self.chunks = vec![r.payload()?.clone()],
            13 => drop(self.location.read(r.payload()?)?),
            14 => self.external = r.varint()? == 1,
            _ => {}
        }
        Ok(())
    }

    fn finish(self, files: &DataFiles) -> Result<Tensor, String> {
        let dtype = DType::from_code(self.data_type);
        let dims = self
            .dims
            .iter()
            .map(|d| usize::try_from(*d as i64).map_err(|_| format!("dimension {}", *d as i64)))
            .collect::<Result<Vec<_>, _>>()?;
        let shown = format!("{dtype}{dims:?}");
        if self.external {
            files.note();
        }
        if dtype.bytes_of(1).is_none() {
            return Ok(Tensor::opaque(dtype, dims));
        }
        let expected = dims
            .iter()
            .try_fold(1, |n: usize, d| n.checked_mul(*d))
            .and_then(|count| dtype.bytes_of(count))
            .ok_or_else(|| format!("{shown} is larger than memory"))?;
        let data = if self.external {
            match files.slice(&self.location, expected)? {
                Some(data) => data,
                None => return Ok(Tensor::opaque(dtype, dims)),
            }
        } else if self.has_ints && self.chunks.is_empty() {
            // Of elements of 4 bits, each integer carries a byte.
            narrow(&self.ints, dtype.size().unwrap_or(1))
        } else {
            match self.chunks.as_slice() {
                [] => Bytes::new(),
                [only] => only.clone(),
                many => many.concat().into(),
            }
        };
        let found = data.len();
        Tensor::new(dtype, dims, data)
            .ok_or_else(|| format!("{found} bytes of data for {shown}, which needs {expected}"))
    }
}

/// Little-endian elements of `size` bytes from the integers that carry them.
fn narrow(ints: &[u64], size: usize) -> Bytes {
    let mut out = Vec::with_capacity(ints.len() * size);
    for v in ints {
        out.extend_from_slice(&v.to_le_bytes()[..size.min(8)]);
    }
    out.into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::proto::TensorProto;
    use prost::Message;

    fn read(t: &TensorProto) -> Result<Tensor, String> {
        decode(&t.encode_to_vec().into(), &DataFiles::none()).map(|t| t.tensor)
    }

    #[test]
    fn every_numeric_field_is_read() {
        let f = TensorProto {
            dims: vec![2],
            data_type: Some(1),
            float_data: vec![1.0, -2.0],
            ..Default::default()
        };
        assert_eq!(&*read(&f).unwrap().to_f32().unwrap(), &[1.0, -2.0]);
        let d = TensorProto {
            dims: vec![1],
            data_type: Some(11),
            double_data: vec![0.5],
            ..Default::default()
        };
        assert_eq!(&*read(&d).unwrap().to_f32().unwrap(), &[0.5]);
        let h = TensorProto {
            dims: vec![2],
            data_type: Some(10),
            int32_data: vec![0x3c00, 0xc000],
            ..Default::default()
        };
        assert_eq!(&*read(&h).unwrap().to_f32().unwrap(), &[1.0, -2.0]);
        let i = TensorProto {
            dims: vec![2],
            data_type: Some(7),
            int64_data: vec![-1, 7],
            ..Default::default()
        };
        assert_eq!(read(&i).unwrap().to_i64().unwrap(), [-1, 7]);
        let b = TensorProto {
            dims: vec![2],
            data_type: Some(3),
            int32_data: vec![-1, 7],
            ..Default::default()
        };
        assert_eq!(read(&b).unwrap().to_i64().unwrap(), [-1, 7]);
        let n = TensorProto {
            dims: vec![3],
            data_type: Some(22),
            int32_data: vec![0xf1, 0x02],
            ..Default::default()
        };
        assert_eq!(read(&n).unwrap().to_i64().unwrap(), [1, -1, 2]);
    }

    #[test]
    fn a_tensor_alone_has_data_of_its_own_that_fit() {
        let decode = |data_type, ints: &[i32], data_location| {
            let proto = TensorProto {
                dims: vec![1],
                data_type: Some(data_type),
                int32_data: ints.to_vec(),
                data_location,
                ..Default::default()
            };
            let read = decode_tensor(&proto.encode_to_vec().into());
            read.map_err(|e| e.to_string())
        };
        assert_eq!(decode(3, &[-1], None).unwrap().to_i64().unwrap(), [-1]);
        assert_eq!(
            decode(10, &[0x3c00], None).unwrap().to_f64().unwrap(),
            [1.0]
        );
        let wide = decode(2, &[256], None).unwrap_err();
        assert_eq!(wide, "the value 256 in a tensor of u8");
        assert!(decode(9, &[2], None).is_err());
        assert_eq!(
            decode(2, &[], Some(1)).unwrap_err(),
            "data in an external file"
        );
        assert!(decode(8, &[], None).unwrap().data().is_none());
    }

    #[test]
    fn sizes_must_agree() {
        let t = TensorProto {
            dims: vec![3],
            data_type: Some(1),
            raw_data: Some(vec![0; 8].into()),
            ..Default::default()
        };
        let err = read(&t).unwrap_err();
        assert_eq!(err, "8 bytes of data for f32[3], which needs 12");
        let t = TensorProto {
            dims: vec![i64::MAX, 9],
            data_type: Some(1),
            ..Default::default()
        };
        assert!(read(&t).unwrap_err().ends_with("is larger than memory"));
        let t = TensorProto {
            dims: vec![-1],
            data_type: Some(1),
            ..Default::default()
        };
        assert_eq!(read(&t).unwrap_err(), "dimension -1");
    }
}
