//! Mapping files, and writing them whole or not at all.

use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use memmap2::Mmap;
use tempfile::NamedTempFile;

use crate::error::OnnxError;
use crate::staging::{Temporary, undisturbed};

/// Bytes of a mapping that are looked at before they are released.
const PART: usize = 1 << 26;

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
    let io = |source| io_error(path, source);
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

/// A file written beside its destination, to be looked at before it takes its place.
/// Dropped without [`Staged::commit`], it vanishes.
#[derive(Debug)]
pub struct Staged {
    temp: NamedTempFile,
    /// Where it is now, for a program that ends meanwhile.
    known: Temporary,
    path: PathBuf,
    force: bool,
}

impl Staged {
    /// Writes a file beside `path`.
    ///
    /// # Errors
    /// [`OnnxError::Exists`] where `path` exists and `force` is not set; [`OnnxError::Io`].
    pub fn write(
        path: &Path,
        force: bool,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<Self, OnnxError> {
        let io = |source| io_error(path, source);
        let (temp, known) = Self::beside(path, force)?;
        let mut out = BufWriter::with_capacity(1 << 20, temp);
        write(&mut out).map_err(io)?;
        let temp = out.into_inner().map_err(|e| io(e.into_error()))?;
        Ok(Self {
            temp,
            known,
            path: path.to_owned(),
            force,
        })
    }

    /// A temporary file beside `path`.
    fn beside(path: &Path, force: bool) -> Result<(NamedTempFile, Temporary), OnnxError> {
        let io = |source| io_error(path, source);
        if path.is_dir() {
            return Err(io(io::ErrorKind::IsADirectory.into()));
        }
        if !force && path.symlink_metadata().is_ok() {
            return Err(OnnxError::Exists {
                path: path.to_owned(),
            });
        }
        let folder = match path.parent() {
            Some(p) if !p.as_os_str().is_empty() => p,
            _ => Path::new("."),
        };
        let mut builder = tempfile::Builder::new();
        builder.prefix(".sepconv-").suffix(".tmp");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let _undisturbed = undisturbed();
        // tempfile's error names its own temporary path, which says nothing to the user.
        let temp = builder
            .tempfile_in(folder)
            .map_err(|e| io(e.raw_os_error().map_or(e, io::Error::from_raw_os_error)))?;
        let known = Temporary::file(temp.path());
        Ok((temp, known))
    }

    /// Copies a mapped file beside `path`. Blocks of zeros become holes where the file system has
    /// them, and no more than a part of the mapping is in memory at a time.
    pub(crate) fn copy(path: &Path, force: bool, map: &Mapping) -> Result<Self, OnnxError> {
        const ZEROS: &[u8] = &[0; 1 << 16];
        let io = |source| io_error(path, source);
        let (mut temp, known) = Self::beside(path, force)?;
        let file = temp.as_file_mut();
        map.visit(&mut |part| {
            for block in part.chunks(ZEROS.len()) {
                if *block == ZEROS[..block.len()] {
                    file.seek_relative(block.len() as i64)?;
                } else {
                    file.write_all(block)?;
                }
            }
            Ok(())
        })
        .map_err(io)?;
        file.set_len(map.as_ref().len() as u64).map_err(io)?;
        Ok(Self {
            temp,
            known,
            path: path.to_owned(),
            force,
        })
    }

    /// Where the file is now.
    pub fn path(&self) -> &Path {
        self.temp.path()
    }

    /// Renames the file to its destination.
    ///
    /// # Errors
    /// [`OnnxError::Exists`] where the destination appeared meanwhile and `force` is not set;
    /// [`OnnxError::Io`].
    pub fn commit(self) -> Result<(), OnnxError> {
        let Self {
            temp,
            known: _known,
            path,
            force,
        } = self;
        let _undisturbed = undisturbed();
        let kept = if force {
            temp.persist(&path)
        } else {
            temp.persist_noclobber(&path)
        };
        kept.map(drop).map_err(|e| {
            if e.error.kind() == io::ErrorKind::AlreadyExists {
                OnnxError::Exists { path }
            } else {
                io_error(&path, e.error)
            }
        })
    }
}

fn io_error(path: &Path, source: io::Error) -> OnnxError {
    OnnxError::Io {
        path: path.to_owned(),
        source,
    }
}

/// Writes a file beside `path` and renames it into place, so that `path` is either as it was
/// or complete.
///
/// # Errors
/// [`OnnxError::Exists`] where `path` exists and `force` is not set; [`OnnxError::Io`].
pub fn write_atomic(path: &Path, force: bool, contents: &[u8]) -> Result<(), OnnxError> {
    Staged::write(path, force, |w| w.write_all(contents))?.commit()
}
