"""Keyword arguments: the options of the native module, as type checkers know them. Their defaults are its own."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, SupportsFloat, SupportsIndex, TypedDict

import numpy as np

from . import _sepconv
from ._values import checked


class _Common(TypedDict, total=False):
    """Options of every function: how data are read, and where runtimes are."""

    input_shape: Mapping[str, Iterable[SupportsIndex] | str] | str | Iterable[str] | None
    """Shapes of inputs with free dimensions: by name, or as text such as "x=1x3x224x224"."""
    onnxruntime: str | os.PathLike[str] | None
    """Shared library of ONNX Runtime, where it is not that of this interpreter's package."""
    openvino: str | os.PathLike[str] | None
    """Shared library `openvino_c`, where it is not that of this interpreter's package."""
    preprocess: str | os.PathLike[str] | None
    """TOML file with the keys scale, mean, std, channel-order, resize, crop and layout, which the
    options of these names override."""
    scale: SupportsFloat | str | None
    """Factor on the values of data, before `mean` and `std`: a number, or a fraction such as "1/255"."""
    mean: SupportsFloat | str | Iterable[SupportsFloat | str] | None
    """Subtracted after scaling: one for all channels, or one each."""
    std: SupportsFloat | str | Iterable[SupportsFloat | str] | None
    """Divided by after that: one for all channels, or one each."""
    channel_order: Literal["rgb", "bgr"] | None
    """Order of the channels that the model takes, of pictures."""
    resize: SupportsIndex | str | Iterable[SupportsIndex] | None
    """Length of a picture's short side in pixels, or its width and height."""
    crop: SupportsIndex | str | Iterable[SupportsIndex] | None
    """Length of a centre crop's sides in pixels, or its width and height."""
    layout: str | None
    """Layout of arrays: "nchw" or "nhwc"."""
    max_samples: SupportsIndex | None
    """At most so many samples of `calib`, drawn with the seed."""


class Options(_Common, total=False):
    """What `compress` and `compress_file` can be told. All of it may be left out."""

    rank: SupportsIndex | None
    """Budget: the same rank in every layer."""
    energy: SupportsFloat | None
    """Budget: the share of each kernel's squared norm to keep, in (0, 1]."""
    target_macs: SupportsFloat | None
    """Budget: the fraction of multiply-accumulates to keep, in (0, 1)."""
    target_params: SupportsFloat | None
    """Budget: the fraction of parameters to keep."""
    target_size: SupportsFloat | None
    """Budget: the fraction of bytes to keep."""
    target_latency: SupportsFloat | None
    """Budget: the fraction of the time on `target` to keep."""
    speedup: SupportsFloat | None
    """Budget: times that the result is to be faster than the original on `target`, above 1."""
    max_drop: SupportsFloat | None
    """Budget: the cheapest model that is at most so much worse, in percentage points or dB."""
    min_snr: SupportsFloat | None
    """Budget: the cheapest model whose outputs keep this signal-to-noise ratio, in dB."""
    plan: Mapping[str, Any] | str | os.PathLike[str] | None
    """In place of a budget: `Report.plan`, or the path of a plan file."""
    allow_costlier: bool | np.bool_ | None
    """Rewrite even where it costs more: at full rank, to see that the rewrite is exact."""
    layers: str | Iterable[str] | None
    """Only layers whose names match one of these globs."""
    skip: str | Iterable[str] | None
    """All but the layers whose names match one of these globs."""
    int8: bool | np.bool_ | None
    """Also quantise to eight bits (QDQ, from opset 13 on), form and precision planned together; needs `calib`. The
    same as `precision="int8"`."""
    precision: Literal["f32", "int8", "auto"] | None
    """The numbers that the result computes in; "auto": eight bits where they are faster on the runtime and keep the
    budget that is judged. All but "f32" need `calib`."""
    opset: SupportsIndex | None
    """In eight bits, raise a model of opset 7 to 12 to this one, which eight bits need: 13."""
    weight_bits: Literal[7, 8] | None
    """In eight bits, bits that weights are rounded to: 7 where the model is deployed on x86 processors without VNNI,
    whose sums end at 16 bits. 8 where it is left out, or by measuring where this processor is one."""
    quantized: bool | np.bool_ | None
    """Rewrite convolutions of quantised weights (behind `DequantizeLinear`) too, with floats."""
    families: str | Iterable[str] | None
    """Families of decompositions: dw-pw, pw-dw, spatial, channel, tucker, cp. A "+" before a name adds
    to the default: "+lowrank" rewrites 1x1 convolutions, `Gemm` and `MatMul` by low rank as well."""
    order: Literal["best", "dw-pw", "pw-dw"] | None
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
    ] | None
    """How separable convolutions are written into the graph."""
    input_shapes: Mapping[str, Iterable[SupportsIndex] | str] | str | Iterable[str] | None
    """The same by its former name."""
    target: Literal["macs", "auto", "tract", "onnxruntime", "openvino"] | None
    """Measure of the cost: multiply-accumulates, or a runtime's measured time."""
    threads: SupportsIndex | None
    """Threads of one run on `target`."""
    allow_slower: bool | np.bool_ | None
    """Keep the result even where it is measured not to be faster than the original."""
    data_free: Literal["pictures", "weights"] | None
    """Fit without `calib`, which figures then come from: to synthetic pictures, or to the weights alone."""
    tune: bool | np.bool_ | SupportsIndex | None
    """Then train the result towards the original on `calib`, without labels, for so many epochs; `True`:
    20."""
    eval: str | os.PathLike[str] | None
    """Path of data that both models are evaluated on."""
    classes: str | os.PathLike[str] | None
    """File with one class folder name per line: line i is output i."""
    labels: str | os.PathLike[str] | None
    peak: SupportsFloat | None
    """Largest value of a picture, for PSNR and SSIM; 255 where the target is stored as u8, else 1."""
    task: Literal["auto", "classify", "detect", "segment", "restore", "sequence", "tag", "embed", "regress"] | None
    """Purpose of the model: its outputs are measured by it against the original's."""
    effort: Literal["quick", "normal", "thorough"] | None
    """Work that is spent on fits."""
    positions: SupportsIndex | None
    """Output positions per layer that are fitted to at most; by `effort` where it is `None`."""
    max_memory: SupportsFloat | str | None
    """Memory that calibration may take: bytes, or text such as "8G", "512M" or "50%" of the machine's.
    Half of the machine's where it is left out, 4 GiB at most."""
    rounds: SupportsIndex | None
    """Rounds of alternating least squares at most."""
    steps: SupportsIndex | None
    """Steps towards what a layer's activation lets through at most."""
    unweighted: bool | np.bool_ | None
    """Fit all output channels of a layer alike, not by how much the outputs depend on them."""
    block: SupportsIndex | None
    """Layers that share a pass over the data; 0 means all."""
    max_time: SupportsFloat | str | None
    """Time that the work may take: seconds, or text such as "90s", "5m" or "1h"."""
    seed: SupportsIndex | None
    """Seed of synthetic inputs and of what is drawn."""
    cache: bool | np.bool_ | None
    """Keep the statistics of planning in the user's cache folder, for other budgets."""


class QuantizeOptions(_Common, total=False):
    """What `quantize` and `quantize_file` can be told. All of it may be left out."""

    min_snr: SupportsFloat | None
    """Signal-to-noise ratio in dB that the worst channel of the outputs is to keep on samples that are held out: of
    the layers that make most noise, as few as are enough stay in floats. Where no choice that is tried is enough, the
    best one is taken, and the report has it as `missed`. 10 where it is left out."""
    all_layers: bool | np.bool_ | None
    """Quantise every layer, whatever the outputs lose; in place of `min_snr`."""
    held_out_every: SupportsIndex | None
    """Of so many samples one is held out of the calibration, at least 2; 4 where it is left out."""
    opset: SupportsIndex | None
    """Raise a model of opset 7 to 12 to this one, which eight bits need: 13."""
    weight_bits: Literal[7, 8] | None
    """Bits that weights are rounded to: 7 where the model is deployed on x86 processors without VNNI, whose sums end
    at 16 bits. 8 where it is left out, or by measuring where this processor is one."""
    target: Literal["tract", "onnxruntime", "openvino"] | None
    """Runtime that both models run on and are timed with: ONNX Runtime where it is left out and that is found,
    else tract."""
    seed: SupportsIndex | None
    """Seed of what is drawn from the data."""


# Packages that carry a runtime's shared library: the folder in them, and the variable that names another.
_LIBRARIES = {
    "onnxruntime": ("capi", "SEPCONV_ONNXRUNTIME", _sepconv.use_onnxruntime),
    "openvino": ("libs", "SEPCONV_OPENVINO", _sepconv.use_openvino),
}
_announced: set[str] = set()


# Options that a plan says itself: as the command line, which declares them beside `--plan` (crates/spec).
_OF_PLAN = (
    "allow_costlier",
    "block",
    "data_free",
    "effort",
    "families",
    "input_shape",
    "layers",
    "lowering",
    "max_samples",
    "order",
    "positions",
    "quantized",
    "rounds",
    "seed",
    "skip",
    "steps",
    "unweighted",
)


def as_json(options: Mapping[str, object], *, force: bool = False) -> str:
    """The options that are given, as the native module takes them. Shared libraries are named to it at once."""
    if "force" in options:
        raise TypeError("there is no option 'force'")
    all_options = {**options, "force": force}
    given = {name: checked(name, value) for name, value in all_options.items() if value is not None}
    former = given.pop("input_shapes", None)
    if former and given.get("input_shape"):
        raise TypeError("input_shape and input_shapes are the same option")
    if former:
        given["input_shape"] = former
    _check_plan(given)
    for runtime, (_, _, use) in _LIBRARIES.items():
        library = given.pop(runtime, None)
        if library is not None:
            use(str(library))
            _announced.add(runtime)
    # Data may be run on one even where MACs are the target.
    for runtime in _LIBRARIES:
        _announce(runtime)
    return json.dumps(given)


def _check_plan(given: Mapping[str, object]) -> None:
    """Refuses what a plan says itself beside one."""
    if "plan" not in given:
        return
    values = ((name, given.get(name)) for name in _OF_PLAN)
    beside = [name for name, value in values if value is not None and value is not False and value != []]
    if beside:
        raise _sepconv.Error(f"plan: it says {', '.join(beside)} itself, which can't be given beside it")


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
