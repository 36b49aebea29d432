//! Damaged models: an error or a model, never a panic. The same check is fuzzed for longer by
//! tests/fuzz.
#![allow(clippy::unwrap_used)]

#[path = "../../../tests/fuzz/check.rs"]
mod check;
#[path = "../../../tests/fuzz/corpus.rs"]
mod corpus;

use bytes::Bytes;
use check::check;
use corpus::corpus;
use proptest::prelude::*;
use sepconv_onnx::Document;

/// A change of the bytes at a place.
#[derive(Debug, Clone)]
enum Mutation {
    Truncate,
    FlipBit(u8),
    /// A byte that makes lengths and dimensions huge where it is read as a varint.
    Huge,
    Remove(usize),
    Repeat(usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        Just(Mutation::Truncate),
        (0..8u8).prop_map(Mutation::FlipBit),
        Just(Mutation::Huge),
        (1..16usize).prop_map(Mutation::Remove),
        (1..64usize).prop_map(Mutation::Repeat),
    ]
}

/// Damages `bytes` at `place`, a share of their length.
fn mutate(bytes: &mut Vec<u8>, place: f64, mutation: &Mutation) {
    let at = (place * bytes.len() as f64) as usize;
    let Some(byte) = bytes.get_mut(at) else {
        return;
    };
    match mutation {
        Mutation::Truncate => bytes.truncate(at),
        Mutation::FlipBit(bit) => *byte ^= 1 << bit,
        Mutation::Huge => *byte = 0xff,
        Mutation::Remove(count) => {
            let end = bytes.len().min(at + count);
            bytes.drain(at..end);
        }
        Mutation::Repeat(count) => {
            let end = bytes.len().min(at + count);
            let piece = bytes[at..end].to_vec();
            bytes.splice(at..at, piece);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn a_damaged_model_is_refused_or_rewritten(
        which in 0..corpus().len(),
        damage in proptest::collection::vec((0.0..1.0f64, mutation()), 1..4),
    ) {
        let mut bytes = corpus().swap_remove(which).1;
        for (place, mutation) in &damage {
            mutate(&mut bytes, *place, mutation);
        }
        check(&bytes);
    }
}

#[test]
fn the_undamaged_corpus_is_read_and_rewritten() {
    for (name, bytes) in corpus() {
        let read = Document::from_bytes(Bytes::from(bytes.clone()));
        assert!(read.is_ok(), "{name}: {:?}", read.err());
        check(&bytes);
    }
}

#[test]
fn every_prefix_of_a_model_is_refused_or_read() {
    for (_, bytes) in corpus() {
        for end in 0..bytes.len() {
            check(&bytes[..end]);
        }
    }
}
