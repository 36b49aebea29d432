//! Graphs of one operator, for tests.
#![allow(clippy::unwrap_used)]

use sepconv_ir::{AttributeValue, Builder, DType, Dim, Graph, Operator, Tensor, ValueType};

use crate::assume::{Assumptions, FreeInputs};
use crate::engine::{Engine, Pass};
use crate::fact::Scalar;
use crate::{Pins, Shapes};

/// A type with fixed extents.
pub(crate) fn fixed(dtype: DType, dims: &[u64]) -> ValueType {
    ValueType {
        dtype,
        dims: Some(dims.iter().map(|n| Dim::Known(*n)).collect()),
    }
}

/// An f32 type with fixed extents.
pub(crate) fn f32s(dims: &[u64]) -> ValueType {
    fixed(DType::F32, dims)
}

/// An f32 type of a rank, with nothing else known.
pub(crate) fn unknown(rank: usize) -> ValueType {
    ValueType {
        dtype: DType::F32,
        dims: Some(vec![Dim::Unknown; rank]),
    }
}

/// An f32 type from texts: numbers, symbols, or `?`.
pub(crate) fn free(dims: &[&str]) -> ValueType {
    let dim = |text: &&str| match (*text, text.parse()) {
        ("?", _) => Dim::Unknown,
        (_, Ok(n)) => Dim::Known(n),
        (symbol, _) => Dim::Symbol(symbol.to_owned()),
    };
    ValueType {
        dtype: DType::F32,
        dims: Some(dims.iter().map(dim).collect()),
    }
}

/// A list of numbers.
pub(crate) fn floats(values: &[f32]) -> Tensor {
    Tensor::from_f32(vec![values.len()], values.to_vec())
}

/// A list of integers.
pub(crate) fn i64s(values: &[i64]) -> Tensor {
    Tensor::from_i64(vec![values.len()], values)
}

/// An f32 tensor of zeros.
pub(crate) fn zeros(dims: &[usize]) -> Tensor {
    Tensor::from_f32(dims.to_vec(), vec![0.0; dims.iter().product()])
}

enum Input {
    None,
    Type(ValueType),
    Constant(Tensor),
}

/// A graph of the one operator 'n'.
pub(crate) struct Op {
    op: Operator,
    inputs: Vec<Input>,
    outputs: usize,
}

impl Op {
    pub(crate) fn new(op_type: &str) -> Self {
        Self {
            op: Operator::new(op_type, "n"),
            inputs: Vec::new(),
            outputs: 1,
        }
    }

    pub(crate) fn domain(mut self, domain: &str) -> Self {
        self.op.domain = domain.into();
        self
    }

    fn with(mut self, name: &str, value: AttributeValue) -> Self {
        self.op = self.op.with(name, value);
        self
    }

    pub(crate) fn int(self, name: &str, value: i64) -> Self {
        self.with(name, AttributeValue::Int(value))
    }

    pub(crate) fn ints(self, name: &str, values: &[i64]) -> Self {
        self.with(name, AttributeValue::Ints(values.to_vec()))
    }

    pub(crate) fn float(self, name: &str, value: f32) -> Self {
        self.with(name, AttributeValue::Float(value))
    }

    pub(crate) fn floats(self, name: &str, values: &[f32]) -> Self {
        self.with(name, AttributeValue::Floats(values.to_vec()))
    }

    pub(crate) fn string(self, name: &str, value: &'static str) -> Self {
        self.with(name, AttributeValue::String(value.into()))
    }

    pub(crate) fn tensor(self, name: &str, value: Tensor) -> Self {
        self.with(name, AttributeValue::Tensor(value))
    }

    pub(crate) fn none(mut self) -> Self {
        self.inputs.push(Input::None);
        self
    }

    pub(crate) fn input(mut self, ty: ValueType) -> Self {
        self.inputs.push(Input::Type(ty));
        self
    }

    pub(crate) fn constant(mut self, tensor: Tensor) -> Self {
        self.inputs.push(Input::Constant(tensor));
        self
    }

    pub(crate) fn outputs(mut self, count: usize) -> Self {
        self.outputs = count;
        self
    }

    pub(crate) fn graph(self) -> Graph {
        let mut b = Builder::new();
        let mut inputs = Vec::new();
        for (i, input) in self.inputs.into_iter().enumerate() {
            let name = format!("i{i}");
            inputs.push(match input {
                Input::None => None,
                Input::Type(ty) => Some(b.input(&name, Some(ty)).unwrap()),
                Input::Constant(tensor) => Some(b.initializer(&name, tensor).unwrap()),
            });
        }
        let names: Vec<String> = (0..self.outputs).map(|i| format!("o{i}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        for output in b.operator(self.op, &inputs, &names).unwrap() {
            b.output(output).unwrap();
        }
        b.finish().unwrap()
    }

    /// The shapes of the outputs, nothing assumed; or the contradiction.
    pub(crate) fn infer(self) -> String {
        let graph = self.graph();
        let shapes = Shapes::infer(&graph, &Pins::default(), &Assumptions::none()).unwrap();
        if let Some(contradiction) = shapes.contradictions().first() {
            return contradiction.to_string();
        }
        let show = |v| match shapes.get(v) {
            Some(shape) => shape.to_string(),
            None => "unknown".to_owned(),
        };
        let texts: Vec<String> = graph.outputs().map(show).collect();
        texts.join(" ")
    }

    /// The propagated elements of the first output.
    pub(crate) fn contents(self) -> String {
        let graph = self.graph();
        let Pass { facts, .. } = {
            let free = FreeInputs::new(&graph, &Pins::default()).unwrap();
            let trial = free.trials(&Assumptions::none()).remove(0);
            Engine::new(&graph).run(free.facts(&trial), &free.symbols(&trial))
        };
        let output = graph.outputs().next().unwrap();
        let Some(data) = &facts[output.index()].data else {
            return "none".to_owned();
        };
        let show = |s: &Option<Scalar>| match s {
            None => "?".to_owned(),
            Some(Scalar::Int(v)) => v.to_string(),
            Some(Scalar::Float(v)) if v.fract() == 0.0 => format!("{v:.0}."),
            Some(Scalar::Float(v)) => v.to_string(),
        };
        let texts: Vec<String> = data.iter().map(show).collect();
        texts.join(" ")
    }
}
