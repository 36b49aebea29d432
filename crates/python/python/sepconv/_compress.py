"""`compress` and `compress_file`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import onnx

from . import _sepconv
from ._data import Calib, gather_given
from ._model import Metric, Model, Progress, files, in_memory
from ._options import Options, as_json
from ._report import Report
from ._values import function

if TYPE_CHECKING:
    from typing_extensions import Unpack


def compress(
    model: Model,
    calib: Calib | None = None,
    *,
    metric: Metric | None = None,
    progress: Progress | None = None,
    **options: Unpack[Options],
) -> tuple[onnx.ModelProto, Report]:
    """Replace convolutions by separable ones that cost less.

    `model` is an `onnx.ModelProto`, its bytes, or a path; it is not changed. `calib` is unlabelled
    data that layers are fitted to: an array with the samples first, a dict of arrays by the names of
    the model's inputs, an iterable of such batches, or the path of a data set. Arrays are read where
    they lie and must not be written to meanwhile.

    Of `options`, see `sepconv.Options`, at most one is a budget: `target_macs=0.5` keeps half of the
    multiply-accumulates. The default with data is `max_drop=1.0` where the outputs are classes, masks, labels
    or vectors or `eval` has labels, and `max_drop=5.0` of a detector; else it is `min_snr=30.0`.

    `metric(original, rewritten)` is a figure of one sample, of which more is better: of the arrays that the
    two models give, without the batch, or of dicts of these by name where there are several outputs. The
    mean over samples is what `max_drop`, in its unit, and `eval` judge by. It is called on another thread
    than this one: what belongs to a thread, such as `np.errstate` and `torch.no_grad()`, is set inside it.

    `progress(stage, done, total)` is called on this thread. An exception of either ends the
    work, as Ctrl-C does.

    Returns the smaller model and a `Report`. Raises `sepconv.Error` with one line of text where a
    model, data or an option is refused, or where nothing would be better. Raises `TypeError` for wrong
    types and unknown options.
    """
    callbacks, settings = _callbacks(metric, progress), as_json(options)
    arguments = (gather_given(calib), settings, callbacks)
    small, outcome = in_memory(model, _sepconv.compress_file, _sepconv.compress_bytes, *arguments)
    return small, Report(outcome)


def compress_file(
    input: str | os.PathLike[str],
    output: str | os.PathLike[str],
    calib: Calib | None = None,
    *,
    force: bool = False,
    metric: Metric | None = None,
    progress: Progress | None = None,
    **options: Unpack[Options],
) -> Report:
    """As `compress`, from file to file, so that models may be larger than memory or 2 GB.

    The result is written beside `output`, read back, run, and only then renamed. A file that
    exists is replaced only with `force`.
    """
    callbacks, settings = _callbacks(metric, progress), as_json(options, force=force)
    paths = files(input, output)
    return Report(_sepconv.compress_file(paths, gather_given(calib), settings, callbacks))


def _callbacks(metric: Metric | None, progress: Progress | None) -> Mapping[str, object]:
    function("metric", metric)
    function("progress", progress)
    return {"metric": metric, "progress": progress}
