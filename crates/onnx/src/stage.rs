//! Writing a model with its external data: all files are staged, then renamed, or none is left.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::document::Document;
use crate::error::OnnxError;
use crate::external::folder_of;
use crate::file::{DataFile, Folders, Staged};
use crate::layout::Layout;
use crate::mapping::{Mapping, map};
use crate::references::references;

impl Document {
    /// Writes the model beside `path`, to be looked at and then committed, and with it the
    /// external data that it refers to, each tensor once. A data file of which all is still
    /// referred to stays as it is: shared with the source where `path` is in the folder of that,
    /// else copied; the rest goes into a file `<name of the model>.data` of its own. `force`
    /// replaces the model at `path`, and the file of that name where no other model of the folder
    /// refers to it; no other data file is ever replaced.
    ///
    /// # Errors
    /// [`OnnxError::Exists`] without `force`, [`OnnxError::Io`].
    pub fn stage(&self, path: &Path, force: bool) -> Result<Staged, OnnxError> {
        let target = Destination::new(self, path, force);
        let layout = Layout::new(self, &|file| target.takes(file));
        let mut folders = Folders::default();
        let mut data = Vec::new();
        for (location, map) in layout.kept.iter().copied() {
            let to = target.folder.join(location);
            if !target.shares && to.symlink_metadata().is_err() {
                folders.make(folder_of(&to))?;
                data.push(DataFile::copy(location, &to, map)?);
            }
        }
        let copied = data.iter().map(|d| d.location.clone()).collect();
        let (location, replaces) = target.own(&layout.folder, &copied);
        if layout.own_len() > 0 {
            let to = target.folder.join(&location);
            folders.make(folder_of(&to))?;
            let len = layout.own_len();
            data.push(DataFile::write(
                &location,
                &to,
                &layout.pieces,
                len,
                replaces,
            )?);
        }
        let encoded = layout.encode(&location);
        let staged = Staged::write(path, force, |w| encoded.write_to(w))?;
        for map in self.maps() {
            map.release(map.as_ref());
        }
        Ok(staged.with(data, folders))
    }

    /// Size of the model in bytes as [`Document::stage`] writes it, external data files included.
    /// The length of their names is not known here, and taken for a long one.
    pub fn encoded_size(&self) -> usize {
        Layout::new(self, &|_| true).size()
    }
}

/// Destination of a written model.
struct Destination<'a> {
    document: &'a Document,
    path: &'a Path,
    folder: &'a Path,
    /// The source lies in the same folder, so that its data files serve both.
    shares: bool,
    /// Data files of the source, with all links followed.
    sources: BTreeSet<PathBuf>,
    /// Locations that the model which is replaced refers to.
    replaced: BTreeSet<String>,
}

impl<'a> Destination<'a> {
    fn new(document: &'a Document, path: &'a Path, force: bool) -> Self {
        let folder = folder_of(path);
        let source = document.path().map(folder_of);
        let real = |p: &Path| p.canonicalize().ok();
        let files = document.data().iter().filter_map(|(location, _)| {
            let file = source?.join(location);
            real(&file)
        });
        let replaced = map(path).ok().filter(|_| force);
        let replaced = replaced.map(|old| references(&old.bytes()));
        let locations = replaced.into_iter().flatten().map(|r| r.file);
        Self {
            document,
            path,
            folder,
            shares: source.is_some_and(|s| real(s).is_some() && real(s) == real(folder)),
            sources: files.collect(),
            replaced: locations.collect(),
        }
    }

    /// True for a data file of the source that can have the same location here: it is there
    /// already, or there is room for it.
    fn takes(&self, location: &str) -> bool {
        let to = self.folder.join(location);
        if self.shares {
            return true;
        }
        let known = self.document.data().iter().find(|(l, _)| l == location);
        match (known, to.symlink_metadata()) {
            (Some((_, data)), Ok(_)) => self.holds(&to) && is_same(&to, data),
            (_, found) => found.is_err() && self.has_room(folder_of(&to)),
        }
    }

    /// Location of the model's own data file in `folder`, and true where there is a file of that name
    /// which it replaces. It is none that the source, or another model, may refer to.
    fn own(&self, folder: &str, taken: &BTreeSet<String>) -> (String, bool) {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let folder = match self.has_room(&self.folder.join(folder)) {
            true if !folder.is_empty() => format!("{folder}/"),
            _ => String::new(),
        };
        let mut count = 0;
        loop {
            let number = match count {
                0 => String::new(),
                n => format!("_{n}"),
            };
            let location = format!("{folder}{name}{number}.data");
            count += 1;
            let to = self.folder.join(&location);
            if taken.contains(&location) {
                continue;
            }
            if to.symlink_metadata().is_err() {
                return (location, false);
            }
            let is_source = to.canonicalize().is_ok_and(|p| self.sources.contains(&p));
            let own = self.replaced.contains(&location) && !is_source && !to.is_symlink();
            if own && !self.is_shared(&location) {
                return (location, true);
            }
        }
    }

    /// True where another model of the folder refers to a data file.
    fn is_shared(&self, location: &str) -> bool {
        let entries = std::fs::read_dir(self.folder).into_iter().flatten();
        let mut others = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|p| p.extension().is_some_and(|e| e == "onnx"))
            .filter(|p| p.file_name() != self.path.file_name());
        others.any(|path| {
            let model = map(&path).map(|m| references(&m.bytes()));
            model.is_ok_and(|all| all.iter().any(|r| r.file == location))
        })
    }

    /// True for a folder that is within that of the model, or can be made there.
    fn has_room(&self, folder: &Path) -> bool {
        let there = folder.ancestors().find(|p| p.symlink_metadata().is_ok());
        let there = there.unwrap_or(self.folder);
        there.as_os_str().is_empty() || there.is_dir() && self.holds(there)
    }

    /// True for a path that leads into the model's folder.
    fn holds(&self, path: &Path) -> bool {
        let real = path
            .canonicalize()
            .ok()
            .zip(self.folder.canonicalize().ok());
        real.is_some_and(|(path, folder)| path.starts_with(folder))
    }
}

/// True where a file holds the mapped bytes.
fn is_same(path: &Path, data: &Mapping) -> bool {
    let Ok(there) = map(path) else { return false };
    if there.as_ref().len() != data.as_ref().len() {
        return false;
    }
    let mut at = 0;
    let compared = data.visit(&mut |part| {
        let other = &there.as_ref()[at..at + part.len()];
        at += part.len();
        let same = other == part;
        there.release(other);
        if same { Ok(()) } else { Err(()) }
    });
    compared.is_ok()
}
