#![allow(clippy::unwrap_used)]
use sepconv_ir::{Builder, Operator, Tensor, ValueType};

use super::*;
use crate::testing::{f32s, free, i64s, zeros};

/// A graph under construction, written as statements.
struct Net(Builder);

impl Net {
    fn new(inputs: &[(&str, ValueType)]) -> Self {
        let mut b = Builder::new();
        for (name, ty) in inputs {
            b.input(name, Some(ty.clone())).unwrap();
        }
        Self(b)
    }

    fn constant(mut self, name: &str, tensor: Tensor) -> Self {
        self.0.initializer(name, tensor).unwrap();
        self
    }

    fn node(self, op: &str, inputs: &[&str], output: &str) -> Self {
        self.operator(Operator::new(op, ""), inputs, output)
    }

    fn operator(mut self, op: Operator, inputs: &[&str], output: &str) -> Self {
        let inputs: Vec<_> = inputs
            .iter()
            .map(|n| Some(self.0.find(n).unwrap()))
            .collect();
        self.0.operator(op, &inputs, &[output]).unwrap();
        self
    }

    /// Declares the type of a value.
    fn info(mut self, name: &str, ty: ValueType) -> Self {
        let value = self.0.find(name).unwrap();
        self.0.set_type(value, ty);
        self
    }

    fn graph(self) -> Graph {
        self.0.finish().unwrap()
    }
}

fn infer(graph: &Graph, pins: &[&str]) -> Shapes {
    let pins = Pins::parse(pins).unwrap();
    Shapes::infer(graph, &pins, &Assumptions::default()).unwrap()
}

fn show(graph: &Graph, shapes: &Shapes, name: &str) -> String {
    let value = graph.find(name).unwrap();
    shapes.get(value).map_or("unknown".into(), Shape::to_string)
}

fn assumed(shapes: &Shapes) -> Vec<String> {
    shapes.assumed().iter().map(AssumedDim::to_string).collect()
}

/// `x.view(x.size(0), -1)` as PyTorch exports it, then a linear layer for 8x8 pictures.
fn flattened(dims: &[&str], features: usize) -> Graph {
    Net::new(&[("x", free(dims))])
        .constant("w", zeros(&[4, 3, 1, 1]))
        .constant("zero", Tensor::from_i64(vec![], &[0]))
        .constant("axes", i64s(&[0]))
        .constant("rest", i64s(&[-1]))
        .constant("fc", zeros(&[features, 10]))
        .node("Conv", &["x", "w"], "c")
        .node("Shape", &["c"], "shape")
        .node("Gather", &["shape", "zero"], "batch")
        .node("Unsqueeze", &["batch", "axes"], "batch1")
        .operator(
            Operator::new("Concat", "").with("axis", sepconv_ir::AttributeValue::Int(0)),
            &["batch1", "rest"],
            "target",
        )
        .node("Reshape", &["c", "target"], "flat")
        .node("MatMul", &["flat", "fc"], "y")
        .graph()
}

#[test]
fn flattening_of_pytorch() {
    let graph = flattened(&["N", "3", "8", "8"], 256);
    let shapes = infer(&graph, &[]);
    assert_eq!(show(&graph, &shapes, "flat"), "f32[1,256]");
    assert_eq!(show(&graph, &shapes, "y"), "f32[1,10]");
    assert_eq!(assumed(&shapes), ["x[0] (N) = 1"]);
    assert!(shapes.contradictions().is_empty());
    let shapes = infer(&graph, &["x=6x3x8x8"]);
    assert_eq!(show(&graph, &shapes, "y"), "f32[6,10]");
    assert!(shapes.assumed().is_empty());
}

#[test]
fn the_first_extent_that_fits_is_assumed() {
    let graph = flattened(&["N", "3", "h", "w"], 4 * 28 * 28);
    let shapes = infer(&graph, &[]);
    assert_eq!(
        assumed(&shapes),
        ["x[0] (N) = 1", "x[2] (h) = 28", "x[3] (w) = 28"]
    );
    assert_eq!(show(&graph, &shapes, "x"), "f32[1,3,28,28]");
    let input = &shapes.inputs()[0];
    assert_eq!(input.shape.as_ref().unwrap().to_string(), "f32[1,3,28,28]");
}

#[test]
fn free_channels_are_found() {
    let graph = flattened(&["?", "?", "?", "?"], 4 * 28 * 28);
    let shapes = infer(&graph, &[]);
    assert_eq!(show(&graph, &shapes, "x"), "f32[1,3,28,28]");
    assert!(shapes.contradictions().is_empty());
}

#[test]
fn where_nothing_fits_the_contradictions_are_listed() {
    let graph = flattened(&["N", "3", "h", "w"], 7);
    let shapes = infer(&graph, &[]);
    assert_eq!(show(&graph, &shapes, "x"), "f32[1,3,64,64]");
    let messages: Vec<_> = shapes.contradictions().iter().map(|c| &c.message).collect();
    assert_eq!(
        messages,
        ["node 'y' (MatMul): inner extents 16384 and 7 disagree"]
    );
    assert_eq!(show(&graph, &shapes, "y"), "unknown");
    assert_eq!(show(&graph, &shapes, "flat"), "f32[1,16384]");
}

#[test]
fn nothing_is_assumed_on_request() {
    let graph = flattened(&["N", "3", "h", "w"], 7);
    let shapes = Shapes::infer(&graph, &Pins::default(), &Assumptions::none()).unwrap();
    assert_eq!(show(&graph, &shapes, "x"), "f32[N,3,h,w]");
    assert_eq!(show(&graph, &shapes, "c"), "f32[?,4,?,?]");
    assert!(shapes.assumed().is_empty() && shapes.contradictions().is_empty());
}

#[test]
fn symbols_agree_across_inputs() {
    let graph = Net::new(&[
        ("x", free(&["N", "len"])),
        ("y", free(&["N", "len"])),
        ("z", free(&["len"])),
        ("n", free(&["N"])),
    ])
    .graph();
    let shapes = infer(&graph, &["y=2x9"]);
    assert_eq!(show(&graph, &shapes, "x"), "f32[2,9]");
    assert_eq!(show(&graph, &shapes, "z"), "f32[9]");
    assert!(shapes.assumed().is_empty());
    let shapes = infer(&graph, &[]);
    assert_eq!(show(&graph, &shapes, "y"), "f32[1,64]");
    assert_eq!(show(&graph, &shapes, "n"), "f32[1]");
}

#[test]
fn pins_must_fit() {
    let graph = Net::new(&[("x", free(&["N", "3", "h", "N"])), ("y", free(&["?"]))]).graph();
    let error = |pins: &[&str]| {
        let pins = Pins::parse(pins).unwrap();
        let result = Shapes::infer(&graph, &pins, &Assumptions::default());
        result.unwrap_err().to_string()
    };
    assert_eq!(error(&["z=1"]), "no input is called 'z' (inputs: x, y)");
    assert_eq!(
        error(&["x=1x3"]),
        "input 'x' is declared as [N,3,h,N]: 2 extents do not fit"
    );
    assert_eq!(
        error(&["x=1x4x8x1"]),
        "input 'x' is declared as [N,3,h,N]: axis 1 can't be 4"
    );
    assert_eq!(
        error(&["x=1x3x8x2"]),
        "input 'x', axis 3: 'N' can't be both 1 and 2"
    );
}

#[test]
fn inputs_of_unknown_rank_can_be_pinned() {
    let mut b = Builder::new();
    let x = b.input("x", None).unwrap();
    b.operator(Operator::new("Relu", ""), &[Some(x)], &["y"])
        .unwrap();
    let graph = b.finish().unwrap();
    assert_eq!(show(&graph, &infer(&graph, &[]), "y"), "unknown");
    assert_eq!(show(&graph, &infer(&graph, &["x=2x5"]), "y"), "?[2,5]");
}

#[test]
fn an_extent_of_zero_is_free() {
    let graph = Net::new(&[("x", f32s(&[0, 3]))]).graph();
    let shapes = infer(&graph, &[]);
    assert_eq!(assumed(&shapes), ["x[0] = 1"]);
    assert_eq!(show(&graph, &infer(&graph, &["x=4x3"]), "x"), "f32[4,3]");
}

#[test]
fn declared_types_stand_in_for_missing_rules() {
    let graph = Net::new(&[("x", free(&["N", "3"]))])
        .node("Mystery", &["x"], "m")
        .node("Relu", &["m"], "r")
        .node("Mystery", &["x"], "bare")
        .info("m", free(&["N", "7", "k"]))
        .graph();
    let shapes = infer(&graph, &["x=5x3"]);
    assert_eq!(show(&graph, &shapes, "m"), "f32[5,7,k]");
    assert_eq!(show(&graph, &shapes, "r"), "f32[5,7,?]");
    assert_eq!(show(&graph, &shapes, "bare"), "unknown");
}

#[test]
fn computed_extents_win_over_declared_ones() {
    let graph = Net::new(&[("x", free(&["N", "3"]))])
        .node("Relu", &["x"], "r")
        .node("NonZero", &["x"], "nz")
        .info("r", f32s(&[99, 3]))
        .info("nz", free(&["2", "found"]))
        .graph();
    let shapes = infer(&graph, &[]);
    assert_eq!(show(&graph, &shapes, "r"), "f32[1,3]");
    assert_eq!(show(&graph, &shapes, "nz"), "i64[2,found]");
}

#[test]
fn defaults_of_overridable_initializers_count() {
    let mut b = Builder::new();
    let x = b.input("x", Some(f32s(&[2, 6]))).unwrap();
    let target = b.initializer_from("t", i64s(&[3, -1]), true, None).unwrap();
    let reshape = Operator::new("Reshape", "");
    b.operator(reshape, &[Some(x), Some(target)], &["y"])
        .unwrap();
    let graph = b.finish().unwrap();
    assert_eq!(show(&graph, &infer(&graph, &[]), "y"), "f32[3,4]");
}

#[test]
fn ranks_do_not_explode() {
    let mut net = Net::new(&[("x", f32s(&[1, 1]))]);
    let mut last = "x".to_owned();
    for i in 0..100 {
        let next = format!("g{i}");
        net = net.node("Gather", &[&last, &last], &next);
        last = next;
    }
    let graph = net.graph();
    assert_eq!(show(&graph, &infer(&graph, &[]), &last), "unknown");
}

/// Padding as TensorFlow's SAME has it, which PyTorch models compute from the extents of the padded map.
#[test]
fn padding_computed_from_extents_is_known() {
    let int = |v| sepconv_ir::AttributeValue::Int(v);
    let with = |op: &str, name: &str, value| Operator::new(op, "").with(name, int(value));
    let float = |v| Tensor::from_f32(vec![], vec![v]);
    let graph = Net::new(&[("x", free(&["N", "3", "h", "w"]))])
        .constant("second", Tensor::from_i64(vec![1], &[2]))
        .constant("stride", float(2.0))
        .constant("kernel", float(3.0))
        .constant("one", float(1.0))
        .constant("none", float(0.0))
        .constant("before", i64s(&[0; 6]))
        .constant("last", i64s(&[0]))
        .node("Shape", &["x"], "shape")
        .node("Gather", &["shape", "second"], "h")
        .operator(with("Cast", "to", 1), &["h"], "height")
        .node("Div", &["height", "stride"], "steps")
        .node("Ceil", &["steps"], "outputs")
        .node("Sub", &["outputs", "one"], "strides")
        .node("Mul", &["strides", "stride"], "begin")
        .node("Add", &["begin", "kernel"], "end")
        .node("Sub", &["end", "height"], "missing")
        .node("Clip", &["missing", "none"], "clipped")
        .operator(with("Cast", "to", 7), &["clipped"], "rows")
        .operator(
            with("Concat", "axis", 0),
            &["before", "rows", "last"],
            "pads",
        )
        .node("Pad", &["x", "pads"], "y")
        .graph();
    let shapes = infer(&graph, &["x=1x3x225x7"]);
    assert_eq!(show(&graph, &shapes, "y"), "f32[1,3,227,7]");
    let shapes = infer(&graph, &["x=1x3x224x7"]);
    assert_eq!(show(&graph, &shapes, "y"), "f32[1,3,225,7]");
}

#[test]
fn resizing_to_a_computed_size() {
    // F.interpolate(x, scale_factor=2) as older exporters write it.
    let int = |v| sepconv_ir::AttributeValue::Int(v);
    let cast = |to| Operator::new("Cast", "").with("to", int(to));
    let graph = Net::new(&[("x", free(&["N", "3", "h", "w"]))])
        .constant("from", i64s(&[2]))
        .constant("to", i64s(&[4]))
        .constant("begin", i64s(&[0]))
        .constant("two", Tensor::from_f32(vec![], vec![2.0]))
        .constant("none", zeros(&[0]))
        .node("Shape", &["x"], "shape")
        .node("Slice", &["shape", "from", "to"], "hw")
        .node("Slice", &["shape", "begin", "from"], "nc")
        .operator(cast(1), &["hw"], "hwf")
        .node("Mul", &["hwf", "two"], "grown")
        .node("Floor", &["grown"], "whole")
        .operator(cast(7), &["whole"], "hw2")
        .operator(
            Operator::new("Concat", "").with("axis", int(0)),
            &["nc", "hw2"],
            "sizes",
        )
        .node("Resize", &["x", "none", "none", "sizes"], "y")
        .graph();
    let shapes = infer(&graph, &["x=2x3x5x7"]);
    assert_eq!(show(&graph, &shapes, "y"), "f32[2,3,10,14]");
}

#[test]
fn extents_known_from_elsewhere_go_before_assumed_ones() {
    let graph = Net::new(&[
        ("x", free(&["n", "3", "h", "w"])),
        ("m", free(&["n", "1", "h", "w"])),
    ])
    .node("Mul", &["x", "m"], "y")
    .graph();
    let assumptions = Assumptions {
        known: [("x".to_owned(), vec![None, Some(3), Some(48), None])].into(),
        ..Assumptions::default()
    };
    let shapes = Shapes::infer(&graph, &Pins::default(), &assumptions).unwrap();
    // One symbol is one extent, whichever input it is known of.
    assert_eq!(show(&graph, &shapes, "y"), "f32[1,3,48,64]");
    let known: Vec<(&str, usize)> = shapes
        .assumed()
        .iter()
        .filter(|a| a.known)
        .map(|a| (a.input.as_str(), a.axis))
        .collect();
    assert_eq!(known, [("x", 2), ("m", 2)]);
}
