"""The native module; use the package."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import numpy as np

_Calibration = str | Sequence[tuple[str | None, np.ndarray[Any, Any]]]
_Progress = Callable[[str, int, int], object]

__version__: str

class Error(ValueError): ...

@final
class Outcome:
    @property
    def snr_db(self) -> float | None: ...
    def json(self) -> str: ...
    def markdown(self) -> str: ...
    def html(self) -> str: ...
    def plan(self) -> str: ...
    def save(self, folder: str | os.PathLike[str], force: bool) -> None: ...
    def save_plan(self, path: str | os.PathLike[str], force: bool) -> None: ...

def compress_bytes(
    model: bytes,
    calibration: _Calibration | None,
    options: Mapping[str, object],
    progress: _Progress | None,
) -> tuple[bytes, Outcome]: ...
def compress_file(
    files: Mapping[str, object],
    calibration: _Calibration | None,
    options: Mapping[str, object],
    progress: _Progress | None,
) -> Outcome: ...
def use_onnxruntime(library: str) -> None: ...
def use_openvino(library: str) -> None: ...
