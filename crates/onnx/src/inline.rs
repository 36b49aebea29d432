//! Calls of local functions written out in the graph that makes them.
//!
//! Before: `y = local.Block(x)`, with a `FunctionProto` `local.Block`.
//! After: the operators of the function in the place of the call, under names of their own.
//! Conditions: the function is wanted or calls one that is, its operator sets are those of the
//! model, and it does not call itself. Functions that nothing calls any more leave the model.
//! Terminates: functions that call themselves stay, and so many operators are written at most.

mod call;
mod library;

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use prost::Message;

use crate::body::{Body, FUNCTIONS};
use crate::document::Document;
use crate::error::{Malformed, OnnxError};
use crate::proto::{NodeProto, OperatorSetIdProto};
use crate::rope::Rope;
use crate::scope::Scope;
use crate::wire::{Record, records};
use call::Inliner;
use library::Library;

impl Document {
    /// The model with calls in its main graph written out, of those functions of
    /// [`Document::bodies`] that `wanted` holds for and of all that call one. Inputs, outputs,
    /// metadata and all else stay; tensors of `Constant`s in functions become initializers, one
    /// for all calls. `None` where there is no such call.
    ///
    /// # Errors
    /// [`OnnxError::Malformed`] where a function reads a value that nothing makes, or functions that call
    /// others many times make for a graph without end.
    pub fn inlined(&self, wanted: &dyn Fn(&Body) -> bool) -> Result<Option<Self>, OnnxError> {
        let wanted = self.bodies.iter().filter(|b| wanted(b));
        let wanted: HashSet<usize> = wanted.filter_map(Body::record).collect();
        if wanted.is_empty() {
            return Ok(None);
        }
        let written = self.written_out(&wanted);
        let Some(model) = written.map_err(|reason| self.malformed(reason))? else {
            return Ok(None);
        };
        self.reread(model).map(Some)
    }

    fn written_out(&self, wanted: &HashSet<usize>) -> Result<Option<Bytes>, Malformed> {
        let not_onnx = Malformed::NotOnnx;
        let all = records(&self.encode().to_bytes()).map_err(not_onnx)?;
        let library = Library::new(&all, &self.model.opsets, wanted)?;
        let Some(graph) = all.iter().find(|r| r.number == 7) else {
            return Ok(None);
        };
        let graph = records(graph.payload().map_err(not_onnx)?).map_err(not_onnx)?;
        let nodes = nodes(&graph)?;
        if !nodes.iter().any(|node| library.inlines(node)) {
            return Ok(None);
        }
        let mut inliner = Inliner::new(&library, taken(&graph, &nodes));
        let (inner, made) = write_graph(&graph, nodes, &mut inliner)?;
        let live = library.live(&made);
        let opsets = library.missing_opsets(&self.model.opsets);
        let mut out = Rope::default();
        let last_opset = all.iter().rposition(|r| r.number == 8);
        let mut inner = Some(inner);
        for (i, record) in all.iter().enumerate() {
            match record.number {
                7 => inner.take().into_iter().for_each(|g| out.push_field(7, g)),
                FUNCTIONS if !live.contains(&i) => {}
                _ => out.push(record.raw.clone()),
            }
            if Some(i) == last_opset {
                push_opsets(&mut out, &opsets);
            }
        }
        if last_opset.is_none() {
            push_opsets(&mut out, &opsets);
        }
        Ok(Some(out.to_bytes()))
    }
}

fn push_opsets(out: &mut Rope, opsets: &BTreeMap<String, i64>) {
    for (domain, version) in opsets {
        let proto = OperatorSetIdProto {
            domain: Some(domain.clone()),
            version: Some(*version),
        };
        out.push_bytes(8, &proto.encode_to_vec());
    }
}

/// The decoded operators of a graph's records.
pub(crate) fn nodes(graph: &[Record]) -> Result<Vec<NodeProto>, Malformed> {
    let part = |e: String| Malformed::part("node", e);
    let nodes = graph.iter().filter(|r| r.number == 1).map(|r| {
        let message = r.payload().map_err(part)?.clone();
        NodeProto::decode(message).map_err(|e| part(e.to_string()))
    });
    nodes.collect()
}

/// Names that new values and operators may not take.
pub(crate) fn taken(graph: &[Record], nodes: &[NodeProto]) -> HashSet<String> {
    let mut taken = HashSet::new();
    for record in graph
        .iter()
        .filter(|r| matches!(r.number, 5 | 11 | 12 | 13))
    {
        let number = if record.number == 5 { 8 } else { 1 };
        let fields = record.payload().ok().and_then(|m| records(m).ok());
        let name = fields.into_iter().flatten().rfind(|f| f.number == number);
        taken.extend(name.and_then(|n| n.text().ok().map(str::to_owned)));
    }
    for node in nodes {
        taken.extend(node.name.clone());
        taken.extend(node.input.iter().chain(&node.output).cloned());
        let mut scope = Scope::default();
        node.attribute.iter().for_each(|a| scope.add(a));
        taken.extend(scope.defined);
    }
    taken
}

/// The graph with its calls written out, and its operators.
fn write_graph(
    graph: &[Record],
    nodes: Vec<NodeProto>,
    inliner: &mut Inliner<'_>,
) -> Result<(Rope, Vec<NodeProto>), Malformed> {
    let mut out = Rope::default();
    let mut all = Vec::with_capacity(nodes.len());
    let mut nodes = nodes.into_iter();
    for record in graph {
        if record.number != 1 {
            out.push(record.raw.clone());
            continue;
        }
        let Some(node) = nodes.next() else {
            continue;
        };
        if !inliner.library.inlines(&node) {
            out.push(record.raw.clone());
            all.push(node);
            continue;
        }
        let first = all.len();
        inliner.expand(&node, &mut all)?;
        for node in &all[first..] {
            out.push_bytes(1, &node.encode_to_vec());
        }
    }
    for tensor in inliner.tensors.drain(..) {
        out.push_bytes(5, &tensor.encode_to_vec());
    }
    Ok((out, all))
}
