"""The record of a run: the machine, the versions, and the rows, as `results.json` holds them."""

import contextlib
import datetime
import json
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def begun(options, command):
    return {
        "command": command,
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "versions": versions(options.binary),
        "samples": options.samples,
        "models": [],
    }


def machine():
    return {"cpu": cpu(), "cores": os.cpu_count(), "memory_gb": memory_gb(), "system": platform.platform(terse=True)}


def cpu():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        named = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
        flags = next((line.split() for line in lines if line.startswith("flags")), [])
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
    # Integer dot products decide the speed of eight bits.
    able = [flag for flag in ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8") if flag in flags]
    return f"{named} ({', '.join(able)})" if able else named


def memory_gb():
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
    except (ValueError, OSError, AttributeError):
        return None


def versions(binary):
    found = {"sepconv": said([str(binary), "--version"]).removeprefix("sepconv ")}
    if revision := said(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]):
        found["checkout"] = revision
    for package in ("onnxruntime", "onnx", "onnxsim", "numpy"):
        # onnxsim is not there for every Python.
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found | {"Python": platform.python_version()}


def said(command):
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""


def entry(model, original, calibration, evaluation):
    """A model without its variants."""
    return {
        "name": model.name,
        "about": model.about,
        "package": model.package,
        "licence": model.licence,
        "data": model.data(),
        "calibration_samples": calibration,
        "evaluation_samples": evaluation,
        "bytes": original.stat().st_size,
        "variants": [],
    }


def row(variant):
    """A variant; one that failed has a reason and no figures."""
    made = {"name": variant.name, "how": variant.how, "seconds": round(variant.seconds, 1)}
    if variant.failed:
        return made | {"failed": variant.failed}
    return made | {"bytes": variant.path.stat().st_size} | variant.time | {"score": variant.score}


def save(record, path):
    text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
