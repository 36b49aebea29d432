//! IR to protobuf: records that nobody touched as they were read, the rest encoded anew.

use bytes::Bytes;
use sepconv_ir::{Graph, ValueId};

use crate::document::{Document, GraphRecord, ModelRecord};
use crate::encode;
use crate::rope::Rope;

/// Encodes a document as a `ModelProto`.
pub(crate) fn export(document: &Document) -> Rope {
    let mut out = Rope::default();
    for record in &document.envelope.model {
        match record {
            ModelRecord::Graph(_) if document.model.graph.is_modified() => {
                let graph = Exporter::new(document).graph();
                out.push_field(7, graph);
            }
            ModelRecord::Graph(raw) | ModelRecord::Verbatim(raw) => out.push(raw.clone()),
        }
    }
    out
}

struct Exporter<'a> {
    graph: &'a Graph,
    layout: &'a [GraphRecord],
    lists_initializers: bool,
    new_initializers: Vec<ValueId>,
}

impl<'a> Exporter<'a> {
    fn new(document: &'a Document) -> Self {
        let graph = &document.model.graph;
        let known: std::collections::HashSet<ValueId> = document
            .envelope
            .graph
            .iter()
            .filter_map(|r| match r {
                GraphRecord::Initializer(v) => Some(*v),
                _ => None,
            })
            .collect();
        let all = graph.initializers().map(|i| i.value);
        Self {
            graph,
            layout: &document.envelope.graph,
            // Before IR version 4 every initializer had to be a graph input too.
            lists_initializers: document.model.ir_version < 4,
            new_initializers: all.filter(|v| !known.contains(v)).collect(),
        }
    }

    /// The new records of a kind go behind the last old ones of that kind.
    fn graph(&self) -> Rope {
        let first_node = self.position(|r| matches!(r, GraphRecord::Node));
        let last_init = self.last(|r| matches!(r, GraphRecord::Initializer(_)));
        let last_input = self.last(|r| matches!(r, GraphRecord::Input(_)));
        let mut out = Rope::default();
        for (i, record) in self.layout.iter().enumerate() {
            match record {
                GraphRecord::Node if Some(i) == first_node => self.nodes(&mut out),
                GraphRecord::Node => {}
                GraphRecord::Initializer(value) => self.initializer(*value, &mut out),
                GraphRecord::About(value, raw) => {
                    if self.graph.value(*value).is_some() {
                        out.push(raw.clone());
                    }
                }
                GraphRecord::Input(raw) | GraphRecord::Verbatim(raw) => out.push(raw.clone()),
            }
            if Some(i) == last_init {
                self.added(&mut out);
            }
            if Some(i) == last_input {
                self.listed(&mut out);
            }
        }
        if first_node.is_none() {
            self.nodes(&mut out);
        }
        if last_init.is_none() {
            self.added(&mut out);
        }
        if last_input.is_none() {
            self.listed(&mut out);
        }
        out
    }

    fn position(&self, f: impl Fn(&GraphRecord) -> bool) -> Option<usize> {
        self.layout.iter().position(f)
    }

    fn last(&self, f: impl Fn(&GraphRecord) -> bool) -> Option<usize> {
        self.layout.iter().rposition(f)
    }

    fn nodes(&self, out: &mut Rope) {
        for (_, op) in self.graph.operators() {
            match &op.source {
                Some(raw) => out.push(raw.clone()),
                None => out.push_field(1, encode::operator(self.graph, op)),
            }
        }
    }

    fn initializer(&self, value: ValueId, out: &mut Rope) {
        let Some(producer) = self.graph.value(value).map(|v| v.producer) else {
            return;
        };
        let Some(init) = self.graph.initializer(producer) else {
            return;
        };
        match &init.source {
            Some(raw) => out.push(Bytes::clone(raw)),
            None => out.push_field(5, encode::tensor(self.graph.name(value), &init.tensor)),
        }
    }

    fn added(&self, out: &mut Rope) {
        for value in &self.new_initializers {
            self.initializer(*value, out);
        }
    }

    fn listed(&self, out: &mut Rope) {
        if !self.lists_initializers {
            return;
        }
        for value in &self.new_initializers {
            if let Some(tensor) = self.graph.constant(*value) {
                out.push_field(11, encode::value_info(self.graph.name(*value), tensor));
            }
        }
    }
}
