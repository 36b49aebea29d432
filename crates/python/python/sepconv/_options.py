"""Keyword arguments: the options of the native module, as type checkers know them. Their defaults are its own."""

from __future__ import annotations

import importlib.util
import json
import operator
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, SupportsFloat, SupportsIndex, TypedDict

import numpy as np

from . import _sepconv


class _Common(TypedDict, total=False):
    """Options of every function: how data are read, and where runtimes are."""

    input_shape: Mapping[str, Sequence[int]] | str | Iterable[str]
    """Shapes of inputs with free dimensions: by name, or as text such as "x=1x3x224x224"."""
    onnxruntime: str | os.PathLike[str] | None
    """Shared library of ONNX Runtime, where it is not that of this interpreter's package."""
    openvino: str | os.PathLike[str] | None
    """Shared library `openvino_c`, where it is not that of this interpreter's package."""
    preprocess: str | os.PathLike[str] | None
    """TOML file with the keys scale, mean, std, channel-order, resize, crop and layout, which the
    options of these names override."""
    scale: float | str | None
    """Factor on the values of data, before `mean` and `std`: a number, or a fraction such as "1/255"."""
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


class Options(_Common, total=False):
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
    speedup: float | None
    """Budget: times that the result is to be faster than the original on `target`, above 1."""
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
    int8: bool
    """Also quantise to eight bits (QDQ, from opset 13 on), form and precision planned together; needs `calib`. The
    same as `precision="int8"`."""
    precision: Literal["f32", "int8", "auto"]
    """The numbers that the result computes in; "auto": eight bits where they are faster on the runtime and keep the
    budget that is judged. All but "f32" need `calib`."""
    opset: int | None
    """In eight bits, raise a model of opset 7 to 12 to this one, which eight bits need: 13."""
    weight_bits: Literal[7, 8] | None
    """In eight bits, bits that weights are rounded to: 7 where the model is deployed on x86 processors without VNNI,
    whose sums end at 16 bits. 8 where it is left out, or by measuring where this processor is one."""
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
    input_shapes: Mapping[str, Sequence[int]]
    """The same by its former name."""
    target: Literal["macs", "auto", "tract", "onnxruntime", "openvino"] | None
    """Measure of the cost: multiply-accumulates, or a runtime's measured time."""
    threads: int
    """Threads of one run on `target`."""
    allow_slower: bool
    """Keep the result even where it is measured not to be faster than the original."""
    data_free: Literal["pictures", "weights"] | None
    """Fit without `calib`, which figures then come from: to synthetic pictures, or to the weights alone."""
    tune: bool | int | None
    """Then train the result towards the original on `calib`, without labels, for so many epochs; `True`:
    20."""
    eval: str | os.PathLike[str] | None
    """Path of data that both models are evaluated on."""
    classes: str | os.PathLike[str] | None
    """File with one class folder name per line: line i is output i."""
    labels: str | os.PathLike[str] | None
    peak: float | None
    """Largest value of a picture, for PSNR and SSIM; 255 where the target is stored as u8, else 1."""
    task: Literal["auto", "classify", "detect", "segment", "restore", "sequence", "tag", "embed", "regress"]
    """Purpose of the model: its outputs are measured by it against the original's."""
    effort: Literal["quick", "normal", "thorough"]
    """Work that is spent on fits."""
    positions: int | None
    """Output positions per layer that are fitted to at most; by `effort` where it is `None`."""
    max_memory: int | str | None
    """Memory that calibration may take: bytes, or text such as "8G", "512M" or "50%" of the machine's,
    which is the default."""
    rounds: int | None
    """Rounds of alternating least squares at most."""
    steps: int | None
    """Steps towards what a layer's activation lets through at most."""
    unweighted: bool
    """Fit all output channels of a layer alike, not by how much the outputs depend on them."""
    block: int
    """Layers that share a pass over the data; 0 means all."""
    max_time: int | float | str | None
    """Time that the work may take: seconds, or text such as "90s", "5m" or "1h"."""
    seed: int
    """Seed of synthetic inputs and of what is drawn."""
    cache: bool
    """Keep the statistics of planning in the user's cache folder, for other budgets."""


class QuantizeOptions(_Common, total=False):
    """What `quantize` and `quantize_file` can be told. All of it may be left out."""

    min_snr: float | None
    """Signal-to-noise ratio in dB that the worst channel of the outputs is to keep on samples that are held out: of
    the layers that make most noise, as few as are enough stay in floats. Where no choice that is tried is enough, the
    best one is taken, and the report has it as `missed`. 10 where it is left out."""
    all_layers: bool
    """Quantise every layer, whatever the outputs lose; in place of `min_snr`."""
    held_out_every: int | None
    """Of so many samples one is held out of the calibration, at least 2; 4 where it is left out."""
    opset: int | None
    """Raise a model of opset 7 to 12 to this one, which eight bits need: 13."""
    weight_bits: Literal[7, 8] | None
    """Bits that weights are rounded to: 7 where the model is deployed on x86 processors without VNNI, whose sums end
    at 16 bits. 8 where it is left out, or by measuring where this processor is one."""
    target: Literal["tract", "onnxruntime", "openvino"] | None
    """Runtime that both models run on and are timed with: ONNX Runtime where it is left out and that is found,
    else tract."""
    seed: int
    """Seed of what is drawn from the data."""


# Packages that carry a runtime's shared library: the folder in them, and the variable that names another.
_LIBRARIES = {
    "onnxruntime": ("capi", "SEPCONV_ONNXRUNTIME", _sepconv.use_onnxruntime),
    "openvino": ("libs", "SEPCONV_OPENVINO", _sepconv.use_openvino),
}
_announced: set[str] = set()


def as_json(options: Mapping[str, object], *, force: bool = False) -> str:
    """The options that are given, as the native module takes them. Shared libraries are named to it at once."""
    if "force" in options:
        raise TypeError("there is no option 'force'")
    given: dict[str, Any] = {**options, "force": force}
    former = given.pop("input_shapes", None)
    if former and given.get("input_shape"):
        raise TypeError("input_shape and input_shapes are the same option")
    given["input_shape"] = _shapes(given.get("input_shape") or former or ())
    for runtime, (_, _, use) in _LIBRARIES.items():
        library = given.pop(runtime, None)
        if library is not None:
            use(os.fspath(library))
            _announced.add(runtime)
    # Data may be run on one even where MACs are the target.
    for runtime in _LIBRARIES:
        _announce(runtime)
    try:
        return json.dumps(given, default=_plain, allow_nan=False)
    except ValueError as error:
        raise _sepconv.Error(f"options: {error}") from error


def _plain(value: Any) -> object:
    """A value as JSON has it."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Iterable):
        return list(value)
    if isinstance(value, SupportsIndex):
        return operator.index(value)
    if isinstance(value, SupportsFloat):
        return float(value)
    raise TypeError(f"an option can't be of type {type(value).__name__}")


def _shapes(shapes: Any) -> Any:
    """Shapes by name as text."""
    if not isinstance(shapes, Mapping):
        return shapes
    return [f"{name}={'x'.join(str(extent) for extent in shape)}" for name, shape in shapes.items()]


def _announce(runtime: str) -> None:
    """The runtime is that of this interpreter, unless the environment names another."""
    _, variable, use = _LIBRARIES[runtime]
    folder = _installed(runtime)
    if runtime in _announced or os.environ.get(variable) or folder is None:
        return
    _announced.add(runtime)
    use(folder)


def _installed(runtime: str) -> str | None:
    """The folder of the runtime's library in this interpreter's packages."""
    found = importlib.util.find_spec(runtime)
    if found is None or not found.origin:
        return None
    return str(Path(found.origin).parent / _LIBRARIES[runtime][0])


def name_installed() -> None:
    """Names the runtimes of this interpreter in the environment, where it names none."""
    for runtime, (_, variable, _) in _LIBRARIES.items():
        folder = _installed(runtime)
        if folder is not None and not os.environ.get(variable):
            os.environ[variable] = folder
