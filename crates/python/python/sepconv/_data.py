"""Calibration data in all its forms."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, Union, cast

import numpy as np

from ._sepconv import Error

Arrays = Mapping[str, "np.ndarray[Any, Any]"]
"""Arrays by the names of the model's inputs."""

Batch = Union["np.ndarray[Any, Any]", Arrays]
"""Samples: of the only input, or by the names of inputs."""

Calib = Union[Batch, Iterable[Batch], str, "os.PathLike[str]"]
"""Samples, batches of samples, or the path of a data set."""

_Named = list[tuple[Union[str, None], "np.ndarray[Any, Any]"]]

# With the number of batches that an array was joined of.
_Joined = list[tuple[Union[str, None], "np.ndarray[Any, Any]", int]]


def gather_given(calib: Calib | None) -> str | _Joined | None:
    """As `gather`, where there are data."""
    return None if calib is None else gather(calib)


def gather(calib: Calib) -> str | _Joined:
    """As the native module takes it. Copies only what is not contiguous, and to join batches."""
    if isinstance(calib, str):
        return calib
    if isinstance(calib, os.PathLike):
        return os.fspath(calib)
    if _is_batch(calib):
        return [(name, _contiguous(array), 1) for name, array in _named(calib)]
    if isinstance(calib, (bytes, bytearray)) or not isinstance(calib, Iterable):
        raise TypeError(_expected(calib))
    return _joined(cast("Iterable[Batch]", calib))


def _joined(batches: Iterable[Batch]) -> _Joined:
    parts: dict[str | None, list[np.ndarray[Any, Any]]] = {}
    count = 0
    for batch in batches:
        if not _is_batch(batch):
            raise TypeError(_expected(batch))
        named = _named(batch)
        if count and {name for name, _ in named} != set(parts):
            raise Error(f"calib: batch {count} does not hold the same inputs as batch 0")
        for name, array in named:
            parts.setdefault(name, []).append(array)
        count += 1
    if not count:
        raise Error("calib: there are no batches")
    try:
        joined = {n: a[0] if len(a) == 1 else np.concatenate(a) for n, a in parts.items()}
    except ValueError as error:
        raise Error(f"calib: the batches can't be joined: {error}") from None
    return [(name, _contiguous(array), count) for name, array in joined.items()]


def _is_batch(value: object) -> bool:
    return isinstance(value, Mapping) or hasattr(value, "__array__")


def _named(batch: Any) -> _Named:
    if not isinstance(batch, Mapping):
        return [(None, np.asarray(batch))]
    for name in batch:
        if not isinstance(name, str):
            raise TypeError(f"calib: expected names of inputs as keys, found {type(name).__name__}")
    return [(name, np.asarray(array)) for name, array in batch.items()]


def _contiguous(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("<"))
    return np.ascontiguousarray(array)


def _expected(value: object) -> str:
    return (
        "calib: expected an array, a dict of arrays, an iterable of these, or a path, "
        f"found {type(value).__name__}"
    )
