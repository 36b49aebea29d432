#!/usr/bin/env python3
"""Models of operators on constants, and what ONNX Runtime makes of each (ONNX's reference implementation where that has
no kernel): the judge of crates/analysis/tests/evaluate.rs.

    python tests/operators.py OUT       # writes OUT/<opset>.onnx, and OUT/<opset>.expected.onnx with initializers alone
"""

import sys

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto as T
from onnx import helper as H
from onnx import numpy_helper as N
from onnx.reference import ReferenceEvaluator

CASES = {}
draw = np.random.default_rng(7)


def floats(*shape, kind=np.float32):
    return draw.standard_normal(shape).astype(kind)


def positive(*shape, kind=np.float32):
    return np.abs(floats(*shape)).astype(kind) + kind(0.1)


def ints(*values, kind=np.int64):
    return np.array(values, kind)


def case(opset, op, inputs, outputs=1, **attributes):
    """`inputs` are arrays, or None for one that is left out."""
    CASES.setdefault(opset, []).append((op, inputs, outputs, attributes))


def elementwise():
    a, b = floats(3, 1, 4), floats(2, 1)
    for op in ("Abs", "Ceil", "Cos", "Exp", "Floor", "Neg", "Reciprocal", "Relu", "Round", "Sigmoid", "Sign", "Sin", "Softplus", "Tanh"):
        case(17, op, [a * 3])
    for op in ("Log", "Sqrt"):
        case(17, op, [positive(5)])
    case(17, "Round", [np.array([0.5, 1.5, -2.5, 2.4], np.float32)])
    case(17, "Sign", [np.array([0, -2, 3], np.float32)])
    case(17, "Neg", [ints(1, -2, kind=np.int32)])
    case(17, "Abs", [ints(1, -2, kind=np.int8)])
    case(17, "Not", [np.array([True, False])])
    for op in ("Add", "Sub", "Mul", "Div"):
        for kind in (np.float32, np.float64, np.float16, ml_dtypes.bfloat16):
            case(17, op, [a.astype(kind), b.astype(kind)])
        case(17, op, [ints(7, -7, 3, kind=np.int32), ints(2, 2, -4, kind=np.int32)])
        case(17, op, [ints(7, -7, 2**40), ints(2)])
    case(14, "Add", [ints(250, 7, kind=np.uint8), ints(10, 1, kind=np.uint8)])
    case(14, "Mul", [ints(100, 7, kind=np.int8), ints(2, 3, kind=np.int8)])
    case(17, "Pow", [positive(3, 2), np.float32(2)])
    case(17, "Pow", [positive(3, 2), np.float32(-0.5)])
    case(17, "Pow", [positive(3, 2), ints(3)])
    case(17, "Pow", [ints(3, -2), ints(3, 2)])
    case(17, "Mod", [ints(7, -7, 7, -7), ints(4, 4, -4, -4)])
    case(17, "Mod", [ints(7, -7, 7, -7), ints(4, 4, -4, -4)], fmod=1)
    case(17, "Mod", [floats(4) * 5, floats(4)], fmod=1)
    for op in ("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"):
        case(17, op, [floats(3, 1).round(), floats(4).round()])
        case(17, op, [ints(1, 2, 3), ints(2)])
    for op in ("And", "Or", "Xor"):
        case(17, op, [np.array([[True], [False]]), np.array([True, False])])
    for op in ("Max", "Min", "Sum", "Mean"):
        case(17, op, [floats(2, 3), floats(3), floats(2, 1)])
    case(17, "Max", [ints(1, 5), ints(3)])
    case(17, "Clip", [floats(8), np.float32(-0.5), np.float32(0.5)])
    case(17, "Clip", [floats(8), None, np.float32(0.1)])
    case(17, "Clip", [ints(1, 5, 9), ints(3)[0], None])
    case(9, "Clip", [floats(8)], min=-0.5, max=0.25)
    case(17, "Where", [np.array([[True], [False]]), floats(2, 3), floats(3)])
    case(17, "Where", [np.array([True, False]), ints(1, 2), ints(3)])
    for kind, code in ((np.float16, T.FLOAT), (np.float32, T.FLOAT16), (np.float32, T.BFLOAT16), (np.float32, T.INT8), (np.float64, T.FLOAT), (np.float32, T.BOOL), (np.float32, T.INT64)):
        case(17, "Cast", [(floats(9) * 20).astype(kind)], to=code)
    for kind in (np.int8, np.uint8, np.int32, np.int64, np.bool_):
        case(17, "Cast", [ints(0, 1, 100).astype(kind)], to=T.FLOAT)
    case(17, "Cast", [ints(0, 300, -1)], to=T.UINT8)
    case(17, "CastLike", [ints(1, 2), np.float16(1)])


def layout():
    x = floats(2, 3, 4)
    case(17, "Identity", [x])
    case(17, "Reshape", [x, ints(0, -1, 2)])
    case(17, "Reshape", [x, ints(4, 6)])
    for axis in (0, 1, 3, -1):
        case(17, "Flatten", [x], axis=axis)
    case(11, "Squeeze", [floats(1, 3, 1)], axes=[0])
    case(13, "Squeeze", [floats(1, 3, 1), ints(-1)])
    case(13, "Squeeze", [floats(1, 3, 1)])
    case(11, "Unsqueeze", [x], axes=[0, 4])
    case(13, "Unsqueeze", [x, ints(-1, 1)])
    case(17, "Transpose", [x])
    case(17, "Transpose", [x], perm=[1, 2, 0])
    case(17, "Transpose", [x.astype(np.float16)], perm=[1, 0, 2])
    case(17, "Concat", [x, floats(2, 1, 4), x], axis=-2)
    case(17, "Concat", [ints(1, 2), ints(3)], axis=0)
    case(17, "Expand", [floats(3, 1), ints(2, 1, 4)])
    case(17, "Tile", [floats(2, 3), ints(2, 3)])
    case(17, "Gather", [x, ints(2, -1)], axis=1)
    case(17, "Gather", [x, np.array([[0, 1], [1, 0]])])
    case(17, "Gather", [x, np.int64(1)], axis=-1)
    case(9, "Slice", [x], starts=[0, 1], ends=[9, -1], axes=[0, 2])
    case(17, "Slice", [x, ints(-1, 0), ints(-9, 3), ints(2, 1), ints(-2, 2)])
    case(17, "Slice", [x, ints(1), ints(2**62)])
    case(11, "Split", [x], outputs=2, axis=2, split=[1, 3])
    case(13, "Split", [x, ints(1, 2)], outputs=2, axis=1)
    case(13, "Split", [x], outputs=2, axis=-1)
    case(18, "Split", [floats(7)], outputs=3, num_outputs=3)
    case(9, "Pad", [floats(2, 3)], pads=[0, 1, 2, 0], value=0.5)
    case(17, "Pad", [floats(2, 3), ints(0, 1, 2, 0), np.float32(2)])
    case(17, "Pad", [floats(2, 3), ints(1, 0, 0, -1)])
    case(18, "Pad", [floats(2, 4), ints(1, 2), None, ints(-1)])
    for mode in ("reflect", "edge"):
        case(17, "Pad", [floats(2, 4), ints(1, 2, 1, 3)], mode=mode)
    case(17, "Shape", [x])
    case(17, "Shape", [x], start=-2, end=2)
    case(17, "Size", [x])
    case(17, "ConstantOfShape", [ints(2, 3)])
    case(17, "ConstantOfShape", [ints(2)], value=N.from_array(np.array([7], np.int32)))
    case(17, "Range", [np.int64(1), np.int64(8), np.int64(3)])
    case(17, "Range", [np.float32(1), np.float32(-1), np.float32(-0.5)])


def sums():
    x = floats(2, 3, 4)
    for op in ("L1", "L2", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare"):
        case(13, f"Reduce{op}", [x], axes=[1, -1])
        case(13, f"Reduce{op}", [x], axes=[1], keepdims=0)
        case(13, f"Reduce{op}", [x])
        case(18, f"Reduce{op}", [x, ints(0, 2)])
        case(18, f"Reduce{op}", [x.astype(np.float64), ints(0)], keepdims=0)
    case(13, "ReduceLogSum", [positive(2, 3)], axes=[1])
    case(13, "ReduceSum", [x, ints(1)])
    case(11, "ReduceSum", [x], axes=[0, 2])
    case(13, "ReduceSum", [x], noop_with_empty_axes=1)
    case(13, "ReduceSum", [ints(1, 2, 3, kind=np.int32)])
    case(13, "ReduceMean", [x.astype(np.float16)], axes=[2])
    case(17, "MatMul", [floats(2, 3, 4), floats(4, 5)])
    case(17, "MatMul", [floats(2, 1, 3, 4), floats(5, 4, 2)])
    case(17, "MatMul", [floats(4), floats(4, 2)])
    case(17, "MatMul", [floats(3, 4), floats(4)])
    case(17, "MatMul", [floats(4), floats(4)])
    case(17, "Gemm", [floats(3, 4), floats(4, 2), floats(2)], alpha=0.5, beta=2.0)
    case(17, "Gemm", [floats(4, 3), floats(2, 4)], transA=1, transB=1)
    case(17, "Gemm", [floats(3, 4), floats(4, 2), floats(3, 1)])
    channels = [positive(3), floats(3), floats(3), positive(3)]
    case(17, "BatchNormalization", [x, *channels], epsilon=0.01)
    case(17, "InstanceNormalization", [x, *channels[:2]], epsilon=0.01)
    case(17, "LayerNormalization", [x, floats(4), floats(4)])
    case(17, "LayerNormalization", [x, floats(3, 4)], axis=1)
    case(17, "LpNormalization", [x], axis=1)
    case(17, "LpNormalization", [x], p=1)
    case(17, "Softmax", [x], axis=-1)


def levels():
    x = floats(3, 4) * 40
    for zero in (np.int8(3), np.uint8(100)):
        case(13, "QuantizeLinear", [x, np.float32(0.5), zero])
        case(13, "DequantizeLinear", [np.array([[1, 100], [7, 0]], zero.dtype), np.float32(0.5), zero])
    case(13, "QuantizeLinear", [x, np.float32(0.3)])
    # Halves go to the even neighbour, and values out of range to its end.
    case(13, "QuantizeLinear", [np.array([0.5, 1.5, 2.5, -0.5, 1e9, -1e9], np.float32), np.float32(1), np.int8(0)])
    case(13, "QuantizeLinear", [x, positive(4), ints(1, 2, 3, 4, kind=np.int8)])
    case(13, "QuantizeLinear", [x, positive(3), ints(1, 2, 3, kind=np.uint8)], axis=0)
    case(21, "QuantizeLinear", [x, positive(3, 2), ints(*range(6), kind=np.int8).reshape(3, 2)], axis=1, block_size=2)
    case(21, "QuantizeLinear", [x, np.float32(0.01)], output_dtype=T.INT16)
    case(13, "DequantizeLinear", [ints(1, 2, 3, 4, kind=np.int8).reshape(2, 2), positive(2), ints(0, 1, kind=np.int8)], axis=0)


def run(model, names):
    feeds = {i.name: N.to_array(i) for i in model.graph.initializer}
    try:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        return onnxruntime.InferenceSession(model.SerializeToString(), options).run(names, {})
    except Exception:
        return ReferenceEvaluator(model).run(names, feeds)


def write(opset, cases, out):
    nodes, initializers, expected = [], [], []
    for number, (op, inputs, outputs, attributes) in enumerate(cases):
        given = []
        for slot, array in enumerate(inputs):
            given.append("" if array is None else f"i{number}_{slot}")
            if array is not None:
                initializers.append(N.from_array(np.asarray(array), given[-1]))
        names = [f"{op}_{number}_{slot}" for slot in range(outputs)]
        nodes.append(H.make_node(op, given, names, **attributes))
        own = [i for i in initializers if i.name in given]
        results = [H.make_empty_tensor_value_info(name) for name in names]
        single = H.make_graph(nodes[-1:], "g", [], results, own)
        single = H.make_model(single, opset_imports=[H.make_opsetid("", opset)], ir_version=8 if opset < 21 else 10)
        expected += [N.from_array(np.asarray(a), name) for name, a in zip(names, run(single, names))]
    results = [H.make_empty_tensor_value_info(name) for node in nodes for name in node.output]
    for name, graph in (("", H.make_graph(nodes, "g", [], results, initializers)), (".expected", H.make_graph([], "g", [], [], expected))):
        model = H.make_model(graph, opset_imports=[H.make_opsetid("", opset)], ir_version=10)
        with open(f"{out}/{opset}{name}.onnx", "wb") as file:
            file.write(model.SerializeToString())


if __name__ == "__main__":
    for make in (elementwise, layout, sums, levels):
        make()
    for opset, cases in CASES.items():
        write(opset, cases, sys.argv[1])
