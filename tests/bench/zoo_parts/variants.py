"""The variants of a model: commands of sepconv, ONNX Runtime's quantiser, and onnxsim's pruning.

Each gives a file or a reason.
"""

import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from . import packages


@dataclass
class Variant:
    """A variant of a model, made or not."""

    name: str
    how: str
    """The options, as a user would give them."""
    seconds: float = 0.0
    path: Path | None = None
    failed: str | None = None
    """The reason, where no file was made."""
    score: dict | None = None
    time: dict = field(default_factory=dict)


# Name, options of `sepconv compress`. `{rank}` is the model's.
OURS = [
    ("sepconv", "--calib calib.npz"),
    ("sepconv --speedup 2", "--calib calib.npz --speedup 2"),
    ("sepconv --int8", "--calib calib.npz --int8 --opset 13"),
    ("the paper's method", "--families dw-pw --order dw-pw --data-free=weights --rank {rank}"),
]
# Name, calibration method, kinds of operators (all that it can without).
THEIRS = [
    ("ONNX Runtime INT8, MinMax", "MinMax", None),
    ("ONNX Runtime INT8, Percentile", "Percentile", None),
    ("ONNX Runtime INT8, MinMax, Conv/Gemm/MatMul", "MinMax", ["Conv", "Gemm", "MatMul"]),
]
# Rankings of channels.
PRUNED = ["L2", "Wanda"]


def make(model, original, calib, folder, options, tell):
    """All variants of a model. `calib` is an .npz of the model's input."""
    bound = f" --max-time {options.max_time}" if options.max_time else ""
    for name, flags in OURS:
        tell(name)
        # A rank alone takes seconds.
        flags = flags.format(rank=model.rank) + ("" if "--rank" in flags else bound)
        yield ours(name, flags, original, calib, folder, options)
    files = [original, calib]
    for name, method, kinds in THEIRS:
        tell(name)
        how = f"quantize_static, QDQ, {name.partition(', ')[2]}"
        yield theirs(name, how, "quantise", files, [method, ",".join(kinds or [])], folder, options)
    for ranking in PRUNED:
        name = f"onnxsim pruning, {ranking}"
        tell(name)
        how = "simplify, apply_structured_pruning" if ranking == "L2" else "simplify, apply_structured_wanda_pruning"
        yield theirs(name, how, "prune", files, [ranking], folder, options)


def ours(name, flags, original, calib, folder, options):
    path = folder / f"{file_name(name)}.onnx"
    variant = Variant(name, f"sepconv compress {flags}")
    command = [options.binary, "compress", original, "-o", path, "--force", "--quiet"]
    command += [calib if word == "calib.npz" else word for word in flags.split()]
    start = time.perf_counter()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=options.limit, env=environment())
    except subprocess.TimeoutExpired:
        variant.failed = f"took longer than {options.limit} s"
    else:
        if done.returncode != 0 or not path.exists():
            variant.failed = reason(done.stderr) or f"exit code {done.returncode}"
    variant.seconds = time.perf_counter() - start
    variant.path = None if variant.failed else path
    return variant


def environment():
    """That of a command of sepconv: it finds the ONNX Runtime that this Python has."""
    import onnxruntime

    named = dict(os.environ)
    libraries = sorted((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.*"))
    if libraries:
        named.setdefault("SEPCONV_ONNXRUNTIME", str(libraries[0]))
    return named


def reason(stderr):
    """The last line of an error, without paths of this machine."""
    if not stderr.strip():
        return ""
    line = packages.last_line(stderr)
    words = [Path(word).name if word.count("/") > 1 else word for word in line.split(" ")]
    return " ".join(words)[:300]


def theirs(name, how, module, files, words, folder, options):
    """By a module of this folder, in a process of its own: its memory ends with it, and its prints stay out of ours.

    The last line that it prints goes with `how`.
    """
    path = folder / f"{file_name(name)}.onnx"
    variant = Variant(name, how)
    command = [sys.executable, "-m", f"zoo_parts.{module}", *files, path, *words]
    beside = Path(__file__).resolve().parents[1]
    start = time.perf_counter()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=options.limit, cwd=beside)
    except subprocess.TimeoutExpired:
        variant.failed = f"took longer than {options.limit} s"
    else:
        if done.returncode != 0 or not path.exists():
            variant.failed = reason(done.stderr) or f"exit code {done.returncode}"
        else:
            variant.how += f", {packages.last_line(done.stdout)}"
    variant.seconds = time.perf_counter() - start
    variant.path = None if variant.failed else path
    return variant


def file_name(name):
    return "".join(c if c.isalnum() else "_" for c in name.lower())
