//! IR to protobuf: records that nobody touched as they were read, the rest encoded anew.

use std::collections::HashSet;

use sepconv_ir::{
    Attribute, AttributeValue, Graph, Initializer, Model, NodeId, Operator, Tensor, ValueId,
};

use crate::encode;
use crate::envelope::{Envelope, GraphRecord, ModelRecord};
use crate::references::Message;
use crate::rope::Rope;
use crate::tensor::TensorType;

/// A part of a graph: from some values, which become its inputs, to others, its outputs.
#[derive(Clone, Copy)]
pub(crate) struct Part<'a> {
    /// The inputs, with their types; `None`: the graph's own.
    pub given: Option<&'a [(ValueId, TensorType)]>,
    pub wanted: &'a [ValueId],
}

/// Encodes a model as a `ModelProto`, with the records of its file.
pub(crate) fn export(model: &Model, envelope: &Envelope) -> Rope {
    if model.graph.is_modified() {
        return encode(model, envelope, None, &mut AsItIs);
    }
    let mut out = Rope::default();
    for record in &envelope.model {
        let (ModelRecord::Graph(raw) | ModelRecord::Verbatim(raw)) = record;
        out.push(raw.clone());
    }
    out
}

/// Changes encodings as they are written.
pub(crate) trait Rewrite {
    /// May encode an initializer in its own way.
    fn initializer(&mut self, _: &str, _: &Initializer) -> Option<Rope> {
        None
    }

    /// The encoding to write for a field of a message.
    fn field(&mut self, _: Message, field: Rope) -> Rope {
        field
    }
}

/// Changes nothing.
struct AsItIs;

impl Rewrite for AsItIs {}

/// Encodes a model, or a part of it, field by field.
pub(crate) fn encode(
    model: &Model,
    envelope: &Envelope,
    part: Option<Part<'_>>,
    rewrite: &mut dyn Rewrite,
) -> Rope {
    let mut out = Rope::default();
    for record in &envelope.model {
        match record {
            ModelRecord::Graph(_) => {
                out.push_field(7, Exporter::new(model, envelope, part).graph(rewrite));
            }
            ModelRecord::Verbatim(raw) => {
                out.append(rewrite.field(Message::Model, raw.clone().into()));
            }
        }
    }
    out
}

impl Part<'_> {
    fn given(&self) -> Vec<ValueId> {
        let given = self.given.into_iter().flatten();
        given.map(|(value, _)| *value).collect()
    }
}

/// Encoding of constants that passes made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Constants {
    Initializers,
    /// With an input of the same name: before IR version 4 every initializer had one.
    Listed,
    /// Functions have no initializers.
    Nodes,
}

/// Encodes a graph within another, or a function: `node` is the number of its nodes' field.
/// `captured` are values of the graphs around it.
pub(crate) fn within(
    graph: &Graph,
    layout: &[GraphRecord],
    captured: &[ValueId],
    node: u32,
    constants: Constants,
) -> Rope {
    let exporter = Exporter {
        graph,
        layout,
        node,
        constants,
        new_initializers: added(graph, layout, captured),
        part: None,
        needed: None,
    };
    exporter.graph(&mut AsItIs)
}

/// The initializers that are not in the file.
fn added(graph: &Graph, layout: &[GraphRecord], captured: &[ValueId]) -> Vec<ValueId> {
    let known = layout.iter().filter_map(|r| match r {
        GraphRecord::Initializer(v) => Some(v),
        _ => None,
    });
    let known: HashSet<ValueId> = known.chain(captured).copied().collect();
    let all = graph.initializers().map(|i| i.value);
    all.filter(|v| !known.contains(v)).collect()
}

struct Exporter<'a> {
    graph: &'a Graph,
    layout: &'a [GraphRecord],
    node: u32,
    constants: Constants,
    new_initializers: Vec<ValueId>,
    part: Option<Part<'a>>,
    needed: Option<HashSet<NodeId>>,
}

impl<'a> Exporter<'a> {
    fn new(model: &'a Model, envelope: &'a Envelope, part: Option<Part<'a>>) -> Self {
        let graph = &model.graph;
        let layout = &envelope.graph;
        Self {
            graph,
            layout,
            node: 1,
            constants: if model.ir_version < 4 {
                Constants::Listed
            } else {
                Constants::Initializers
            },
            new_initializers: added(graph, layout, &[]),
            part,
            needed: part.map(|part| graph.between(&part.given(), part.wanted)),
        }
    }

    /// The new records of a kind go behind the last old ones of that kind.
    fn graph(&self, rewrite: &mut dyn Rewrite) -> Rope {
        let first_node = self.position(|r| matches!(r, GraphRecord::Node));
        let last_init = self.last(|r| matches!(r, GraphRecord::Initializer(_)));
        let last_input = self.last(|r| matches!(r, GraphRecord::Input(_)));
        let mut out = Rope::default();
        for (i, record) in self.layout.iter().enumerate() {
            match record {
                GraphRecord::Node if Some(i) == first_node => self.nodes(&mut out, rewrite),
                GraphRecord::Node => {}
                GraphRecord::Initializer(value) => self.initializer(*value, &mut out, rewrite),
                GraphRecord::About(value, raw) => {
                    let value = self.graph.value(*value);
                    if value.is_some_and(|v| self.needs(v.producer)) {
                        out.push(raw.clone());
                    }
                }
                GraphRecord::Listing(value, raw) => {
                    if self.lists(*value) {
                        out.push(raw.clone());
                    }
                }
                GraphRecord::Output(_) if self.part.is_some() => {}
                GraphRecord::Input(_) if self.given().is_some() => {}
                GraphRecord::Input(raw) | GraphRecord::Output(raw) => out.push(raw.clone()),
                GraphRecord::Verbatim(raw) => {
                    out.append(rewrite.field(Message::Graph, raw.clone().into()));
                }
            }
            if Some(i) == last_init {
                self.added(&mut out, rewrite);
            }
            if Some(i) == last_input {
                self.listed(&mut out);
            }
        }
        if first_node.is_none() {
            self.nodes(&mut out, rewrite);
        }
        if last_init.is_none() {
            self.added(&mut out, rewrite);
        }
        if last_input.is_none() {
            self.listed(&mut out);
        }
        for (value, ty) in self.given().into_iter().flatten() {
            let name = self.graph.name(*value);
            out.push_field(11, encode::typed_value_info(name, ty.0, &ty.1));
        }
        for value in self.part.into_iter().flat_map(|p| p.wanted) {
            out.push_field(12, encode::untyped_value_info(self.graph.name(*value)));
        }
        out
    }

    fn given(&self) -> Option<&'a [(ValueId, TensorType)]> {
        self.part.and_then(|p| p.given)
    }

    fn needs(&self, node: NodeId) -> bool {
        self.needed.as_ref().is_none_or(|n| n.contains(&node))
    }

    /// True where an initializer that the file lists as an input is one. From IR version 4 on that means one which
    /// callers may override: beside new initializers, which are not listed, those listed by habit would be taken for such.
    fn lists(&self, value: ValueId) -> bool {
        // Without the initializer it would be an input that has to be given.
        let Some(producer) = self.graph.value(value).map(|v| v.producer) else {
            return false;
        };
        let initializer = self.graph.initializer(producer);
        let overridable = initializer.is_some_and(|init| init.overridable);
        self.needs(producer) && (overridable || self.constants == Constants::Listed)
    }

    fn position(&self, f: impl Fn(&GraphRecord) -> bool) -> Option<usize> {
        self.layout.iter().position(f)
    }

    fn last(&self, f: impl Fn(&GraphRecord) -> bool) -> Option<usize> {
        self.layout.iter().rposition(f)
    }

    fn nodes(&self, out: &mut Rope, rewrite: &mut dyn Rewrite) {
        if self.constants == Constants::Nodes {
            for value in &self.new_initializers {
                if let Some(tensor) = self.graph.constant(*value) {
                    out.push_field(self.node, self.constant(*value, tensor));
                }
            }
        }
        for (_, op) in self.graph.operators().filter(|(id, _)| self.needs(*id)) {
            let mut field = Rope::default();
            match &op.source {
                Some(raw) => field.push(raw.clone()),
                None => field.push_field(self.node, encode::operator(self.graph, op)),
            }
            out.append(rewrite.field(Message::Graph, field));
        }
    }

    /// A `Constant` node, which may stand before all others.
    fn constant(&self, value: ValueId, tensor: &Tensor) -> Rope {
        let op = Operator {
            attributes: vec![Attribute {
                name: "value".into(),
                value: AttributeValue::Tensor(tensor.clone()),
                source: None,
            }],
            outputs: vec![Some(value)],
            ..Operator::new("Constant", self.graph.name(value))
        };
        encode::operator(self.graph, &op)
    }

    fn initializer(&self, value: ValueId, out: &mut Rope, rewrite: &mut dyn Rewrite) {
        let Some(producer) = self.graph.value(value).map(|v| v.producer) else {
            return;
        };
        let Some(init) = self.graph.initializer(producer) else {
            return;
        };
        if !self.needs(producer) {
            return;
        }
        let name = self.graph.name(value);
        if let Some(encoded) = rewrite.initializer(name, init) {
            out.push_field(5, encoded);
        } else if let Some(raw) = &init.source {
            out.append(rewrite.field(Message::Graph, raw.clone().into()));
        } else {
            out.push_field(5, encode::tensor(name, &init.tensor));
        }
    }

    fn added(&self, out: &mut Rope, rewrite: &mut dyn Rewrite) {
        if self.constants == Constants::Nodes {
            return;
        }
        for value in &self.new_initializers {
            self.initializer(*value, out, rewrite);
        }
    }

    fn listed(&self, out: &mut Rope) {
        if self.constants != Constants::Listed {
            return;
        }
        for value in &self.new_initializers {
            // A part that leaves out an initializer has no such input either.
            let producer = self.graph.value(*value).map(|v| v.producer);
            if !producer.is_some_and(|node| self.needs(node)) {
                continue;
            }
            if let Some(tensor) = self.graph.constant(*value) {
                out.push_field(11, encode::value_info(self.graph.name(*value), tensor));
            }
        }
    }
}
