//! Layout of the external data of a written model.
//!
//! A data file of which every range is still referred to stays as it is. Of the others, the ranges
//! that are still referred to go into one file of the written model's own, each once, and so do new
//! initializers: a model with external data keeps its weights outside, and one that would be
//! larger than protobuf allows puts them there.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use bytes::Bytes;
use sepconv_ir::Initializer;

use crate::document::Document;
use crate::encode;
use crate::export::{self, Rewrite};
use crate::mapping::Mapping;
use crate::references::{Message, Reference, relocate};
use crate::rope::Rope;

/// Bytes of a `ModelProto` beyond which protobuf does not read it.
const LARGEST: usize = i32::MAX as usize;
/// New initializers of fewer bytes stay in the model, as with ONNX's own tools.
const OUTSIDE_FROM: usize = 1024;
/// Tensors begin at multiples of so many bytes, so that floats can be read where they lie.
const ALIGN: u64 = 4;

/// Layout of the external data of a model once it is written.
pub(crate) struct Layout<'a> {
    document: &'a Document,
    /// Data files that stay as they are.
    pub kept: Vec<&'a (String, Mapping)>,
    /// Contents of the model's own file, each with its offset in bytes.
    pub pieces: Vec<(u64, Piece<'a>)>,
    /// Folder of the own file, relative to that of the model; may be empty.
    pub folder: String,
    /// Offsets in the own file, in bytes, of ranges that lay elsewhere.
    moved: BTreeMap<Reference, u64>,
    /// Offsets in the own file, of new initializers by their names.
    new: BTreeMap<String, u64>,
    len: u64,
}

/// Bytes of a model's own data file.
pub(crate) enum Piece<'a> {
    /// A range of a mapped file.
    Old(&'a Mapping, Range<usize>),
    /// A new initializer.
    New(Bytes),
}

impl<'a> Layout<'a> {
    /// Lays the data of `document` out. Files that `stays` does not hold for are not kept.
    pub fn new(document: &'a Document, stays: &dyn Fn(&str) -> bool) -> Self {
        Self::within(document, stays, LARGEST)
    }

    fn within(document: &'a Document, stays: &dyn Fn(&str) -> bool, largest: usize) -> Self {
        let mut layout = Self {
            document,
            kept: Vec::new(),
            pieces: Vec::new(),
            folder: String::new(),
            moved: BTreeMap::new(),
            new: BTreeMap::new(),
            len: 0,
        };
        let before = document.references();
        if before.is_empty() && document.encode().len() <= largest {
            return layout;
        }
        let mut found = Found::default();
        export::encode(&document.model, &document.envelope, None, &mut found);
        let mut lost: Option<&str> = None;
        for file in document.data() {
            let of = |all: &BTreeSet<Reference>| {
                let own = all.iter().filter(|r| r.file == file.0);
                own.cloned().collect::<BTreeSet<_>>()
            };
            let (was, is) = (of(before), of(&found.references));
            let known = is.iter().all(|r| range(r, &file.1).is_some());
            if !known || !is.is_empty() && was.is_subset(&is) && stays(&file.0) {
                layout.kept.push(file);
            } else {
                lost = lost.or(Some(&file.0));
                layout.take(&file.1, is);
            }
        }
        for (name, data) in found.new {
            let offset = layout.add(Piece::New(data.clone()), data.len() as u64);
            layout.new.insert(name, offset);
        }
        let first = before.iter().map(|r| r.file.as_str()).next();
        let beside = lost.or(first).and_then(|f| f.rsplit_once('/'));
        layout.folder = beside.map_or(String::new(), |(folder, _)| folder.to_owned());
        layout
    }

    /// Takes over ranges of a file, those that overlap together.
    fn take(&mut self, map: &'a Mapping, ranges: BTreeSet<Reference>) {
        let mut together: Vec<(Range<usize>, Vec<Reference>)> = Vec::new();
        for reference in ranges {
            let Some(range) = range(&reference, map) else {
                continue;
            };
            match together.last_mut() {
                Some((last, all)) if range.start < last.end || range.is_empty() => {
                    last.end = last.end.max(range.end);
                    all.push(reference);
                }
                _ => together.push((range, vec![reference])),
            }
        }
        for (range, all) in together {
            let start = range.start as u64;
            let offset = self.add(Piece::Old(map, range.clone()), range.len() as u64);
            for reference in all {
                let at = offset + reference.offset.saturating_sub(start);
                self.moved.insert(reference, at);
            }
        }
    }

    fn add(&mut self, piece: Piece<'a>, len: u64) -> u64 {
        let offset = self.len.next_multiple_of(ALIGN);
        self.len = offset + len;
        self.pieces.push((offset, piece));
        offset
    }

    /// Bytes of the model's own data file; 0 where it needs none. A file is never empty.
    pub fn own_len(&self) -> u64 {
        if self.pieces.is_empty() {
            0
        } else {
            self.len.max(1)
        }
    }

    /// The encoded model, with its own data at `location`.
    pub fn encode(&self, location: &str) -> Rope {
        if self.pieces.is_empty() {
            return self.document.encode();
        }
        let mut moved = Moved {
            layout: self,
            location,
        };
        let document = self.document;
        export::encode(&document.model, &document.envelope, None, &mut moved)
    }

    /// Bytes of all files that are written.
    pub fn size(&self) -> usize {
        // The name is not known yet; a long one keeps budgets on the safe side.
        const NAME: &str = "................................................................";
        let kept: usize = self.kept.iter().map(|(_, map)| map.as_ref().len()).sum();
        let location = format!("{}/{NAME}", self.folder);
        self.encode(&location).len() + kept + self.own_len() as usize
    }
}

/// Range in bytes of a reference in its file. `None` where the file ends before.
fn range(reference: &Reference, map: &Mapping) -> Option<Range<usize>> {
    let start = usize::try_from(reference.offset).ok()?;
    let end = start.checked_add(usize::try_from(reference.length).ok()?)?;
    (end <= map.as_ref().len()).then_some(start..end)
}

/// Collects the references of a model, and its new initializers of some size.
#[derive(Default)]
struct Found {
    references: BTreeSet<Reference>,
    new: Vec<(String, Bytes)>,
}

impl Rewrite for Found {
    fn initializer(&mut self, name: &str, init: &Initializer) -> Option<Rope> {
        let data = init.tensor.data().filter(|_| init.source.is_none());
        if let Some(data) = data.filter(|d| d.len() >= OUTSIDE_FROM) {
            self.new.push((name.to_owned(), data.clone()));
        }
        None
    }

    fn field(&mut self, within: Message, field: Rope) -> Rope {
        relocate(within, &field.to_bytes(), &mut |r| {
            self.references.insert(r.clone());
            None
        });
        field
    }
}

/// Writes the places of a layout into a model.
struct Moved<'a> {
    layout: &'a Layout<'a>,
    location: &'a str,
}

impl Rewrite for Moved<'_> {
    fn initializer(&mut self, name: &str, init: &Initializer) -> Option<Rope> {
        let offset = *self.layout.new.get(name)?;
        let length = init.tensor.data()?.len() as u64;
        let place = Reference {
            file: self.location.to_owned(),
            offset,
            length,
        };
        Some(encode::external(name, &init.tensor, place.entries()))
    }

    fn field(&mut self, within: Message, field: Rope) -> Rope {
        let moved = relocate(within, &field.to_bytes(), &mut |r| {
            let offset = *self.layout.moved.get(r)?;
            Some(Reference {
                file: self.location.to_owned(),
                offset,
                length: r.length,
            })
        });
        moved.unwrap_or(field)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use prost::Message as _;
    use sepconv_ir::{Operator, Patch, Tensor};

    use super::*;
    use crate::proto::{GraphProto, ModelProto, NodeProto, ValueInfoProto};

    #[test]
    fn new_weights_go_outside_where_protobuf_can_not_hold_them() {
        let info = |name: &str| ValueInfoProto {
            name: Some(name.into()),
            ..Default::default()
        };
        let relu = NodeProto {
            op_type: Some("Relu".into()),
            input: vec!["x".into()],
            output: vec!["y".into()],
            ..Default::default()
        };
        let model = ModelProto {
            ir_version: Some(8),
            graph: Some(GraphProto {
                node: vec![relu],
                input: vec![info("x")],
                output: vec![info("y")],
                ..Default::default()
            }),
            ..Default::default()
        };
        let mut document = Document::from_bytes(model.encode_to_vec().into()).unwrap();
        let graph = &mut document.model.graph;
        let (id, op) = graph.operators().next().unwrap();
        let (x, y) = (op.input(0).unwrap(), op.output(0).unwrap());
        let mut patch = Patch::replace("test", id);
        let large = patch.initializer("large", Tensor::from_f32(vec![256], vec![1.0; 256]));
        let small = patch.initializer("small", Tensor::from_f32(vec![1], vec![1.0]));
        let inputs = vec![Some(x.into()), Some(large), Some(small)];
        patch.operator_into(Operator::new("Conv", "c"), inputs, y);
        graph.apply(patch).unwrap();
        let inline = Layout::within(&document, &|_| true, 10_000);
        assert_eq!(
            (inline.own_len(), inline.size()),
            (0, document.encode().len())
        );
        let outside = Layout::within(&document, &|_| true, 1_000);
        assert_eq!(outside.own_len(), 1024);
        let written = ModelProto::decode(outside.encode("m.data").to_bytes()).unwrap();
        let graph = written.graph.unwrap();
        let where_is = |name: &str| {
            let found = graph.initializer.iter().find(|t| t.name() == name);
            found.unwrap().data_location()
        };
        use crate::proto::tensor_proto::DataLocation;
        assert_eq!(where_is("large"), DataLocation::External);
        assert_eq!(where_is("small"), DataLocation::Default);
    }
}
