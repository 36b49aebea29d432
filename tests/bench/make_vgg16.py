#!/usr/bin/env python3
"""Writes an ONNX model of VGG-16's shape with seeded random weights (Kaiming scale): 138 M parameters, 553 MB.

    python tests/bench/make_vgg16.py OUT.onnx
"""

import argparse
import math

import numpy as np
from onnx import TensorProto, helper, save

SEED = 16
STAGES = [[64, 64], [128, 128], [256, 256, 256], [512, 512, 512], [512, 512, 512]]
SIZE, HIDDEN, CLASSES = 224, 4096, 1000


def vgg16():
    rng = np.random.default_rng(SEED)
    nodes, weights = [], []

    def weight(name, shape):
        value = rng.standard_normal(shape, dtype=np.float32)
        value *= math.sqrt(2 / math.prod(shape[1:]))
        weights.append(helper.make_tensor(name, TensorProto.FLOAT, shape, value.tobytes(), raw=True))
        bias = np.zeros(shape[0], np.float32).tobytes()
        weights.append(helper.make_tensor(name.replace("weight", "bias"), TensorProto.FLOAT, shape[:1], bias, raw=True))
        return [name, name.replace("weight", "bias")]

    def add(op, name, inputs, **attributes):
        nodes.append(helper.make_node(op, inputs, [f"{name}_out"], name=name, **attributes))
        return f"{name}_out"

    x, channels = "input", 3
    for s, stage in enumerate(STAGES, 1):
        for c, width in enumerate(stage, 1):
            name = f"conv{s}_{c}"
            x = add("Conv", name, [x, *weight(f"{name}.weight", [width, channels, 3, 3])], pads=[1] * 4, kernel_shape=[3, 3])
            x = add("Relu", f"relu{s}_{c}", [x])
            channels = width
        x = add("MaxPool", f"pool{s}", [x], kernel_shape=[2, 2], strides=[2, 2])
    x = add("Flatten", "flatten", [x], axis=1)
    features = channels * (SIZE >> len(STAGES)) ** 2
    for i, width in enumerate([HIDDEN, HIDDEN, CLASSES], 6):
        x = add("Gemm", f"fc{i}", [x, *weight(f"fc{i}.weight", [width, features])], transB=1)
        features = width
        if width == HIDDEN:
            x = add("Relu", f"relu{i}", [x])

    picture = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, SIZE, SIZE])
    scores = helper.make_tensor_value_info(x, TensorProto.FLOAT, ["N", CLASSES])
    graph = helper.make_graph(nodes, "vgg16", [picture], [scores], weights)
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 13)])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out")
    save(vgg16(), parser.parse_args().out)


if __name__ == "__main__":
    main()
