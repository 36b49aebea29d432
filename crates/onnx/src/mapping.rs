//! Files mapped for reading.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use memmap2::Mmap;

use crate::error::OnnxError;

/// Bytes of a mapping that are looked at before they are released.
pub(crate) const PART: usize = 1 << 26;

/// A file mapped for reading.
#[derive(Debug, Clone)]
pub(crate) struct Mapping(Arc<Mmap>);

impl AsRef<[u8]> for Mapping {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Mapping {
    /// The whole file, sharing the mapping.
    pub fn bytes(&self) -> Bytes {
        Bytes::from_owner(self.clone())
    }

    /// Hands out the file in order, in parts of which each is released before the next.
    pub fn visit<E>(&self, f: &mut dyn FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        for part in self.as_ref().chunks(PART) {
            f(part)?;
            self.release(part);
        }
        Ok(())
    }

    /// Tells the system that `part` of the mapping won't be needed for a while, so that it
    /// does not count as memory in use. It is read from the file again when it is.
    pub fn release(&self, part: &[u8]) {
        let whole = self.0.as_ptr_range();
        let part = part.as_ptr_range();
        if part.start < whole.start || part.end > whole.end || part.is_empty() {
            return;
        }
        #[cfg(unix)]
        {
            let offset = part.start as usize - whole.start as usize;
            let len = part.end as usize - part.start as usize;
            let advice = memmap2::UncheckedAdvice::DontNeed;
            // SAFETY: the mapping is file-backed, shared and never written to, so dropping
            // its pages loses nothing: the next access reads them from the file.
            let _ = unsafe { self.0.unchecked_advise_range(advice, offset, len) };
        }
    }
}

/// Maps a file. The file must not be truncated by others while the bytes live.
pub(crate) fn map(path: &Path) -> Result<Mapping, OnnxError> {
    let io = |source| OnnxError::io(path, source);
    let file = File::open(path).map_err(io)?;
    let meta = file.metadata().map_err(io)?;
    let what = if meta.is_dir() {
        Some("a directory")
    } else if !meta.is_file() {
        Some("not a regular file")
    } else if meta.len() == 0 {
        Some("an empty file")
    } else {
        None
    };
    if let Some(what) = what {
        return Err(OnnxError::NotAFile {
            path: path.to_owned(),
            what,
        });
    }
    // SAFETY: the map is read-only and private to this process. As with every mapped file,
    // another process that truncates it meanwhile can end this one; sepconv itself replaces
    // files only by rename, which leaves the mapped inode as it was.
    let mapped = unsafe { Mmap::map(&file) }.map_err(io)?;
    Ok(Mapping(Arc::new(mapped)))
}
