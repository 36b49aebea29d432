//! End-to-end tests: the `sepconv` binary on real model files, judged by ONNX's checker and by
//! ONNX Runtime (`tests/check_onnx.py`). The models of `models/` always, those of
//! `../shared/models` where that folder exists.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod support;

mod agreement;
mod bench;
mod budgets;
mod calibrating;
mod comparing;
mod conformance;
mod data;
mod evaluating;
mod files;
mod forms;
mod interrupting;
mod large;
mod machine;
mod planning;
mod plans;
mod prototype;
mod quantizing;
mod refusals;
mod reporting;
mod round_trip;
mod selection;
mod subgraphs;
mod tasks;
mod tuning;
mod verdicts;
mod weights;
mod writing;
