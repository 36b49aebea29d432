"""Compress the convolutions of ONNX models into separable ones, and quantise models to eight bits.

    small, report = sepconv.compress(model, calib=pictures, target_macs=0.5)
    eight, report = sepconv.quantize(small, calib=pictures)

`compress` and `quantize` take and give models in memory, `compress_file` and `quantize_file` files. docs/python.md of the project
explains every argument.
"""

from ._compress import compress, compress_file
from ._data import Arrays, Batch, Calib
from ._model import Metric, Model, Progress
from ._options import Options, QuantizeOptions
from ._quantize import quantize, quantize_file
from ._report import Layer, Missed, QuantizedLayer, QuantizeReport, Report, Size
from ._sepconv import Error, __version__

__all__ = [
    "Arrays",
    "Batch",
    "Calib",
    "Error",
    "Layer",
    "Metric",
    "Missed",
    "Model",
    "Options",
    "Progress",
    "QuantizeOptions",
    "QuantizeReport",
    "QuantizedLayer",
    "Report",
    "Size",
    "__version__",
    "compress",
    "compress_file",
    "quantize",
    "quantize_file",
]
