//! Ctrl-C and polite kills of the process. Ends that a caller of the library asks for are in
//! `crates/sepconv/tests/interrupting.rs`.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Scratch, ask, digits, root};

/// A command that goes on, and its standard error.
struct Running {
    child: Child,
    log: BufReader<ChildStderr>,
}

impl Running {
    fn start(args: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sepconv"))
            .args(args)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        Self { child, log }
    }

    /// Waits for a line that has `part` in it.
    #[track_caller]
    fn line(&mut self, part: &str) -> String {
        let mut line = String::new();
        while !line.contains(part) {
            line.clear();
            let read = self.log.read_line(&mut line).unwrap();
            assert!(read > 0, "it has ended without {part:?}");
        }
        line
    }

    /// Sends a signal: INT, TERM.
    fn send(&self, signal: &str) {
        let mut kill = Command::new("kill");
        let status = kill.args([&format!("-{signal}"), &self.child.id().to_string()]);
        assert!(status.status().unwrap().success());
    }

    /// The exit code, and the last words on standard error.
    fn ended(mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        self.log.read_to_string(&mut said).unwrap();
        let last = said.lines().last().unwrap_or_default().to_owned();
        (self.child.wait().unwrap().code(), last)
    }
}

/// The end of a command by a signal, with its exit code.
fn interrupted(code: i32) -> (Option<i32>, String) {
    let line = "error: interrupted; nothing was written";
    (Some(code), line.into())
}

#[test]
fn an_interrupted_command_leaves_nothing_and_says_so() {
    let scratch = Scratch::new();
    let calib = root().join("models/digits_calib.npz");
    let cache = scratch.path("cache");
    let (model, out) = (digits().path, scratch.path("out.onnx"));
    let calib = calib.to_str().unwrap();
    let args = ["compress", &model, "--scale", "1/255", "--calib", calib];
    let args = [&args[..], &["-o", &out, "-vv"]].concat();
    let mut running = Running::start(&args, &[("SEPCONV_CACHE", &cache)]);
    // All families are then fitted to 400 pictures.
    running.line("step=\"survey\"");
    running.send("INT");
    assert_eq!(running.ended(), interrupted(130));
    assert!(scratch.names().iter().all(|name| name == "cache"));
}

#[test]
fn an_interrupted_sweep_names_the_models_that_stay() {
    let scratch = Scratch::new();
    let (model, folder) = (digits().path, scratch.path("models"));
    let sweep = ["sweep", &model, "--data-free=weights", "--models", &folder];
    let mut running = Running::start(&sweep, &[]);
    let first = scratch.path("models/0.9.onnx");
    while !std::path::Path::new(&first).exists() {
        assert_eq!(running.child.try_wait().unwrap(), None);
        std::thread::sleep(Duration::from_millis(5));
    }
    running.send("INT");
    let (code, said) = running.ended();
    assert_eq!(code, Some(130), "{said}");
    let begins = format!("error: interrupted; {first}");
    let ends = said.ends_with(" was written before") || said.ends_with(" were written before");
    assert!(said.starts_with(&begins) && ends, "{said}");
    let mut left = std::fs::read_dir(&folder)
        .unwrap()
        .map(|e| e.unwrap().path());
    assert!(
        left.all(|path| said.contains(path.to_str().unwrap())),
        "{said}"
    );
}

/// A single run of this network takes longer than anybody waits.
#[test]
fn within_a_long_forward_pass_commands_end_in_two_seconds_and_leave_nothing() {
    let (models, scratch) = (Scratch::new(), Scratch::new());
    let (model, out) = (models.path("long.onnx"), scratch.path("out.onnx"));
    ask(json!({"do": "build", "case": "long", "out": model}));
    let rank = ["--rank", "1", "--data-free=weights"];
    let compress = [&["compress", &model, "-o", &out][..], &rank].concat();
    let mut compress = Running::start(&compress, &[]);
    let mut bench = Running::start(&["bench", &model, "--threads", "1"], &[]);
    // Where standard error is no terminal, progress is told in plain lines, by and by.
    let line = bench.line("\n");
    let plain = line.chars().all(|c| c == '\n' || (' '..='~').contains(&c));
    assert!(plain && line.ends_with(" s so far\n"), "{line:?}");
    // The second time it ends at once.
    let begun = Instant::now();
    while bench.child.try_wait().unwrap().is_none() {
        bench.send("TERM");
    }
    let took = begun.elapsed();
    assert_eq!(bench.child.wait().unwrap().code(), Some(143));
    assert!(took < Duration::from_millis(1200), "{took:?}");
    // Written, and being run beside the original.
    compress.line("running: 0 of ");
    assert!(scratch.names().iter().any(|name| name.ends_with(".tmp")));
    let begun = Instant::now();
    compress.send("TERM");
    assert_eq!(compress.ended(), interrupted(143));
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(scratch.names(), [""; 0]);
}
