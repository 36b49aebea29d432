#!/usr/bin/env python3
"""ONNX's own backend tests with Conv or ConvTranspose, rewritten at full rank.

    tests/conformance.py --binary target/debug/sepconv            prints the table of docs/conformance.md
    tests/conformance.py --binary target/debug/sepconv --check docs/conformance.md
    tests/conformance.py --binary target/debug/sepconv --write docs/conformance.md

The cases are those of the `onnx` package: its node tests, and the models converted from PyTorch. Where a
test feeds the weights as inputs they become initializers, with the values of the test. Each model is then
compressed with `--energy 1 --allow-costlier --data-free=weights`, which keeps the full rank, and ONNX
Runtime runs the original and the result on the inputs of the test. They agree if max|a - b| / max|b| is at
most 1e-4 (1e-2 in half precision), the result passes ONNX's full checker, and it has the inputs and
outputs of the original. Models of opset 6 are declared opset 7, the first that ONNX Runtime supports: Conv is
the same in both. Exit code 1 where one does not agree, or where the table differs from the file of --check.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

CONVOLUTIONS = ("Conv", "ConvTranspose")
TABLE = ("<!-- table -->\n", "<!-- end of table -->\n")


def operators(graph):
    """The types of all operators, those of subgraphs included."""
    for node in graph.node:
        yield node.op_type
        for attribute in node.attribute:
            for inner in [attribute.g, *attribute.graphs]:
                yield from operators(inner)


def cases():
    """(kind, name, model, inputs) of every test that has a convolution."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for case in collect_testcases(None):
            if set(operators(case.model.graph)) & set(CONVOLUTIONS):
                inputs, _ = case.data_sets[0]
                yield "node", case.name, case.model, inputs
    data = Path(onnx.__file__).parent / "backend/test/data"
    for path in sorted(data.glob("pytorch-*/*/model.onnx")):
        model = onnx.load(path)
        if set(operators(model.graph)) & set(CONVOLUTIONS):
            files = sorted((path.parent / "test_data_set_0").glob("input_*.pb"))
            tensors = [onnx.TensorProto.FromString(file.read_bytes()) for file in files]
            yield path.parts[-3], path.parts[-2], model, [numpy_helper.to_array(t) for t in tensors]


def settled(model, inputs):
    """The model with all inputs but the first as initializers, and what is left to feed."""
    for opset in model.opset_import:
        opset.version = max(opset.version, 7)
    names = [value.name for value in model.graph.input]
    known = {tensor.name for tensor in model.graph.initializer}
    free = [name for name in names if name not in known]
    for name, value in list(zip(free, inputs))[1:]:
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    # Below IR version 4 initializers have to be inputs too.
    kept = [v for v in model.graph.input if v.name == free[0] or v.name in known or model.ir_version < 4]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    return model, {free[0]: np.asarray(inputs[0])}


def outputs(path, feed):
    """What ONNX Runtime computes, and the names and types of inputs and outputs."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    interface = [(v.name, v.type, v.shape) for v in [*session.get_inputs(), *session.get_outputs()]]
    return session.run(None, feed), interface


def outcome(binary, folder, model, feed):
    """What came of one case: ("rewritten" | "untouched" | "not run" | "failed", why)."""
    source, result, report = folder / "model.onnx", folder / "out.onnx", folder / "report"
    onnx.save(model, source)
    try:
        expected, interface = outputs(source, feed)
    except Exception as error:  # whatever ONNX Runtime refuses with
        return "not run", f"ONNX Runtime refuses the original: {str(error).splitlines()[0]}"
    command = [binary, "compress", source, "-o", result, "--force", "--json"]
    command += ["--energy", "1", "--allow-costlier", "--data-free=weights"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 1 and "no convolution qualifies" in done.stderr:
        return "untouched", done.stderr.split("no convolution qualifies: ")[1].strip()
    if done.returncode != 0:
        return "failed", done.stderr.strip().replace(str(source), "model.onnx")
    onnx.checker.check_model(str(result), full_check=True)
    actual, after = outputs(result, feed)
    if after != interface:
        return "failed", f"inputs and outputs were {interface}, are {after}"
    for a, b in zip(actual, expected):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        bound = 1e-2 if expected[0].dtype == np.float16 else 1e-4
        error = np.abs(a - b).max() / max(np.abs(b).max(), 1e-30)
        if a.shape != b.shape or not error <= bound:
            return "failed", f"outputs differ by {error:.1e}"
    layers = json.loads(done.stdout)["layers"]
    made = [f"{l['form']}, rank {l['rank']}" for l in layers if l["rank"]]
    return "rewritten", "; ".join(made)


def page(rows):
    """The table, and a sentence that counts."""
    kinds = ["rewritten", "untouched", "not run", "failed"]
    counts = {kind: sum(row[2] == kind for row in rows) for kind in kinds}
    lines = [
        f"{len(rows)} tests: {counts['rewritten']} rewritten at full rank, with the original's outputs; "
        f"{counts['untouched']} untouched; {counts['not run']} that ONNX Runtime does not run; "
        f"{counts['failed']} failed.",
        "",
        "| test | of | outcome | form, or reason |",
        "|---|---|---|---|",
    ]
    lines += [f"| `{name}` | {kind} | {what} | {why.replace('|', '/')} |" for kind, name, what, why in rows]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", required=True, help="the sepconv binary")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", type=Path, metavar="MD", help="compare with the table of this page")
    mode.add_argument("--write", type=Path, metavar="MD", help="replace the table of this page")
    options = parser.parse_args()

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for kind, name, model, inputs in cases():
            rows.append((kind, name, *outcome(options.binary, Path(folder), *settled(model, inputs))))
    table = page(rows)
    problems = [f"{name}: {why}" for _, name, what, why in rows if what == "failed"]
    if options.write or options.check:
        file = options.write or options.check
        text = file.read_text()
        start, end = text.index(TABLE[0]) + len(TABLE[0]), text.index(TABLE[1])
        if options.write:
            file.write_text(text[:start] + table + text[end:])
        elif text[start:end] != table:
            problems.append(f"{file} is not what was measured; --write makes it so:\n{table}")
    else:
        print(table)
    print("\n".join(problems), file=sys.stderr)
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
