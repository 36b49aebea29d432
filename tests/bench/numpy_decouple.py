#!/usr/bin/env python3
"""Depthwise-separable decomposition of every k x k convolution of an ONNX model, in plain NumPy.

    python tests/bench/numpy_decouple.py IN.onnx OUT.onnx [--rank 2] [--svd thin|full]

The baseline that the benchmark compares sepconv with: for each input channel the SVD of its Co x (k*k)
slice gives K depthwise filters (right vectors) and the columns of K pointwise convolutions (left vectors
times singular values), which are run as K branches and summed.

`thin` makes one batched call a layer with full_matrices=False: as fast as np.linalg.svd goes. `full` makes one
call a channel with NumPy's default, full_matrices=True, as the paper's published code does.
"""

import argparse

import numpy as np
import onnx
from onnx import helper, numpy_helper


def slices_svd(slices, how):
    """Thin factors (u, s, vt) of a stack of matrices [n, rows, columns]."""
    if how == "thin":
        return np.linalg.svd(slices, full_matrices=False)
    k = min(slices.shape[1:])
    parts = []
    for m in slices:
        u, s, vt = np.linalg.svd(m)
        # Copied: a view would keep the whole square u alive.
        parts.append((u[:, :k].copy(), s, vt[:k]))
    return tuple(np.stack(p) for p in zip(*parts))


def decompose(weight, rank, how):
    """(depthwise [K][Ci,1,kh,kw], pointwise [K][Co,Ci,1,1]) of weight [Co,Ci,kh,kw]."""
    co, ci, kh, kw = weight.shape
    u, s, vt = slices_svd(weight.reshape(co, ci, kh * kw).transpose(1, 0, 2), how)
    us = u * s[:, None, :]
    depthwise = [np.ascontiguousarray(vt[:, k]).reshape(ci, 1, kh, kw) for k in range(rank)]
    pointwise = [np.ascontiguousarray(us[:, :, k].T).reshape(co, ci, 1, 1) for k in range(rank)]
    return depthwise, pointwise


def separate(conv, weight, rank, how):
    """(nodes, initializers) that take the place of one convolution."""
    x, bias = conv.input[0], list(conv.input[2:])
    nodes, tensors, branches = [], [], []
    spatial = [a for a in conv.attribute if a.name not in ("group", "kernel_shape")]
    for k, (dw, pw) in enumerate(zip(*decompose(weight, rank, how))):
        name = f"{conv.name}_{k}"
        tensors += [numpy_helper.from_array(dw, f"{name}.dw"), numpy_helper.from_array(pw, f"{name}.pw")]
        node = helper.make_node("Conv", [x, f"{name}.dw"], [f"{name}_dw_out"], f"{name}_dw", group=dw.shape[0])
        node.attribute.extend(spatial)
        nodes.append(node)
        first_bias = bias if k == 0 else []
        nodes.append(helper.make_node("Conv", [f"{name}_dw_out", f"{name}.pw", *first_bias], [f"{name}_out"], f"{name}_pw"))
        branches.append(f"{name}_out")
    nodes.append(helper.make_node("Sum", branches, list(conv.output), f"{conv.name}_sum"))
    return nodes, tensors


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("out")
    parser.add_argument("--rank", type=int, default=2)
    parser.add_argument("--svd", choices=["thin", "full"], default="thin")
    args = parser.parse_args()

    model = onnx.load(args.model)
    graph = model.graph
    weights = {t.name: t for t in graph.initializer}
    nodes, replaced, added = [], set(), []
    for node in graph.node:
        tensor = weights.get(node.input[1]) if node.op_type == "Conv" else None
        grouped = any(a.name == "group" and a.i != 1 for a in node.attribute)
        if tensor is None or grouped or list(tensor.dims[2:]) == [1, 1]:
            nodes.append(node)
            continue
        new, tensors = separate(node, numpy_helper.to_array(tensor), args.rank, args.svd)
        nodes += new
        added += tensors
        replaced.add(tensor.name)
    for i in reversed(range(len(graph.initializer))):
        if graph.initializer[i].name in replaced:
            del graph.initializer[i]
    graph.initializer.extend(added)
    rewritten = onnx.GraphProto(node=nodes)  # copies: some are still the graph's own
    del graph.node[:]
    graph.node.extend(rewritten.node)
    onnx.save(model, args.out)


if __name__ == "__main__":
    main()
