#!/usr/bin/env python3
"""Time and peak memory of `sepconv compress --rank 2` on a VGG-16-sized model, next to NumPy in the same run.

    .venv/bin/python tests/bench/whole_command.py [--runs 5] [--rank 2] [--binary PATH] [--folder DIR]

Builds the release binary, makes the model in a temporary folder (3 GB of disk), and runs the contestants in
turns. See README.md beside this file.
"""

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def timed(command, log):
    """(seconds, peak resident bytes) of a command that has to succeed."""
    start = time.perf_counter()
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    # wait4, not RUSAGE_CHILDREN: the peak of this child, not of the largest so far.
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        log.seek(0)
        sys.exit(f"{' '.join(map(str, command))} failed with {child.returncode}:\n{log.read()}")
    return seconds, usage.ru_maxrss * 1024


def contestants(args, model, folder):
    """name -> (command, the file that it writes, or None)."""

    def compress(name, *more):
        out = folder / f"{name}.onnx"
        return [args.binary, "compress", model, "-o", out, "--rank", str(args.rank), "--force", *more], out

    def numpy(how):
        out = folder / f"numpy_{how}.onnx"
        script = HERE / "numpy_decouple.py"
        return [sys.executable, script, model, out, "--rank", str(args.rank), "--svd", how], out

    copy = folder / "copy.onnx"
    same = compress("dwpw", "--order", "dw-pw", "--lowering", "branches")
    return {
        "sepconv": compress("sepconv"),
        "sepconv dw-pw": same,
        "its check": ([args.binary, "compare", model, same[1], "--samples", "1"], None),
        "numpy thin": numpy("thin"),
        "numpy full": numpy("full"),
        "plain copy": (["cp", model, copy], copy),
    }


def difference(a, b):
    """Maximum relative difference of the outputs of two models on one picture, by ONNX Runtime."""
    import numpy as np
    import onnxruntime

    x = np.random.default_rng(0).standard_normal((1, 3, 224, 224), dtype=np.float32)
    results = []
    for path in (a, b):
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        results.append(session.run(None, {"input": x})[0])
    return float(np.abs(results[0] - results[1]).max() / np.abs(results[1]).max())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--rank", type=int, default=2)
    parser.add_argument("--binary", help="a built sepconv; without it `cargo build --release` makes one")
    parser.add_argument("--folder", help="where the temporary folder goes")
    args = parser.parse_args()
    if args.binary is None:
        subprocess.run(["cargo", "build", "--release", "--quiet", "-p", "sepconv-cli"], cwd=ROOT, check=True)
        args.binary = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "sepconv"

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the folder is removed
    folder = Path(tempfile.mkdtemp(prefix="sepconv-bench-", dir=args.folder))
    try:
        bench(args, folder)
    finally:
        shutil.rmtree(folder)


def bench(args, folder):
    model = folder / "vgg16.onnx"
    subprocess.run([sys.executable, HERE / "make_vgg16.py", model], check=True)
    size = model.stat().st_size
    entries = contestants(args, model, folder)
    seconds = {name: [] for name in entries}
    peak = dict.fromkeys(entries, 0)
    for turn in range(args.runs + 1):
        for name, (command, out) in entries.items():
            if out:
                out.unlink(missing_ok=True)
            with tempfile.TemporaryFile("w+") as log:
                took, rss = timed(command, log)
            if turn > 0:  # the first turn only warms the page cache
                seconds[name].append(took)
                peak[name] = max(peak[name], rss)
    drift = difference(entries["sepconv dw-pw"][1], entries["numpy thin"][1])

    base = statistics.median(seconds["sepconv"])
    print(f"model {size / 1e6:.0f} MB, rank {args.rank}, {args.runs} runs each in turns, {os.cpu_count()} cores")
    print(f"{'':14} {'min s':>7} {'median s':>9} {'median/sepconv':>15} {'peak MB':>8} {'peak/file':>10} {'written MB':>11}")
    for name, times in seconds.items():
        median = statistics.median(times)
        out = entries[name][1]
        written = f"{out.stat().st_size / 1e6:11.0f}" if out else f"{'-':>11}"
        print(
            f"{name:14} {min(times):7.2f} {median:9.2f} {median / base:14.2f}x {peak[name] / 1e6:8.0f}"
            f" {peak[name] / size:10.2f} {written}"
        )
    print(f"'sepconv dw-pw' and 'numpy thin' on one picture: maximum relative difference {drift:.1e}")


if __name__ == "__main__":
    main()
