//! Files that commands write, and those that they must not overwrite.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use sepconv::onnx::{OnnxError, Staged};
use sepconv_report::{CommandReport, FILES};

use crate::output::Output;

/// Refuses a file that exists.
pub fn check_free(path: &Path, force: bool) -> Result<()> {
    if !force && path.symlink_metadata().is_ok() {
        bail!(
            "{}: exists already (use --force to replace it)",
            path.display()
        );
    }
    Ok(())
}

/// Refuses a folder in which a report exists, or that can't be one.
pub fn check_report(folder: Option<&Path>, force: bool) -> Result<()> {
    let Some(folder) = folder else {
        return Ok(());
    };
    for name in FILES {
        check_free(&folder.join(name), force)?;
    }
    // The existing parts of the path must be folders, or the report could not be written.
    if let Some(odd) = folder
        .ancestors()
        .find(|p| p.exists())
        .filter(|p| !p.is_dir())
    {
        bail!("{}: {} is not a folder", folder.display(), odd.display());
    }
    FILES
        .iter()
        .try_for_each(|name| check_writable(&folder.join(name)))
}

/// Refuses a file in a folder that is not there, and one that can't be written.
pub fn check_place(file: &Path) -> Result<()> {
    let folder = file.parent().filter(|p| !p.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|f| !f.is_dir()) {
        bail!(
            "{}: the folder {} does not exist",
            file.display(),
            folder.display()
        );
    }
    check_writable(file)
}

/// Refuses a file that can't be written.
fn check_writable(file: &Path) -> Result<()> {
    match Staged::check_place(file) {
        Err(OnnxError::Io { source, .. }) => bail!("{}: {source}", file.display()),
        other => Ok(other?),
    }
}

/// A report of a command that writes no model.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Folder for report.json, report.csv, report.md and report.html
    #[arg(long, value_name = "DIR")]
    pub report: Option<PathBuf>,
    /// Replace existing files
    #[arg(long)]
    pub force: bool,
}

impl ReportArgs {
    /// Refuses before the work rather than after it.
    pub fn check(&self) -> Result<()> {
        check_report(self.report.as_deref(), self.force)
    }

    /// Writes the report, where one is asked for.
    pub fn write(
        &self,
        out: &Output,
        report: impl FnOnce(Option<String>) -> CommandReport,
    ) -> Result<()> {
        if let Some(folder) = &self.report {
            report(Some(out.command())).write(folder, self.force)?;
            out.line(format!("report  {}", folder.join("report.html").display()));
        }
        Ok(())
    }
}

/// A command as typed, quoted where a shell would need it; what is no Unicode is lost.
pub fn command_line(arguments: &[OsString]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,+:@%".contains(c);
    let args = arguments.iter().enumerate().map(|(i, arg)| {
        let arg = arg.to_string_lossy();
        if i == 0 {
            "sepconv".to_owned()
        } else if !arg.is_empty() && arg.chars().all(plain) {
            arg.into_owned()
        } else {
            format!("'{}'", arg.replace('\'', r"'\''"))
        }
    });
    args.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_quoted_for_a_shell() {
        let line = |arguments: &[&str]| {
            let arguments = arguments.iter().map(OsString::from);
            command_line(&arguments.collect::<Vec<_>>())
        };
        assert_eq!(
            line(&["/usr/bin/sepconv", "inspect", "a.onnx"]),
            "sepconv inspect a.onnx"
        );
        assert_eq!(
            line(&["python", "a b", "", "it's"]),
            r"sepconv 'a b' '' 'it'\''s'"
        );
    }

    #[cfg(unix)]
    #[test]
    fn arguments_need_not_be_unicode() {
        use std::os::unix::ffi::OsStringExt;
        let odd = OsString::from_vec(b"b\xff.onnx".to_vec());
        let line = command_line(&["sepconv".into(), odd]);
        assert_eq!(line, "sepconv 'b\u{fffd}.onnx'");
    }
}
