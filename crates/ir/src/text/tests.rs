#![allow(clippy::unwrap_used)]

use proptest::collection::vec;
use proptest::prelude::*;

use super::contents;
use crate::{AttributeValue, Builder, DType, Dim, Graph, Operator, Tensor, ValueId, ValueType};

/// The graph of `text`, which prints as it stands.
fn same(text: &str) -> Graph {
    let graph: Graph = text.parse().unwrap();
    assert_eq!(graph.to_string(), text);
    graph
}

fn error(text: &str) -> String {
    text.parse::<Graph>().unwrap_err().to_string()
}

#[test]
fn every_part_of_the_grammar_is_read_and_written() {
    let graph = same(
        "input x: f32[batch,3,?,\"7\"]\n\
         input flag: bool[]\n\
         input any: string\n\
         input untyped\n\
         const w: f32[2,1] [0.5, -1e-7]\n\
         const big: f16[64,2] fill(1.0)\n\
         const noisy: f64[40] noise(7)\n\
         const left_out: f32[40]\n\
         const some: sparse dtype17[3]\n\
         const four: i4[3] [-8, 0, 7]\n\
         const \"odd name\": u64[] [18446744073709551615]\n\
         default d: i64[0] []\n\
         y: f32[2], _, \"_\" = com.example::Foo @ \"o 1\"{a=1, b=1.0, c=\"t\\\"\\xff\"}(x, _, w) # foo\n\
         z = Bar{i=[], j=[1, 2], f=floats[], g=[1.0, 2.5], s=strings[], u=[\"a\", \"\"]}() # b/r:0\n\
         c = If{then=…, t=f32[2] [1.0, 2.0], s=sparse f32[9]}(flag) captures x, \"odd name\"\n\
         = Sink(c)\n\
         output y\n\
         output \"_\"\n",
    );
    let (_, foo) = graph.operators().next().unwrap();
    assert_eq!(
        (foo.domain.as_str(), foo.op_type.as_str()),
        ("com.example", "Foo")
    );
    assert_eq!((foo.overload.as_str(), foo.name.as_str()), ("o 1", "foo"));
    assert_eq!(foo.int("a", 0), 1);
    assert_eq!(foo.float("b", 0.0), 1.0);
    assert_eq!(foo.inputs.len(), 3);
    let constant = |name| graph.constant(graph.find(name).unwrap()).unwrap();
    assert_eq!(constant("four").to_i64().unwrap(), [-8, 0, 7]);
    assert_eq!(constant("big").len(), 128);
    assert!(constant("left_out").data().is_none());
    let noisy = constant("noisy").to_f64().unwrap();
    assert!(noisy.iter().all(|v| v.abs() <= 1.0) && noisy[0] != noisy[1]);
}

#[test]
fn comments_order_and_spaces_are_free() {
    let text = "\n  output z ; the end first\n\nz=Relu( y )#r\n; nothing\ny = Relu(x)\ninput x\n";
    let graph: Graph = text.parse().unwrap();
    let printed = "input x\nz = Relu(y) # r\ny = Relu(x)\noutput z\n";
    assert_eq!(graph.to_string(), printed);
}

#[test]
fn words_of_the_grammar_are_names_too() {
    same(
        "input input\nconst const: f32[1] [1.0]\noutput = fill(input, const) # captures\noutput output\n",
    );
    same("x: f32 = Constant{value=1}()\noutput x\n");
    let graph = same("y = ::aten::add()\noutput y\n");
    let (_, op) = graph.operators().next().unwrap();
    assert_eq!((op.domain.as_str(), op.op_type.as_str()), ("", "aten::add"));
}

#[test]
fn errors_name_line_and_column() {
    let cases = [
        (
            "input x\ny = Relu(z)",
            "line 2, column 10: nothing produces 'z'",
        ),
        (
            "input x: f33",
            "line 1, column 10: expected an element type, found 'f33'",
        ),
        (
            "input x\n\ninput x",
            "line 3, column 7: value 'x' is defined twice",
        ),
        (
            "input :: x",
            "line 1, column 8: expected an element type, found ':'",
        ),
        (
            "const w: u8[2] [1, 256]",
            "line 1, column 20: '256' is no u8",
        ),
        (
            "const w: u8[2] [1]",
            "line 1, column 19: 1 elements for u8[2]",
        ),
        ("const w: i8[2] noise(1)", "line 1, column 22: '1' is no i8"),
        ("const w: u8[-1]", "line 1, column 13: '-1' is no extent"),
        (
            "y = Relu(x",
            "line 1, column 11: expected ',' or the end of the list, found the end of the line",
        ),
        (
            "y = R{a=\"b}()",
            "line 1, column 9: the string does not end",
        ),
        (
            "y = R{a=\"\\q\"}()",
            "line 1, column 9: an unknown escape, or a name that is no UTF-8",
        ),
        ("y = R{a=b}()", "line 1, column 9: 'b' is no number"),
        (
            "é = R{a=[1, \"b\"]}()",
            "line 1, column 13: expected a number, found \"b\"",
        ),
        (
            "y = R() z",
            "line 1, column 9: expected the end of the line, found 'z'",
        ),
        ("y = R() ! ", "line 1, column 9: '!' begins nothing"),
        (
            "a = R(b)\nb = R(a)\noutput a",
            "line 3, column 1: the graph has a cycle through node 'b' (R)",
        ),
        (
            "const w: f32[99999999999,9] fill(0)",
            "line 1, column 29: f32[99999999999, 9] is too large",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(error(text), expected, "{text}");
    }
}

#[test]
fn contents_are_written_where_they_are_few_or_regular() {
    let written = |t: Option<Tensor>| contents::written(&t.unwrap());
    let few = Tensor::from_slice(&[2], &[1.0f32, f32::NAN]);
    assert_eq!(written(few).unwrap(), "[1.0, NaN]");
    let many: Vec<i32> = (0..33).collect();
    assert_eq!(written(Tensor::from_slice(&[33], &many)), None);
    assert_eq!(
        written(Tensor::from_slice(&[33], &[-3i32; 33])).unwrap(),
        "fill(-3)"
    );
    for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
        let noise = contents::noise(dtype, &[5, 9], 4711);
        assert_eq!(written(noise).unwrap(), "noise(4711)", "{dtype}");
    }
}

const DTYPES: [DType; 15] = [
    DType::F32,
    DType::U8,
    DType::I8,
    DType::U16,
    DType::I16,
    DType::I32,
    DType::I64,
    DType::Bool,
    DType::F16,
    DType::F64,
    DType::U32,
    DType::U64,
    DType::BF16,
    DType::U4,
    DType::I4,
];

fn tensor() -> impl Strategy<Value = Tensor> {
    let dims = vec(0usize..5, 0..4);
    (0..DTYPES.len(), dims, any::<u8>(), 0..4u8).prop_map(|(dtype, dims, byte, kind)| {
        let dtype = DTYPES[dtype];
        let count = dims.iter().product();
        let bytes = dtype.bytes_of(count).unwrap();
        // The unused half of a last byte is zero, and a bool 0 or 1, in the text.
        let byte = match dtype {
            DType::Bool => byte & 1,
            DType::U4 | DType::I4 => byte & 15,
            _ => byte,
        };
        let spread: Vec<u8> = (0..bytes).map(|i| byte.wrapping_mul(i as u8 | 1)).collect();
        match kind {
            0 => Tensor::opaque(dtype, dims),
            1 => Tensor::sparse(dtype, dims),
            2 if dtype != DType::Bool => Tensor::new(dtype, dims, spread.into()).unwrap(),
            _ => Tensor::new(dtype, dims, vec![byte; bytes].into()).unwrap(),
        }
    })
}

fn value_type() -> impl Strategy<Value = ValueType> {
    let dim = prop_oneof![
        any::<u64>().prop_map(Dim::Known),
        any::<String>().prop_map(Dim::Symbol),
        Just(Dim::Unknown),
    ];
    let dtype = (0i32..30).prop_map(DType::from_code);
    let dims = proptest::option::of(vec(dim, 0..4));
    (dtype, dims).prop_map(|(dtype, dims)| ValueType { dtype, dims })
}

fn attribute() -> impl Strategy<Value = AttributeValue> {
    let bytes = || vec(any::<u8>(), 0..5).prop_map(bytes::Bytes::from);
    prop_oneof![
        any::<i64>().prop_map(AttributeValue::Int),
        any::<f32>().prop_map(AttributeValue::Float),
        bytes().prop_map(AttributeValue::String),
        tensor().prop_map(AttributeValue::Tensor),
        vec(any::<i64>(), 0..3).prop_map(AttributeValue::Ints),
        vec(any::<f32>(), 0..3).prop_map(AttributeValue::Floats),
        vec(bytes(), 0..3).prop_map(AttributeValue::Strings),
        Just(AttributeValue::Opaque),
    ]
}

/// An operator: its texts, attributes, and picks among the values before it.
type Drawn = ([String; 4], Vec<(String, AttributeValue)>, Vec<usize>, u8);

fn operator() -> impl Strategy<Value = Drawn> {
    let name = || "[ -~é\n]{0,6}".prop_map(String::from);
    // A domain has no colon.
    let domain = "[ -9;-~]{0,6}".prop_map(String::from);
    let texts = [
        name().boxed(),
        name().boxed(),
        domain.boxed(),
        name().boxed(),
    ];
    let attributes = vec((name(), attribute()), 0..3);
    (texts, attributes, vec(any::<usize>(), 0..4), any::<u8>())
}

/// A graph of the parts, each value with a name of its own that ends in its number.
fn build(
    inputs: Vec<(String, Option<ValueType>)>,
    constants: Vec<(String, Tensor, bool)>,
    operators: Vec<Drawn>,
) -> Graph {
    let mut b = Builder::new();
    let mut known: Vec<ValueId> = Vec::new();
    for (name, ty) in inputs {
        known.push(b.input(&format!("{name}{}", known.len()), ty).unwrap());
    }
    for (name, tensor, overridable) in constants {
        let name = format!("{name}{}", known.len());
        known.push(
            b.initializer_from(&name, tensor, overridable, None)
                .unwrap(),
        );
    }
    for ([name, kind, domain, overload], attributes, picks, bits) in operators {
        let mut op = Operator::new(format!("T{kind}"), name.clone());
        (op.domain, op.overload) = (domain, overload);
        for (key, value) in attributes {
            op = op.with(format!("k{key}"), value);
        }
        let output = format!("{name}{}", known.len());
        let outputs = if bits & 1 == 0 {
            vec![&*output]
        } else {
            vec!["", &output]
        };
        let picked = |i: usize| known.get(i % (known.len() + 1)).copied();
        let inputs: Vec<_> = picks.iter().map(|i| picked(*i)).collect();
        let captures = if bits & 2 == 0 {
            None
        } else {
            known.last().copied()
        };
        let node = b.declare(op, &outputs).unwrap();
        b.connect(node, inputs, captures.into_iter().collect())
            .unwrap();
        let value = b.find(&output).unwrap();
        if bits & 4 == 0 {
            b.output(value).unwrap();
        }
        known.push(value);
    }
    b.finish().unwrap()
}

proptest! {
    #[test]
    fn what_is_printed_is_read_again(
        inputs in vec((any::<String>(), proptest::option::of(value_type())), 0..3),
        constants in vec((any::<String>(), tensor(), any::<bool>()), 0..4),
        operators in vec(operator(), 0..5),
    ) {
        let graph = build(inputs, constants, operators);
        let text = graph.to_string();
        let read: Graph = text.parse().map_err(|e| TestCaseError::fail(format!("{e}\n{text}")))?;
        read.verify().unwrap();
        prop_assert_eq!(read.to_string(), text);
        let tensors = |g: &Graph| g.initializers().map(|i| i.tensor.clone()).collect::<Vec<_>>();
        for (a, b) in tensors(&graph).iter().zip(tensors(&read)) {
            if contents::written(a).is_some() {
                prop_assert_eq!(contents::elements(a), contents::elements(&b));
            }
        }
    }

    #[test]
    fn no_text_panics(text in "(input|const|output|[a-z_=:,#@{}()\\[\\]\" .0-9\n…]){0,40}") {
        let _ = text.parse::<Graph>();
    }
}
