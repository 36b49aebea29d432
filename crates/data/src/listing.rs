//! The pictures below a folder, and the other files there.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use image::ImageFormat;

use crate::error::DataError;

/// Endings of files that are taken for pictures; if they hold something else, that is an error.
const ENDINGS: [&str; 18] = [
    "apng", "bmp", "dib", "gif", "jfif", "jif", "jpe", "jpeg", "jpg", "pam", "pbm", "pgm", "png",
    "pnm", "ppm", "tif", "tiff", "webp",
];

/// The folder of file attributes in archives made on macOS.
const ATTRIBUTES: &str = "__MACOSX";

/// The most names that [`Skipped`] keeps.
const EXAMPLES: usize = 3;

/// Entries of a folder of pictures that are none: files of other kinds, hidden files and folders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Number of them; a hidden folder, with all that it holds, is one.
    pub count: usize,
    /// The first three, in the order in which folders are read.
    pub examples: Vec<PathBuf>,
}

impl Skipped {
    fn add(&mut self, path: PathBuf) {
        self.count += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(path);
        }
    }

    fn append(&mut self, other: Self) {
        self.count += other.count;
        self.examples.extend(other.examples);
        self.examples.truncate(EXAMPLES);
    }

    /// The names of the examples: "notes.txt, Thumbs.db, …".
    #[must_use]
    pub fn names(&self) -> String {
        let mut names: Vec<String> = self.examples.iter().map(|path| name(path)).collect();
        if self.count > names.len() {
            names.push("…".into());
        }
        names.join(", ")
    }
}

/// The last part of a path, as text.
pub(crate) fn name(path: &Path) -> String {
    path.file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// The entries of a directory, each kind sorted by name.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    /// Visible entries that are no folders.
    pub files: Vec<PathBuf>,
    /// Visible folders.
    pub folders: Vec<PathBuf>,
    /// Hidden files and folders, and file attributes.
    pub hidden: Vec<PathBuf>,
}

impl Entries {
    /// Reads a directory.
    pub(crate) fn of(path: &Path) -> Result<Self, DataError> {
        let mut found = Self::default();
        for entry in fs::read_dir(path).map_err(DataError::io(path, "read"))? {
            let entry = entry.map_err(DataError::io(path, "read"))?;
            let (name, child) = (entry.file_name(), entry.path());
            let list = if name.as_encoded_bytes().starts_with(b".") || name == ATTRIBUTES {
                &mut found.hidden
            } else if child.is_dir() {
                &mut found.folders
            } else {
                &mut found.files
            };
            list.push(child);
        }
        for list in [&mut found.files, &mut found.folders, &mut found.hidden] {
            list.sort();
        }
        Ok(found)
    }
}

/// The pictures of a folder, and of the folders below it where they are wanted.
#[derive(Debug, Default)]
pub(crate) struct Pictures {
    /// Those of a folder in name order, then those of its sub-folders in name order.
    pub files: Vec<PathBuf>,
    pub skipped: Skipped,
}

impl Pictures {
    /// The pictures among the files of one folder.
    pub(crate) fn among(entries: &Entries) -> Self {
        let mut found = Self::default();
        for file in &entries.files {
            if is_picture(file) {
                found.files.push(file.clone());
            } else {
                found.skipped.add(file.clone());
            }
        }
        for hidden in &entries.hidden {
            found.skipped.add(hidden.clone());
        }
        found
    }

    /// All pictures in a folder and below it. A link to a folder around itself is skipped.
    pub(crate) fn below(path: &Path) -> Result<Self, DataError> {
        let mut found = Self::default();
        found.walk(path, &mut Vec::new())?;
        Ok(found)
    }

    fn walk(&mut self, path: &Path, around: &mut Vec<PathBuf>) -> Result<(), DataError> {
        let real = fs::canonicalize(path).map_err(DataError::io(path, "read"))?;
        if around.contains(&real) {
            self.skipped.add(path.to_path_buf());
            return Ok(());
        }
        let entries = Entries::of(path)?;
        self.append(Self::among(&entries));
        around.push(real);
        for folder in &entries.folders {
            self.walk(folder, around)?;
        }
        around.pop();
        Ok(())
    }

    /// Adds those of another folder.
    pub(crate) fn append(&mut self, other: Self) {
        self.files.extend(other.files);
        self.skipped.append(other.skipped);
    }
}

/// True where a file is taken for a picture: by its ending, else by the first bytes of the formats
/// that nothing else begins like (not TIFF, as which camera files begin, nor BMP and PNM).
fn is_picture(file: &Path) -> bool {
    let ending = file.extension().and_then(OsStr::to_str);
    let ending = ending.map(str::to_ascii_lowercase).unwrap_or_default();
    if ENDINGS.contains(&ending.as_str()) {
        return true;
    }
    // Opening anything but a regular file may block.
    if !file.is_file() {
        return false;
    }
    let mut start = Vec::new();
    let read = File::open(file).and_then(|f| f.take(16).read_to_end(&mut start));
    let formats = [
        ImageFormat::Gif,
        ImageFormat::Jpeg,
        ImageFormat::Png,
        ImageFormat::WebP,
    ];
    read.is_ok() && image::guess_format(&start).is_ok_and(|f| formats.contains(&f))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "words").unwrap();
        }
        dir
    }

    fn names(dir: &Path, files: &[PathBuf]) -> Vec<String> {
        let below = files.iter().map(|f| f.strip_prefix(dir).unwrap());
        below.map(|f| f.display().to_string()).collect()
    }

    #[test]
    fn folders_are_read_in_name_order_and_stray_files_counted() {
        let dir = tree(&[
            "z.JPG",
            "b/2.png",
            "b/deep/er/0.webp",
            "b/10.png",
            "a/x.tiff",
            "a/Thumbs.db",
            "notes.txt",
            ".DS_Store",
            "__MACOSX/b/._2.png",
            ".cache/0.png",
            "a/._x.tiff",
            "m.npz",
        ]);
        let found = Pictures::below(dir.path()).unwrap();
        assert_eq!(
            names(dir.path(), &found.files),
            [
                "z.JPG",
                "a/x.tiff",
                "b/10.png",
                "b/2.png",
                "b/deep/er/0.webp"
            ]
        );
        assert_eq!(found.skipped.count, 7);
        assert_eq!(found.skipped.names(), "m.npz, notes.txt, .DS_Store, …");
    }

    #[test]
    fn pictures_are_known_by_their_first_bytes_too() {
        let dir = tree(&["a", "b.dat", "c.txt", "d.nef"]);
        let write = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
        write("a", b"\x89PNG\r\n\x1a\n");
        write("b.dat", b"GIF89a");
        write("c.txt", b"BMP is a format; P6 is another");
        write("d.nef", b"II*\0 raw");
        let found = Pictures::below(dir.path()).unwrap();
        assert_eq!(names(dir.path(), &found.files), ["a", "b.dat"]);
        assert_eq!(found.skipped.names(), "c.txt, d.nef");
    }

    #[cfg(unix)]
    #[test]
    fn links_in_a_circle_end() {
        use std::os::unix::fs::symlink;
        let dir = tree(&["a/0.png", "b/1.png"]);
        symlink(dir.path().join("b"), dir.path().join("a/x")).unwrap();
        symlink(dir.path().join("a"), dir.path().join("b/y")).unwrap();
        let found = Pictures::below(dir.path()).unwrap();
        assert_eq!(
            names(dir.path(), &found.files),
            ["a/0.png", "a/x/1.png", "b/1.png", "b/y/0.png"]
        );
        assert_eq!(found.skipped.count, 2);
    }
}
