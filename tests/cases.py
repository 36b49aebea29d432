"""Small models of the forms that a convolution and its weight take, for the end-to-end tests."""

import os

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

INPUT = (2, 4, 9, 8)


def array(*dims):
    """Seeded weights whose scale keeps the activations near 1."""
    values = np.random.default_rng(sum(dims)).standard_normal(dims)
    return (values / np.sqrt(np.prod(dims[1:]))).astype(np.float32)


def model(nodes, tensors, outputs=("y",), inputs=None, functions=(), opset=17, domains=(), kind=TensorProto.FLOAT, ir=8):
    """A model of these nodes, from `x` to outputs of any shape, or of the shapes in a dict."""
    inputs = inputs or {"x": INPUT}
    outputs = outputs if isinstance(outputs, dict) else dict.fromkeys(outputs)
    graph = helper.make_graph(
        nodes,
        "case",
        [helper.make_tensor_value_info(name, kind, dims) for name, dims in inputs.items()],
        [helper.make_tensor_value_info(name, kind, dims) for name, dims in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in tensors.items()],
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in dict.fromkeys(f.domain for f in functions))]
    opsets += [helper.make_opsetid(domain, 1) for domain in domains]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=ir, functions=list(functions))
    return onnx.shape_inference.infer_shapes(made)


def conv(inputs, output="y", op="Conv", name="conv", **attributes):
    return helper.make_node(op, inputs, [output], name=name, **attributes)


def transposed(out_channels=6, dims=(3, 3), groups=1, **attributes):
    """A `ConvTranspose` of 4 channels."""
    tensors = {"w": array(4, out_channels // groups, *dims), "b": array(out_channels)}
    return model([conv(["x", "w", "b"], op="ConvTranspose", group=groups, **attributes)], tensors)


def constant(value, output, **kinds):
    attributes = kinds or {"value": numpy_helper.from_array(value)}
    return helper.make_node("Constant", [], [output], name=f"{output}.constant", **attributes)


def behind():
    """A weight behind `Constant`, `Reshape`, `Transpose` and `Identity`."""
    w = array(3, 3, 4, 6)
    nodes = [
        constant(w.reshape(9, 24), "flat"),
        constant(None, "shape", value_ints=[3, 3, 4, -1]),
        helper.make_node("Reshape", ["flat", "shape"], ["hwio"], name="reshape"),
        helper.make_node("Transpose", ["hwio"], ["oihw"], name="transpose", perm=[3, 2, 0, 1]),
        helper.make_node("Identity", ["oihw"], ["w"], name="identity"),
        helper.make_node("Identity", ["c"], ["b"], name="bias"),
        conv(["x", "w", "b"], pads=[1, 1, 1, 1]),
    ]
    return model(nodes, {"c": array(6)})


def shared():
    """One weight for two convolutions, one of them behind an `Identity` of its own."""
    nodes = [
        helper.make_node("Identity", ["w"], ["v"], name="identity"),
        conv(["x", "w"], "a", name="first", pads=[1, 1, 1, 1]),
        conv(["x", "v"], "b", name="second", pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["a", "b"], ["y"], name="add"),
    ]
    return model(nodes, {"w": array(6, 4, 3, 3)})


def read_twice():
    """A `Constant` that is a weight and, through a `Reshape`, an output."""
    nodes = [
        constant(array(6, 4, 3, 3), "w"),
        helper.make_node("Reshape", ["w", "shape"], ["row"], name="reshape"),
        conv(["x", "w"]),
    ]
    return model(nodes, {"shape": np.array([1, -1])}, outputs=("y", "row"))


def normalised(op):
    """A grouped convolution and its batch normalisation."""
    dims = (8, 2, 3, 3) if op == "Conv" else (4, 4, 3, 3)
    parameters = {name: array(8) for name in ("scale", "shift", "mean")}
    tensors = {"w": array(*dims), "var": np.abs(array(8)) + 1, **parameters}
    nodes = [
        conv(["x", "w"], "h", op=op, group=2, strides=[2, 1]),
        helper.make_node("BatchNormalization", ["h", "scale", "shift", "mean", "var"], ["y"], name="bn"),
    ]
    return model(nodes, tensors)


def padded(opset, kind):
    """A `Pad` before two convolutions that pad as well."""
    amounts = [0, 0, 2, 1, 0, 0, 0, 4]
    tensors = {"w": array(6, 4, 3, 3), "zero": np.zeros((), np.float32), "amounts": np.array(amounts)}
    if kind == "attribute":
        pad = helper.make_node("Pad", ["x"], ["p"], name="pad", pads=amounts)
        tensors = {"w": tensors["w"]}
    elif kind == "axes":
        tensors.update(amounts=np.array([1, 2, 4, 0]), axes=np.array([-1, 2]))
        pad = helper.make_node("Pad", ["x", "amounts", "zero", "axes"], ["p"], name="pad")
    else:
        pad = helper.make_node("Pad", ["x", "amounts", "zero"], ["p"], name="pad")
    nodes = [
        pad,
        conv(["p", "w"], "a", name="first", pads=[1, 0, 1, 2]),
        conv(["p", "w"], "b", name="second", auto_pad="VALID", strides=[2, 1]),
    ]
    return model(nodes, tensors, outputs=("a", "b"), opset=opset)


def normalised_before():
    """Batch normalisation of a padded input, before a grouped and a strided convolution."""
    parameters = {name: array(4) for name in ("scale", "shift", "mean")}
    tensors = {"w": array(6, 2, 3, 3), "v": array(6, 4, 3, 3), "b": array(6), "var": np.abs(array(4)) + 1, **parameters}
    nodes = [
        helper.make_node("Pad", ["x", "amounts"], ["p"], name="pad"),
        helper.make_node("BatchNormalization", ["p", "scale", "shift", "mean", "var"], ["n"], name="bn"),
        conv(["n", "w", "b"], "a", name="first", group=2),
        conv(["n", "v"], "b2", name="second", strides=[2, 2]),
    ]
    return model(nodes, {**tensors, "amounts": np.array([0, 0, 1, 1, 0, 0, 1, 1])}, outputs=("a", "b2"))


def pointwise():
    """1x1 convolutions: wide, strided with padding, grouped, transposed; and one of nine taps."""
    tensors = {"a": array(16, 4, 1, 1), "b": array(12, 16, 1, 1), "c": array(12), "d": array(8, 6, 1, 1)}
    tensors.update(e=array(8, 10, 1, 1), f=array(6, 10, 3, 3))
    nodes = [
        conv(["x", "a"], "p", name="wide"),
        conv(["p", "b", "c"], "q", name="strided", strides=[2, 1], pads=[1, 0, 0, 1]),
        conv(["q", "d"], "r", name="grouped", group=2),
        conv(["r", "e"], "s", op="ConvTranspose", name="transposed", strides=[1, 2]),
        conv(["s", "f"], name="taps"),
    ]
    return model(nodes, tensors)


def body(name, nodes, outputs, inputs=(), tensors=None, kind=TensorProto.FLOAT):
    """A graph for an attribute; inputs and outputs are names, or pairs of a name and dimensions."""

    def infos(values):
        pairs = [(v, None) if isinstance(v, str) else v for v in values]
        return [v if not isinstance(v, tuple) else helper.make_tensor_value_info(v[0], kind, v[1]) for v in pairs]

    weights = [numpy_helper.from_array(value, key) for key, value in (tensors or {}).items()]
    return helper.make_graph(nodes, name, infos(inputs), infos(outputs), weights)


def choice(suffix):
    """The branches of an `If`: one captures the input, a weight and a normalisation of the graph around it, the
    other has a weight of its own, one in a `Constant`, and one of the outermost graph in an `If` within it."""
    then = [
        conv(["x", "w", "b"], f"t{suffix}", name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", [f"t{suffix}", "scale", "shift", "mean", "var"], [f"then{suffix}"]),
    ]
    inner = [
        body("inner", [conv(["x", weight], f"{name}{suffix}", name="conv", pads=[1, 1, 1, 1])], [f"{name}{suffix}"])
        for weight, name in (("w", "yes"), ("made", "no"))
    ]
    other = [
        constant(array(6, 6, 1, 3), f"c{suffix}"),
        conv(["x", f"v{suffix}"], f"e{suffix}", name="conv", pads=[1, 1, 1, 1]),
        conv([f"e{suffix}", f"c{suffix}"], f"f{suffix}", name="", pads=[0, 1, 0, 1]),
        helper.make_node("If", ["flag"], [f"g{suffix}"], name="inner", then_branch=inner[0], else_branch=inner[1]),
        helper.make_node("Add", [f"f{suffix}", f"g{suffix}"], [f"else{suffix}"], name="add"),
    ]
    return {
        "then_branch": body("then", then, [f"then{suffix}"]),
        "else_branch": body("else", other, [f"else{suffix}"], tensors={f"v{suffix}": array(6, 4, 3, 3)}),
    }


def choosing():
    """Two `If`s of opposite conditions, and a convolution of the name of those within."""
    parameters = {name: array(6) for name in ("b", "scale", "shift", "mean")}
    tensors = {"w": array(6, 4, 3, 3), "u": array(6, 4, 3, 3), "var": np.abs(array(6)) + 1, **parameters}
    nodes = [
        constant(array(24, 9), "flat"),
        helper.make_node("Reshape", ["flat", "shape"], ["made"], name="reshape"),
        helper.make_node("ReduceSum", ["x"], ["sum"], name="sum", keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["flag"], name="greater"),
        helper.make_node("Not", ["flag"], ["unflag"], name="not"),
        helper.make_node("If", ["flag"], ["a"], name="if", **choice("1")),
        helper.make_node("If", ["unflag"], ["b2"], name="unless", **choice("2")),
        conv(["x", "u"], "c", name="conv", pads=[1, 1, 1, 1]),
    ]
    tensors.update(zero=np.zeros((), np.float32), shape=np.array([6, 4, 3, 3]))
    return model(nodes, tensors, outputs=("a", "b2", "c"))


def repeating():
    """A `Loop` that convolves its state three times, and a `Scan` over the batch."""
    flag = helper.make_tensor_value_info("going", TensorProto.BOOL, [])
    on = helper.make_tensor_value_info("on", TensorProto.BOOL, [])
    count = helper.make_tensor_value_info("i", TensorProto.INT64, [])
    loop = [
        conv(["state", "w"], "h", name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["h", "x"], ["next"], name="add"),
        helper.make_node("Identity", ["going"], ["on"], name="again"),
    ]
    scan = [
        helper.make_node("Unsqueeze", ["row", "first"], ["one"], name="unsqueeze"),
        conv(["one", "v"], "k", name="conv", strides=[2, 1]),
        helper.make_node("Squeeze", ["k", "first"], ["made"], name="squeeze"),
    ]
    over = {"body": body("over", scan, ["made"], [("row", INPUT[1:])], {"v": array(6, 4, 3, 3)}), "num_scan_inputs": 1}
    nodes = [
        helper.make_node(
            "Loop", ["three", "true", "x"], ["a"], name="loop", body=body("again", loop, [on, "next"], [count, flag, ("state", INPUT)])
        ),
        helper.make_node("Scan", ["x"], ["b"], name="scan", **over),
    ]
    tensors = {"w": array(4, 4, 3, 3), "three": np.array(3), "true": np.array(True), "first": np.array([0])}
    return model(nodes, tensors, outputs={"a": INPUT, "b": (2, 6, 4, 6)})


def called():
    """A local function that is called twice: a convolution and its norm, one whose stride the caller gives, and one in
    an `If`."""
    names = ("scale", "shift", "mean")
    inner = [
        body(name, [conv(["x", "w"], name, name="conv", pads=[1, 1, 1, 1])], [name]) for name in ("yes", "no")
    ]
    given = conv(["h", "v"], "k", name="given", pads=[1, 1, 1, 1])
    given.attribute.add(name="strides", ref_attr_name="steps", type=onnx.AttributeProto.INTS)
    nodes = [
        constant(array(4, 4, 3, 3), "w"),
        constant(array(4, 4, 3, 3), "v"),
        constant(np.abs(array(4)) + 1, "var"),
        *(constant(array(4), name) for name in names),
        conv(["x", "w"], "raw", name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["raw", *names, "var"], ["h"], name="bn"),
        given,
        helper.make_node("If", ["flag"], ["g"], name="if", then_branch=inner[0], else_branch=inner[1]),
        helper.make_node("Add", ["k", "g"], ["y"], name="add"),
    ]
    opsets = [helper.make_opsetid("", 17)]
    block = helper.make_function("local", "Block", ["x", "flag"], ["y"], nodes, opsets, attributes=["steps"])
    call = lambda a, flag, b: helper.make_node("Block", [a, flag], [b], name=b, domain="local", steps=[1, 1])
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["sum"], name="sum", keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["flag"], name="greater"),
        helper.make_node("Not", ["flag"], ["unflag"], name="not"),
        call("x", "flag", "once"),
        call("once", "unflag", "y"),
    ]
    return model(nodes, {"zero": np.zeros((), np.float32)}, functions=[block])


def modules():
    """A network of local functions, as exporters that keep a framework's modules write it: a block with weights of its
    own that is called twice, in it layers whose weights and strides the caller gives or leaves to a default, and
    outputs that nobody reads."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    layer = conv(["x", "w", "b"], "c", name="conv", pads=[1, 1, 1, 1])
    layer.attribute.add(name="strides", ref_attr_name="steps", type=onnx.AttributeProto.INTS)
    nodes = [layer, helper.make_node("Relu", ["c"], ["y"], name="relu")]
    steps = helper.make_attribute("steps", [1, 1])
    layer = helper.make_function("local", "Layer", ["x", "w", "b"], ["y"], nodes, opsets, attribute_protos=[steps])
    call = lambda op, inputs, outputs, name="", **given: helper.make_node(op, inputs, outputs, name, domain="local", **given)
    nodes = [
        constant(array(4, 4, 3, 3), "w"),
        constant(array(4), "b"),
        call("Layer", ["x", "w", "b"], ["c"], "first"),
        call("Layer", ["c", "w"], ["d"]),
        helper.make_node("Add", ["x", "d"], ["y"], name="add"),
        helper.make_node("Identity", ["x"], ["same"]),
    ]
    block = helper.make_function("local", "Block", ["x"], ["y", "same", "c"], nodes, opsets)
    nodes = [
        conv(["x", "u", ""], "c", name="conv", pads=[1, 1, 1, 1]),
        call("Block", ["c"], ["d", "same", "unread"], "block"),
        call("Block", ["d"], ["e", "", "inner"]),
        call("Layer", ["e", "v"], ["f"], "last", steps=[2, 2]),
        helper.make_node("Add", ["same", "inner"], ["z"], name="add"),
        helper.make_node("Relu", ["f"], ["y"], name="relu"),
    ]
    tensors = {"u": array(4, 4, 3, 3) + 0.01, "v": array(8, 4, 3, 3)}
    return model(nodes, tensors, outputs=("y", "z"), inputs={"x": ("N", 4, 9, 8)}, functions=[block, layer])


def quantized():
    """Weights of 8 bits with one scale per output channel, and with one scale and zero point for all."""
    rng = np.random.default_rng(3)
    tensors = {
        "q": rng.integers(-127, 128, (6, 4, 3, 3)).astype(np.int8),
        "qs": np.abs(array(6)) / 50,
        "qz": np.zeros(6, np.int8),
        "b": rng.integers(-99, 100, 6).astype(np.int32),
        "u": rng.integers(0, 256, (5, 6, 3, 3)).astype(np.uint8),
        "us": np.array(0.004, np.float32),
        "uz": np.array(131, np.uint8),
        "bs": np.array([0.01], np.float32),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "us", "uz"], ["xq"], name="quantize"),
        helper.make_node("DequantizeLinear", ["xq", "us", "uz"], ["xd"], name="x.d"),
        helper.make_node("DequantizeLinear", ["q", "qs", "qz"], ["w"], name="w.d", axis=0),
        helper.make_node("DequantizeLinear", ["b", "bs"], ["bias"], name="b.d"),
        helper.make_node("DequantizeLinear", ["u", "us", "uz"], ["v"], name="v.d"),
        conv(["xd", "w", "bias"], "h", name="first", pads=[1, 1, 1, 1]),
        conv(["h", "v"], name="second"),
    ]
    return model(nodes, tensors)


def quantized4():
    """Weights of 4 bits: packed in bytes with one scale per output channel, and in integers with one per block."""
    rng = np.random.default_rng(4)
    packed = numpy_helper.from_array(rng.integers(-8, 8, (6, 4, 3, 3)).astype(ml_dtypes.int4), "q")
    values = rng.integers(0, 16, (5, 6, 3, 3))
    spread = helper.make_tensor("u", TensorProto.UINT4, values.shape, values.flatten())
    assert packed.raw_data and spread.int32_data
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "qs"], ["w"], name="w.d", axis=0),
        helper.make_node("DequantizeLinear", ["u", "us"], ["v"], name="v.d", axis=1, block_size=2),
        conv(["x", "w"], "h", name="first", pads=[1, 1, 1, 1]),
        conv(["h", "v"], name="second"),
    ]
    tensors = {"qs": np.abs(array(6)) / 5, "us": np.abs(array(5, 3, 3, 3)) / 9}
    made = model(nodes, tensors, opset=21, ir=10)
    made.graph.initializer.extend([packed, spread])
    return onnx.shape_inference.infer_shapes(made)


# Extents of the initializer of `huge`, 2.2 GB.
HUGE = (550, 1_000_000)


def huge():
    """A convolution, and an operator nobody knows that reads a tensor of 2.2 GB; see `huge_data`."""
    nodes = [
        conv(["x", "w"], pads=[1, 1, 1, 1]),
        helper.make_node("Look", ["x", "big"], ["z"], name="look", domain="com.example"),
    ]
    w = array(6, 4, 3, 3)
    made = model(nodes, {"w": w}, outputs={"y": (2, 6, 9, 8), "z": (1,)}, domains=["com.example"])
    big = made.graph.initializer.add(name="big", data_type=TensorProto.FLOAT, dims=HUGE)
    made.graph.initializer[0].ClearField("raw_data")
    size = int(np.prod(HUGE)) * 4
    for tensor, offset, length in ((big, 0, size), (made.graph.initializer[0], size, w.nbytes)):
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", "weights.bin"), ("offset", offset), ("length", length)):
            tensor.external_data.add(key=key, value=str(value))
    return made


def huge_data(folder):
    """The file of `huge`'s weights: a hole, and the weight of the convolution behind it."""
    with open(os.path.join(folder, "weights.bin"), "wb") as file:
        file.seek(int(np.prod(HUGE)) * 4)
        file.write(array(6, 4, 3, 3).tobytes())


def long():
    """Convolutions one behind the other, whose forward pass takes many seconds."""
    names = ["x", *(f"h{i}" for i in range(59)), "y"]
    nodes = [conv([a, "w"], b, name=b, pads=[1, 1, 1, 1]) for a, b in zip(names, names[1:])]
    dims = (1, 64, 512, 512)
    return model(nodes, {"w": array(64, 64, 3, 3) / 24}, outputs={"y": dims}, inputs={"x": dims})


def double():
    """Weights of 64 bits, of a grouped convolution with a norm and of a strided one."""
    rng = np.random.default_rng(5)
    parameters = {name: rng.standard_normal(6) for name in ("scale", "shift", "mean")}
    tensors = {"w": rng.standard_normal((6, 2, 3, 3)), "v": rng.standard_normal((5, 6, 3, 3)), "var": rng.random(6) + 1}
    nodes = [
        conv(["x", "w"], "h", name="first", group=2, pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["h", "scale", "shift", "mean", "var"], ["n"], name="bn"),
        conv(["n", "v"], name="second", strides=[2, 1]),
    ]
    return model(nodes, {**tensors, **parameters}, kind=TensorProto.DOUBLE)


def products(opset=17):
    """Rows by constant matrices: `Gemm` in both layouts and with factors, `MatMul` along three axes."""
    tensors = {
        "w": array(16, 4, 3, 3),
        "a": array(24, 16),
        "ab": array(24),
        "b": array(24, 20),
        "bb": array(1, 20),
        "m": array(8, 12),
        "mb": array(12),
    }
    nodes = [
        conv(["x", "w"], "h"),
        helper.make_node("GlobalAveragePool", ["h"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="flatten"),
        helper.make_node("Gemm", ["f", "a", "ab"], ["g"], name="first", transB=1, alpha=0.5, beta=2.0),
        helper.make_node("Relu", ["g"], ["r"], name="relu"),
        helper.make_node("Gemm", ["r", "b", "bb"], ["y"], name="second"),
        helper.make_node("MatMul", ["x", "m"], ["t"], name="rows"),
        helper.make_node("Add", ["t", "mb"], ["z"], name="add"),
    ]
    inputs = {"x": ("N", *INPUT[1:])}
    return model(nodes, tensors, outputs={"y": ("N", 20), "z": ("N", 4, 9, 12)}, inputs=inputs, opset=opset)


def mixed():
    """Boxes in pixels and scores between 0 and 1 in one output, as detectors have them; a regular convolution is behind
    the scores alone. Batch, height and width are free."""
    tensors = {
        "w": array(8, 4, 3, 3),
        "wb": array(2, 4, 1, 1),
        "ws": array(1, 8, 1, 1) * 4,
        "hundred": np.float32(100),
        "shape": np.array([0, 3, -1]),
    }
    nodes = [
        conv(["x", "w"], "c", name="features", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        conv(["x", "wb"], "b", name="boxes"),
        helper.make_node("Mul", ["b", "hundred"], ["pixels"], name="scale"),
        conv(["r", "ws"], "s", name="scores"),
        helper.make_node("Sigmoid", ["s"], ["p"], name="sigmoid"),
        helper.make_node("Concat", ["pixels", "p"], ["both"], name="both", axis=1),
        helper.make_node("Reshape", ["both", "shape"], ["y"], name="flat"),
    ]
    return model(nodes, tensors, inputs={"x": ("n", 4, "h", "w")})


def face():
    """A score of two classes by Softmax, and a box of four numbers, of the same features."""
    tensors = {"w": array(8, 4, 3, 3), "ws": array(2, 8) * 4, "wb": array(4, 8)}
    nodes = [
        conv(["x", "w"], "c", name="features", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["m"], name="mean"),
        helper.make_node("Flatten", ["m"], ["f"], name="flat"),
        helper.make_node("Gemm", ["f", "wb"], ["box"], name="box", transB=1),
        helper.make_node("Gemm", ["f", "ws"], ["s"], name="scores", transB=1),
        helper.make_node("Softmax", ["s"], ["score"], name="softmax", axis=1),
    ]
    return model(nodes, tensors, outputs={"box": ("N", 4), "score": ("N", 2)}, inputs={"x": ("N", 4, 12, 12)})


def squeezed():
    """Of opset 12: raised, it has a value more than before, the axes of `Squeeze`."""
    tensors = {"w": array(32, 4, 3, 3), "v": array(32, 32, 3, 3) / 8, "a": array(32, 5), "ab": array(5)}
    nodes = [
        conv(["x", "w"], "c", name="first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        conv(["r", "v"], "d", name="second", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["d"], ["q"], name="relu2"),
        helper.make_node("GlobalAveragePool", ["q"], ["p"], name="pool"),
        helper.make_node("Squeeze", ["p"], ["f"], name="squeeze", axes=[2, 3]),
        helper.make_node("MatMul", ["f", "a"], ["g"], name="head"),
        helper.make_node("Add", ["g", "ab"], ["y"], name="bias"),
    ]
    return model(nodes, tensors, outputs={"y": ("N", 5)}, inputs={"x": ("N", 4, 24, 24)}, opset=12)


def clips():
    """Clips of four pictures, which the convolutions see as a batch."""
    tensors = {
        "shape": np.array([-1, 3, 16, 16]),
        "flat": np.array([1, -1]),
        "w": array(8, 3, 3, 3),
        "v": array(8, 8, 3, 3) / 4,
    }
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["p"], name="pictures"),
        conv(["p", "w"], "c", name="first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        conv(["r", "v"], "d", name="second", pads=[1, 1, 1, 1]),
        helper.make_node("GlobalAveragePool", ["d"], ["g"], name="pool"),
        helper.make_node("Reshape", ["g", "flat"], ["y"], name="flatten"),
    ]
    return model(nodes, tensors, outputs={"y": (1, 32)}, inputs={"x": (1, 4, 3, 16, 16)})


def twins():
    """Four layers of one weight."""
    nodes, last = [], "x"
    for i in range(4):
        nodes.append(conv([last, "w"], f"c{i}", name=f"conv{i}", pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"r{i}"], name=f"relu{i}"))
        last = f"r{i}"
    return model(nodes, {"w": array(16, 16, 3, 3) / 8}, outputs={last: ("N", 16, 12, 12)}, inputs={"x": ("N", 16, 12, 12)})


def leaky():
    """Slopes for each channel: on both sides of one, below it, above it, and all alike; two of them for all channels."""
    slopes = {
        "mixed": np.linspace(-0.5, 1.5, 8, dtype=np.float32).reshape(8, 1, 1),
        "below": np.linspace(-0.5, 1, 8, dtype=np.float32).reshape(8, 1, 1),
        "above": np.linspace(1, 1.25, 8, dtype=np.float32).reshape(8, 1, 1),
        "alike": np.full(1, 0.25, np.float32),
    }
    nodes, tensors, last = [], {f"{name}.slopes": values for name, values in slopes.items()}, "x"
    for name in slopes:
        tensors[f"{name}.w"] = array(8, 4 if last == "x" else 8, 3, 3) / 6
        nodes.append(conv([last, f"{name}.w"], f"{name}.c", name=f"{name}.conv", pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("PRelu", [f"{name}.c", f"{name}.slopes"], [f"{name}.y"], name=name))
        last = f"{name}.y"
    return model(nodes, tensors, outputs={last: ("N", 8, 12, 12)}, inputs={"x": ("N", 4, 12, 12)})


def certain():
    """A classifier that gives noise one class always: its mean is that of the bias."""
    tensors = {
        "w": array(8, 4, 3, 3) * 0.01,
        "a": array(3, 8),
        "ab": np.array([9, 0, 0], np.float32),
    }
    nodes = [
        conv(["x", "w"], "c", name="features", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="flatten"),
        helper.make_node("Gemm", ["f", "a", "ab"], ["g"], name="head", transB=1),
        helper.make_node("Softmax", ["g"], ["y"], name="softmax"),
    ]
    return model(nodes, tensors, outputs={"y": ("N", 3)}, inputs={"x": ("N", 4, 12, 12)})


def detector(masks=0):
    """A detector of two classes in YOLOv8's layout, of 64 cells: boxes in pixels, and scores that are mostly near 0. With
    coefficients of `masks` prototypes, which are a second output."""
    y, x = np.mgrid[0:8, 0:8]
    cells = np.stack([8 * x + 4, 8 * y + 4, 0 * x + 12, 0 * y + 12]).astype(np.float32)
    tensors = {
        "w": array(12, 3, 3, 3),
        "wb": array(4, 12, 8, 8) * 0.05,
        "ws": array(2, 12, 8, 8) * 2,
        "bs": np.full(2, -4, np.float32),
        "cells": cells[None],
        "shape": np.array([0, 6 + masks, 64]),
    }
    parts = ["b", "p"]
    nodes = [
        conv(["x", "w"], "c", name="features", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
    ]
    if masks:
        tensors |= {"wc": array(masks, 12, 8, 8), "wp": array(masks, 12, 3, 3)}
        parts.append("k")
        nodes += [
            conv(["r", "wc"], "k", name="coefficients", strides=[8, 8]),
            helper.make_node("AveragePool", ["r"], ["a"], name="pool", kernel_shape=[2, 2], strides=[2, 2]),
            conv(["a", "wp"], "prototypes", name="prototypes", pads=[1, 1, 1, 1]),
        ]
    nodes += [
        conv(["r", "wb"], "d", name="boxes", strides=[8, 8]),
        helper.make_node("Tanh", ["d"], ["t"], name="tanh"),
        helper.make_node("Add", ["t", "cells"], ["b"], name="place"),
        conv(["r", "ws", "bs"], "s", name="scores", strides=[8, 8]),
        helper.make_node("Sigmoid", ["s"], ["p"], name="sigmoid"),
        helper.make_node("Concat", parts, ["both"], name="both", axis=1),
        helper.make_node("Reshape", ["both", "shape"], ["y"], name="flat"),
    ]
    outputs = {"y": None} | ({"prototypes": None} if masks else {})
    return model(nodes, tensors, outputs=outputs, inputs={"x": ("n", 3, 64, 64)})


def ordered():
    """The detector with its 20 detections of highest scores as rows of corners, score and class, as YOLOv10 has them. Scores
    are near 0 or 1: detections are certain, and their order is not."""
    made = detector()
    graph = made.graph
    for tensor in graph.initializer:
        if tensor.name == "ws":
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * 20, "ws"))
        if tensor.name == "bs":
            tensor.CopyFrom(numpy_helper.from_array(np.full(2, -50, np.float32), "bs"))
    for node in graph.node:
        node.output[:] = ["flat" if name == "y" else name for name in node.output]
    graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, ("n", 20, 6)))
    corners = [[1, 0, 1, 0], [0, 1, 0, 1], [-0.5, 0, 0.5, 0], [0, -0.5, 0, 0.5]]
    tensors = {
        "corners": np.array(corners, np.float32),
        "most": np.array([20]),
        "tiles": np.array([1, 1, 6]),
        "sizes": np.array([4, 2]),
    }
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in tensors.items())
    graph.node.extend([
        helper.make_node("Transpose", ["flat"], ["cells.last"], name="last", perm=[0, 2, 1]),
        helper.make_node("Split", ["cells.last", "sizes"], ["xywh", "classes"], name="split", axis=2),
        helper.make_node("MatMul", ["xywh", "corners"], ["xyxy"], name="edges"),
        helper.make_node("ReduceMax", ["classes"], ["best"], name="best", axes=[2]),
        helper.make_node("ArgMax", ["classes"], ["class"], name="class", axis=2),
        helper.make_node("Cast", ["class"], ["number"], name="number", to=TensorProto.FLOAT),
        helper.make_node("Concat", ["xyxy", "best", "number"], ["rows"], name="rows", axis=2),
        helper.make_node("TopK", ["best", "most"], ["top", "places"], name="top", axis=1),
        helper.make_node("Tile", ["places", "tiles"], ["each"], name="each"),
        helper.make_node("GatherElements", ["rows", "each"], ["y"], name="chosen", axis=1),
    ])
    return made


def tagger():
    """Twelve labels of pictures, each with a probability of its own."""
    tensors = {"w": array(16, 3, 3, 3), "v": array(16, 16, 3, 3) / 6, "f": (array(16, 12) - array(16, 12).mean(0)) * 60}
    nodes = [
        conv(["x", "w"], "c", name="first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        conv(["r", "v"], "d", name="second", pads=[1, 1, 1, 1]),
        helper.make_node("GlobalMaxPool", ["d"], ["g"], name="pool"),
        helper.make_node("Flatten", ["g"], ["l"], name="flat"),
        helper.make_node("MatMul", ["l", "f"], ["z"], name="labels"),
        helper.make_node("Sigmoid", ["z"], ["y"], name="sigmoid"),
    ]
    return model(nodes, tensors, outputs={"y": ("n", 12)}, inputs={"x": ("n", 3, 16, 16)})


def segmenter():
    """A segmentation model of four classes for pictures of 24 by 20."""
    tensors = {"w": array(12, 3, 3, 3), "ws": array(4, 12, 1, 1) * 4}
    nodes = [
        conv(["x", "w"], "c", name="features", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        conv(["r", "ws"], "y", name="scores"),
    ]
    return model(nodes, tensors, inputs={"x": ("n", 3, 24, 20)})


# Those that a test asks for by name.
OTHERS = {"certain": certain, "clips": clips, "face": face, "leaky": leaky, "squeezed": squeezed, "twins": twins, "detector": detector, "ordered": ordered, "detector-masks": lambda: detector(6), "segmenter": segmenter, "tagger": tagger, "modules": modules, "mixed": mixed, "products": products, "products-9": lambda: products(9), "quantized": quantized, "quantized-4": quantized4, "huge": huge, "long": long, "double": double}

CASES = {
    "transposed": lambda: transposed(),
    "transposed-strided": lambda: transposed(strides=[2, 3], pads=[1, 0, 2, 1], output_padding=[1, 2]),
    "transposed-dilated": lambda: transposed(dilations=[2, 1], pads=[1, 1, 0, 2]),
    "transposed-grouped": lambda: transposed(groups=2, strides=[2, 2]),
    "transposed-narrow": lambda: transposed(dims=(1, 5), strides=[1, 2]),
    "transposed-same-upper": lambda: transposed(strides=[2, 2], auto_pad="SAME_UPPER"),
    "transposed-same-lower": lambda: transposed(strides=[2, 2], auto_pad="SAME_LOWER"),
    "transposed-shaped": lambda: transposed(strides=[2, 2], output_shape=[18, 17]),
    "unbiased": lambda: model([conv(["x", "w", ""], pads=[1, 1, 1, 1])], {"w": array(6, 4, 3, 3)}),
    "behind": behind,
    "shared": shared,
    "read-twice": read_twice,
    "normalised": lambda: normalised("Conv"),
    "padded-attribute": lambda: padded(8, "attribute"),
    "padded-inputs": lambda: padded(13, "inputs"),
    "padded-axes": lambda: padded(18, "axes"),
    "normalised-before": normalised_before,
    "pointwise": pointwise,
    "normalised-transposed": lambda: normalised("ConvTranspose"),
    "choosing": choosing,
    "repeating": repeating,
    "called": called,
}


def early():
    """A model of opset 11, by operators that opset 13 defines otherwise."""
    nodes = [
        conv(["x", "w", "b"], "c", pads=[1, 1, 1, 1]),
        helper.make_node("Split", ["c"], ["few", "most"], name="split", axis=1, split=[2, 4]),
        helper.make_node("ReduceSum", ["few"], ["sum"], name="sum", axes=[1], keepdims=0),
        helper.make_node("Unsqueeze", ["sum"], ["one"], name="unsqueeze", axes=[1]),
        helper.make_node("Concat", ["one", "most"], ["five"], name="concat", axis=1),
        helper.make_node("Dropout", ["five"], ["z"], name="dropout", ratio=0.25),
        helper.make_node("Softmax", ["z"], ["shares"], name="softmax"),
        helper.make_node("Squeeze", ["shares"], ["y"], name="squeeze", axes=[0]),
    ]
    tensors = {"w": array(6, 4, 3, 3), "b": array(6)}
    outputs = {"y": (5, 9, 8), "z": (1, 5, 9, 8)}
    return model(nodes, tensors, outputs, inputs={"x": (1, 4, 9, 8)}, opset=11, ir=6)


def foreign():
    """A convolution before an operator that tract has not."""
    nodes = [
        conv(["x", "w", "b"], "c", pads=[1, 1, 1, 1]),
        helper.make_node("Det", ["c"], ["y"], name="foreign"),
    ]
    return model(nodes, {"w": array(8, 4, 3, 3), "b": array(8)}, outputs={"y": ("N", 8)}, inputs={"x": ("N", 4, 6, 6)})


def earlier():
    """A model of opset 9, by operators that opset 13 defines otherwise; all initializers are listed as inputs."""
    nodes = [
        conv(["x", "w", "b"], "c", pads=[1, 1, 1, 1]),
        helper.make_node("Clip", ["c"], ["few"], name="clip", min=-1.0, max=1.5),
        helper.make_node("Pad", ["few"], ["wide"], name="pad", pads=[0, 0, 1, 1, 0, 0, 2, 1], value=0.5),
        helper.make_node("Slice", ["wide"], ["z"], name="slice", starts=[1, 0], ends=[10, 9], axes=[2, 3]),
        helper.make_node("Upsample", ["z", "scales"], ["y"], name="upsample", mode="nearest"),
    ]
    tensors = {"w": array(6, 4, 3, 3), "b": array(6), "scales": np.array([1, 1, 2, 2], np.float32)}
    outputs = {"y": (1, 6, 18, 18), "z": (1, 6, 9, 9)}
    made = model(nodes, tensors, outputs, inputs={"x": (1, 4, 9, 8)}, opset=9, ir=4)
    for name, value in tensors.items():
        made.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape))
    return made


def node(op, inputs, output, **attributes):
    return helper.make_node(op, inputs, [output], name=f"{output}.{op.lower()}", **attributes)


def computed():
    """Weights that operators make of constants, in the ways of exporters, by name: nodes and tensors."""
    w = array(6, 4, 3, 3)
    scale = np.float32(np.abs(w).max() / 127)
    rows = array(6, 1, 1, 1)
    axes = np.array([1, 2, 3])
    return {
        "mul": ([node("Mul", ["v", "g"], "w")], {"v": w, "g": rows}),
        "cast": ([node("Cast", ["v"], "w", to=TensorProto.FLOAT)], {"v": w.astype(np.float16)}),
        "concat": ([node("Concat", ["v", "u"], "w", axis=0)], {"v": w[:2], "u": w[2:]}),
        "unsqueeze": ([node("Unsqueeze", ["v", "a"], "w")], {"v": w[:, :, :, 0], "a": np.array([3])}),
        "quantize-dequantize": (
            [node("QuantizeLinear", ["v", "s", "z"], "q"), node("DequantizeLinear", ["q", "s", "z"], "w")],
            {"v": w, "s": scale, "z": np.int8(0)},
        ),
        "norm": (
            [
                node("ReduceL2", ["v"], "n", axes=[1, 2, 3]),
                node("Div", ["v", "n"], "d"),
                node("Mul", ["d", "g"], "w"),
            ],
            {"v": w, "g": rows},
        ),
        "standardised": (
            [
                node("ReduceMean", ["v"], "m", axes=[1, 2, 3]),
                node("Sub", ["v", "m"], "c"),
                node("Mul", ["c", "c"], "cc"),
                node("ReduceSum", ["cc", "axes"], "var"),
                node("Add", ["var", "eps"], "ve"),
                node("Sqrt", ["ve"], "sd"),
                node("Div", ["c", "sd"], "w"),
            ],
            {"v": w, "axes": axes, "eps": np.float32(1e-5)},
        ),
        "masked": (
            [
                node("Abs", ["v"], "abs"),
                node("Greater", ["abs", "t"], "kept"),
                node("Cast", ["kept"], "mask", to=TensorProto.FLOAT),
                node("Mul", ["v", "mask"], "w"),
            ],
            {"v": w, "t": np.float32(0.05)},
        ),
        "adapted": (
            [
                node("MatMul", ["up", "down"], "delta"),
                node("Reshape", ["delta", "shape"], "d"),
                node("Add", ["v", "d"], "w"),
            ],
            {"v": w, "up": array(6, 2), "down": array(2, 36), "shape": np.array([6, 4, 3, 3])},
        ),
    }


def with_computed(kind):
    """A convolution whose weight is one of `computed`."""
    nodes, tensors = computed()[kind]
    pads = [1, 0, 1, 0] if kind == "unsqueeze" else [1, 1, 1, 1]
    return model([*nodes, conv(["x", "w"], pads=pads)], tensors)


OTHERS.update({f"weight-{kind}": lambda kind=kind: with_computed(kind) for kind in computed()})


def shapeless():
    """Two convolutions of an input of unknown rank."""
    made = model([conv(["x", "v"], "h", name="a"), conv(["h", "w"], name="b")], {"v": array(8, 4, 3, 3), "w": array(8, 8, 3, 3)})
    made.graph.input[0].type.tensor_type.ClearField("shape")
    del made.graph.value_info[:]
    made.graph.output[0].type.tensor_type.ClearField("shape")
    return made


def sparse():
    """A convolution of a sparse weight before one of a dense one."""
    made = model(
        [conv(["x", "v"], "h", name="sparse", pads=[1] * 4), conv(["h", "w"], name="dense", pads=[1] * 4)],
        {"v": array(8, 4, 3, 3), "w": array(8, 8, 3, 3)},
    )
    v = numpy_helper.to_array(made.graph.initializer[0])
    flat = np.flatnonzero(np.abs(v) > 0.1)
    values = numpy_helper.from_array(v.ravel()[flat], "v")
    indices = numpy_helper.from_array(flat.astype(np.int64), "indices")
    del made.graph.initializer[0]
    made.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, list(v.shape)))
    return made


def integers():
    """`ConvInteger` of what `DynamicQuantizeLinear` makes, and nothing else that computes."""
    weights = np.random.default_rng(0).integers(-127, 127, (6, 4, 3, 3), dtype=np.int8)
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"], name="quantize"),
        conv(["q", "w", "z"], "c", op="ConvInteger", pads=[1, 1, 1, 1]),
        node("Cast", ["c"], "f", to=TensorProto.FLOAT),
        node("Mul", ["f", "s"], "y"),
    ]
    return model(nodes, {"w": weights})


def long_names():
    """Convolutions whose names have 370 characters."""
    name = "/".join(["a_block_of_a_model"] * 19)
    nodes = [conv(["x", "v"], "h", name=f"{name}/first"), conv(["h", "w"], name=f"{name}/second")]
    return model(nodes, {"v": array(8, 4, 3, 3), "w": array(8, 8, 3, 3)})


def four():
    """Four convolutions of 64 channels."""
    names = ["x", "a", "b", "c", "y"]
    nodes = [conv([names[i], f"w{i}"], names[i + 1], name=f"c{i}", pads=[1] * 4) for i in range(4)]
    tensors = {f"w{i}": array(64, 64, 3, 3) + i / 1000 for i in range(4)}
    return model(nodes, {k: v.astype(np.float32) for k, v in tensors.items()}, inputs={"x": (1, 64, 9, 8)})


OTHERS.update({"early": early, "earlier": earlier, "foreign": foreign, "shapeless": shapeless, "sparse": sparse, "integers": integers, "long-names": long_names, "four": four})


def build(case, out, location=None):
    """Writes a model of CASES or OTHERS, with its weights at `location` where there is one."""
    """Writes a model of CASES or OTHERS."""
    made = {**CASES, **OTHERS}[case]()
    if location:
        os.makedirs(os.path.dirname(os.path.join(os.path.dirname(out), location)), exist_ok=True)
        onnx.save(made, out, save_as_external_data=True, location=location, size_threshold=0)
        return {}
    onnx.save(made, out)
    if case == "huge":
        huge_data(os.path.dirname(out))
    return {}


def cases():
    """Their names."""
    return list(CASES)
