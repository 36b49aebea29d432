//! Graphs to text.

use std::fmt;

use super::contents;
use super::quote;
use crate::graph::Graph;
use crate::ids::ValueId;
use crate::node::{Attribute, AttributeValue, Operator};
use crate::tensor::Tensor;
use crate::types::{DType, Dim, ValueType};

/// One line per input, constant, operator and output. `str::parse` reads it.
impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for v in self.inputs() {
            writeln!(f, "input {}", typed(self, v))?;
        }
        for init in self.initializers() {
            let keyword = if init.overridable { "default" } else { "const" };
            let name = quote::name(self.name(init.value));
            writeln!(f, "{keyword} {name}: {}", tensor(&init.tensor))?;
        }
        for (_, op) in self.operators() {
            writeln!(f, "{}", operator(self, op))?;
        }
        for v in self.outputs() {
            writeln!(f, "output {}", quote::name(self.name(v)))?;
        }
        Ok(())
    }
}

impl fmt::Display for AttributeValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(v) => write!(f, "{v}"),
            Self::Float(v) => write!(f, "{v:?}"),
            Self::String(v) => f.write_str(&quote::string(v)),
            Self::Tensor(t) => f.write_str(&tensor(t)),
            Self::Ints(v) => write!(f, "{v:?}"),
            Self::Floats(v) if v.is_empty() => f.write_str("floats[]"),
            Self::Floats(v) => write!(f, "{v:?}"),
            Self::Strings(v) if v.is_empty() => f.write_str("strings[]"),
            Self::Strings(v) => {
                let all: Vec<String> = v.iter().map(|s| quote::string(s)).collect();
                write!(f, "[{}]", all.join(", "))
            }
            Self::Opaque => f.write_str("…"),
        }
    }
}

fn operator(graph: &Graph, op: &Operator) -> String {
    let names = |ids: &[Option<ValueId>], name: &dyn Fn(ValueId) -> String| {
        let all: Vec<String> = ids.iter().map(|v| v.map_or("_".into(), name)).collect();
        all.join(", ")
    };
    let plain = |v| quote::name(graph.name(v));
    let outputs = names(&op.outputs, &|v| typed(graph, v));
    let mut out = format!("{outputs} = {}", kind(op)).trim_start().to_owned();
    if !op.overload.is_empty() {
        out += &format!(" @ {}", quote::name(&op.overload));
    }
    if !op.attributes.is_empty() {
        let attribute = |a: &Attribute| format!("{}={}", quote::name(&a.name), a.value);
        let all: Vec<String> = op.attributes.iter().map(attribute).collect();
        out += &format!("{{{}}}", all.join(", "));
    }
    out += &format!("({})", names(&op.inputs, &plain));
    if !op.captures.is_empty() {
        let captures: Vec<String> = op.captures.iter().map(|v| plain(*v)).collect();
        out += &format!(" captures {}", captures.join(", "));
    }
    if !op.name.is_empty() {
        out += &format!(" # {}", quote::name(&op.name));
    }
    out
}

/// The operator type, with its domain before it where it has one.
fn kind(op: &Operator) -> String {
    if op.domain.is_empty() && !op.op_type.contains("::") {
        return quote::name(&op.op_type);
    }
    quote::name(&format!("{}::{}", op.domain, op.op_type))
}

/// A value with its type, where that is declared.
fn typed(graph: &Graph, value: ValueId) -> String {
    let name = quote::name(graph.name(value));
    let ty = graph.value(value).and_then(|v| v.ty.as_ref());
    ty.map_or(name.clone(), |ty| format!("{name}: {}", value_type(ty)))
}

fn value_type(ty: &ValueType) -> String {
    let extent = |dim: &Dim| match dim {
        Dim::Known(n) => n.to_string(),
        // A symbol that reads as a number is quoted.
        Dim::Symbol(s) if s.parse::<u64>().is_ok() => quote::string(s.as_bytes()),
        Dim::Symbol(s) => quote::name(s),
        Dim::Unknown => "?".to_owned(),
    };
    let dtype = dtype(ty.dtype);
    match &ty.dims {
        Some(dims) => {
            let dims: Vec<String> = dims.iter().map(extent).collect();
            format!("{dtype}[{}]", dims.join(","))
        }
        None => dtype,
    }
}

/// A tensor with its contents, as far as they are written.
fn tensor(t: &Tensor) -> String {
    let dims: Vec<String> = t.dims().iter().map(usize::to_string).collect();
    let sparse = if t.is_sparse() { "sparse " } else { "" };
    let head = format!("{sparse}{}[{}]", dtype(t.dtype()), dims.join(","));
    match contents::written(t) {
        Some(contents) => format!("{head} {contents}"),
        None => head,
    }
}

/// The name of an element type, or `dtype` with its code.
fn dtype(dtype: DType) -> String {
    match dtype {
        DType::Other(code) => format!("dtype{code}"),
        known => known.to_string(),
    }
}
