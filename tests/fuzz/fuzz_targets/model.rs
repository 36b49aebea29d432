//! Arbitrary bytes as a model: read, rewritten, written and read again.
#![no_main]

#[path = "../check.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|data: &[u8]| check::check(data));
