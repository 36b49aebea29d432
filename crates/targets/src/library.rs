//! Finding and loading the shared libraries of runtimes, each once per process.
//!
//! Tried in this order: the path given to [`SharedLibrary::name`], the runtime's environment
//! variables, the library's usual names on the loader's path, and its PyPI wheel in the active
//! virtual environment, in `./.venv`, in the active conda environment, or where the Python on the path
//! has its packages, which it is asked for once. What is named and does not load is an error, what is
//! only looked for is passed over.

use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use crate::error::TargetError;
use crate::text::one_line;

/// The time that a Python on the path has for its answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Places of a shared library.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Places {
    /// Variables that name it, the first that is set counts.
    pub variables: &'static [&'static str],
    /// Its file name without the platform's prefix, suffix and version.
    pub stem: &'static str,
    /// Endings that may follow the suffix in names on the loader's path.
    pub versions: &'static [&'static str],
    /// The PyPI package that has it.
    pub package: &'static str,
    /// The folder in that package's wheel.
    pub folder: &'static str,
}

/// A runtime's shared library, opened as a `T` on first use.
pub(crate) struct SharedLibrary<T> {
    target: &'static str,
    places: Places,
    open: fn(&Path) -> Result<T, String>,
    given: OnceLock<PathBuf>,
    loaded: OnceLock<Result<T, TargetError>>,
}

impl<T> SharedLibrary<T> {
    /// The library of `target`; `open` gets a file or a name on the loader's path.
    pub const fn new(
        target: &'static str,
        places: Places,
        open: fn(&Path) -> Result<T, String>,
    ) -> Self {
        Self {
            target,
            places,
            open,
            given: OnceLock::new(),
            loaded: OnceLock::new(),
        }
    }

    /// Names the file, the folder that holds it, or a virtual environment with the package.
    ///
    /// # Errors
    /// [`TargetError::TooLate`] where another library was named, or one was looked for before.
    pub fn name(&self, path: &Path) -> Result<(), TargetError> {
        if self.given.get().is_some_and(|known| known == path) {
            return Ok(());
        }
        let late = || TargetError::TooLate {
            target: self.target,
            path: path.to_owned(),
        };
        if self.loaded.get().is_some() {
            return Err(late());
        }
        self.given.set(path.to_owned()).map_err(|_| late())
    }

    /// The library, loaded on the first call.
    pub fn get(&self) -> Result<&T, TargetError> {
        let found = self.loaded.get_or_init(|| {
            self.find().map_err(|reason| TargetError::Unavailable {
                target: self.target,
                reason: one_line(&reason),
            })
        });
        found.as_ref().map_err(Clone::clone)
    }

    fn find(&self) -> Result<T, String> {
        let variable = self.places.variables.iter().find_map(|name| {
            let value = std::env::var_os(name).filter(|v| !v.is_empty())?;
            Some((format!("${name}"), PathBuf::from(value)))
        });
        let given = self.given.get();
        let given = given.map(|path| ("the path given".to_owned(), path.clone()));
        if let Some((origin, path)) = given.or(variable) {
            let library = self.places.named(&path).and_then(|path| (self.open)(&path));
            return library.map_err(|e| format!("{} ({origin}): {e}", path.display()));
        }
        let mut last = None;
        for path in self.places.candidates() {
            match (self.open)(&path) {
                Ok(library) => return Ok(library),
                // Only a wheel is known to be there: its error is worth telling.
                Err(e) if path.is_absolute() => last = Some(format!("{}: {e}", path.display())),
                Err(_) => {}
            }
        }
        Err(last.unwrap_or_else(|| {
            format!(
                "its shared library was not found (install the PyPI package {} in the active \
                 virtual environment, in ./.venv or for the Python on the path, or name the library \
                 in ${})",
                self.places.package, self.places.variables[0]
            )
        }))
    }
}

impl Places {
    /// An absolute path of the library that was named: a file, a folder with it, or a virtual
    /// environment with the wheel.
    pub fn named(&self, path: &Path) -> Result<PathBuf, String> {
        let absolute = path.canonicalize().map_err(|e| e.to_string())?;
        if !absolute.is_dir() {
            return Ok(absolute);
        }
        self.in_folder(&absolute)
            .or_else(|| self.in_environment(&absolute))
            .ok_or_else(|| format!("it holds no {}", self.pattern()))
    }

    /// Names for the loader's path, then files of wheels.
    fn candidates(&self) -> Vec<PathBuf> {
        let (prefix, suffix) = (std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
        let name = format!("{prefix}{}{suffix}", self.stem);
        let tails = [""].iter().chain(self.versions);
        let mut found: Vec<PathBuf> = tails.map(|tail| format!("{name}{tail}").into()).collect();
        let active = |name| std::env::var_os(name).map(PathBuf::from);
        let environments = active("VIRTUAL_ENV").into_iter();
        let environments = environments.chain([PathBuf::from(".venv")]);
        let environments = environments.chain(active("CONDA_PREFIX"));
        found.extend(environments.filter_map(|folder| self.in_environment(&folder)));
        if !found.iter().any(|path| path.is_absolute()) {
            let packages = python_packages().iter();
            found.extend(packages.filter_map(|p| self.in_folder(&p.join(self.folder))));
        }
        found
    }

    /// The library of the wheel in a virtual environment.
    fn in_environment(&self, folder: &Path) -> Option<PathBuf> {
        let folder = folder.canonicalize().ok()?;
        let packages = ["lib", "Lib"].iter().flat_map(|lib| {
            let lib = folder.join(lib);
            let pythons = sorted(&lib);
            pythons
                .into_iter()
                .map(|python| python.join("site-packages"))
                .chain([lib.join("site-packages")])
        });
        packages
            .map(|p| p.join(self.folder))
            .find_map(|folder| self.in_folder(&folder))
    }

    fn in_folder(&self, folder: &Path) -> Option<PathBuf> {
        let name = self.pattern();
        let fits = |path: &PathBuf| {
            let file = path.file_name().and_then(OsStr::to_str).unwrap_or("");
            // libonnxruntime.so, libonnxruntime.so.1.32.0, libonnxruntime.1.32.0.dylib
            let rest = file.strip_prefix(name.as_str());
            rest.is_some_and(|r| r.starts_with('.') && !r.ends_with(".py"))
        };
        sorted(folder).into_iter().find(fits)
    }

    fn pattern(&self) -> String {
        format!("{}{}", std::env::consts::DLL_PREFIX, self.stem)
    }
}

/// Folders of packages of the Python on the path; none where there is no Python.
fn python_packages() -> &'static [PathBuf] {
    static FOUND: OnceLock<Vec<PathBuf>> = OnceLock::new();
    FOUND.get_or_init(|| {
        let asked = "import site, sysconfig; print(sysconfig.get_path('purelib')); \
                     print(site.getusersitepackages())";
        let end = Instant::now() + PATIENCE;
        let run = |python| {
            let left = end.saturating_duration_since(Instant::now());
            let mut command = Command::new(python);
            answer(command.args(["-I", "-c", asked]), left)
        };
        let text = ["python3", "python"].into_iter().find_map(run);
        let lines = text.iter().flat_map(|text| text.lines());
        lines
            .map(PathBuf::from)
            .filter(|p| p.is_absolute())
            .collect()
    })
}

/// The standard output of a program that succeeds within `patience`.
fn answer(command: &mut Command, patience: Duration) -> Option<String> {
    let command = command.stdin(Stdio::null()).stderr(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).spawn().ok()?;
    let mut pipe = child.stdout.take()?;
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // Where nobody waits any more the answer is of no use.
        let _ = sender.send(pipe.read_to_end(&mut bytes).map(|_| bytes));
    });
    let Ok(Ok(bytes)) = receiver.recv_timeout(patience) else {
        let _ = child.kill();
        let _ = child.wait();
        return None;
    };
    let succeeded = child.wait().is_ok_and(|status| status.success());
    succeeded.then(|| String::from_utf8_lossy(&bytes).into_owned())
}

/// Entries of a folder by name; none where it can't be read.
fn sorted(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|e| e.path()).collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const PLACES: Places = Places {
        variables: &["SEPCONV_TEST_RUNTIME"],
        stem: "runtime",
        versions: &[".1"],
        package: "runtime",
        folder: "runtime/capi",
    };

    #[cfg(unix)]
    #[test]
    fn a_program_that_hangs_is_not_waited_for() {
        let ask = |script: &str, patience| {
            let mut command = Command::new("sh");
            answer(command.args(["-c", script]), patience)
        };
        let begun = std::time::Instant::now();
        assert_eq!(ask("exec sleep 60", Duration::from_millis(50)), None);
        assert!(begun.elapsed() < Duration::from_secs(30));
        assert_eq!(ask("echo here", PATIENCE).as_deref(), Some("here\n"));
        assert_eq!(ask("echo here; exit 1", PATIENCE), None);
    }

    #[test]
    fn wheels_are_found_in_a_virtual_environment() {
        let scratch = tempfile::tempdir().unwrap();
        let capi = scratch
            .path()
            .join("lib/python3.11/site-packages/runtime/capi");
        std::fs::create_dir_all(&capi).unwrap();
        assert_eq!(PLACES.in_environment(scratch.path()), None);
        let name = PLACES.pattern();
        std::fs::write(capi.join(format!("{name}_providers_shared.so")), "").unwrap();
        std::fs::write(capi.join(format!("{name}.py")), "").unwrap();
        assert_eq!(PLACES.in_environment(scratch.path()), None);
        std::fs::write(capi.join(format!("{name}.so.1.32.0")), "").unwrap();
        let found = PLACES.in_environment(scratch.path()).unwrap();
        assert!(found.is_absolute() && found.ends_with(format!("{name}.so.1.32.0")));
        assert_eq!(PLACES.named(&capi).unwrap(), found);
        assert_eq!(PLACES.named(scratch.path()).unwrap(), found);
    }

    #[test]
    fn the_library_that_is_named_first_counts() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join(format!("{}.so", PLACES.pattern()));
        assert!(PLACES.named(&path).is_err());
        std::fs::write(&path, "").unwrap();
        let library = SharedLibrary::new("test", PLACES, |path| Ok(path.to_owned()));
        library.name(scratch.path()).unwrap();
        library.name(scratch.path()).unwrap();
        assert!(matches!(
            library.name(Path::new("other")),
            Err(TargetError::TooLate { target: "test", .. })
        ));
        assert_eq!(library.get().unwrap(), &path.canonicalize().unwrap());
        let nowhere = SharedLibrary::<()>::new("test", PLACES, |_| Err("no".into()));
        let error = nowhere.get().unwrap_err().to_string();
        assert!(error.contains("the PyPI package runtime") && error.contains("$SEPCONV_TEST"));
    }
}
