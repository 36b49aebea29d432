//! Writing `.npz` archives.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use sepconv_ir::Tensor;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::dense::bytes_of;
use crate::error::DataError;
use crate::npy;

/// Writes arrays to an uncompressed `.npz` archive that NumPy and [`crate::Dataset`] read.
///
/// The archive is written beside `path` and renamed over it when it is
/// complete. The same arrays give the same bytes.
///
/// # Errors
/// [`DataError::Io`] when a file cannot be written, [`DataError::Mismatch`]
/// for a dtype that NumPy lacks (bf16) and a name used twice.
pub fn write_npz(path: &Path, arrays: &[(&str, &Tensor)]) -> Result<(), DataError> {
    for (i, (name, array)) in arrays.iter().enumerate() {
        if npy::descr_of(array.dtype()).is_none() {
            return Err(DataError::mismatch(
                path,
                format!("array '{name}'"),
                "a dtype of NumPy",
                array.dtype(),
            ));
        }
        if arrays[..i].iter().any(|(other, _)| other == name) {
            return Err(DataError::mismatch(
                path,
                format!("array '{name}'"),
                "a name of its own",
                "two arrays of that name",
            ));
        }
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".npz-").suffix(".tmp");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let file = builder
        .tempfile_in(parent)
        .map_err(DataError::io(path, "write"))?;
    fill(file.as_file(), arrays).map_err(DataError::io(path, "write"))?;
    file.persist(path)
        .map_err(|e| DataError::io(path, "write")(e.error))?;
    Ok(())
}

fn fill(file: &std::fs::File, arrays: &[(&str, &Tensor)]) -> io::Result<()> {
    let mut zip = ZipWriter::new(BufWriter::new(file));
    for (name, array) in arrays {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .large_file(bytes_of(array).len() as u64 >= u64::from(u32::MAX) - (1 << 20));
        zip.start_file(format!("{name}.npy"), options)?;
        zip.write_all(&header(array))?;
        zip.write_all(bytes_of(array))?;
    }
    zip.finish()?.flush()
}

/// The version 1 header, padded to 64 bytes as NumPy does.
fn header(array: &Tensor) -> Vec<u8> {
    let axes: String = array.dims().iter().map(|d| format!("{d}, ")).collect();
    let axes = match array.dims().len() {
        1 => axes.trim_end(),
        _ => axes.trim_end_matches(", "),
    };
    let descr = npy::descr_of(array.dtype()).unwrap_or_default();
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({axes}), }}");
    while (10 + text.len() + 1) % 64 != 0 {
        text.push(' ');
    }
    text.push('\n');
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend_from_slice(&(text.len() as u16).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array1, ArrayD};
    use ndarray_npy::NpzReader;
    use sepconv_ir::DType;

    #[test]
    fn another_reader_agrees() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.npz");
        let a = Tensor::from_f32(vec![2, 3], vec![0.0, 1.5, 2.0, 3.0, 4.0, 5.0]);
        let b = Tensor::from_slice(&[2], &[7i64, -1]).unwrap();
        let c = Tensor::from_i64s(DType::Bool, vec![1], &[1]).unwrap();
        let scalar = Tensor::from_slice(&[], &[3u8]).unwrap();
        let list = [("a", &a), ("b", &b), ("c", &c), ("s", &scalar)];
        write_npz(&path, &list).unwrap();
        let first = std::fs::read(&path).unwrap();
        let mut npz = NpzReader::new(std::fs::File::open(&path).unwrap()).unwrap();
        let got: ArrayD<f32> = npz.by_name("a").unwrap();
        assert_eq!(got.shape(), a.dims());
        assert_eq!(got.into_raw_vec_and_offset().0, *a.to_f32().unwrap());
        let got: Array1<i64> = npz.by_name("b").unwrap();
        assert_eq!(got.to_vec(), [7, -1]);
        let got: Array1<bool> = npz.by_name("c").unwrap();
        assert_eq!(got.to_vec(), [true]);
        let got: ArrayD<u8> = npz.by_name("s").unwrap();
        assert_eq!(got.ndim(), 0);
        write_npz(&path, &list).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), first);
        let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(left.len(), 1);
    }

    #[test]
    fn failures_leave_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.npz");
        let a = Tensor::from_f32(vec![1], vec![0.0]);
        assert!(write_npz(&path, &[("a", &a), ("a", &a)]).is_err());
        let odd = Tensor::from_floats(DType::BF16, vec![1], vec![0.0]).unwrap();
        assert!(write_npz(&path, &[("a", &odd)]).is_err());
        let error = write_npz(&dir.path().join("no/such/a.npz"), &[("a", &a)]);
        assert!(error.unwrap_err().to_string().contains("cannot write"));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
