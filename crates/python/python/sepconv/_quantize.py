"""`quantize` and `quantize_file`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import onnx

from . import _sepconv
from ._data import Calib, gather
from ._model import Model, Progress, files, in_memory
from ._options import QuantizeOptions, as_json
from ._report import QuantizeReport
from ._values import function

if TYPE_CHECKING:
    from typing_extensions import Unpack


def quantize(
    model: Model,
    calib: Calib,
    *,
    progress: Progress | None = None,
    **options: Unpack[QuantizeOptions],
) -> tuple[onnx.ModelProto, QuantizeReport]:
    """Write a float model in eight bits: a standard QDQ model, as `sepconv quantize` makes it.

    `model` is an `onnx.ModelProto` of opset 13 or later, its bytes, or a path; it is not changed. `calib` is
    unlabelled data that grids and weights are chosen by: an array `[samples, ...]` shaped as the model's input
    after it, a dict of such arrays by the names of the inputs, an iterable of such batches, or the path of a
    data set. Arrays are read where they lie and must not be written to meanwhile.

    One sample of four (`held_out_every`) is held out. As few layers stay in floats as are enough for the worst
    channel of the outputs to keep `min_snr` dB on those samples, 10 unless said otherwise. Where no choice of
    layers that is tried reaches it, the best one is taken: `report.missed` tells. See `sepconv.QuantizeOptions`.

    `progress(stage, done, total)` is called on this thread. An exception that it raises ends the work, as Ctrl-C
    does.

    Returns the model and a `QuantizeReport`. Raises `sepconv.Error` with one line of text where a model, data or
    an option is refused: an opset below 13 without `opset=13`, a model that is quantised already, one without a
    layer that can be quantised. Raises `TypeError` for wrong types and unknown options.
    """
    function("progress", progress)
    settings = as_json(options)
    arguments = (gather(calib), settings, progress)
    made, outcome = in_memory(model, _sepconv.quantize_file, _sepconv.quantize_bytes, *arguments)
    return made, QuantizeReport(outcome)


def quantize_file(
    input: str | os.PathLike[str],
    output: str | os.PathLike[str],
    calib: Calib,
    *,
    force: bool = False,
    progress: Progress | None = None,
    **options: Unpack[QuantizeOptions],
) -> QuantizeReport:
    """As `quantize`, from file to file, so that models may be larger than memory or 2 GB.

    The result is written beside `output`, read back, run, and only then renamed. A file that exists is replaced
    only with `force`; without it, `sepconv.Error` is raised.
    """
    function("progress", progress)
    settings, paths = as_json(options, force=force), files(input, output)
    return QuantizeReport(_sepconv.quantize_file(paths, gather(calib), settings, progress))
