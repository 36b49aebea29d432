//! External tensors anywhere in an encoded model: of its graph, of the graphs and functions within
//! it, in attributes, and as the parts of sparse tensors.

use std::collections::BTreeSet;

use bytes::Bytes;
use prost::Message as _;
use sepconv_ir::DType;

use crate::external::Location;
use crate::proto::StringStringEntryProto;
use crate::rope::Rope;
use crate::wire::{Record, Value, records};

/// Messages within messages that are followed: as many as prost decodes.
const DEPTH: usize = 100;

/// A range of an external data file that a tensor is stored in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Reference {
    /// The file, relative to the model's folder.
    pub file: String,
    /// Offset of the tensor in the file, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
}

impl Reference {
    /// The entries of `TensorProto.external_data`.
    pub fn entries(&self) -> Vec<StringStringEntryProto> {
        let entry = |key: &str, value: String| StringStringEntryProto {
            key: Some(key.to_owned()),
            value: Some(value),
        };
        vec![
            entry("location", self.file.clone()),
            entry("offset", self.offset.to_string()),
            entry("length", self.length.to_string()),
        ]
    }
}

/// Messages in which tensors are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Message {
    Model,
    Graph,
    Function,
    Training,
    Node,
    Attribute,
    Sparse,
    Tensor,
}

impl Message {
    /// The message in a field of this one.
    fn field(self, number: u32) -> Option<Self> {
        Some(match (self, number) {
            (Self::Model, 7) | (Self::Attribute, 6 | 11) | (Self::Training, 1 | 2) => Self::Graph,
            (Self::Model, 20) => Self::Training,
            (Self::Model, 25) => Self::Function,
            (Self::Graph, 1) | (Self::Function, 7) => Self::Node,
            (Self::Function, 11) | (Self::Node, 5) => Self::Attribute,
            (Self::Graph, 15) | (Self::Attribute, 22 | 23) => Self::Sparse,
            (Self::Graph, 5) | (Self::Attribute, 5 | 10) | (Self::Sparse, 1 | 2) => Self::Tensor,
            _ => return None,
        })
    }
}

/// Says where the data of a tensor lies from now on; `None`: where they were.
pub(crate) type Move<'a> = &'a mut dyn FnMut(&Reference) -> Option<Reference>;

/// The ranges that an encoded model refers to. Bytes that can't be read refer to nothing.
pub(crate) fn references(model: &Bytes) -> BTreeSet<Reference> {
    let mut found = BTreeSet::new();
    relocate(Message::Model, model, &mut |r| {
        found.insert(r.clone());
        None
    });
    found
}

/// Moves the external tensors of a message, or of some of its fields. `None` where none moves.
pub(crate) fn relocate(kind: Message, message: &Bytes, to: Move<'_>) -> Option<Rope> {
    within(kind, message, to, DEPTH)
}

fn within(kind: Message, message: &Bytes, to: Move<'_>, depth: usize) -> Option<Rope> {
    let all = records(message).ok()?;
    if kind == Message::Tensor {
        return tensor(all, to);
    }
    let mut moved: Vec<(usize, Rope)> = Vec::new();
    for (i, record) in all.iter().enumerate() {
        let inner = kind.field(record.number);
        let Some((inner, payload)) = inner.zip(record.payload().ok()) else {
            continue;
        };
        let Some(depth) = depth.checked_sub(1) else {
            continue;
        };
        if let Some(rope) = within(inner, payload, to, depth) {
            moved.push((i, rope));
        }
    }
    if moved.is_empty() {
        return None;
    }
    let mut moved = moved.into_iter().peekable();
    let mut out = Rope::default();
    for (i, record) in all.into_iter().enumerate() {
        match moved.next_if(|(at, _)| *at == i) {
            Some((_, rope)) => out.push_field(record.number, rope),
            None => out.push(record.raw),
        }
    }
    Some(out)
}

/// Moves one tensor. A checksum is one of the whole file, and goes.
fn tensor(all: Vec<Record>, to: Move<'_>) -> Option<Rope> {
    let mut location = Location::default();
    let mut dims = Vec::new();
    let (mut code, mut external) = (0, false);
    let mut stale = vec![false; all.len()];
    for (record, stale) in all.iter().zip(&mut stale) {
        match (record.number, &record.value) {
            (1, _) => record.varints(&mut dims).ok()?,
            (2, Value::Varint(v)) => code = *v as i32,
            (13, Value::Length(entry)) => {
                let read = location.read(entry).ok()?;
                let decoded = StringStringEntryProto::decode(entry.clone()).ok()?;
                *stale = read || decoded.key() == "checksum";
            }
            (14, Value::Varint(v)) => external = *v == 1,
            _ => {}
        }
    }
    if !external {
        return None;
    }
    let count = dims
        .iter()
        .try_fold(1usize, |n, d| n.checked_mul(usize::try_from(*d).ok()?));
    let whole = || DType::from_code(code).bytes_of(count?).map(|n| n as u64);
    let moved = to(&Reference {
        file: location.file,
        offset: location.offset,
        length: location.length.or_else(whole)?,
    })?;
    let mut out = Rope::default();
    for (record, stale) in all.into_iter().zip(stale) {
        if !stale {
            out.push(record.raw);
        }
    }
    for entry in moved.entries() {
        out.push_bytes(13, &entry.encode_to_vec());
    }
    Some(out)
}
