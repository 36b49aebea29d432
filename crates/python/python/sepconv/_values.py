"""Values of keyword arguments: as the native module takes them, or refused in words that name the keyword."""

from __future__ import annotations

import json
import math
import operator
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, SupportsFloat, SupportsIndex

import numpy as np

from ._sepconv import Error

_SHAPES = 'a dict of shapes by name, or text such as "x=1x3x224x224"'


def checked(name: str, value: object) -> object:
    """The value of an option as JSON has it."""
    if name not in _KINDS:
        raise TypeError(f"there is no option '{name}'")
    return _KINDS[name](name, value)


def path(name: str, value: object) -> str:
    """A path as text."""
    if isinstance(value, (str, os.PathLike)):
        return os.fsdecode(value)
    raise _wrong(name, "a path (str or os.PathLike)", value)


def function(name: str, value: object) -> None:
    """Refuses what can't be called."""
    if value is not None and not callable(value):
        raise _wrong(name, "a function", value)


def _flag(name: str, value: object) -> bool:
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    raise _wrong(name, "True or False", value)


def _whole(name: str, value: object) -> int:
    found = _index(value)
    if found is None:
        raise _wrong(name, "a whole number", value)
    if not 0 <= found < 2**64:
        raise Error(f"{name}: expected a whole number from 0 to 2**64 - 1")
    return found


def _count(name: str, value: object) -> int:
    found = _whole(name, value)
    if found == 0:
        raise Error(f"{name}: expected at least 1, found 0")
    return found


def _epochs(name: str, value: object) -> bool | int:
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if _index(value) is None:
        raise _wrong(name, "a whole number of epochs, True or False", value)
    return _whole(name, value)


def _number(name: str, value: object) -> int | float:
    return _finite(name, value, "a number")


def _number_or_text(name: str, value: object) -> int | float | str:
    if isinstance(value, str):
        return _text(name, value)
    return _finite(name, value, "a number or text")


def _per_channel(name: str, value: object) -> object:
    if isinstance(value, str) or _float(value) is not None:
        return _number_or_text(name, value)
    what = "a number, text, or a sequence of numbers"
    return [item if isinstance(item, str) else _finite(name, item, what) for item in _items(name, value, what)]


def _sides(name: str, value: object) -> object:
    if isinstance(value, str):
        return _text(name, value)
    if _index(value) is not None:
        return _whole(name, value)
    what = "a whole number, text, or a width and a height"
    return [_whole(name, item) for item in _items(name, value, what)]


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise _wrong(name, "text", value)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Error(f"{name}: {value!r} is no text of UTF-8") from None
    return value


def _file(name: str, value: object) -> str:
    return _text(name, path(name, value))


def _plan(name: str, value: object) -> object:
    if not isinstance(value, Mapping):
        if isinstance(value, (str, os.PathLike)):
            return _file(name, value)
        raise _wrong(name, "a plan (a dict) or the path of one", value)
    try:
        return json.loads(json.dumps(dict(value), default=_plain, allow_nan=False))
    except TypeError as error:
        raise TypeError(f"{name}: {error}") from None
    except ValueError as error:
        raise Error(f"{name}: {error}") from None


def _names(name: str, value: object) -> list[str]:
    return _texts(name, value, "text or a list of texts")


def _shapes(name: str, value: object) -> list[str]:
    if isinstance(value, Mapping):
        return [f"{_text(name, of)}={_extents(name, of, shape)}" for of, shape in value.items()]
    return _texts(name, value, _SHAPES)


def _extents(name: str, of: str, shape: object) -> str:
    if isinstance(shape, str):
        return _text(name, shape)
    extents = [_index(extent) for extent in _items(name, shape, f"the extents of '{of}'")]
    if None in extents:
        raise TypeError(f"{name}: expected whole numbers as the extents of '{of}', found {shape!r}")
    return "x".join(map(str, extents))


def _texts(name: str, value: object, what: str) -> list[str]:
    if isinstance(value, str):
        return [_text(name, value)]
    texts = _items(name, value, what)
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(f"{name}: expected {what}, found {type(value).__name__} with {type(text).__name__}")
    return [_text(name, text) for text in texts]


def _items(name: str, value: object, what: str) -> list[Any]:
    # An array without an axis says that it can be iterated over.
    one = isinstance(value, (str, bytes, bytearray, Mapping)) or getattr(value, "ndim", 1) == 0
    if one or not isinstance(value, Iterable):
        raise _wrong(name, what, value)
    return list(value)


def _finite(name: str, value: object, what: str) -> int | float:
    found = _float(value)
    if found is None:
        raise _wrong(name, what, value)
    if not math.isfinite(found):
        raise Error(f"{name}: expected a finite number, found {found}")
    # Whole numbers stay exact.
    whole = _index(value)
    return found if whole is None else whole


def _float(value: object) -> float | None:
    """The value of a number; infinite where it is too large for one in double precision."""
    of_array = getattr(value, "ndim", 0) != 0
    if of_array or isinstance(value, (bool, np.bool_)) or not isinstance(value, (SupportsFloat, SupportsIndex)):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf
    except (TypeError, ValueError):
        return None


def _index(value: object) -> int | None:
    """The value of a whole number."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, SupportsIndex):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def _plain(value: Any) -> object:
    """A value within a plan as JSON has it."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Iterable):
        return list(value)
    raise TypeError(f"expected what JSON has, found {type(value).__name__}")


def _wrong(name: str, expected: str, found: object) -> TypeError:
    return TypeError(f"{name}: expected {expected}, found {type(found).__name__}")


def _kinds(**names: tuple[Callable[[str, object], object], str]) -> dict[str, Callable[[str, object], object]]:
    return {name: kind for kind, of in names.values() for name in of.split()}


_KINDS = _kinds(
    flags=(_flag, "all_layers allow_costlier allow_slower cache force int8 quantized unweighted"),
    wholes=(_whole, "block held_out_every opset rank rounds seed steps weight_bits"),
    counts=(_count, "max_samples positions threads"),
    epochs=(_epochs, "tune"),
    numbers=(
        _number,
        "energy max_drop min_snr peak speedup target_latency target_macs target_params target_size",
    ),
    numbers_or_text=(_number_or_text, "max_memory max_time scale"),
    per_channel=(_per_channel, "mean std"),
    sides=(_sides, "crop resize"),
    texts=(_text, "channel_order data_free effort layout lowering order precision target task"),
    files=(_file, "classes eval labels onnxruntime openvino preprocess"),
    plans=(_plan, "plan"),
    names=(_names, "families layers skip"),
    shapes=(_shapes, "input_shape input_shapes"),
)
