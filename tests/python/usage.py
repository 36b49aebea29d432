"""Use of the package as type checkers see it; `test_types.py` has mypy check it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from typing_extensions import assert_type

import sepconv

images = np.zeros((4, 3, 8, 8), dtype=np.float32)


def batches() -> Iterator[sepconv.Batch]:
    yield {"x": images}


def progress(stage: str, done: int, total: int) -> None:
    del stage, done, total


model, report = sepconv.compress(onnx.ModelProto(), calib=images, target_macs=0.5)
assert_type(model, onnx.ModelProto)
assert_type(report, sepconv.Report)
def metric(original: npt.NDArray[np.float64], rewritten: npt.NDArray[np.float64]) -> np.float64:
    return np.float64(-np.abs(original - rewritten).max())


sepconv.compress(b"", batches(), max_drop=0.1, metric=metric)
sepconv.compress(b"", batches(), max_drop=1.0, progress=progress, skip=["stem*"], mean=(0.5, 0.5, 0.5))
sepconv.compress(Path("model.onnx"), {"x": images}, plan=report.plan)
assert_type(sepconv.compress_file("a.onnx", Path("b.onnx"), [images], force=True, order="dw-pw"), sepconv.Report)
assert_type(report.original.macs, int)
assert_type(report.layers[0].rank, int | None)
assert_type(report.snr_db, float | None)

made, quantized = sepconv.quantize(model, images, min_snr=20, target="tract", input_shape={"x": [1, 3, 8, 8]})
assert_type(made, onnx.ModelProto)
assert_type(quantized, sepconv.QuantizeReport)
assert_type(sepconv.quantize_file("a.onnx", Path("b.onnx"), batches(), force=True), sepconv.QuantizeReport)
assert_type(quantized.floats[0].reason, str | None)
assert_type(quantized.speedup, float | None)

sepconv.compress("model.onnx", rank=np.int64(2), mean=np.zeros(3), target_macs=np.float32(0.5), layers=None)
sepconv.compress("model.onnx", seed=None, effort=None, task=None, unweighted=np.True_, input_shape={"x": "1x3x8x8"})
sepconv.compress(3)  # type: ignore[arg-type]
sepconv.compress("model.onnx", target_mac=0.5)  # type: ignore[call-arg]
sepconv.compress("model.onnx", target_macs="half")  # type: ignore[arg-type]
sepconv.compress("model.onnx", order="first")  # type: ignore[arg-type]
sepconv.quantize("model.onnx")  # type: ignore[call-arg]
sepconv.quantize("model.onnx", images, rank=2)  # type: ignore[call-arg]
sepconv.quantize("model.onnx", images, target="macs")  # type: ignore[arg-type]
