"""Hand-built models and data for the tests of the Python package."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).resolve().parents[2]
DIGITS = ROOT / "models" / "digits.onnx"


def convolution(name, source, result, channels, tensors):
    """A 3x3 convolution and its seeded weights, of low rank and a little more."""
    outputs, inputs = channels
    rng = np.random.default_rng(outputs * 1000 + inputs)
    low = np.einsum("oc,chw->ochw", rng.standard_normal(channels), rng.standard_normal((inputs, 3, 3)))
    weight = low + 0.1 * rng.standard_normal((outputs, inputs, 3, 3))
    weight /= np.sqrt(9 * inputs)
    tensors.append(numpy_helper.from_array(weight.astype(np.float32), f"{name}.weight"))
    tensors.append(numpy_helper.from_array(np.zeros(outputs, np.float32), f"{name}.bias"))
    inputs = [source, f"{name}.weight", f"{name}.bias"]
    return helper.make_node("Conv", inputs, [result], name=name, pads=[1, 1, 1, 1])


def network(inputs=("x",)):
    """Two convolutions with an activation, pooled to 8 values, on the sum of the inputs."""
    tensors, nodes = [], []
    summed = inputs[0]
    if len(inputs) > 1:
        nodes.append(helper.make_node("Sum", list(inputs), ["sum"], name="add"))
        summed = "sum"
    nodes += [
        convolution("first", summed, "a", (16, 8), tensors),
        helper.make_node("Relu", ["a"], ["b"], name="relu"),
        convolution("second", "b", "c", (8, 16), tensors),
        helper.make_node("GlobalAveragePool", ["c"], ["pooled"], name="pool"),
        helper.make_node("Flatten", ["pooled"], ["y"], name="flatten"),
    ]
    shape = ["N", 8, 12, 12]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in inputs],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 8])],
        tensors,
    )
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="tests/python")
    onnx.checker.check_model(model, full_check=True)
    return model


def long():
    """Convolutions one behind the other, whose forward pass takes many seconds."""
    weight = np.random.default_rng(0).standard_normal((64, 64, 3, 3)) / 24
    values = ["x", *(f"h{i}" for i in range(59)), "y"]
    nodes = [
        helper.make_node("Conv", [a, "w"], [b], name=b, pads=[1, 1, 1, 1]) for a, b in zip(values, values[1:])
    ]
    shaped = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 64, 512, 512])
    tensor = numpy_helper.from_array(weight.astype(np.float32), "w")
    graph = helper.make_graph(nodes, "long", [shaped("x")], [shaped("y")], [tensor])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def samples(count=48, seed=0):
    """Seeded inputs of `network`."""
    return np.random.default_rng(seed).standard_normal((count, 8, 12, 12), dtype=np.float32)


def digits(name):
    """The data of the shipped model: pictures, and labels where it has them."""
    with np.load(ROOT / "models" / f"digits_{name}.npz") as arrays:
        return dict(arrays)


def run(model, **inputs):
    """The first output on ONNX Runtime."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


def snr(a, b):
    """The signal-to-noise ratio of `b` against `a`, in dB."""
    return 10 * np.log10(np.square(a).sum() / np.square(a - b).sum())
