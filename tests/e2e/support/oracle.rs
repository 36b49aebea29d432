//! `tests/check_onnx.py`: one Python process that answers the questions of all tests.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

use serde_json::Value;

use super::root;

struct Oracle {
    /// Ends by itself when its standard input closes with this process.
    _python: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// Asks one question; see `tests/check_onnx.py` for the questions. A failure on its side fails
/// the test.
#[track_caller]
pub fn ask(request: Value) -> Value {
    static ORACLE: OnceLock<Mutex<Oracle>> = OnceLock::new();
    let mut line = String::new();
    {
        let oracle = ORACLE.get_or_init(|| Mutex::new(start()));
        let mut oracle = oracle.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(oracle.requests, "{request}").unwrap();
        oracle.answers.read_line(&mut line).unwrap();
    }
    let answer: Value = serde_json::from_str(&line).unwrap_or_else(|_| {
        panic!("tests/check_onnx.py broke down; run tests/run, which installs what it needs")
    });
    assert_eq!(answer.get("failure"), None, "{request}");
    answer
}

/// The Python that has onnx and onnxruntime.
pub fn python() -> PathBuf {
    let named = std::env::var_os("SEPCONV_PYTHON").map(PathBuf::from);
    named.unwrap_or_else(|| root().join(".venv/bin/python"))
}

/// The virtual environment of that Python, in which ONNX Runtime and OpenVINO are installed.
pub fn runtimes() -> String {
    let environment = python().ancestors().nth(2).map(PathBuf::from);
    environment.unwrap().to_str().unwrap().to_owned()
}

fn start() -> Oracle {
    let python = python();
    let mut child = Command::new(&python)
        .arg(root().join("tests/check_onnx.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| {
            let python = python.display();
            panic!("{python}: {e}; run tests/run, which makes it (or name one in SEPCONV_PYTHON)")
        });
    Oracle {
        requests: child.stdin.take().unwrap(),
        answers: BufReader::new(child.stdout.take().unwrap()),
        _python: child,
    }
}
