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
    """Families of decompositions: dw-pw, pw-dw, spatial, channel, tucker, cp. A "+" before a name adds
    to the default: "+lowrank" rewrites 1x1 convolutions, `Gemm` and `MatMul` by low rank as well."""
    order: Literal["best", "dw-pw", "pw-dw"]
    """Order of the depthwise and the pointwise convolution."""
    lowering: Literal[
        "auto",
        "branches",
        "concat",
        "tiled",
        "fused",
        "branches-padded",
        "tiled-padded",
        "fused-padded",
        "branches-input-padded",
        "fused-input-padded",
    ]
    """How separable convolutions are written into the graph."""
    input_shape: Mapping[str, Sequence[int]] | str | Iterable[str]
    """Shapes of inputs with free dimensions: by name, or as text such as "x=1x3x224x224"."""
    input_shapes: Mapping[str, Sequence[int]]
    """The same by its former name."""
    target: Literal["macs", "tract", "onnxruntime", "openvino"]
    """What the model is to be cheap on: multiply-accumulates, or a runtime's measured time."""
    threads: int
    """Threads of one run on `target`."""
    onnxruntime: str | os.PathLike[str] | None
    """Shared library of ONNX Runtime, where it is not that of this interpreter's package."""
    openvino: str | os.PathLike[str] | None
    """Shared library `openvino_c`, where it is not that of this interpreter's package."""
    data_free: Literal["pictures", "weights"] | None
    """Fit without `calib`, which figures then come from: to synthetic pictures, or to the weights alone."""
    tune: bool | int | None
    """Then train the result towards the original on `calib`, without labels, for so many epochs; `True`:
    20."""
    eval: str | os.PathLike[str] | None
    """Path of data that both models are evaluated on."""
    classes: str | os.PathLike[str] | None
    """File with one class folder name per line: line i is output i."""
    peak: float | None
    """Largest value of a picture, for PSNR and SSIM; 255 where the target is stored as u8, else 1."""
    preprocess: str | os.PathLike[str] | None
    """TOML file with the keys scale, mean, std, channel-order, resize, crop and layout, which the
    options of these names override."""
    scale: float | str | None
    """Factor on the values of `calib` and `eval`, before `mean` and `std`: a number, or a fraction such
    as "1/255"."""
    mean: float | str | Sequence[float] | None
    """Subtracted after scaling: one for all channels, or one each."""
    std: float | str | Sequence[float] | None
    """Divided by after that: one for all channels, or one each."""
    channel_order: Literal["rgb", "bgr"] | None
    """Order of the channels that the model takes, of pictures."""
    resize: int | str | Sequence[int] | None
    """Length of a picture's short side in pixels, or its width and height."""
    crop: int | str | Sequence[int] | None
    """Length of a centre crop's sides in pixels, or its width and height."""
    layout: str | None
    """Layout of arrays: "nchw" or "nhwc"."""
    max_samples: int | None
    """At most so many samples of `calib`, drawn with the seed."""
    positions: int
    """Output positions per layer that are fitted to."""
    max_memory: int | str | None
    """Memory that calibration may take: bytes, or text such as "8G", "512M" or "50%" of the machine's,
    which is the default."""
    rounds: int
    """Rounds of alternating least squares at most."""
    steps: int
    """Steps towards what a layer's activation lets through at most."""
    unweighted: bool
    """Fit all output channels of a layer alike, not by how much the outputs depend on them."""
    block: int
    """Layers that share a pass over the data; 0 means all."""
    seed: int
    """Seed of synthetic inputs and of what is drawn."""
    cache: bool
    """Keep the statistics of planning in the user's cache folder, for other budgets."""


_DEFAULTS: dict[str, object] = {
    **dict.fromkeys(("rank", "energy", "target_macs", "target_params", "target_size")),
    **dict.fromkeys(("target_latency", "max_drop", "min_snr", "plan")),
    **dict.fromkeys(("data_free", "tune", "eval", "classes", "peak", "max_samples")),
    **dict.fromkeys(("preprocess", "scale", "mean", "std", "channel_order", "resize", "crop", "layout")),
    **dict.fromkeys(("onnxruntime", "openvino", "max_memory")),
    **dict.fromkeys(("layers", "skip", "families", "input_shape", "input_shapes"), ()),
    "allow_costlier": False,
    "quantized": False,
    "unweighted": False,
    "order": "best",
    "lowering": "auto",
    "target": "macs",
    "threads": 1,
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

# Epochs of `tune=True`.
_EPOCHS = 20


def complete(options: Mapping[str, object], *, force: bool = False) -> dict[str, object]:
    """All options, as the native module takes them."""
    for name in options:
        if name not in _DEFAULTS:
            raise TypeError(f"compress() has no option '{name}'")
    full: dict[str, Any] = {**_DEFAULTS, **options, "force": force}
    for name in ("layers", "skip", "families"):
        full[name] = _listed(full[name])
    full["families"] = [name for names in full["families"] for name in names.split(",")]
    for name in ("scale", "mean", "std", "max_memory"):
        full[name] = _text(full[name], ",")
    for name in ("resize", "crop"):
        full[name] = _text(full[name], "x")
    former = full.pop("input_shapes")
    if former and full["input_shape"]:
        raise TypeError("input_shape and input_shapes are the same option")
    full["input_shape"] = _shapes(full["input_shape"] or former)
    full["tune"] = _EPOCHS if full["tune"] is True else full["tune"] or None
    full["plan"] = _plan(full["plan"])
    for runtime, (_, _, use) in _LIBRARIES.items():
        library = full.pop(runtime)
        if library is not None:
            use(os.fspath(library))
            _announced.add(runtime)
    if full["target"] in _LIBRARIES:
        _announce(full["target"])
    return full


def _text(value: Any, separator: str) -> str | None:
    """A number or several as the command line takes them."""
    if value is None or isinstance(value, str):
        return value
    numbers = list(value) if isinstance(value, Iterable) else [value]
    return separator.join(str(n) if isinstance(n, int) else repr(float(n)) for n in numbers) or None


def _shapes(shapes: Any) -> list[tuple[str, list[int]]]:
    """Names of inputs with their extents."""
    if isinstance(shapes, Mapping):
        return [(name, list(shape)) for name, shape in shapes.items()]
    found = []
    for text in _listed(shapes):
        name, _, extents = text.rpartition("=")
        try:
            found.append((name, [int(extent) for extent in extents.split("x")]))
        except ValueError:
            name = ""
        if not name:
            raise _sepconv.Error(f"input_shape: expected NAME=1x3x224x224, found '{text}'")
    return found


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
