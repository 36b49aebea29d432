"""Keyword arguments and their defaults: those of the command line."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict, Union

from . import _sepconv


class Options(TypedDict, total=False):
    """What `compress` and `compress_file` can be told. All of it may be left out."""

    rank: int | None
    """Budget: the same rank in every layer."""
    energy: float | None
    """Budget: the share of each kernel's squared norm to keep, in (0, 1]."""
    target_macs: float | None
    """Budget: the fraction of multiply-accumulates to keep, in (0, 1)."""
    target_params: float | None
    """Budget: the fraction of parameters to keep."""
    target_size: float | None
    """Budget: the fraction of bytes to keep."""
    target_latency: float | None
    """Budget: the fraction of the time on `target` to keep."""
    max_drop: float | None
    """Budget: the cheapest model that is at most so much worse, in percentage points or dB."""
    min_snr: float | None
    """Budget: the cheapest model whose outputs keep this signal-to-noise ratio, in dB."""
    plan: Mapping[str, Any] | str | os.PathLike[str] | None
    """In place of a budget: `Report.plan`, or the path of a plan file."""
    allow_costlier: bool
    """Rewrite even where it costs more: at full rank, to see that the rewrite is exact."""
    layers: str | Iterable[str]
    """Only layers whose names match one of these globs."""
    skip: str | Iterable[str]
    """All but the layers whose names match one of these globs."""
    quantized: bool
    """Rewrite convolutions of quantised weights (behind `DequantizeLinear`) too, with floats."""
    families: str | Iterable[str]
    """Families of decompositions: dw-pw, pw-dw, spatial, channel, tucker, cp."""
    order: Literal["best", "dw-pw", "pw-dw"]
    """Order of the depthwise and the pointwise convolution."""
    lowering: Literal["auto", "branches", "concat", "tiled", "fused"]
    """How separable convolutions are written into the graph."""
    input_shapes: Mapping[str, Sequence[int]]
    """Shapes of inputs with free dimensions."""
    target: Literal["macs", "tract", "onnxruntime", "openvino"]
    """What the model is to be cheap on: multiply-accumulates, or a runtime's measured time."""
    threads: int
    """Threads of one run on `target`."""
    data_free: Literal["pictures", "weights"] | None
    """Fit without `calib`: to synthetic pictures, or to the weights alone."""
    eval: str | os.PathLike[str] | None
    """Path of data that both models are evaluated on."""
    scale: float
    """Factor on the values of `calib` and `eval`, before `mean` and `std`."""
    mean: float | Sequence[float]
    """Subtracted after scaling: one for all channels, or one each."""
    std: float | Sequence[float]
    """Divided by after that: one for all channels, or one each."""
    max_samples: int | None
    """At most so many samples of `calib`, drawn with the seed."""
    positions: int
    """Output positions per layer that are fitted to."""
    rounds: int
    """Rounds of alternating least squares at most."""
    steps: int
    """Steps towards what a layer's activation lets through at most."""
    block: int
    """Layers that share a pass over the data; 0 means all."""
    seed: int
    """Seed of synthetic inputs and of what is drawn."""
    cache: bool
    """Keep the statistics of planning in the user's cache folder, for other budgets."""


_DEFAULTS: dict[str, object] = {
    **dict.fromkeys(("rank", "energy", "target_macs", "target_params", "target_size")),
    **dict.fromkeys(("target_latency", "max_drop", "min_snr", "plan")),
    **dict.fromkeys(("data_free", "eval", "max_samples")),
    **dict.fromkeys(("layers", "skip", "families", "mean", "std", "input_shapes"), ()),
    "allow_costlier": False,
    "quantized": False,
    "order": "best",
    "lowering": "auto",
    "target": "macs",
    "threads": 1,
    "scale": 1.0,
    "positions": 60_000,
    "rounds": 8,
    "steps": 12,
    "block": 1,
    "seed": 0,
    "cache": False,
}

# Packages that carry a runtime's shared library: the folder in them, and the variable that names another.
_LIBRARIES = {
    "onnxruntime": ("capi", "SEPCONV_ONNXRUNTIME", _sepconv.use_onnxruntime),
    "openvino": ("libs", "SEPCONV_OPENVINO", _sepconv.use_openvino),
}
_announced: set[str] = set()


def complete(options: Mapping[str, object], *, force: bool = False) -> dict[str, object]:
    """All options, as the native module takes them."""
    for name in options:
        if name not in _DEFAULTS:
            raise TypeError(f"compress() has no option '{name}'")
    full: dict[str, Any] = {**_DEFAULTS, **options, "force": force}
    for name in ("layers", "skip", "families"):
        full[name] = _listed(full[name])
    for name in ("mean", "std"):
        full[name] = [full[name]] if isinstance(full[name], (int, float)) else list(full[name] or ())
    shapes = dict(full["input_shapes"] or {})
    full["input_shapes"] = [(name, list(shape)) for name, shape in shapes.items()]
    full["plan"] = _plan(full["plan"])
    if full["target"] in _LIBRARIES:
        _announce(full["target"])
    return full


def _listed(globs: Union[str, Iterable[str], None]) -> list[str]:
    return [globs] if isinstance(globs, str) else list(globs or ())


def _plan(plan: Any) -> tuple[str, str] | None:
    """What errors call a plan, and its text."""
    if plan is None:
        return None
    if isinstance(plan, Mapping):
        return "plan", json.dumps(plan)
    try:
        return os.fspath(plan), Path(plan).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise _sepconv.Error(f"{plan}: {reason}") from error


def _announce(runtime: str) -> None:
    """The runtime is that of this interpreter, unless the environment names another."""
    folder, variable, use = _LIBRARIES[runtime]
    found = importlib.util.find_spec(runtime)
    if runtime in _announced or os.environ.get(variable) or found is None or not found.origin:
        return
    _announced.add(runtime)
    use(str(Path(found.origin).parent / folder))
