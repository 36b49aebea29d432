#!/usr/bin/env python3
"""Records runs of the command line, and compares two recordings byte for byte.

    tests/bench/recorded_runs.py record BINARY FOLDER [NAME ...]
    tests/bench/recorded_runs.py compare FOLDER FOLDER

`record` makes one folder per run, with all files that the run writes, its exit code, its standard output and its
standard error. `compare` names every file that differs, and exits with 1 where one does. A rebuild that is not to
change behaviour is held by it: record with the binary from before, record with the one from after, compare. Times,
memory and the version of the tool are masked. Runs on the models of ../shared are left out where that folder is not
there.
"""

import filecmp
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SHARED = ROOT.parent / "shared"
DIGITS = ROOT / "models"
# Runs on models that the project ships.
CALIB = ["--calib", DIGITS / "digits_calib.npz"]
EVAL = ["--eval", DIGITS / "digits_eval.npz"]
CIFAR = ["--calib", SHARED / "data/cifar10_calib.npz", "--max-samples", "256"]
NOISE = ["--calib", SHARED / "data/denoise_sigma25_calib.npz", "--max-samples", "16"]


def runs():
    digits, resnet = DIGITS / "digits.onnx", SHARED / "models/resnet20_cifar10.onnx"
    mlperf, dncnn = SHARED / "models/resnet8_cifar10_mlperf_tiny.onnx", SHARED / "models/dncnn_gray_sigma25.onnx"
    compress = lambda model, *args: [["compress", model, "-v", "-o", "out.onnx", "--save-plan", "plan.json", *args]]
    all_runs = {
        "inspect": [["inspect", digits, "-v"], ["inspect", digits, "--json"]],
        "untouched": compress(digits, "--skip", "*"),
        "rank_by_weights": compress(digits, "--rank", "2", "--data-free=weights"),
        "rank_by_pictures": compress(digits, "--rank", "1", "--order", "dw-pw", "--lowering", "tiled"),
        "energy": compress(digits, "--energy", "0.9", "--families", "spatial"),
        "macs_by_weights": compress(digits, "--target-macs", "0.5", "--data-free=weights"),
        "params": compress(digits, "--target-params", "0.5", *CALIB),
        "size": compress(digits, "--target-size", "0.5", *CALIB, "--families", "+lowrank"),
        "macs_report": compress(digits, "--target-macs", "0.5", *CALIB, *EVAL, "--report", "report", "--json"),
        "macs_replayed": compress(digits, "--target-macs", "0.4", *CALIB)
        + [["compress", digits, "--plan", "plan.json", *CALIB, "-o", "again.onnx"]],
        "default": compress(digits),
        "default_calibrated": compress(digits, *CALIB),
        "drop_on_labels": compress(digits, "--max-drop", "0.5", *CALIB, *EVAL),
        "snr_calibrated": compress(digits, "--min-snr", "20", *CALIB),
        "unweighted_blocks": compress(digits, "--target-macs", "0.5", *CALIB, "--unweighted", "--block", "2"),
        "tuned": compress(digits, "--target-macs", "0.4", *CALIB, "--tune=1"),
        "sweep": [["sweep", digits, "--fractions", "0.3,0.6", "--report", "report", "--models", "models", *CALIB, *EVAL]],
        "judged_apart": compress(digits, "--rank", "1", "--data-free=weights")
        + [
            ["compare", digits, "out.onnx", "-v"],
            ["eval", "out.onnx", "--original", digits, "--data", DIGITS / "digits_eval.npz", "-v", "--json"],
            ["run", "out.onnx", "-o", "outputs.npz"],
        ],
        "impossible": compress(digits, "--target-macs", "0.001", *CALIB),
        "no_such_layer": compress(digits, "--layers", "nothing*"),
        "resnet20_macs": compress(resnet, "--target-macs", "0.45", *CIFAR),
        "resnet20_default": compress(resnet, *CIFAR),
        "mlperf_channels_last": compress(mlperf, "--target-macs", "0.5", *CIFAR),
        "dncnn_families": compress(dncnn, "--target-macs", "0.5", *NOISE, "--families", "spatial,channel,tucker,cp"),
    }
    there = SHARED.is_dir()
    uses_shared = lambda commands: any(str(SHARED) in str(a) for c in commands for a in c)
    return {name: commands for name, commands in all_runs.items() if there or not uses_shared(commands)}


MASKS = [
    (r"\d+(\.\d+)? ?(ms|s|min)\b", "TIME"),
    (r"\d+(\.\d+)? ?[KMG]i?B\b peak|peak[^\n]*", "MEMORY"),
    (r'"(seconds|elapsed|peak_memory)": ?[0-9.e+-]+', r'"\1": MASKED'),
]


# Lines of the journal of progress: which of them come depends on the time that the work takes.
PROGRESS = re.compile(r"^[a-z][a-z ']*: (\d+ [a-z ]+, (done|ended) in|\d+ of \d+ [a-z]+, |\d+ [a-z]+, \S+ so far).*\n", re.MULTILINE)


def masked(text):
    text = PROGRESS.sub("", text)
    for pattern, mask in MASKS:
        text = re.sub(pattern, mask, text)
    return text


def record(binary, folder, names):
    binary = Path(binary).resolve()
    chosen = runs()
    for name in names or chosen:
        into = Path(folder) / name
        into.mkdir(parents=True, exist_ok=False)
        for step, command in enumerate(chosen[name]):
            env = {**os.environ, "XDG_CACHE_HOME": str(into / ".cache"), "COLUMNS": "120", "NO_COLOR": "1"}
            done = subprocess.run(
                [binary, *map(str, command)], cwd=into, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL
            )
            (into / f"stdout.{step}").write_text(masked(done.stdout))
            (into / f"stderr.{step}").write_text(masked(done.stderr))
            (into / f"code.{step}").write_text(str(done.returncode))
        print(f"{name}: exit {done.returncode}", flush=True)


def files(folder):
    kept = lambda p: p.is_file() and ".cache" not in p.parts
    return {str(p.relative_to(folder)): p for p in Path(folder).rglob("*") if kept(p)}


def compare(before, after):
    old, new = files(before), files(after)
    runs_made = {n.split("/")[0] for n in new}
    wrong = [n for n in sorted(old.keys() | new.keys()) if n.split("/")[0] in runs_made and differs(old.get(n), new.get(n))]
    print("\n".join(f"differs: {name}" for name in wrong))
    print(f"{len(runs_made)} runs, {len(new)} files, {len(wrong)} differ")
    return 1 if wrong else 0


def differs(a, b):
    if a is None or b is None:
        return True
    if filecmp.cmp(a, b, shallow=False):
        return False
    if a.suffix in (".onnx", ".npz"):
        return True
    return masked(a.read_text()) != masked(b.read_text())


def main():
    match sys.argv[1:]:
        case ["record", binary, folder, *names]:
            record(binary, folder, names)
        case ["compare", before, after]:
            sys.exit(compare(before, after))
        case _:
            print(__doc__)
            sys.exit(2)


if __name__ == "__main__":
    main()
