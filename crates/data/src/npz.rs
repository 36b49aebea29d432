//! `.npz` archives and `.npy` files as tables of rows.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zip::{CompressionMethod, ZipArchive};

use crate::error::DataError;
use crate::npy::{self, Header};
use crate::storage::{SharedFile, Storage};
use crate::table::Table;

/// The raw bytes of compressed arrays that one archive may hold in memory.
///
/// Past it they are unpacked to an unlinked file in the system's temporary
/// directory. Stored arrays up to this size have their checksum verified when
/// they are opened; larger ones are only checked for their length.
pub(crate) const MEMORY_BOUND: u64 = 1 << 30;

/// The best ratio that deflate can reach; an entry that claims more is hostile.
const MAX_RATIO: u64 = 1032;

/// An open archive.
pub(crate) struct Npz {
    path: PathBuf,
    archive: ZipArchive<BufReader<File>>,
    file_len: u64,
    shared: Arc<SharedFile>,
    budget: u64,
}

impl Npz {
    /// Opens the archive and reads its directory.
    pub(crate) fn open(path: &Path) -> Result<Self, DataError> {
        Self::with_budget(path, MEMORY_BOUND)
    }

    fn with_budget(path: &Path, budget: u64) -> Result<Self, DataError> {
        let open = || File::open(path).map_err(DataError::io(path, "open"));
        let file = open()?;
        let file_len = file.metadata().map_err(DataError::io(path, "read"))?.len();
        let archive = ZipArchive::new(BufReader::new(file))
            .map_err(|e| DataError::malformed(path, "an npz archive", e))?;
        Ok(Self {
            path: path.to_path_buf(),
            archive,
            file_len,
            shared: Arc::new(SharedFile::new(open()?)),
            budget,
        })
    }

    /// The names of the arrays, in the order of the archive.
    pub(crate) fn names(&self) -> Vec<String> {
        (0..self.archive.len())
            .filter_map(|i| self.archive.name_for_index(i))
            .filter_map(|name| name.strip_suffix(".npy"))
            .map(str::to_string)
            .collect()
    }

    /// The array of that name.
    pub(crate) fn table(&mut self, name: &str) -> Result<Table, DataError> {
        let what = format!("array '{name}'");
        let path = &self.path;
        let bad = |found: String| DataError::malformed(path, format!("{what} intact"), found);
        let unzip = |e: zip::result::ZipError| bad(e.to_string());
        let index = self
            .archive
            .index_for_name(&format!("{name}.npy"))
            .ok_or_else(|| bad("no such entry".into()))?;
        let mut entry = self.archive.by_index(index).map_err(unzip)?;
        let (size, packed) = (entry.size(), entry.compressed_size());
        let (start, method) = (entry.data_start(), entry.compression());
        if start
            .checked_add(packed)
            .is_none_or(|end| end > self.file_len)
        {
            return Err(bad(format!("{packed} bytes past the end of the file")));
        }
        let header = npy::read_header(path, &what, &mut entry)?;
        if header.offset + header.data_bytes != size {
            return Err(bad(format!(
                "{size} bytes for shape {:?} of {}",
                header.shape, header.dtype
            )));
        }
        let unread = |e: io::Error| bad(e.to_string());
        let storage = match method {
            CompressionMethod::Stored => {
                if size != packed {
                    return Err(bad(format!("{packed} stored bytes for {size}")));
                }
                if size <= MEMORY_BOUND {
                    io::copy(&mut entry, &mut io::sink()).map_err(unread)?;
                }
                Storage::File {
                    file: Arc::clone(&self.shared),
                    offset: start + header.offset,
                    len: header.data_bytes,
                }
            }
            _ if size > packed.saturating_mul(MAX_RATIO) => {
                return Err(bad(format!("a claim of {size} bytes in {packed}")));
            }
            _ if header.data_bytes <= self.budget => {
                self.budget -= header.data_bytes;
                let mut bytes = Vec::with_capacity(header.data_bytes as usize);
                // One more than claimed: reaching the end makes the archive check its checksum.
                let mut data = entry.take(header.data_bytes + 1);
                data.read_to_end(&mut bytes).map_err(unread)?;
                if bytes.len() as u64 != header.data_bytes {
                    return Err(bad(format!("{} bytes of data", bytes.len())));
                }
                Storage::Memory(bytes.into())
            }
            _ => spill(&mut entry, &header).map_err(unread)?,
        };
        Table::new(path, what.clone(), header, storage)
    }
}

/// Unpacks the rest of `entry` to an unlinked temporary file.
fn spill(entry: &mut impl Read, header: &Header) -> io::Result<Storage> {
    let mut file = tempfile::tempfile()?;
    let written = io::copy(&mut entry.take(header.data_bytes), &mut file)?;
    // The read past the end makes the archive check its checksum.
    let more = entry.read(&mut [0u8; 1])?;
    if written != header.data_bytes || more != 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    file.flush()?;
    Ok(Storage::File {
        file: Arc::new(SharedFile::new(file)),
        offset: 0,
        len: written,
    })
}

/// Opens a single `.npy` file.
pub(crate) fn open_npy(path: &Path) -> Result<Table, DataError> {
    let mut file = File::open(path).map_err(DataError::io(path, "open"))?;
    let what = "array".to_string();
    let header = npy::read_header(path, &what, &mut BufReader::new(&file))?;
    let end = file
        .seek(SeekFrom::End(0))
        .map_err(DataError::io(path, "read"))?;
    if end != header.offset + header.data_bytes {
        return Err(DataError::malformed(
            path,
            format!(
                "{} bytes for shape {:?} of {}",
                header.offset + header.data_bytes,
                header.shape,
                header.dtype
            ),
            format!("{end} bytes"),
        ));
    }
    let storage = Storage::File {
        file: Arc::new(SharedFile::new(file)),
        offset: header.offset,
        len: header.data_bytes,
    };
    Table::new(path, what, header, storage)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, ArrayD, IxDyn};
    use ndarray_npy::{NpzWriter, WriteNpyExt};

    fn sample() -> Array2<f32> {
        Array2::from_shape_fn((50, 40), |(i, j)| (i * 40 + j) as f32 * 0.5)
    }

    fn archive(dir: &Path, packed: bool) -> PathBuf {
        let path = dir.join("a.npz");
        let file = File::create(&path).unwrap();
        let mut npz = if packed {
            NpzWriter::new_compressed(file)
        } else {
            NpzWriter::new(file)
        };
        npz.add_array("a", &sample()).unwrap();
        npz.add_array("b", &ndarray::arr1(&[1i64, 2])).unwrap();
        npz.finish().unwrap();
        path
    }

    #[test]
    fn stored_packed_and_spilled_read_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let expected: Vec<f32> = sample().into_iter().collect();
        for (packed, budget) in [(false, 0), (true, MEMORY_BOUND), (true, 100)] {
            let path = archive(dir.path(), packed);
            let mut npz = Npz::with_budget(&path, budget).unwrap();
            assert_eq!(npz.names(), ["a", "b"]);
            let table = npz.table("a").unwrap();
            let in_memory = matches!(table.storage(), Storage::Memory(_));
            assert_eq!(in_memory, packed && budget == MEMORY_BOUND);
            let rows: Vec<usize> = (0..50).collect();
            assert_eq!(
                &*table.read(&rows).unwrap().to_f32().unwrap(),
                &expected[..]
            );
            assert_eq!(&*table.read(&[49, 7]).unwrap().to_f32().unwrap(), {
                let mut two = expected[49 * 40..].to_vec();
                two.extend_from_slice(&expected[280..320]);
                two
            });
            let labels = npz.table("b").unwrap().read(&[1]).unwrap();
            assert_eq!(labels.to_i64().unwrap(), [2]);
        }
    }

    #[test]
    fn damage_never_panics_and_stored_damage_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        for packed in [false, true] {
            let path = archive(dir.path(), packed);
            let good = std::fs::read(&path).unwrap();
            let damaged = dir.path().join("bad.npz");
            let read = |bytes: &[u8]| {
                std::fs::write(&damaged, bytes).unwrap();
                Npz::open(&damaged)
                    .and_then(|mut npz| npz.table("a"))
                    .and_then(|table| table.read(&[0, 49]))
            };
            assert!(read(&good).is_ok());
            for cut in (0..good.len()).step_by(97) {
                let error = read(&good[..cut]).unwrap_err().to_string();
                assert!(
                    error.contains("bad.npz") && !error.contains('\n'),
                    "{error}"
                );
            }
            for at in (0..good.len()).step_by(13) {
                let mut bytes = good.clone();
                bytes[at] ^= 0xff;
                let _ = read(&bytes);
            }
            // In the middle of the data of 'a': always an error, spilled or not.
            let mut bytes = good.clone();
            bytes[good.len() / 3] ^= 0x10;
            std::fs::write(&damaged, &bytes).unwrap();
            for budget in [MEMORY_BOUND, 100] {
                let mut npz = Npz::with_budget(&damaged, budget).unwrap();
                assert!(npz.table("a").is_err());
            }
        }
    }

    #[test]
    fn npy_files_and_their_lengths() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.npy");
        let array = ArrayD::from_elem(IxDyn(&[3, 4]), 2u8);
        array.write_npy(File::create(&path).unwrap()).unwrap();
        assert_eq!(
            open_npy(&path).unwrap().read(&[2]).unwrap().data().unwrap()[..],
            [2; 4]
        );
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        let error = open_npy(&path).unwrap_err().to_string();
        assert!(error.contains("[3, 4] of u8"), "{error}");
    }
}
