//! A readable listing of a graph, for tests and `-v`.

use std::fmt;

use crate::graph::Graph;
use crate::ids::ValueId;
use crate::node::AttributeValue;

/// One line per input, initializer, operator and output.
impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for v in self.inputs() {
            write!(f, "input {}", self.name(v))?;
            if let Some(ty) = self.value(v).and_then(|v| v.ty.as_ref()) {
                write!(f, ": {ty}")?;
            }
            writeln!(f)?;
        }
        for init in self.initializers() {
            let t = &init.tensor;
            let dims: Vec<String> = t.dims().iter().map(usize::to_string).collect();
            let name = self.name(init.value);
            writeln!(f, "const {name}: {}[{}]", t.dtype(), dims.join(","))?;
        }
        for (_, op) in self.operators() {
            let list = |ids: &[Option<ValueId>]| {
                let names: Vec<&str> = ids
                    .iter()
                    .map(|v| v.map_or("_", |v| self.name(v)))
                    .collect();
                names.join(", ")
            };
            write!(f, "{} = {}", list(&op.outputs), op.op_type)?;
            if !op.attributes.is_empty() {
                let shown: Vec<String> = op
                    .attributes
                    .iter()
                    .map(|a| format!("{}={}", a.name, a.value))
                    .collect();
                write!(f, "{{{}}}", shown.join(", "))?;
            }
            write!(f, "({})", list(&op.inputs))?;
            if !op.name.is_empty() {
                write!(f, " # {}", op.name)?;
            }
            writeln!(f)?;
        }
        for v in self.outputs() {
            writeln!(f, "output {}", self.name(v))?;
        }
        Ok(())
    }
}

impl fmt::Display for AttributeValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(v) => write!(f, "{v}"),
            Self::Float(v) => write!(f, "{v}"),
            Self::String(v) => write!(f, "{:?}", String::from_utf8_lossy(v)),
            Self::Tensor(t) => write!(f, "{}{:?}", t.dtype(), t.dims()),
            Self::Ints(v) => write!(f, "{v:?}"),
            Self::Floats(v) => write!(f, "{v:?}"),
            Self::Strings(v) => write!(f, "<{} strings>", v.len()),
            Self::Opaque => f.write_str("…"),
        }
    }
}
