//! One call, written out.

use std::collections::{HashMap, HashSet};

use prost::Message;

use super::library::{Function, Library};
use crate::error::Malformed;
use crate::proto::{AttributeProto, GraphProto, NodeProto, TensorProto};
use crate::scope::own;

/// Operators that are written at most: functions that call others many times make for graphs
/// of any size.
const MOST_OPERATORS: usize = 1 << 17;
/// Bytes that these take at most.
const MOST_BYTES: usize = 1 << 28;

/// New names of a function's values.
type Names = HashMap<String, String>;

/// Writes calls out.
pub(super) struct Inliner<'a> {
    pub library: &'a Library,
    /// Tensors of `Constant`s, to become initializers.
    pub tensors: Vec<TensorProto>,
    /// Names in use, with the number that the next one like it gets.
    taken: HashMap<String, usize>,
    /// Of the operators written so far.
    bytes: usize,
    /// Initializers by the record of the function and the operator that they come from.
    shared: HashMap<(usize, usize), String>,
}

impl<'a> Inliner<'a> {
    /// Of a graph in which the names `taken` are in use.
    pub fn new(library: &'a Library, taken: HashSet<String>) -> Self {
        Self {
            library,
            tensors: Vec::new(),
            taken: taken.into_iter().map(|name| (name, 1)).collect(),
            bytes: 0,
            shared: HashMap::new(),
        }
    }

    /// Adds the operators of the function that `call` calls, those of functions within it among
    /// them.
    pub fn expand(&mut self, call: &NodeProto, out: &mut Vec<NodeProto>) -> Result<(), Malformed> {
        let Some(function) = self.library.called(call) else {
            out.push(call.clone());
            return Ok(());
        };
        let prefix = label(call).to_owned();
        let mut names = Names::new();
        let proto = &function.proto;
        for (i, name) in proto.input.iter().enumerate() {
            let given = call.input.get(i).cloned().unwrap_or_default();
            names.insert(name.clone(), given);
        }
        // A value may be passed through, or be two outputs.
        let mut copies = Vec::new();
        for (name, wanted) in proto.output.iter().zip(&call.output) {
            if wanted.is_empty() {
                continue;
            }
            if names.contains_key(name) {
                copies.push((name, wanted));
            } else {
                names.insert(name.clone(), wanted.clone());
            }
        }
        let outputs: HashSet<&String> = proto.output.iter().collect();
        let hoisted = |node| literal(node).filter(|(name, _)| !outputs.contains(name));
        for (index, node) in proto.node.iter().enumerate() {
            if let Some((name, tensor)) = hoisted(node) {
                let place = (function.record, index);
                let shared = match self.shared.get(&place) {
                    Some(known) => known.clone(),
                    None => {
                        let made = self.initializer(&function.scope(), name, tensor);
                        self.shared.insert(place, made.clone());
                        made
                    }
                };
                names.insert(name.clone(), shared);
                continue;
            }
            for output in node.output.iter().filter(|o| !o.is_empty()) {
                if !names.contains_key(output) {
                    names.insert(output.clone(), self.fresh(&prefix, output));
                }
            }
        }
        let failed = |reason| {
            Malformed::part(
                format!("node '{prefix}', a call of '{}'", function.scope()),
                reason,
            )
        };
        for node in &proto.node {
            if hoisted(node).is_some() {
                continue;
            }
            let mut node = node.clone();
            if !node.name().is_empty() {
                node.name = Some(self.fresh(&prefix, node.name()));
            }
            self.rename(&mut node, &names, &prefix, &Given { call, function })
                .map_err(failed)?;
            self.bytes += node.encoded_len();
            self.expand(&node, out)?;
            if out.len() > MOST_OPERATORS || self.bytes > MOST_BYTES {
                return Err(failed(
                    "functions within it make for too many operators".into(),
                ));
            }
        }
        for (name, wanted) in copies {
            out.push(NodeProto {
                op_type: Some("Identity".into()),
                name: Some(self.fresh(&prefix, wanted)),
                input: vec![renamed(name, &names).map_err(failed)?],
                output: vec![wanted.clone()],
                ..NodeProto::default()
            });
        }
        Ok(())
    }

    /// Puts the names of the graph into an operator of a function, and what its caller gives in
    /// the place of references to attributes.
    fn rename(
        &mut self,
        node: &mut NodeProto,
        names: &Names,
        prefix: &str,
        given: &Given<'_>,
    ) -> Result<(), String> {
        for name in node.input.iter_mut().chain(&mut node.output) {
            *name = renamed(name, names)?;
        }
        let attributes = std::mem::take(&mut node.attribute);
        let attributes = attributes.into_iter().filter_map(|a| given.resolve(a));
        node.attribute = attributes.collect();
        for attribute in &mut node.attribute {
            for graph in attribute.g.iter_mut().chain(&mut attribute.graphs) {
                self.rename_graph(graph, names, prefix, given)?;
            }
        }
        Ok(())
    }

    fn rename_graph(
        &mut self,
        graph: &mut GraphProto,
        around: &Names,
        prefix: &str,
        given: &Given<'_>,
    ) -> Result<(), String> {
        let mut names = around.clone();
        for name in own(graph).into_iter().filter(|n| !n.is_empty()) {
            let new = self.fresh(prefix, &name);
            names.insert(name, new);
        }
        for value in graph.input.iter_mut().chain(&mut graph.output) {
            value.name = Some(renamed(value.name(), &names)?);
        }
        graph.value_info.retain(|v| names.contains_key(v.name()));
        for value in &mut graph.value_info {
            value.name = Some(renamed(value.name(), &names)?);
        }
        let sparse = graph.sparse_initializer.iter_mut();
        for tensor in graph
            .initializer
            .iter_mut()
            .chain(sparse.filter_map(|t| t.values.as_mut()))
        {
            tensor.name = Some(renamed(tensor.name(), &names)?);
        }
        for node in &mut graph.node {
            self.rename(node, &names, prefix, given)?;
        }
        Ok(())
    }

    fn initializer(&mut self, prefix: &str, name: &str, tensor: &TensorProto) -> String {
        let name = self.fresh(prefix, name);
        self.tensors.push(TensorProto {
            name: Some(name.clone()),
            ..tensor.clone()
        });
        name
    }

    /// `prefix/name`, or the first of `prefix/name_1`, `prefix/name_2`, … that is free.
    fn fresh(&mut self, prefix: &str, name: &str) -> String {
        let base = format!("{prefix}/{name}");
        let mut free = base.clone();
        while self.taken.contains_key(&free) {
            let next = self.taken.entry(base.clone()).or_insert(1);
            free = format!("{base}_{next}");
            *next += 1;
        }
        self.taken.insert(free.clone(), 1);
        free
    }
}

/// Values of a function's attributes in a call.
struct Given<'a> {
    call: &'a NodeProto,
    function: &'a Function,
}

impl Given<'_> {
    /// An attribute of an operator of the function: its own, or the one that it refers to. `None` where
    /// that is not given.
    fn resolve(&self, attribute: AttributeProto) -> Option<AttributeProto> {
        let wanted = attribute.ref_attr_name();
        if wanted.is_empty() {
            return Some(attribute);
        }
        let defaults = &self.function.proto.attribute_proto;
        let all = self.call.attribute.iter().chain(defaults);
        let found = all.into_iter().find(|a| a.name() == wanted)?;
        Some(AttributeProto {
            name: attribute.name.clone(),
            ..found.clone()
        })
    }
}

fn renamed(name: &str, names: &Names) -> Result<String, String> {
    if name.is_empty() {
        return Ok(String::new());
    }
    let known = names.get(name).cloned();
    known.ok_or_else(|| format!("nothing in it makes '{name}'"))
}

/// The value and the tensor of a `Constant`.
fn literal(node: &NodeProto) -> Option<(&String, &TensorProto)> {
    let is_constant = node.op_type() == "Constant" && matches!(node.domain(), "" | "ai.onnx");
    let [attribute] = node.attribute.as_slice() else {
        return None;
    };
    let tensor = attribute.t.as_ref().filter(|_| is_constant)?;
    let own = attribute.name() == "value" && attribute.ref_attr_name().is_empty();
    node.output
        .first()
        .filter(|_| own)
        .map(|name| (name, tensor))
}

/// Label of a call: its name, else that of its first output.
fn label(call: &NodeProto) -> &str {
    let output = call.output.iter().find(|o| !o.is_empty());
    match call.name() {
        "" => output.map_or("", String::as_str),
        name => name,
    }
}
