"""Small models of the forms that a convolution and its weight take, for the end-to-end tests."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

INPUT = (2, 4, 9, 8)


def array(*dims):
    """Seeded weights whose scale keeps the activations near 1."""
    values = np.random.default_rng(sum(dims)).standard_normal(dims)
    return (values / np.sqrt(np.prod(dims[1:]))).astype(np.float32)


def model(nodes, tensors, outputs=("y",), inputs=None, functions=(), opset=17):
    """A model of these nodes, from `x` to outputs of any shape."""
    inputs = inputs or {"x": INPUT}
    graph = helper.make_graph(
        nodes,
        "case",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in tensors.items()],
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(f.domain, 1) for f in functions)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=8, functions=list(functions))
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


CASES = {
    "transposed": lambda: transposed(),
    "transposed-strided": lambda: transposed(strides=[2, 3], pads=[1, 0, 2, 1], output_padding=[1, 2]),
    "transposed-dilated": lambda: transposed(dilations=[2, 1], pads=[1, 1, 0, 2]),
    "transposed-grouped": lambda: transposed(groups=2, strides=[2, 2]),
    "transposed-narrow": lambda: transposed(dims=(1, 5), strides=[1, 2]),
    "transposed-same-upper": lambda: transposed(strides=[2, 2], auto_pad="SAME_UPPER"),
    "transposed-same-lower": lambda: transposed(strides=[2, 2], auto_pad="SAME_LOWER"),
    "transposed-shaped": lambda: transposed(strides=[2, 2], output_shape=[18, 17]),
    "behind": behind,
    "shared": shared,
    "read-twice": read_twice,
    "normalised": lambda: normalised("Conv"),
    "padded-attribute": lambda: padded(10, "attribute"),
    "padded-inputs": lambda: padded(13, "inputs"),
    "padded-axes": lambda: padded(18, "axes"),
    "normalised-before": normalised_before,
    "pointwise": pointwise,
    "normalised-transposed": lambda: normalised("ConvTranspose"),
}


def build(case, out):
    """Writes a model of CASES."""
    onnx.save(CASES[case](), out)
    return {}


def cases():
    """Their names."""
    return list(CASES)
