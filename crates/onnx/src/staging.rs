//! Temporary files and folders of this process, known by their paths.
//!
//! They vanish by themselves where the work ends. A program that can't wait for that, because it
//! has been asked to end meanwhile, calls [`remove_temporary`] and exits.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, TryLockError};
use std::time::{Duration, Instant};

static REGISTRY: Registry = Registry::new();

/// Longest wait of [`remove_temporary`] for a rename that has begun.
const RENAMING: Duration = Duration::from_millis(200);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    /// Removed where it is empty.
    Folder,
    /// Removed with all that is in it.
    Tree,
}

/// Temporary files and folders of this process.
#[derive(Debug)]
struct Registry {
    paths: Mutex<BTreeMap<PathBuf, Kind>>,
    /// Locked for writing, for good, once the process is about to exit; for reading by threads that
    /// make temporary files or rename them into place.
    exiting: RwLock<()>,
}

impl Registry {
    const fn new() -> Self {
        Self {
            paths: Mutex::new(BTreeMap::new()),
            exiting: RwLock::new(()),
        }
    }

    fn paths(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Kind>> {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn undisturbed(&self) -> RwLockReadGuard<'_, ()> {
        self.exiting.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn temporary(&'static self, path: &Path, kind: Kind) -> Temporary {
        // The working directory may change.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        self.paths().insert(path.clone(), kind);
        Temporary {
            path,
            registry: self,
        }
    }

    fn remove(&self) {
        let begun = Instant::now();
        loop {
            match self.exiting.try_write() {
                Ok(guard) => std::mem::forget(guard),
                Err(TryLockError::Poisoned(guard)) => std::mem::forget(guard.into_inner()),
                Err(TryLockError::WouldBlock) if begun.elapsed() < RENAMING => {
                    std::thread::sleep(Duration::from_millis(5));
                    continue;
                }
                Err(TryLockError::WouldBlock) => {}
            }
            break;
        }
        // The contents of a folder go before it.
        for (path, kind) in std::mem::take(&mut *self.paths()).into_iter().rev() {
            let _ = match kind {
                Kind::File => std::fs::remove_file(path),
                Kind::Folder => std::fs::remove_dir(path),
                Kind::Tree => std::fs::remove_dir_all(path),
            };
        }
    }
}

/// A path that [`remove_temporary`] removes as long as this lives; in the end its owner does.
#[derive(Debug)]
pub struct Temporary {
    path: PathBuf,
    registry: &'static Registry,
}

impl Temporary {
    /// A file.
    pub fn file(path: &Path) -> Self {
        REGISTRY.temporary(path, Kind::File)
    }

    /// A folder made for files to come: it is removed where it is empty.
    pub fn folder(path: &Path) -> Self {
        REGISTRY.temporary(path, Kind::Folder)
    }

    /// A folder with all that is in it.
    pub fn tree(path: &Path) -> Self {
        REGISTRY.temporary(path, Kind::Tree)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        self.registry.paths().remove(&self.path);
    }
}

/// While this lives, [`remove_temporary`] waits: for making a file and its [`Temporary`], and for
/// renames that belong together. Once the process is about to exit, nobody gets another one.
pub(crate) fn undisturbed() -> RwLockReadGuard<'static, ()> {
    REGISTRY.undisturbed()
}

/// True for an absolute path that [`remove_temporary`] would remove.
#[cfg(test)]
pub(crate) fn is_temporary(path: &Path) -> bool {
    REGISTRY.paths().contains_key(path)
}

/// Removes the temporary files and folders of all work that goes on in this process, for a program
/// that exits next: work that would make another one, or rename one into place, waits from here on
/// and never goes on.
pub fn remove_temporary() {
    REGISTRY.remove();
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::mpsc::channel;

    use super::*;

    fn registry() -> &'static Registry {
        Box::leak(Box::new(Registry::new()))
    }

    #[test]
    fn what_is_temporary_goes_and_what_others_put_beside_it_stays() {
        let scratch = tempfile::tempdir().unwrap();
        let path = |name: &str| scratch.path().join(name);
        for folder in ["made/deep", "shared", "tree/deep"] {
            std::fs::create_dir_all(path(folder)).unwrap();
        }
        for file in [
            "staged",
            "done",
            "made/deep/staged",
            "shared/own",
            "tree/deep/w",
        ] {
            std::fs::write(path(file), "").unwrap();
        }
        let registry = registry();
        let temporary = |name: &str, kind| registry.temporary(&path(name), kind);
        let _live = [
            temporary("staged", Kind::File),
            temporary("made/deep/staged", Kind::File),
            temporary("made", Kind::Folder),
            temporary("made/deep", Kind::Folder),
            temporary("shared", Kind::Folder),
            temporary("tree", Kind::Tree),
        ];
        drop(temporary("done", Kind::File));
        registry.remove();
        let left = std::fs::read_dir(scratch.path()).unwrap();
        let mut left: Vec<_> = left.map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["done", "shared"]);
        assert!(path("shared/own").is_file());
    }

    #[test]
    fn renames_that_have_begun_are_waited_for_and_none_begins_afterwards() {
        let registry = registry();
        let (send, receive) = channel();
        let renaming = registry.undisturbed();
        let sender = send.clone();
        std::thread::spawn(move || {
            registry.remove();
            sender.send("removed").unwrap();
        });
        std::thread::sleep(RENAMING / 4);
        assert!(receive.try_recv().is_err());
        drop(renaming);
        let second = Duration::from_secs(20);
        assert_eq!(receive.recv_timeout(second), Ok("removed"));
        std::thread::spawn(move || {
            let _late = registry.undisturbed();
            send.send("renamed").unwrap();
        });
        assert!(receive.recv_timeout(RENAMING).is_err());
    }

    #[test]
    fn a_rename_that_hangs_is_not_waited_for() {
        let registry = registry();
        let _hanging = registry.undisturbed();
        let begun = Instant::now();
        registry.remove();
        assert!(begun.elapsed() >= RENAMING);
    }
}
