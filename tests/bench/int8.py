#!/usr/bin/env python3
"""Accuracy and speed of `sepconv quantize` and `compress --int8` beside ONNX Runtime's own quantiser, on ONNX Runtime.

    .venv/bin/python tests/bench/int8.py --shared ../shared --public DIR [--models resnet20,dncnn] [--binary PATH]

`--compress OPTIONS` adds `sepconv compress --int8 OPTIONS`, such as `--compress "--speedup 5"`; `--compress ""` is its
default.

Every quantiser gets the same calibration samples. All variants of a model are timed in turns, on one thread,
and a variant's time is the least of its rounds. `--keep DIR` keeps the models, and takes those that are there.
`--openvino` times them there, too.
A variant of ONNX Runtime that fails (memory, time) is told and left out.
"""

import argparse
import collections
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

ROOT = Path(__file__).resolve().parents[2]
MEAN = np.array([0.485, 0.456, 0.406], np.float32).reshape(3, 1, 1)
STD = np.array([0.229, 0.224, 0.225], np.float32).reshape(3, 1, 1)


def session(path, optimised=None):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    if optimised:
        options.optimized_model_filepath = str(optimised)
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def outputs(path, samples):
    run = session(path)
    name = run.get_inputs()[0].name
    return [run.run(None, {name: x[None]})[0] for x in samples]


def array(path, key=None):
    with np.load(path) as arrays:
        return arrays[key or arrays.files[0]]


def pictures(paths, size):
    from PIL import Image

    for path in paths:
        image = np.asarray(Image.open(path).convert("RGB"), np.float32).transpose(2, 0, 1) / 255
        top, left = (image.shape[1] - size) // 2, (image.shape[2] - size) // 2
        yield np.ascontiguousarray(image[:, top : top + size, left : left + size])


class Resnet20:
    """Top-1 of the CIFAR-10 pictures."""

    samples, unit, digits = 256, "% top-1", 2
    flags = ["--scale", "1/255", "--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225"]

    def __init__(self, args):
        self.model = args.shared / "models/resnet20_cifar10.onnx"
        data = args.shared / "data"
        prepared = lambda u: ((u.astype(np.float32) / 255 - MEAN) / STD).astype(np.float32)
        self.calibration = prepared(array(data / "cifar10_calib.npz", "images")[: self.samples])
        self.evaluation = prepared(array(data / "cifar10_eval.npz", "images"))
        self.labels = array(data / "cifar10_eval.npz", "labels")

    def score(self, path):
        found = np.concatenate(outputs(path, self.evaluation)).argmax(1)
        return 100 * float((found == self.labels).mean())


class Dncnn:
    """PSNR of the Set12 pictures."""

    samples, unit, digits, flags = 48, "dB", 3, []

    def __init__(self, args):
        self.model = args.shared / "models/dncnn_gray_sigma25.onnx"
        data = args.shared / "data"
        self.calibration = array(data / "denoise_sigma25_calib.npz", "input")[: self.samples]
        self.evaluation = array(data / "denoise_sigma25_eval.npz", "input")
        self.target = array(data / "denoise_sigma25_eval.npz", "target")

    def score(self, path):
        pairs = zip(outputs(path, self.evaluation), self.target)
        return float(np.mean([-10 * np.log10(np.mean((np.clip(y[0], 0, 1) - t) ** 2)) for y, t in pairs]))


class Darknet:
    """Top-1 of the ImageNet sample (one picture a class; not the validation set)."""

    samples, unit, digits, flags = 96, "% top-1", 2, []

    def __init__(self, args):
        self.model = args.shared / "models/tiny_darknet_imagenet.onnx"
        data = args.shared / "data/imagenet_sample"
        classes = (data / "classes_tiny_darknet.txt").read_text().split()
        paths = sorted((data / "eval").glob("*/*.jpg"))
        self.labels = np.array([classes.index(p.parent.name) for p in paths])
        self.evaluation = list(pictures(paths, 224))
        self.calibration = np.stack(list(pictures(sorted((data / "calib").glob("*.jpg"))[: self.samples], 224)))

    def score(self, path):
        found = np.concatenate(outputs(path, self.evaluation)).argmax(1)
        return 100 * float((found == self.labels).mean())


class Vgg16:
    """Agreement of the top class with the original."""

    samples, unit, digits, flags = 64, "agreement", 3, []

    def __init__(self, args):
        self.model = args.public / "vgg16_tumor.onnx"
        self.calibration = array(args.public / "vgg16_tumor_calib.npz")[: self.samples]
        self.evaluation = array(args.public / "vgg16_tumor_eval.npz")[:100]
        self.original = np.concatenate(outputs(self.model, self.evaluation)).argmax(1)

    def score(self, path):
        return float((np.concatenate(outputs(path, self.evaluation)).argmax(1) == self.original).mean())


class Nudenet:
    """Recall of the original's detections at score 0.1; precision is printed beside it."""

    samples, unit, digits, flags = 48, "recall", 3, []

    def __init__(self, args):
        self.model, self.args = args.public / "nudenet.onnx", args
        self.calibration = array(args.public / "nudenet_calib.npz")[: self.samples]
        self.evaluation = array(args.public / "nudenet_eval.npz")

    def score(self, path):
        script = self.args.shared / "public/detections.py"
        command = [sys.executable, script, self.model, path, self.args.public / "nudenet_eval.npz", "0.1"]
        line = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        print(f"    {line}")
        return float(line.split("recall ")[1].split(",")[0])


CASES = {"resnet20": Resnet20, "dncnn": Dncnn, "darknet": Darknet, "vgg16": Vgg16, "nudenet": Nudenet}


def theirs(case, method, path, exclude=()):
    """ONNX Runtime's static quantisation: QDQ, per channel, after its own preparation of the model."""
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    name = session(case.model).get_inputs()[0].name

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.rest = iter(case.calibration)

        def get_next(self):
            x = next(self.rest, None)
            return None if x is None else {name: x[None]}

    prepared = path.with_suffix(".prepared.onnx")
    quant_pre_process(str(case.model), str(prepared), skip_symbolic_shape=True)
    quantize_static(
        str(prepared), str(path), Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
        calibrate_method=getattr(CalibrationMethod, method), nodes_to_exclude=list(exclude),
        extra_options={} if method == "MinMax" else {"CalibMaxIntermediateOutputs": 4},
    )
    prepared.unlink()


def ours(case, path, args, command):
    """A file by a command of sepconv, a list of its name and its options."""
    data = path.with_suffix(".npz")
    np.savez(data, input=case.calibration)
    line = [args.binary, command[0], case.model, "--calib", data, "-o", path, "--force", *command[1:]]
    subprocess.run([str(c) for c in line], check=True)


def kinds(path):
    optimised = path.with_suffix(".optimised.onnx")
    session(path, optimised)
    counts = collections.Counter(n.op_type for n in onnx.load(optimised).graph.node)
    optimised.unlink()
    return ", ".join(f"{k} {n}" for k, n in counts.most_common())


def on_onnxruntime(path):
    run = session(path)
    name = run.get_inputs()[0].name
    return lambda x: run.run(None, {name: x})


def on_openvino(path):
    import openvino

    # Floats are not to be computed in bfloat16.
    options = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(str(path), "CPU", options)
    return lambda x: compiled([x])


def seconds(paths, x, rounds, load=on_onnxruntime):
    """Seconds of models, in turns: a row a round."""
    runs = [load(p) for p in paths]
    for run in runs:
        run(x[None])
    times = np.empty((rounds, len(runs)))
    for row in times:
        for i, run in enumerate(runs):
            start = time.perf_counter()
            run(x[None])
            row[i] = time.perf_counter() - start
    return times


def timed(times, i):
    """The least time of model `i`, and its speed over the first one."""
    return f"{1e3 * times[:, i].min():9.2f} ms  {float(np.median(times[:, 0] / times[:, i])):5.2f}x"


def measure(name, args, folder):
    case = CASES[name](args)
    found = {"original": case.model}
    for method in args.methods.split(",") if args.methods else []:
        path = folder / f"{name}_{method.lower()}.onnx"
        start = time.perf_counter()
        try:
            if not path.exists():
                theirs(case, method, path)
        except Exception as error:
            print(f"  {method}: {str(error).splitlines()[0]}")
            continue
        found[method] = path
        print(f"  {method}: made in {time.perf_counter() - start:.0f} s", flush=True)
    commands = {}
    if args.binary:
        commands["sepconv"] = ["quantize", *args.options.split()]
        if args.compress is not None:
            commands["compress"] = ["compress", "--int8", "--opset", "13", *args.compress.split()]
    for variant, command in commands.items():
        path = folder / f"{name}_{variant}.onnx"
        start = time.perf_counter()
        ours(case, path, args, command)
        print(f"  {variant}: made in {time.perf_counter() - start:.0f} s", flush=True)
        onnx.checker.check_model(str(path), full_check=True)
        found[variant] = path
    times = seconds(list(found.values()), case.evaluation[0], args.rounds)
    beside = seconds(list(found.values()), case.evaluation[0], args.rounds, on_openvino) if args.openvino else None
    print(f"{name}: {case.__doc__}")
    for i, (variant, path) in enumerate(found.items()):
        score = f"{case.score(path):.{case.digits}f} {case.unit}" if variant != "original" or name != "nudenet" else ""
        print(f"  {variant:12} {score:20} {timed(times, i)}  {path.stat().st_size / 1e6:7.2f} MB", flush=True)
        if beside is not None:
            print(f"  {'on OpenVINO':33} {timed(beside, i)}", flush=True)
        if args.kinds:
            print(f"    {kinds(path) if variant != 'original' else ''}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--public", type=Path, required=True, help="what shared/public/models.py wrote")
    parser.add_argument("--models", default=",".join(CASES))
    parser.add_argument("--methods", default="MinMax,Entropy,Percentile")
    parser.add_argument("--binary", type=Path, help="sepconv")
    parser.add_argument("--options", default="", help="of sepconv quantize")
    parser.add_argument("--compress", help="options of sepconv compress --int8, which is measured too")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--openvino", action="store_true", help="time on OpenVINO as well")
    parser.add_argument("--kinds", action="store_true", help="operators of the optimised graphs")
    parser.add_argument("--keep", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        for name in args.models.split(","):
            measure(name, args, folder)


if __name__ == "__main__":
    main()
