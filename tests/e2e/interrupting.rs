//! Ctrl-C and polite kills.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Scratch, ask, digits, root};

/// Sends a signal: INT, TERM.
fn send(signal: &str, child: &Child) {
    let mut kill = Command::new("kill");
    let status = kill.args([&format!("-{signal}"), &child.id().to_string()]);
    assert!(status.status().unwrap().success());
}

fn start(args: &[&str], variables: &[(&str, &str)]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_sepconv"))
        .args(args)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits until `ready` holds while the command goes on.
#[track_caller]
fn wait_until(child: &mut Child, ready: impl Fn() -> bool) {
    let begun = Instant::now();
    while !ready() {
        assert!(begun.elapsed() < Duration::from_secs(300));
        let ended = child.try_wait().unwrap();
        assert!(ended.is_none(), "it has ended by itself");
        sleep(Duration::from_millis(50));
    }
}

/// The exit code, and what was said last on standard error.
fn ended(mut child: Child) -> (Option<i32>, String) {
    let status = child.wait().unwrap();
    let mut said = String::new();
    child.stderr.unwrap().read_to_string(&mut said).unwrap();
    let last = said.lines().last().unwrap_or_default().to_owned();
    (status.code(), last)
}

#[test]
fn an_interrupted_command_leaves_nothing_and_says_so() {
    let scratch = Scratch::new();
    let calib = root().join("models/digits_calib.npz");
    let cache = scratch.path("cache");
    let (model, out) = (digits().path, scratch.path("out.onnx"));
    let calib = calib.to_str().unwrap();
    let args = ["compress", &model, "--scale", "1/255", "--calib", calib];
    let args = [&args[..], &["-o", &out]].concat();
    let mut child = start(&args, &[("SEPCONV_CACHE", &cache)]);
    // All families on 400 pictures: the work takes far longer than until its statistics are
    // stored, which is when it is interrupted.
    wait_until(&mut child, || {
        std::path::Path::new(&cache).join("statistics-v1").is_dir()
    });
    send("INT", &child);
    let said = ended(child);
    assert_eq!(
        said,
        (Some(130), "error: interrupted; nothing was written".into())
    );
    assert_eq!(scratch.names(), ["cache"]);
}

/// A single run of this network takes longer than anybody waits.
#[test]
fn within_a_long_forward_pass_commands_end_in_two_seconds_and_leave_nothing() {
    let scratch = Scratch::new();
    let model = scratch.path("long.onnx");
    ask(json!({"do": "build", "case": "long", "out": model}));
    let out = scratch.path("out.onnx");
    let compress = [
        "compress",
        &model,
        "--rank",
        "1",
        "--data-free=weights",
        "-o",
        &out,
    ];
    let staged = || scratch.names().iter().any(|name| name.ends_with(".tmp"));
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let mut child = start(&compress, &[]);
        // Written, and being run beside the original.
        wait_until(&mut child, staged);
        sleep(Duration::from_millis(500));
        let begun = Instant::now();
        send(signal, &child);
        let said = ended(child);
        let took = begun.elapsed();
        assert_eq!(
            said,
            (Some(code), "error: interrupted; nothing was written".into())
        );
        assert!(took < Duration::from_secs(2), "{took:?}");
        assert_eq!(scratch.names(), ["long.onnx"]);
    }
    // Where standard error is no terminal, progress is told in plain lines, by and by.
    let mut child = start(&["bench", &model, "--threads", "1"], &[]);
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    log.read_line(&mut line).unwrap();
    let plain = line.chars().all(|c| c == '\n' || (' '..='~').contains(&c));
    assert!(plain && line.ends_with(" s so far\n"), "{line:?}");
    // The second time it ends at once.
    let begun = Instant::now();
    send("TERM", &child);
    sleep(Duration::from_millis(200));
    send("TERM", &child);
    assert_eq!(child.wait().unwrap().code(), Some(143));
    let took = begun.elapsed();
    assert!(took < Duration::from_millis(1200), "{took:?}");
}
