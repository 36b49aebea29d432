//! Files that are written whole or not at all.

use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::document::Document;
use crate::error::OnnxError;
use crate::external::folder_of;
use crate::layout::Piece;
use crate::mapping::{Mapping, PART, map};
use crate::staging::{Temporary, undisturbed};

/// A file written beside its destination, to be looked at before it takes its place.
/// Dropped without [`Staged::commit`], it vanishes.
#[derive(Debug)]
pub struct Staged {
    temp: NamedTempFile,
    /// Its present path, on record for a program that ends meanwhile.
    _known: Temporary,
    path: PathBuf,
    force: bool,
    /// External data that take their places before it.
    data: Vec<DataFile>,
    /// Folders that were made for them; removed after the files in them.
    folders: Folders,
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
        let io = |source| OnnxError::io(path, source);
        let (temp, known) = Self::beside(path, force)?;
        let mut out = BufWriter::with_capacity(1 << 20, temp);
        write(&mut out).map_err(io)?;
        let temp = out.into_inner().map_err(|e| io(e.into_error()))?;
        Ok(Self {
            temp,
            _known: known,
            path: path.to_owned(),
            force,
            data: Vec::new(),
            folders: Folders::default(),
        })
    }

    /// Checks that a file can be written to `path`, by making one beside it that vanishes again.
    ///
    /// # Errors
    /// As [`Staged::write`].
    pub fn check(path: &Path, force: bool) -> Result<(), OnnxError> {
        Self::beside(path, force).map(drop)
    }

    /// Checks that a file can be written in a place, by making one that vanishes again: beside it, or where its
    /// folders are to be made.
    ///
    /// # Errors
    /// [`OnnxError::Io`] with the file's path.
    pub fn check_place(path: &Path) -> Result<(), OnnxError> {
        let is_there = |folder: &&Path| folder.as_os_str().is_empty() || folder.exists();
        let beside = match path.ancestors().skip(1).find(is_there) {
            Some(folder) if path.parent() != Some(folder) => folder.join(".sepconv"),
            _ => path.to_owned(),
        };
        Self::check(&beside, true).map_err(|error| match error {
            OnnxError::Io { source, .. } => OnnxError::Io {
                path: path.to_owned(),
                source,
            },
            other => other,
        })
    }

    pub(crate) fn with(self, data: Vec<DataFile>, folders: Folders) -> Self {
        Self {
            data,
            folders,
            ..self
        }
    }

    /// Reads the model that was written, with the external data that were written with it.
    ///
    /// # Errors
    /// As [`Document::open`].
    pub fn open(&self) -> Result<Document, OnnxError> {
        let data = self.data.iter();
        let data = data.map(|d| Ok((d.location.clone(), map(d.temp.path())?)));
        Document::open_with(self.path(), data.collect::<Result<_, OnnxError>>()?)
    }

    /// A temporary file beside `path`.
    fn beside(path: &Path, force: bool) -> Result<(NamedTempFile, Temporary), OnnxError> {
        let io = |source| OnnxError::io(path, source);
        if path.is_dir() {
            return Err(io(io::ErrorKind::IsADirectory.into()));
        }
        if !force && path.symlink_metadata().is_ok() {
            return Err(OnnxError::Exists {
                path: path.to_owned(),
            });
        }
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
            .tempfile_in(folder_of(path))
            .map_err(|e| io(e.raw_os_error().map_or(e, io::Error::from_raw_os_error)))?;
        let known = Temporary::file(temp.path());
        Ok((temp, known))
    }

    /// Present path of the file.
    pub fn path(&self) -> &Path {
        self.temp.path()
    }

    /// Renames the file, and its external data before it, to their destinations. Where one fails,
    /// none that is new stays.
    ///
    /// # Errors
    /// [`OnnxError::Exists`] where the destination appeared meanwhile and `force` is not set;
    /// [`OnnxError::Io`].
    pub fn commit(self) -> Result<(), OnnxError> {
        let _undisturbed = undisturbed();
        let mut made = Vec::new();
        let mut data = self.data.into_iter();
        let moved = data.try_for_each(|file| {
            persist(file.temp, &file.path, file.replaces)?;
            made.extend((!file.replaces).then_some(file.path));
            Ok(())
        });
        let moved = moved.and_then(|()| persist(self.temp, &self.path, self.force));
        if moved.is_err() {
            for path in made {
                let _ = std::fs::remove_file(path);
            }
            return moved;
        }
        self.folders.keep();
        Ok(())
    }
}

fn persist(temp: NamedTempFile, path: &Path, force: bool) -> Result<(), OnnxError> {
    let kept = if force {
        temp.persist(path)
    } else {
        temp.persist_noclobber(path)
    };
    kept.map(drop).map_err(|e| {
        if e.error.kind() == io::ErrorKind::AlreadyExists {
            OnnxError::Exists {
                path: path.to_owned(),
            }
        } else {
            OnnxError::io(path, e.error)
        }
    })
}

/// A file of external data beside its destination.
#[derive(Debug)]
pub(crate) struct DataFile {
    /// As the model calls it.
    pub location: String,
    temp: NamedTempFile,
    /// Its present path, on record for a program that ends meanwhile.
    _known: Temporary,
    path: PathBuf,
    replaces: bool,
}

impl DataFile {
    /// Copies a mapped file to be at `path`.
    pub fn copy(location: &str, path: &Path, map: &Mapping) -> Result<Self, OnnxError> {
        let len = map.as_ref().len();
        let whole = [(0, Piece::Old(map, 0..len))];
        Self::write(location, path, &whole, len as u64, false)
    }

    /// Writes a file of so many bytes to be at `path`, from pieces at their offsets. Blocks of
    /// zeros become holes where the file system has them, and no more than a part of a mapping is
    /// in memory at a time.
    pub fn write(
        location: &str,
        path: &Path,
        pieces: &[(u64, Piece<'_>)],
        len: u64,
        replaces: bool,
    ) -> Result<Self, OnnxError> {
        let io = |source| OnnxError::io(path, source);
        let (mut temp, known) = Staged::beside(path, replaces)?;
        let file = temp.as_file_mut();
        for (offset, piece) in pieces {
            file.seek(SeekFrom::Start(*offset)).map_err(io)?;
            let written =
                match piece {
                    Piece::New(data) => write_blocks(file, data),
                    Piece::Old(map, range) => map.as_ref()[range.clone()]
                        .chunks(PART)
                        .try_for_each(|part| {
                            write_blocks(file, part)?;
                            map.release(part);
                            Ok(())
                        }),
                };
            written.map_err(io)?;
        }
        file.set_len(len).map_err(io)?;
        Ok(Self {
            location: location.to_owned(),
            temp,
            _known: known,
            path: path.to_owned(),
            replaces,
        })
    }
}

/// Writes bytes, and passes over blocks of zeros.
fn write_blocks(file: &mut File, data: &[u8]) -> io::Result<()> {
    const ZEROS: &[u8] = &[0; 1 << 16];
    for block in data.chunks(ZEROS.len()) {
        if *block == ZEROS[..block.len()] {
            file.seek_relative(block.len() as i64)?;
        } else {
            file.write_all(block)?;
        }
    }
    Ok(())
}

/// Folders that were made, the outer ones first: removed when dropped, where nothing is in them.
#[derive(Debug, Default)]
pub(crate) struct Folders(Vec<(PathBuf, Temporary)>);

impl Folders {
    /// Makes a folder and those around it that are missing.
    pub fn make(&mut self, folder: &Path) -> Result<(), OnnxError> {
        let missing = folder
            .ancestors()
            .take_while(|p| !p.as_os_str().is_empty() && !p.exists());
        let missing: Vec<&Path> = missing.collect();
        for path in missing.into_iter().rev() {
            let _undisturbed = undisturbed();
            std::fs::create_dir(path).map_err(|source| OnnxError::io(path, source))?;
            self.0.push((path.to_owned(), Temporary::folder(path)));
        }
        Ok(())
    }

    fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for Folders {
    fn drop(&mut self) {
        while let Some((folder, _known)) = self.0.pop() {
            let _ = std::fs::remove_dir(folder);
        }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::staging::is_temporary;

    #[test]
    fn folders_are_temporary_until_they_are_kept() {
        let scratch = tempfile::tempdir().unwrap();
        let path = |name: &str| scratch.path().join(name);
        let (there, outer, inner) = (path("there"), path("there/a"), path("there/a/b"));
        std::fs::create_dir(&there).unwrap();
        let known = || [&there, &outer, &inner].map(|p| is_temporary(p));
        let made = || {
            let mut folders = Folders::default();
            folders.make(&inner).unwrap();
            assert!(inner.is_dir());
            assert_eq!(known(), [false, true, true]);
            folders
        };
        drop(made());
        assert!(there.is_dir() && !outer.exists());
        assert_eq!(known(), [false; 3]);
        made().keep();
        assert!(inner.is_dir());
        assert_eq!(known(), [false; 3]);
    }
}
