//! The local functions of a model, and which of them are written out.

use std::collections::{BTreeMap, HashMap, HashSet};

use prost::Message;
use sepconv_ir::Opset;

use crate::body::{FUNCTIONS, function_scope};
use crate::error::Malformed;
use crate::proto::{FunctionProto, GraphProto, NodeProto};
use crate::wire::Record;

/// Domain, name and overload.
type Key = (String, String, String);

/// A local function.
pub(super) struct Function {
    pub proto: FunctionProto,
    /// Number of its record in the model.
    pub record: usize,
    /// Its calls are written out; `None` until that is decided.
    inlined: Option<bool>,
}

impl Function {
    /// As [`crate::Body::scope`].
    pub fn scope(&self) -> String {
        let proto = &self.proto;
        function_scope([proto.domain(), proto.name(), proto.overload()])
    }
}

/// The functions of a model.
pub(super) struct Library {
    functions: HashMap<Key, Function>,
    opsets: HashMap<String, i64>,
}

impl Library {
    /// From the records of a model, its operator sets, and the records of the functions that are
    /// to be written out.
    pub fn new(
        records: &[Record],
        opsets: &[Opset],
        wanted: &HashSet<usize>,
    ) -> Result<Self, Malformed> {
        let mut functions = HashMap::new();
        for (record, r) in records
            .iter()
            .enumerate()
            .filter(|(_, r)| r.number == FUNCTIONS)
        {
            let part = |e: String| Malformed::part("function", e);
            let message = r.payload().map_err(part)?.clone();
            let proto = FunctionProto::decode(message).map_err(|e| part(e.to_string()))?;
            let key = (
                domain(proto.domain()),
                proto.name().into(),
                proto.overload().into(),
            );
            functions.entry(key).or_insert(Function {
                proto,
                record,
                inlined: None,
            });
        }
        let opsets = opsets.iter().map(|o| (domain(&o.domain), o.version));
        let mut library = Self {
            functions,
            opsets: opsets.collect(),
        };
        let mut keys: Vec<Key> = library.functions.keys().cloned().collect();
        keys.sort();
        for key in keys {
            library.decide(&key, wanted, &mut Vec::new());
        }
        Ok(library)
    }

    /// Decides about the calls of a function, true to write them out: its operator sets are those
    /// of the model, and it is wanted or calls one that is. `open` are the functions on the way.
    fn decide(&mut self, key: &Key, wanted: &HashSet<usize>, open: &mut Vec<Key>) -> bool {
        let Some(function) = self.functions.get(key) else {
            return false;
        };
        if let Some(decided) = function.inlined {
            return decided;
        }
        if open.contains(key) || open.len() > MOST_DEEP {
            return false;
        }
        let mut yes = wanted.contains(&function.record);
        let called: Vec<Key> = function.proto.node.iter().map(called).collect();
        let imports = function.proto.opset_import.iter();
        let imports: Vec<_> = imports.map(|o| (domain(o.domain()), o.version())).collect();
        open.push(key.clone());
        for inner in called {
            if open.contains(&inner) {
                yes = false;
                break;
            }
            yes |= self.decide(&inner, wanted, open);
        }
        open.pop();
        let known = |(domain, version): &(String, i64)| {
            self.opsets.get(domain).is_none_or(|known| known == version)
        };
        yes &= imports.iter().all(known);
        if yes {
            self.opsets.extend(imports);
        }
        if let Some(function) = self.functions.get_mut(key) {
            function.inlined = Some(yes);
        }
        yes
    }

    /// The function that `node` calls, where calls of it are written out.
    pub fn called(&self, node: &NodeProto) -> Option<&Function> {
        let function = self.functions.get(&called(node));
        function.filter(|f| f.inlined == Some(true))
    }

    /// True for a call that is written out.
    pub fn inlines(&self, node: &NodeProto) -> bool {
        self.called(node).is_some()
    }

    /// The records of the functions that operators of a graph still call, or that were never
    /// written out.
    pub fn live(&self, nodes: &[NodeProto]) -> HashSet<usize> {
        let mut live = HashSet::new();
        let stay = self.functions.values().filter(|f| f.inlined != Some(true));
        let mut open: Vec<&NodeProto> = nodes.iter().collect();
        for function in stay {
            live.insert(function.record);
            open.extend(&function.proto.node);
        }
        while let Some(node) = open.pop() {
            let graphs = node
                .attribute
                .iter()
                .flat_map(|a| a.g.iter().chain(&a.graphs));
            open.extend(graphs.flat_map(|g: &GraphProto| &g.node));
            if let Some(function) = self.functions.get(&called(node))
                && live.insert(function.record)
            {
                open.extend(&function.proto.node);
            }
        }
        live
    }

    /// Operator sets that functions import and the model, of the sets `known`, does not.
    pub fn missing_opsets(&self, known: &[Opset]) -> BTreeMap<String, i64> {
        let known: HashSet<String> = known.iter().map(|o| domain(&o.domain)).collect();
        let all = self.opsets.iter().filter(|(d, _)| !known.contains(*d));
        all.map(|(d, v)| (d.clone(), *v)).collect()
    }
}

/// Functions within functions at most.
const MOST_DEEP: usize = 64;

fn called(node: &NodeProto) -> Key {
    let overload = node.overload().into();
    (domain(node.domain()), node.op_type().into(), overload)
}

/// A domain; that of ONNX has two names.
fn domain(name: &str) -> String {
    let name = if name == "ai.onnx" { "" } else { name };
    name.to_owned()
}
