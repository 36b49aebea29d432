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
    "normalised-transposed": lambda: normalised("ConvTranspose"),
}


def build(case, out):
    """Writes a model of CASES."""
    onnx.save(CASES[case](), out)
    return {}


def cases():
    """Their names."""
    return list(CASES)
