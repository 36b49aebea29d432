#!/usr/bin/env python3
"""Writes an ONNX model with wide kernels and seeded random weights (Kaiming scale, batch norms folded), of the shape of
ResNet-18 (47 MB), of ResNet-50 (102 MB, most of it in 1 x 1 kernels) or of Tiny YOLO v2 (63 MB, kernels of
1024 x 1024 x 3 x 3).

    python tests/bench/make_wide.py {resnet18,resnet50,tiny-yolo} OUT.onnx
"""

import argparse
import math

import numpy as np
from onnx import TensorProto, helper, save

SEED = 18
BLOCKS = [(64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)]
STAGES = [(64, 3), (128, 4), (256, 6), (512, 3)]
BOTTLENECKS = [(width, 2 if width > 64 and not i else 1) for width, n in STAGES for i in range(n)]
CHANNELS = [16, 32, 64, 128, 256, 512, 1024, 1024]


class Network:
    """A graph that grows operator by operator."""

    def __init__(self):
        self.rng = np.random.default_rng(SEED)
        self.nodes, self.weights = [], []

    def weight(self, name, shape, gain):
        value = self.rng.standard_normal(shape, dtype=np.float32)
        value *= np.float32(gain * math.sqrt(2 / math.prod(shape[1:])))
        self.weights.append(helper.make_tensor(name, TensorProto.FLOAT, shape, value.tobytes(), raw=True))
        return name

    def add(self, op, name, inputs, **attributes):
        self.nodes.append(helper.make_node(op, inputs, [f"{name}_out"], name=name, **attributes))
        return f"{name}_out"

    def conv(self, name, x, inputs, outputs, size, stride, gain=1.0):
        shape = [outputs, inputs, size, size]
        inputs = [x, self.weight(f"{name}.weight", shape, gain), self.weight(f"{name}.bias", [outputs], 0.05)]
        return self.add("Conv", name, inputs, kernel_shape=[size] * 2, strides=[stride] * 2, pads=[size // 2] * 4)

    def model(self, name, given, made):
        info = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape])
        graph = helper.make_graph(self.nodes, name, [info("input", given)], [info(*made)], self.weights)
        return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 13)])


def residual(name, blocks, sizes, expansion):
    """A ResNet whose blocks are convolutions of such sizes: the first of 3 x 3 has the stride, the last widens."""
    net = Network()
    add, conv = net.add, net.conv
    x = add("Relu", "relu0", [conv("conv0", "input", 3, 64, 7, 2)])
    x, channels = add("MaxPool", "pool0", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4), 64
    for b, (width, stride) in enumerate(blocks, 1):
        y, inputs, wide = x, channels, width * expansion
        for i, size in enumerate(sizes[:-1], 1):
            own = stride if i == sizes.index(3) + 1 else 1
            y, inputs = add("Relu", f"relu{b}_{i}", [conv(f"conv{b}_{i}", y, inputs, width, size, own)]), width
        y = conv(f"conv{b}_{len(sizes)}", y, inputs, wide, sizes[-1], 1, 0.5)
        if (channels, stride) != (wide, 1):
            x = conv(f"conv{b}_0", x, channels, wide, 1, stride)
        x, channels = add("Relu", f"relu{b}", [add("Add", f"add{b}", [y, x])]), wide
    x = add("Flatten", "flatten", [add("GlobalAveragePool", "pool", [x])])
    scores = add("Gemm", "fc", [x, net.weight("fc.weight", [1000, channels], 1.0)], transB=1)
    return net.model(name, [3, 224, 224], (scores, [1000]))


def resnet18():
    return residual("resnet18", BLOCKS, [3, 3], 1)


def resnet50():
    return residual("resnet50", BOTTLENECKS, [1, 3, 1], 4)


def tiny_yolo():
    net = Network()
    x, channels = "input", 3
    for i, width in enumerate(CHANNELS):
        x = net.conv(f"conv{i}", x, channels, width, 3, 1)
        x, channels = net.add("LeakyRelu", f"act{i}", [x], alpha=0.1), width
        if i < 6:
            stride = [2, 2] if i < 5 else [1, 1]
            x = net.add("MaxPool", f"pool{i}", [x], kernel_shape=[2, 2], strides=stride, auto_pad="SAME_UPPER")
    return net.model("tiny-yolo", [3, 416, 416], (net.conv("boxes", x, channels, 125, 1, 1), [125, 13, 13]))


MODELS = {"resnet18": resnet18, "resnet50": resnet50, "tiny-yolo": tiny_yolo}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("out")
    args = parser.parse_args()
    save(MODELS[args.model](), args.out)


if __name__ == "__main__":
    main()
