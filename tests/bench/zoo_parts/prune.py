"""onnxsim's pruning of the channels of one model: simplified first, then cut to half of its MACs.

    python -m zoo_parts.prune MODEL CALIB.npz OUT RANKING

RANKING is L2 (norms of filters) or Wanda (norms of filters times those of activations on the calibration data).
onnxsim takes a share of channels and cuts it from every chain of layers that it can cut. The least share that leaves
at most half of the MACs is found by bisection.
"""

import sys

import numpy as np
import onnx
import onnxsim
from onnxsim.model_info import ModelInfo

from . import bisection, measuring

# The MACs that stay: nearest to `sepconv compress --speedup 2`.
BUDGET = 0.5
# Percent of channels. A chain keeps one channel at least.
MOST = 99


def prune(source, calib, out, ranking):
    """Writes the pruned model. Gives the share that was cut, in words."""
    with np.load(calib) as arrays:
        ((name, samples),) = arrays.items()
    model, _ = onnxsim.simplify(onnx.load(source))
    count = lambda model: macs(model, name, samples.shape[1:])
    whole = count(model)
    if not whole:
        raise SystemExit("onnxsim counts no MACs")
    # Both rankings cut the same number of channels.
    left = lambda percent: count(by_norms(model, percent)) / whole
    percent = bisection.least(lambda percent: left(percent) <= BUDGET, MOST)
    if percent is None:
        raise SystemExit(f"{100 * left(MOST):.0f} % of the MACs stay where {MOST} % of the channels are cut")
    pruned = by_norms(model, percent) if ranking == "L2" else by_activations(model, percent, name, samples)
    onnx.save(pruned, out)
    measuring.session(out)
    return f"{percent} % of channels cut, {100 * count(pruned) / whole:.0f} % of MACs left"


def by_norms(model, percent):
    return onnxsim.apply_structured_pruning(model, sparsity=percent / 100)


def by_activations(model, percent, name, samples):
    batches = [{name: samples[i : i + 1]} for i in range(len(samples))]
    return onnxsim.apply_structured_wanda_pruning(model, batches, sparsity=percent / 100)


def macs(model, name, shape):
    """MACs of one sample of this shape. onnxsim counts a dimension without a number as one."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    (given,) = (value for value in fixed.graph.input if value.name == name)
    for dimension, length in zip(given.type.tensor_type.shape.dim, (1, *shape)):
        dimension.dim_value = length
    return int(ModelInfo(fixed).macs)


if __name__ == "__main__":
    print(prune(*sys.argv[1:5]))
