"""Compress the convolutions of ONNX models into separable ones.

    small, report = sepconv.compress(model, calib=pictures, target_macs=0.5)

`compress` takes and gives models in memory, `compress_file` files. docs/python.md of the project
explains every argument.
"""

from ._compress import Model, Progress, compress, compress_file
from ._data import Arrays, Batch, Calib
from ._options import Options
from ._report import Layer, Report, Size
from ._sepconv import Error, __version__

__all__ = [
    "Arrays",
    "Batch",
    "Calib",
    "Error",
    "Layer",
    "Model",
    "Options",
    "Progress",
    "Report",
    "Size",
    "__version__",
    "compress",
    "compress_file",
]
