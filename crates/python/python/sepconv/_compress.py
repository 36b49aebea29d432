"""`compress` and `compress_file`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Union

import onnx

from . import _sepconv
from ._data import Calib, gather
from ._options import Options, as_json
from ._report import Report

if TYPE_CHECKING:
    from typing_extensions import Unpack

Model = Union[onnx.ModelProto, bytes, bytearray, memoryview, str, "os.PathLike[str]"]
"""A model, an encoded one, or the path of a file."""

Progress = Callable[[str, int, int], object]
"""Called with a stage such as "calibrating", the steps of it that are done, and its steps in all."""


def compress(
    model: Model,
    calib: Calib | None = None,
    *,
    progress: Progress | None = None,
    **options: Unpack[Options],
) -> tuple[onnx.ModelProto, Report]:
    """Replace convolutions by separable ones that cost less.

    `model` is an `onnx.ModelProto`, its bytes, or a path; it is not changed. `calib` is unlabelled
    data that layers are fitted to: an array with the samples first, a dict of arrays by the names of
    the model's inputs, an iterable of such batches, or the path of a data set. Arrays are read where
    they lie and must not be written to meanwhile.

    Of `options`, see `sepconv.Options`, at most one is a budget: `target_macs=0.5` keeps half of the
    multiply-accumulates. The default is `max_drop=1.0` with data
    where the outputs are classes or `eval` is given, else `min_snr=30.0`.

    `progress(stage, done, total)` is called on this thread. An exception that it raises ends the
    work, as Ctrl-C does.

    Returns the smaller model and a `Report`. Raises `sepconv.Error` with one line of text where a
    model, data or an option is refused, or where nothing would be better.
    """
    arguments = (gather(calib), as_json(options), progress)
    if isinstance(model, (str, os.PathLike)):
        with tempfile.TemporaryDirectory(prefix="sepconv-") as folder:
            written = os.path.join(folder, "model.onnx")
            files = {"input": os.fspath(model), "output": written, "kept": False}
            outcome = _sepconv.compress_file(files, *arguments)
            return onnx.load(written), Report(outcome)
    small, outcome = _sepconv.compress_bytes(_encoded(model), *arguments)
    return onnx.load_model_from_string(small), Report(outcome)


def compress_file(
    input: str | os.PathLike[str],
    output: str | os.PathLike[str],
    calib: Calib | None = None,
    *,
    force: bool = False,
    progress: Progress | None = None,
    **options: Unpack[Options],
) -> Report:
    """As `compress`, from file to file, so that models may be larger than memory or 2 GB.

    The result is written beside `output`, read back, run, and only then renamed. A file that
    exists is replaced only with `force`.
    """
    settings = as_json(options, force=force)
    files = {"input": str(Path(input)), "output": str(Path(output)), "kept": True}
    return Report(_sepconv.compress_file(files, gather(calib), settings, progress))


def _encoded(model: onnx.ModelProto | bytes | bytearray | memoryview) -> bytes:
    if isinstance(model, bytes):
        return model
    if isinstance(model, (bytearray, memoryview)):
        return bytes(model)
    if isinstance(model, onnx.ModelProto):
        try:
            encoded: bytes = model.SerializeToString()
            return encoded
        # Of a type that depends on protobuf's version.
        except Exception as error:
            text = "the model can't be encoded (2 GB is the limit): give its path instead"
            raise _sepconv.Error(text) from error
    raise TypeError(f"model: expected a ModelProto, bytes or a path, found {type(model).__name__}")
