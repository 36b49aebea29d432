//! Graphs within a model: the bodies of `If`, `Loop`, `Scan` and their like, and local functions.
//!
//! A body is a [`Graph`] of its own. A value that it reads of the graphs around it by name is an input
//! of it. An edited body is encoded anew and takes the place of the old one in the attribute
//! (or the `FunctionProto`) that it came from; one that nobody edited stays as its bytes are.

use bytes::Bytes;
use prost::Message;
use sepconv_ir::{Attribute, AttributeValue, Graph, Model, NodeId, ValueId};

use crate::envelope::{GraphRecord, ModelRecord};
use crate::export::{self, Constants};
use crate::external::DataFiles;
use crate::import::Importer;
use crate::proto::GraphProto;
use crate::rope::Rope;
use crate::scope::Scope;
use crate::wire::records;

/// Fields of `AttributeProto` that hold graphs: `g` and `graphs`.
const GRAPHS: [u32; 2] = [6, 11];
/// Field of `ModelProto` that holds the local functions.
pub(crate) const FUNCTIONS: u32 = 25;

/// A graph within a model.
#[derive(Debug, Clone)]
pub struct Body {
    /// The graph. Passes edit it through patches; [`crate::Document::set_bodies`] writes it.
    pub graph: Graph,
    scope: String,
    parent: Option<usize>,
    pub(crate) place: Place,
    captures: Vec<ValueId>,
    layout: Vec<GraphRecord>,
}

/// Place of a body's encoding.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    /// In an attribute of an operator of the graph around it: the attribute's number, and that
    /// of the record in it.
    Attribute {
        node: NodeId,
        attribute: usize,
        record: usize,
    },
    /// In a record of the model.
    Function { record: usize },
}

impl Body {
    /// Its place, for people: `<operator>/<attribute>` of the graph around it, with the scope of
    /// that before it (`if1/then_branch`), or `<domain>.<name>` of a function.
    pub fn scope(&self) -> &str {
        &self.scope
    }

    /// Number of the body around it; `None` in the main graph and for functions.
    pub fn parent(&self) -> Option<usize> {
        self.parent
    }

    /// True for a local function.
    pub fn is_function(&self) -> bool {
        matches!(self.place, Place::Function { .. })
    }

    /// The number of a function's record in the model.
    pub(crate) fn record(&self) -> Option<usize> {
        match self.place {
            Place::Function { record } => Some(record),
            Place::Attribute { .. } => None,
        }
    }

    /// Its values that stand for those of the same name in the graph around it.
    pub fn captures(&self) -> &[ValueId] {
        &self.captures
    }

    pub(crate) fn encode(&self, ir_version: i64) -> Rope {
        let (field, constants) = match self.place {
            Place::Function { .. } => (7, Constants::Nodes),
            // A subgraph has as many inputs as its operator says, and no more.
            Place::Attribute { .. } if ir_version < 4 => (1, Constants::Nodes),
            Place::Attribute { .. } => (1, Constants::Initializers),
        };
        export::within(&self.graph, &self.layout, &self.captures, field, constants)
    }
}

/// The bodies of a model, each before those within it. One that can't be read is left out, and
/// with it those within it: it is carried through as it is.
pub(crate) fn bodies(model: &Model, records: &[ModelRecord], files: &DataFiles) -> Vec<Body> {
    let mut found = Vec::new();
    subgraphs(&model.graph, None, "", files, &mut found);
    for (number, record) in records.iter().enumerate() {
        let ModelRecord::Verbatim(raw) = record else {
            continue;
        };
        if let Some((scope, graph, layout)) = function(raw, files) {
            let index = found.len();
            found.push(Body {
                graph: graph.clone(),
                scope: scope.clone(),
                parent: None,
                place: Place::Function { record: number },
                captures: Vec::new(),
                layout,
            });
            subgraphs(&graph, Some(index), &format!("{scope}/"), files, &mut found);
        }
    }
    found
}

/// Adds the bodies of the operators of `graph`, and those within them.
fn subgraphs(
    graph: &Graph,
    parent: Option<usize>,
    prefix: &str,
    files: &DataFiles,
    found: &mut Vec<Body>,
) {
    for (node, op) in graph.operators() {
        for (attribute, a) in op.attributes.iter().enumerate() {
            let Some(all) = a.source.as_ref().and_then(message).filter(|_| opaque(a)) else {
                continue;
            };
            let graphs = all.iter().enumerate();
            let graphs = graphs.filter(|(_, r)| GRAPHS.contains(&r.number));
            for (i, (record, r)) in graphs.enumerate() {
                let read = r.payload().ok().and_then(|m| body(graph, m, files));
                let Some((inner, captures, layout)) = read else {
                    continue;
                };
                let which = if i == 0 {
                    String::new()
                } else {
                    format!("_{i}")
                };
                let scope = format!("{prefix}{}/{}{which}", graph.label(node), a.name);
                let index = found.len();
                found.push(Body {
                    graph: inner.clone(),
                    scope: scope.clone(),
                    parent,
                    place: Place::Attribute {
                        node,
                        attribute,
                        record,
                    },
                    captures,
                    layout,
                });
                subgraphs(&inner, Some(index), &format!("{scope}/"), files, found);
            }
        }
    }
}

pub(crate) fn opaque(attribute: &Attribute) -> bool {
    matches!(attribute.value, AttributeValue::Opaque)
}

/// The records of the message in an encoded field.
pub(crate) fn message(field: &Bytes) -> Option<Vec<crate::wire::Record>> {
    let only = records(field).ok()?.into_iter().next()?;
    records(only.payload().ok()?).ok()
}

type Read = (Graph, Vec<ValueId>, Vec<GraphRecord>);

/// Reads a `GraphProto` that is within `around`.
fn body(around: &Graph, message: &Bytes, files: &DataFiles) -> Option<Read> {
    let names = Scope::of(&GraphProto::decode(message.clone()).ok()?);
    let mut importer = Importer::within(files);
    let mut captures = Vec::new();
    for name in &names.free {
        let outer = around.find(name).and_then(|v| around.value(v))?;
        captures.push(importer.builder.input(name, outer.ty.clone()).ok()?);
    }
    let layout = importer.graph(message).ok()?;
    let graph = importer.builder.finish().ok()?;
    Some((graph, captures, layout))
}

/// Reads the `FunctionProto` of a record of `ModelProto`.
fn function(raw: &Bytes, files: &DataFiles) -> Option<(String, Graph, Vec<GraphRecord>)> {
    let record = records(raw).ok()?.into_iter().next()?;
    let message = record
        .payload()
        .ok()
        .filter(|_| record.number == FUNCTIONS)?;
    let mut importer = Importer::within(files);
    let layout = importer.function(message).ok()?;
    let graph = importer.builder.finish().ok()?;
    let all = records(message).ok()?;
    let text = |number| all.iter().rfind(|r| r.number == number)?.text().ok();
    let scope = function_scope([10, 1, 13].map(|n| text(n).unwrap_or_default()));
    Some((scope, graph, layout))
}

/// The scope of a function by its domain, name and overload.
pub(crate) fn function_scope(parts: [&str; 3]) -> String {
    let parts: Vec<&str> = parts.into_iter().filter(|p| !p.is_empty()).collect();
    parts.join(".")
}
