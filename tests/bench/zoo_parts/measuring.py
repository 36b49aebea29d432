"""Outputs and times on ONNX Runtime: one thread, all variants in turns."""

import math
import time

import numpy as np
import onnxruntime


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def input_name(path):
    (one,) = session(path).get_inputs()
    return one.name


def outputs(path, samples):
    """The outputs of every sample."""
    run = session(path)
    (one,) = run.get_inputs()
    return [run.run(None, {one.name: samples[i : i + 1]}) for i in range(len(samples))]


def times(paths, sample, rounds, seconds):
    """`[rounds, variants]` in seconds. Variants run in turns, from another one on in every round.

    Ends after `seconds`, with at least 5 rounds.
    """
    runs = [session(path) for path in paths]
    feed = {runs[0].get_inputs()[0].name: sample}
    for run in runs:
        run.run(None, feed)
        run.run(None, feed)
    table, end = [], time.perf_counter() + seconds
    while len(table) < rounds and (len(table) < 5 or time.perf_counter() < end):
        row = [0.0] * len(runs)
        for k in range(len(runs)):
            i = (k + len(table)) % len(runs)
            start = time.perf_counter()
            runs[i].run(None, feed)
            row[i] = time.perf_counter() - start
        table.append(row)
    return np.array(table)


def speeds(table):
    """For every column: its median time, and how many times it is faster than the first, with an interval of 95 %."""
    found = []
    for column in table.T:
        low, median, high = median_interval(table[:, 0] / column)
        found.append({"ms": 1e3 * float(np.median(column)), "speed": median, "low": low, "high": high})
    return found


def median_interval(values):
    """The median, between the bounds of its interval of 95 % by order statistics (binomial, without a model)."""
    values = np.sort(np.asarray(values, float))
    n = len(values)
    # The largest k with P(fewer than k values lie below the median) <= 2.5 %.
    below, k = 0.0, 0
    while k < n // 2:
        below += math.comb(n, k) / 2**n
        if below > 0.025:
            break
        k += 1
    low = values[max(k - 1, 0)]
    high = values[n - max(k, 1)]
    return float(low), float(np.median(values)), float(high)
