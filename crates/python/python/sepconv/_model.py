"""Models in all their forms."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from typing import Any, SupportsFloat, TypeVar, Union

import onnx

from . import _sepconv
from ._values import path

Model = Union[onnx.ModelProto, bytes, bytearray, memoryview, str, "os.PathLike[str]"]
"""A model, an encoded one, or the path of a file."""

Progress = Callable[[str, int, int], object]
"""Called with a stage such as "calibrating", the steps of it that are done, and its steps in all."""

Metric = Callable[[Any, Any], SupportsFloat]
"""Called with the outputs of the original and of a rewritten model for one sample."""

T = TypeVar("T")


def in_memory(
    model: Model,
    of_file: Callable[..., T],
    of_bytes: Callable[..., tuple[bytes, T]],
    *arguments: object,
) -> tuple[onnx.ModelProto, T]:
    """Has the native module make a model of `model`, from file to file where that is a path."""
    if isinstance(model, (str, os.PathLike)):
        with tempfile.TemporaryDirectory(prefix="sepconv-") as folder:
            written = os.path.join(folder, "model.onnx")
            outcome = of_file(files(model, written, kept=False), *arguments)
            return onnx.load(written), outcome
    made, outcome = of_bytes(_encoded(model), *arguments)
    return onnx.load_model_from_string(made), outcome


def files(
    input: str | os.PathLike[str], output: str | os.PathLike[str], *, kept: bool = True
) -> dict[str, object]:
    """As the native module takes them; `kept` where the caller asked for the output."""
    return {"input": path("input", input), "output": path("output", output), "kept": kept}


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
