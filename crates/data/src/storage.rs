//! Storage of an array's bytes: a region of a file, or memory.

use std::fs::File;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

/// A file that several threads read at positions of their own.
#[derive(Debug)]
pub(crate) struct SharedFile {
    #[cfg(unix)]
    file: File,
    #[cfg(not(unix))]
    file: std::sync::Mutex<File>,
}

impl SharedFile {
    #[cfg(unix)]
    pub(crate) fn new(file: File) -> Self {
        Self { file }
    }

    #[cfg(not(unix))]
    pub(crate) fn new(file: File) -> Self {
        Self {
            file: std::sync::Mutex::new(file),
        }
    }

    #[cfg(unix)]
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.file, buffer, offset)
    }

    #[cfg(not(unix))]
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        use std::io::{Read, Seek, SeekFrom};
        let mut file = self
            .file
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(buffer)
    }
}

/// The bytes of one array.
#[derive(Clone, Debug)]
pub(crate) enum Storage {
    /// `len` bytes of a file from `offset` on.
    File {
        file: Arc<SharedFile>,
        offset: u64,
        len: u64,
    },
    /// Bytes at hand.
    Memory(Bytes),
}

impl Storage {
    /// Appends bytes `start..start + len` to `out`.
    pub(crate) fn read(&self, start: u64, len: usize, out: &mut Vec<u8>) -> io::Result<()> {
        let end = start.checked_add(len as u64);
        match self {
            Storage::Memory(bytes) => {
                let part = usize::try_from(start)
                    .ok()
                    .zip(end.and_then(|e| usize::try_from(e).ok()))
                    .and_then(|(a, b)| bytes.get(a..b))
                    .ok_or(io::ErrorKind::UnexpectedEof)?;
                out.extend_from_slice(part);
                Ok(())
            }
            Storage::File {
                file,
                offset,
                len: all,
            } => {
                if end.is_none_or(|e| e > *all) {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                let from = out.len();
                out.resize(from + len, 0);
                file.read_at(&mut out[from..], offset + start)
            }
        }
    }
}
