//! Ctrl-C.

use std::io::Read;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::support::{Scratch, digits, root};

/// Sends SIGINT.
fn interrupt(child: u32) {
    let mut kill = Command::new("kill");
    let status = kill.args(["-INT", &child.to_string()]).status();
    assert!(status.unwrap().success());
}

#[test]
fn an_interrupted_command_leaves_nothing_and_says_so() {
    let scratch = Scratch::new();
    let calib = root().join("models/digits_calib.npz");
    let cache = scratch.path("cache");
    let mut child = Command::new(env!("CARGO_BIN_EXE_sepconv"))
        .args(["compress", &digits().path, "--scale", "1/255", "--calib"])
        .arg(calib)
        .args(["-o", &scratch.path("out.onnx")])
        .env("SEPCONV_CACHE", &cache)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // All families on 400 pictures: the work takes far longer than until its statistics are
    // stored, which is when it is interrupted.
    let begun = Instant::now();
    let stored = || std::path::Path::new(&cache).join("statistics-v1").is_dir();
    while !stored() && begun.elapsed() < Duration::from_secs(300) {
        assert!(
            child.try_wait().unwrap().is_none(),
            "it has ended by itself"
        );
        sleep(Duration::from_millis(50));
    }
    interrupt(child.id());
    let status = child.wait().unwrap();
    let mut said = String::new();
    child.stderr.unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(status.code(), Some(130), "{said}");
    assert_eq!(said, "error: interrupted; nothing was written\n");
    assert_eq!(scratch.names(), ["cache"]);
}
