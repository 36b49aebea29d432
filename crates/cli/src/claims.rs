//! The files that a command reads and writes: none that it writes is another one of them.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use sepconv_report::FILES;

use crate::interrupt;

/// A file by the argument that names it.
struct Claim {
    name: &'static str,
    path: PathBuf,
    /// The file that it is, however it is spelt.
    file: PathBuf,
    /// What it may replace.
    over: Option<PathBuf>,
}

/// The files of a command, to be checked before its work.
#[derive(Default)]
pub struct Claims {
    read: Vec<Claim>,
    written: Vec<Claim>,
}

impl Claims {
    /// A file that is read.
    pub fn reads<'p>(mut self, name: &'static str, path: impl Into<Option<&'p PathBuf>>) -> Self {
        self.read.extend(claim(name, path.into()));
        self
    }

    /// A file that is written.
    pub fn writes<'p>(mut self, name: &'static str, path: impl Into<Option<&'p PathBuf>>) -> Self {
        self.written.extend(claim(name, path.into()));
        self
    }

    /// A file that is written and may take the place of one that is read.
    pub fn replaces(mut self, name: &'static str, path: &PathBuf, original: &Path) -> Self {
        let over = Some(file(original));
        let claim = claim(name, Some(path));
        self.written.extend(claim.map(|c| Claim { over, ..c }));
        self
    }

    /// The files of a report.
    pub fn reports<'p>(mut self, folder: impl Into<Option<&'p PathBuf>>) -> Self {
        if let Some(folder) = folder.into() {
            for name in FILES {
                self = self.writes("--report", &folder.join(name));
            }
        }
        self
    }

    /// Checks the files, and has those that are written told of where the command is interrupted behind them.
    ///
    /// # Errors
    /// As [`Claims::check`].
    pub fn enter(&self) -> Result<()> {
        self.check()?;
        self.written.iter().for_each(|w| interrupt::watch(&w.path));
        Ok(())
    }

    /// Refuses a file that is written where another one is read or written, and one that would have to be a folder of
    /// another one.
    ///
    /// # Errors
    /// A line that names both arguments and the path.
    fn check(&self) -> Result<()> {
        for (i, written) in self.written.iter().enumerate() {
            let others = self.written[..i].iter();
            let within = |other: &&Claim| {
                other.file.starts_with(&written.file) || written.file.starts_with(&other.file)
            };
            let replaced = |read: &&Claim| {
                read.file == written.file && written.over.as_ref() != Some(&read.file)
            };
            let read = self.read.iter().find(replaced);
            if let Some(other) = others.rev().find(within).or(read) {
                let (path, name) = (written.path.display(), written.name);
                let same = match other.file == written.file {
                    true => format!("are one file: {path}"),
                    false => format!(
                        "are in each other's way: {} and {path}",
                        other.path.display()
                    ),
                };
                bail!("{} and {name} {same}", other.name);
            }
        }
        Ok(())
    }
}

fn claim(name: &'static str, path: Option<&PathBuf>) -> Option<Claim> {
    path.map(|path| Claim {
        name,
        path: path.clone(),
        file: file(path),
        over: None,
    })
}

/// The absolute path with all links followed, of a file that is not there yet those of its folder.
fn file(path: &Path) -> PathBuf {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let real = whole.ancestors().find_map(|there| {
        let real = there.canonicalize().ok()?;
        let rest = whole.strip_prefix(there).ok()?;
        // Joined with nothing, a file would become a folder.
        Some(match rest.as_os_str().is_empty() {
            true => real,
            false => real.join(rest),
        })
    });
    real.unwrap_or(whole)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tempfile::TempDir;

    use super::*;

    /// A folder of its own, with a model in it.
    fn folder() -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("model.onnx"), b"").unwrap();
        folder
    }

    fn refused(claims: &Claims) -> String {
        claims.check().unwrap_err().to_string()
    }

    #[test]
    fn a_file_has_one_purpose() {
        let folder = folder();
        let inside = |name: &str| folder.path().join(name);
        let (model, out) = (inside("model.onnx"), inside("new/out.onnx"));
        let in_place =
            Claims::default()
                .reads("the model", &model)
                .replaces("the output", &model, &model);
        in_place.check().unwrap();
        let plan = |path: &PathBuf| {
            let claims = Claims::default().reads("the model", &model);
            let claims = claims.replaces("the output", &out, &model);
            claims.writes("--save-plan", path)
        };
        plan(&inside("plan.json")).check().unwrap();
        let text = refused(&plan(&model));
        assert!(
            text.starts_with("the model and --save-plan are one file: "),
            "{text}"
        );
        // Neither of the two is there.
        let text = refused(&plan(&inside("new/./out.onnx")));
        assert!(
            text.starts_with("the output and --save-plan are one file: "),
            "{text}"
        );
        let claims = Claims::default().reads("the data", None);
        claims.check().unwrap();
    }

    #[test]
    fn a_report_is_in_nobody_s_way() {
        let folder = folder();
        let inside = |name: &str| folder.path().join(name);
        let out = inside("out");
        let claims = |output: &PathBuf| Claims::default().writes("-o", output).reports(&out);
        claims(&inside("out/model.onnx")).check().unwrap();
        let text = refused(&claims(&inside("out/report.json")));
        assert!(text.contains("-o and --report are one file"), "{text}");
        // Where the folder is to be, there is a file by then.
        let text = refused(&claims(&out));
        assert!(
            text.contains("-o and --report are in each other's way"),
            "{text}"
        );
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed() {
        let folder = folder();
        let inside = |name: &str| folder.path().join(name);
        let link = |to: &str, name: &str| {
            std::os::unix::fs::symlink(inside(to), inside(name)).unwrap();
            inside(name)
        };
        let (model, to_model) = (inside("model.onnx"), link("model.onnx", "link.onnx"));
        let claims = Claims::default().reads("the model", &model);
        let text = refused(&claims.writes("--save-plan", &to_model));
        assert!(text.contains("are one file"), "{text}");
        let to_folder = link(".", "folder");
        let (a, b) = (to_folder.join("new.onnx"), inside("new.onnx"));
        let claims = Claims::default().writes("-o", &a).writes("--state", &b);
        assert!(refused(&claims).contains("-o and --state are one file"));
    }
}
