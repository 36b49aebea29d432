#!/usr/bin/env python3
"""Writes an ONNX model of ResNet-18's shape with seeded random weights (Kaiming scale, batch norms folded): 47 MB.

    python tests/bench/make_resnet18.py OUT.onnx
"""

import argparse
import math

import numpy as np
from onnx import TensorProto, helper, save

SEED = 18
BLOCKS = [(64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)]
SIZE, CLASSES = 224, 1000


def resnet18():
    rng = np.random.default_rng(SEED)
    nodes, weights = [], []

    def weight(name, shape, gain):
        value = rng.standard_normal(shape, dtype=np.float32) * np.float32(gain * math.sqrt(2 / math.prod(shape[1:])))
        weights.append(helper.make_tensor(name, TensorProto.FLOAT, shape, value.tobytes(), raw=True))
        return name

    def add(op, name, inputs, **attributes):
        nodes.append(helper.make_node(op, inputs, [f"{name}_out"], name=name, **attributes))
        return f"{name}_out"

    def conv(name, x, inputs, outputs, size, stride, gain=1.0):
        inputs = [x, weight(f"{name}.weight", [outputs, inputs, size, size], gain), weight(f"{name}.bias", [outputs], 0.05)]
        return add("Conv", name, inputs, kernel_shape=[size] * 2, strides=[stride] * 2, pads=[size // 2] * 4)

    x = add("Relu", "relu0", [conv("conv0", "input", 3, 64, 7, 2)])
    x, channels = add("MaxPool", "pool0", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4), 64
    for b, (width, stride) in enumerate(BLOCKS, 1):
        y = add("Relu", f"relu{b}_1", [conv(f"conv{b}_1", x, channels, width, 3, stride)])
        y = conv(f"conv{b}_2", y, width, width, 3, 1, 0.5)
        if (channels, stride) != (width, 1):
            x = conv(f"conv{b}_0", x, channels, width, 1, stride)
        x, channels = add("Relu", f"relu{b}_2", [add("Add", f"add{b}", [y, x])]), width
    x = add("Flatten", "flatten", [add("GlobalAveragePool", "pool", [x])])
    scores = add("Gemm", "fc", [x, weight("fc.weight", [CLASSES, channels], 1.0)], transB=1)

    picture = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, SIZE, SIZE])
    scores = helper.make_tensor_value_info(scores, TensorProto.FLOAT, ["N", CLASSES])
    graph = helper.make_graph(nodes, "resnet18", [picture], [scores], weights)
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 13)])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out")
    save(resnet18(), parser.parse_args().out)


if __name__ == "__main__":
    main()
