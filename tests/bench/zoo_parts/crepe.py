"""The pitch tracker CREPE as ONNX, from its weights in Keras's format.

Six blocks, each a convolution ("same" padding), ReLU, batch normalisation and max pooling by 2; then a dense layer of
360 sigmoids, one per pitch of 20 cents.
"""

import h5py
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FRAME, PITCHES, BLOCKS = 1024, 360, 6
# The first convolution's stride; the others have 1.
FIRST_STRIDE = 4


class Builder:
    """Nodes and weights of a chain."""

    def __init__(self, first):
        self.last, self.nodes, self.weights = first, [], []

    def weight(self, name, values):
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def add(self, kind, name, weights=(), **attributes):
        self.nodes.append(helper.make_node(kind, [self.last, *weights], [f"{name}.out"], name=name, **attributes))
        self.last = f"{name}.out"


def convert(source, target):
    """Reads weights of the layers `conv1` to `conv6`, their norms `conv1-BN` and so on, and `classifier`."""
    chain = Builder("frames")
    with h5py.File(source) as file:

        def values(layer, part):
            return np.asarray(file[layer][layer][f"{part}:0"], np.float32)

        chain.add("Unsqueeze", "channel", [chain.weight("channel.axes", np.array([1], np.int64))])
        length = FRAME
        for k in range(1, BLOCKS + 1):
            length = block(chain, f"conv{k}", FIRST_STRIDE if k == 1 else 1, length, values)
        # Keras flattens with the channels last.
        chain.add("Transpose", "channels_last", perm=[0, 2, 1])
        chain.add("Flatten", "flat")
        dense = [chain.weight(f"classifier.{part}", values("classifier", part)) for part in ("kernel", "bias")]
        chain.add("Gemm", "classifier", dense)
    chain.nodes.append(helper.make_node("Sigmoid", [chain.last], ["activation"], name="sigmoid"))
    graph = helper.make_graph(
        chain.nodes,
        "crepe",
        [helper.make_tensor_value_info("frames", TensorProto.FLOAT, ["batch", FRAME])],
        [helper.make_tensor_value_info("activation", TensorProto.FLOAT, ["batch", PITCHES])],
        chain.weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, target)


def block(chain, name, stride, length, values):
    """Adds a block; gives the length that it leaves."""
    # Keras has [taps, 1, in, out] or [taps, in, out]; ONNX has [out, in, taps].
    kernel = values(name, "kernel")
    taps = kernel.shape[0]
    kernel = kernel.reshape(taps, *kernel.shape[-2:]).transpose(2, 1, 0)
    out = -(-length // stride)
    padding = max(0, (out - 1) * stride + taps - length)
    weights = [chain.weight(f"{name}.kernel", kernel), chain.weight(f"{name}.bias", values(name, "bias"))]
    pads = [padding // 2, padding - padding // 2]
    chain.add("Conv", name, weights, kernel_shape=[taps], strides=[stride], pads=pads)
    chain.add("Relu", f"{name}.relu")
    parts = ("gamma", "beta", "moving_mean", "moving_variance")
    norm = [chain.weight(f"{name}.{part}", values(f"{name}-BN", part)) for part in parts]
    chain.add("BatchNormalization", f"{name}.norm", norm, epsilon=1e-3)
    chain.add("MaxPool", f"{name}.pool", kernel_shape=[2], strides=[2])
    return out // 2
