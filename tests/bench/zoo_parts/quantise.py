"""ONNX Runtime's static quantisation of one model: QDQ, u8 activations, i8 weights per channel.

Weights are per tensor where ONNX Runtime does not load its own file of the other kind.

    python -m zoo_parts.quantise MODEL CALIB.npz OUT METHOD KINDS

KINDS are kinds of operators, separated by commas; empty for all that it can.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from . import measuring


class Samples(CalibrationDataReader):
    """One sample at a time."""

    def __init__(self, path):
        with np.load(path) as arrays:
            ((self.name, self.samples),) = arrays.items()
        self.next = 0

    def get_next(self):
        if self.next == len(self.samples):
            return None
        self.next += 1
        return {self.name: self.samples[self.next - 1 : self.next]}


def quantise(model, calib, out, method, kinds):
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(model, str(prepared), skip_symbolic_shape=True)
        for per_channel in (True, False):
            quantize_static(
                str(prepared),
                out,
                Samples(calib),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=kinds or None,
                per_channel=per_channel,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod[method],
                # Histograms keep intermediate values: few samples at a time bound the memory.
                extra_options={} if method == "MinMax" else {"CalibMaxIntermediateOutputs": 4},
            )
            if loads(out):
                return per_channel
    raise SystemExit("ONNX Runtime does not load the file that its quantiser wrote")


def loads(path):
    try:
        measuring.session(path)
    except Exception:
        return False
    return True


if __name__ == "__main__":
    per_channel = quantise(*sys.argv[1:5], [kind for kind in sys.argv[5].split(",") if kind])
    print("per channel" if per_channel else "per tensor")
