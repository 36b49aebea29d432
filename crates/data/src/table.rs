//! An array on disk or in memory whose rows (first axis) are read on demand.

use std::path::{Path, PathBuf};

use sepconv_ir::{DType, Tensor};

use crate::dense::{dense, width};
use crate::error::DataError;
use crate::npy::Header;
use crate::storage::Storage;

/// The most bytes of a Fortran-ordered array: it is turned to row-major order in memory.
const MAX_FORTRAN: u64 = 1 << 30;

/// An array whose rows are read on demand, from any thread.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    /// The file, for messages.
    path: PathBuf,
    /// The array's name in messages ("array 'images'").
    pub what: String,
    pub dtype: DType,
    pub shape: Vec<usize>,
    big_endian: bool,
    storage: Storage,
}

impl Table {
    /// A table over the data that follows `header`, whose length the caller has checked.
    pub(crate) fn new(
        path: &Path,
        what: String,
        header: Header,
        storage: Storage,
    ) -> Result<Self, DataError> {
        // A scalar is one row.
        let shape = match header.shape.is_empty() {
            true => vec![1],
            false => header.shape,
        };
        let mut table = Self {
            path: path.to_path_buf(),
            what,
            dtype: header.dtype,
            shape,
            big_endian: header.big_endian,
            storage,
        };
        if header.fortran && header.data_bytes > 0 {
            table.storage = table.row_major(header.data_bytes)?;
        }
        Ok(table)
    }

    /// A table over an array at hand; its first axis is the sample axis.
    pub(crate) fn from_array(path: &Path, what: String, array: Tensor) -> Result<Self, DataError> {
        let data = array.data().filter(|_| array.dtype().size().is_some());
        let data = data
            .ok_or_else(|| DataError::mismatch(path, &what, "numbers or bools", array.dtype()))?;
        let header = Header {
            dtype: array.dtype(),
            big_endian: false,
            fortran: false,
            shape: array.dims().to_vec(),
            offset: 0,
            data_bytes: data.len() as u64,
        };
        let storage = Storage::Memory(data.clone());
        Self::new(path, what, header, storage)
    }

    /// The length of the first axis.
    pub(crate) fn rows(&self) -> usize {
        self.shape.first().copied().unwrap_or(0)
    }

    /// The given rows, in the given order, in native little-endian form: [rows.len(), ...].
    pub(crate) fn read(&self, rows: &[usize]) -> Result<Tensor, DataError> {
        let size = width(self.dtype);
        let row = self.shape[1..].iter().product::<usize>() * size;
        let mut bytes = Vec::with_capacity(row * rows.len());
        for run in rows.chunk_by(|a, b| a + 1 == *b) {
            let (start, len) = (run[0] as u64 * row as u64, run.len() * row);
            self.storage
                .read(start, len, &mut bytes)
                .map_err(DataError::io(&self.path, "read"))?;
        }
        if self.big_endian {
            bytes.chunks_exact_mut(size).for_each(<[u8]>::reverse);
        }
        let mut shape = self.shape.clone();
        shape[0] = rows.len();
        self.named(dense(self.dtype, shape, bytes))
    }

    #[cfg(test)]
    pub(crate) fn storage(&self) -> &Storage {
        &self.storage
    }

    /// Gives an array error the name of this file and array.
    pub(crate) fn named<T>(&self, result: Result<T, DataError>) -> Result<T, DataError> {
        result.map_err(|error| match error {
            DataError::Array { expected, found } => {
                DataError::mismatch(&self.path, &self.what, expected, found)
            }
            other => other,
        })
    }

    /// The whole array's bytes turned from column-major to row-major order.
    fn row_major(&self, data_bytes: u64) -> Result<Storage, DataError> {
        if data_bytes > MAX_FORTRAN {
            return Err(DataError::mismatch(
                &self.path,
                &self.what,
                "row-major order for an array above 1 GiB",
                "Fortran order",
            ));
        }
        let mut source = Vec::new();
        self.storage
            .read(0, data_bytes as usize, &mut source)
            .map_err(DataError::io(&self.path, "read"))?;
        let size = width(self.dtype);
        // Element strides of the column-major source, and the odometer over row-major positions.
        let mut strides = Vec::with_capacity(self.shape.len());
        let mut stride = size;
        for &d in &self.shape {
            strides.push(stride);
            stride *= d;
        }
        let mut index = vec![0usize; self.shape.len()];
        let mut out = Vec::with_capacity(source.len());
        while out.len() < source.len() {
            let at: usize = index.iter().zip(&strides).map(|(i, s)| i * s).sum();
            out.extend_from_slice(&source[at..at + size]);
            for axis in (0..index.len()).rev() {
                index[axis] += 1;
                if index[axis] < self.shape[axis] {
                    break;
                }
                index[axis] = 0;
            }
        }
        Ok(Storage::Memory(out.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(dtype: DType, shape: &[usize], bytes: Vec<u8>, big: bool, fortran: bool) -> Table {
        let header = Header {
            dtype,
            big_endian: big,
            fortran,
            shape: shape.to_vec(),
            offset: 0,
            data_bytes: bytes.len() as u64,
        };
        let storage = Storage::Memory(bytes.into());
        Table::new(Path::new("a.npy"), "array 'a'".into(), header, storage).unwrap()
    }

    #[test]
    fn rows_come_in_the_order_asked_for() {
        let t = table(DType::U8, &[4, 2], (0..8).collect(), false, false);
        assert_eq!(
            t.read(&[3, 0, 1]).unwrap().data().unwrap()[..],
            [6, 7, 0, 1, 2, 3]
        );
        assert!(t.read(&[4]).is_err());
    }

    #[test]
    fn big_endian_is_swapped() {
        let t = table(DType::I16, &[2], vec![1, 2, 3, 4], true, false);
        assert_eq!(t.read(&[0, 1]).unwrap().data().unwrap()[..], [2, 1, 4, 3]);
    }

    #[test]
    fn column_major_is_turned() {
        // [[[0,1],[2,3],[4,5]], [[6,7],[8,9],[10,11]]] in column-major order.
        let bytes = vec![0, 6, 2, 8, 4, 10, 1, 7, 3, 9, 5, 11];
        let t = table(DType::U8, &[2, 3, 2], bytes, false, true);
        assert_eq!(
            t.read(&[0, 1]).unwrap().data().unwrap()[..],
            (0..12).collect::<Vec<u8>>()
        );
    }
}
