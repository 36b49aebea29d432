//! Running the binary.

use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// Runs `sepconv` to its end.
pub fn sepconv(args: &[&str]) -> Finished {
    sepconv_with(args, &[])
}

/// Runs `sepconv` with environment variables added.
pub fn sepconv_with(args: &[&str], variables: &[(&str, &str)]) -> Finished {
    let output = Command::new(env!("CARGO_BIN_EXE_sepconv"))
        .args(args)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Finished {
        command: format!("sepconv {}", args.join(" ")),
        output,
    }
}

/// The quickest compression, `compress MODEL -o OUT --rank 2 --data-free=weights`, with options
/// added.
pub fn compress(model: &str, out: &str, options: &[&str]) -> Finished {
    let fixed = ["compress", model, "-o", out, "--rank", "2"];
    sepconv(&[&fixed[..], &["--data-free=weights"], options].concat())
}

/// A run that has ended.
pub struct Finished {
    command: String,
    output: Output,
}

impl Finished {
    pub fn code(&self) -> Option<i32> {
        self.output.status.code()
    }

    pub fn stdout(&self) -> String {
        String::from_utf8(self.output.stdout.clone()).unwrap()
    }

    /// Standard error without lines of progress, which depend on the machine.
    pub fn stderr(&self) -> String {
        let all = String::from_utf8(self.output.stderr.clone()).unwrap();
        let progress = |line: &&str| {
            [" s so far", " min so far", " done in ", " ended in "]
                .iter()
                .any(|part| line.contains(part))
        };
        let lines = all.split_inclusive('\n').filter(|line| !progress(line));
        lines.collect()
    }

    /// Standard output of a run that has to succeed.
    #[track_caller]
    pub fn ok(&self) -> String {
        assert_eq!(self.code(), Some(0), "{self}");
        self.stdout()
    }

    /// Standard output of a run with `--json` that has to succeed: one JSON document.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.ok()).unwrap_or_else(|e| panic!("not JSON ({e}): {self}"))
    }

    /// The one line on standard error of a run that has to be refused.
    #[track_caller]
    pub fn refused(&self) -> String {
        assert_eq!(self.code(), Some(1), "{self}");
        assert_eq!(self.stdout(), "", "{self}");
        let stderr = self.stderr();
        assert!(stderr.ends_with('\n'), "{self}");
        assert_eq!(stderr.lines().count(), 1, "{self}");
        stderr.trim_end().to_owned()
    }
}

impl std::fmt::Display for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (out, err) = (self.stdout(), self.stderr());
        write!(f, "\n$ {}\n", self.command)?;
        write!(f, "{}\nstdout: {out}\nstderr: {err}", self.output.status)
    }
}
