#!/usr/bin/env python3
"""What ONNX's own checker and ONNX Runtime say of model files: the judge of the end-to-end tests.

Reads one JSON request a line from standard input and answers each with one line of JSON, so that many
questions share one import of onnxruntime:

    {"do": "interface", "original": PATH, "rewritten": PATH}        -> {"problems": [...], "added": {"Conv": 3}}
    {"do": "functions", "original": PATH, "rewritten": PATH}        -> {"problems": [...], "functions": 2}
    {"do": "inputs", "model": PATH, "out": NPZ, "free": {"N": 2}}   -> {"inputs": {"x": [2, 3, 32, 32]}}
    {"do": "agree", "model": PATH, "reference": PATH, "inputs": NPZ, "exact": false} -> {"error": {"y": 1e-6}, "snr_db": {"y": 91.2}}
    {"do": "channels", "model": PATH, "reference": PATH, "inputs": NPZ, "axis": 1} -> {"y": [31.0, 12.5]}
    {"do": "detections", "model": PATH, "reference": PATH, "inputs": NPZ} -> {"original": 110, "model": 37, "both": 23}
    {"do": "boxes", "model": PATH, "inputs": NPZ, "out": JSON}       -> {"boxes": 40}
    {"do": "precision", "model": PATH, "inputs": NPZ, "boxes": JSON} -> {"map": 31.5, "map-50": 52.0}, {} without pycocotools
    {"do": "masks", "model": PATH, "inputs": NPZ, "out": NPZ}       -> {}
    {"do": "overlap", "model": PATH, "data": NPZ}                   -> {"iou": 91.0}
    {"do": "reference", "model": PATH, "reference": PATH, "inputs": NPZ} -> the same, by ONNX's reference implementation
    {"do": "outputs", "model": PATH, "inputs": NPZ, "outputs": NPZ} -> the same, for outputs computed elsewhere
    {"do": "accuracy", "model": PATH, "data": NPZ, "scale": 0.1, "mean": [0], "std": [1]} -> {"correct": 1, "in_five": 2, "n": 2}
    {"do": "first", "data": NPZ, "out": NPZ, "count": 60}           -> {}
    {"do": "unlabelled", "data": NPZ, "out": NPZ, "count": 60}      -> {}
    {"do": "relation", "original": PATH, "model": PATH, "data": NPZ, "scale": 0.1} -> {"same": 1, "kl": 0.1, "error": 0, "n": 2}
    {"do": "restorer", "model": PATH, "other": PATH, "data": NPZ}   -> {"psnr": [20, 0.1], "ssim": [0.9, 0.01], "snr": 40}
    {"do": "uneven", "model": PATH, "data": NPZ}                    -> {}
    {"do": "convolutions", "model": PATH}                           -> [{"name": "c", "weight": [8, 3, 3, 3]}]
    {"do": "optimised", "model": PATH}                              -> {"Conv": 3}, after ONNX Runtime's optimisations
    {"do": "room", "folder": PATH}                                  -> {"free": 1000}
    {"do": "peak", "command": ["sepconv", "inspect"]}               -> {"code": 0, "stdout": "", "stderr": "", "memory": 1000}
    {"do": "external", "model": PATH, "data": PATH}                 -> {"places": {"w": {}}, "size": 10, "allocated": 10}
    {"do": "cases"}                                                 -> ["transposed"]
    {"do": "build", "case": "transposed", "out": PATH, "location": "a.data"} -> {}
    {"do": "npz", "out": NPZ, "arrays": {"x": {"dtype": "float32", "shape": [1, 2]}}} -> {}

An error is max|a - b| / max|b| over the whole output. A request that fails is answered {"failure": TEXT}.
"""

import contextlib
import io
import json
import math
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections import Counter

import numpy as np
import onnx
import onnx.reference
import onnxruntime

from cases import build, cases

SEED = 7


def true_inputs(graph):
    """The graph's inputs less its initializers, which IR versions below 4 list as inputs too."""
    weights = {t.name for t in graph.initializer}
    return [v for v in graph.input if v.name not in weights]


def made_of_constants(graph, outer=()):
    """The values that operators make of constants alone, and of `outer`; not what they make of stored integers."""
    known = set(outer) | {t.name for t in getattr(graph, "initializer", [])}
    levels = {o for n in graph.node if n.op_type == "QuantizeLinear" for o in n.output}
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] not in levels:
            continue
        if known.issuperset(i for i in node.input if i) and not subgraphs(node):
            known.update(node.output)
    return known


def interface(original, rewritten):
    """What the rewritten file breaks of ONNX's rules, or of what it has to keep of the original."""
    problems = []
    onnx.checker.check_model(rewritten, full_check=True)
    a, b = onnx.load(original), onnx.load(rewritten)
    kept = {
        field: (getattr(a, field), getattr(b, field))
        for field in ("ir_version", "producer_name", "producer_version", "domain", "model_version", "doc_string")
    }
    for field in ("opset_import", "metadata_props"):
        kept[field] = (list(getattr(a, field)), list(getattr(b, field)))
    for field in ("name", "doc_string"):
        kept[f"graph.{field}"] = (getattr(a.graph, field), getattr(b.graph, field))
    kept["graph.metadata_props"] = (list(a.graph.metadata_props), list(b.graph.metadata_props))
    kept["inputs"] = (true_inputs(a.graph), true_inputs(b.graph))
    kept["outputs"] = (list(a.graph.output), list(b.graph.output))
    problems += [f"{name} was {old}, is {new}" for name, (old, new) in kept.items() if old != new]

    problems += changes(a.graph, b.graph, made_of_constants(a.graph), defined(b.graph))
    if len(a.functions) != len(b.functions):
        problems.append("functions came or went")
    for old, new in zip(a.functions, b.functions):
        problems += changes(old, new, made_of_constants(old), defined(new))
        for function in (old, new):
            del function.node[:]
        if old != new:
            problems.append(f"function '{old.name}' changed: {new}")
    a, b = onnx.load(original), onnx.load(rewritten)
    added = Counter(n.op_type for n in all_nodes(b))
    added.subtract(n.op_type for n in all_nodes(a))
    return {
        "problems": problems,
        "added": {op: n for op, n in added.items() if n},
        "initializers": [t.name for t in b.graph.initializer],
    }


def functions(original, rewritten):
    """How many local functions a rewritten model has, and what it lacks of the original besides them."""
    a, b = onnx.load(original), onnx.load(rewritten)
    onnx.checker.check_model(b, full_check=True)
    kept = {"inputs": true_inputs, "outputs": lambda g: list(g.output), "name": lambda g: g.name}
    problems = [what for what, of in kept.items() if of(a.graph) != of(b.graph)]
    problems += [] if a.opset_import == b.opset_import else ["opset_import"]
    called = {n.op_type for n in all_nodes(b)} & {f.name for f in a.functions}
    problems += [f"'{name}' is called and not there" for name in called - {f.name for f in b.functions}]
    return {"problems": problems, "functions": len(b.functions)}


def subgraphs(node):
    """The graphs in a node's attributes, each with the name of its attribute."""
    return [(a.name, g) for a in node.attribute for g in ([a.g] if a.HasField("g") else []) + list(a.graphs)]


def all_nodes(holder):
    """The nodes of a model, a graph or a function, those of graphs within them included."""
    if isinstance(holder, onnx.ModelProto):
        return [n for part in (holder.graph, *holder.functions) for n in all_nodes(part)]
    return [m for n in holder.node for m in [n, *(m for _, g in subgraphs(n) for m in all_nodes(g))]]


def defined(graph):
    """The names of values that a graph or a function defines."""
    names = {o for n in graph.node for o in n.output if o}
    if isinstance(graph, onnx.FunctionProto):
        return names | set(graph.input)
    return names | {t.name for t in graph.initializer} | {v.name for v in graph.input}


def changes(a, b, constants, outer):
    """What changed between two graphs, or two functions, besides what may: convolutions and the batch normalisations
    folded into them; what makes their weights, and padding, may go, and leaky activations be written in other
    operators. `constants` are values of `a` and of the graphs
    around it that are made of constants, `outer` the names that are defined in `b` and around it."""
    problems = []
    after = {n.output[0]: n for n in b.node if n.output}
    for node in a.node:
        if node.op_type in ("Conv", "ConvTranspose", "BatchNormalization"):
            continue
        now = after.get(node.output[0])
        if now is None and (node.output[0] in constants or node.op_type == "Pad"):
            continue
        if now is None:
            problems.append(f"{node.op_type} that makes '{node.output[0]}' is gone")
            continue
        if node.op_type == "PRelu" and now.op_type in ("Add", "Max", "Min", "LeakyRelu") and now.name == node.name:
            continue
        for (name, old), (_, new) in zip(subgraphs(node), subgraphs(now)):
            problems += [f"'{v}' of {name} is defined outside too" for v in defined(new) & outer]
            problems += changes(old, new, constants | made_of_constants(old, constants), outer | defined(new))
            if list(old.output) != list(new.output) or list(old.input) != list(new.input):
                problems.append(f"the interface of {name} changed")
            for graph in (old, new):
                graph.Clear()
        if now != node:
            problems.append(f"{node.op_type} that makes '{node.output[0]}' changed: {now}")
    names = [n.name for n in b.node if n.name]
    before = Counter(n.name for n in a.node)
    counts = Counter(names).items()
    problems += [f"{n} nodes are named '{name}'" for name, n in counts if n > max(1, before[name])]
    return problems


def optimised(model):
    """Operators, by type, of the graph that ONNX Runtime runs for a model that passes the checker."""
    onnx.checker.check_model(model, full_check=True)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "optimised.onnx")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.optimized_model_filepath = path
        onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        return Counter(n.op_type for n in onnx.load(path).graph.node)


def session(path, exact=False):
    """One thread, default optimisations; without any, eight bits are computed in floats."""
    options = onnxruntime.SessionOptions()
    if exact:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def run(path, feed, exact=False):
    s = session(path, exact)
    names = [o.name for o in s.get_outputs()]
    return dict(zip(names, s.run(names, {i.name: feed[i.name] for i in s.get_inputs()})))


def inputs(model, out, free=None):
    """Writes seeded normal inputs for a model; `free` gives the symbolic dimensions."""
    rng = np.random.default_rng(SEED)
    arrays = {}
    for value in true_inputs(onnx.load(model).graph):
        tensor = value.type.tensor_type
        shape = [d.dim_value if d.HasField("dim_value") else free[d.dim_param] for d in tensor.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        arrays[value.name] = rng.standard_normal(shape).astype(dtype)
    np.savez(out, **arrays)
    return {"inputs": {name: list(a.shape) for name, a in arrays.items()}}


def differences(got, expected):
    """Maximum relative error and signal-to-noise ratio of every output."""
    if got.keys() != expected.keys():
        raise ValueError(f"outputs {sorted(got)}, expected {sorted(expected)}")
    error, snr = {}, {}
    for name, reference in expected.items():
        if got[name].shape != reference.shape or got[name].dtype != reference.dtype:
            raise ValueError(f"'{name}' is {got[name].dtype}{got[name].shape}, expected {reference.dtype}{reference.shape}")
        a, b = got[name].astype(np.float64), reference.astype(np.float64)
        if not (np.isfinite(a).all() and np.isfinite(b).all()):
            raise ValueError(f"'{name}' is not finite")
        noise, signal = np.square(a - b).sum(), np.square(b).sum()
        error[name] = float(np.abs(a - b).max() / np.abs(b).max())
        snr[name] = 999.0 if noise == 0 else 10 * math.log10(signal / noise)
    return {"error": error, "snr_db": snr}


def agree(model, reference, inputs, exact=False):
    feed = np.load(inputs)
    return differences(run(model, feed, exact), run(reference, feed))


def channels(model, reference, inputs, axis):
    """SNR of every channel of every output over its own spread, in dB."""
    feed = np.load(inputs)
    a, b = run(reference, feed), run(model, feed)

    def of(name):
        old, new = (np.moveaxis(v[name].astype(np.float64), axis, 0) for v in (a, b))
        old, new = (v.reshape(len(v), -1) for v in (old, new))
        noise = ((old - new) ** 2).sum(1)
        return (10 * np.log10(((old - old.mean(1, keepdims=True)) ** 2).sum(1) / noise.clip(1e-200))).tolist()

    return {name: of(name) for name in a}


def overlap_of(p, q):
    """Intersection over union of boxes by their corners."""
    w, h = (max(0, min(p[i + 2], q[i + 2]) - max(p[i], q[i])) for i in (0, 1))
    area = lambda b: (b[2] - b[0]) * (b[3] - b[1])
    return w * h / (area(p) + area(q) - w * h)


def found(y, least=0.1, most=0.45, apart=False):
    """Detections of a score above `least`, whose output is boxes by centre and extents, then scores: box, class, score;
    suppressed at an overlap of `most`, within classes where they are kept `apart`."""
    score, label, kept = y[4:].max(0), y[4:].argmax(0), []
    for a in np.argsort(-score, kind="stable"):
        x, y_, w, h = (float(v) for v in y[:4, a])
        box = (x - w / 2, y_ - h / 2, x + w / 2, y_ + h / 2)
        others = [k for k, other, _ in kept if not apart or other == label[a]]
        if score[a] > least and all(overlap_of(box, k) <= most for k in others):
            kept.append((box, int(label[a]), float(score[a])))
    return kept


def coco_box(box):
    return [box[0], box[1], box[2] - box[0], box[3] - box[1]]


def boxes(model, inputs, out):
    """Writes what a detector finds in pictures of 64 by 64 as their COCO annotations: classes 0 and 1 are categories 5
    and 9, every seventh box is around a crowd, and every second one is a little off."""
    (y,) = run(model, np.load(inputs)).values()
    annotations = []
    for i, sample in enumerate(y):
        for box, label, _ in found(sample, least=0.15):
            crowd = int(len(annotations) % 7 == 6)
            of = {"id": len(annotations) + 1, "image_id": 100 - i, "category_id": (5, 9)[label], "iscrowd": crowd}
            x, *rest = coco_box(box)
            annotations.append({**of, "bbox": [x + 1.5 * (len(annotations) % 2), *rest], "area": 1.0})
    images = [{"id": 100 - i, "file_name": f"{i}.png", "width": 64, "height": 64} for i in range(len(y))]
    categories = [{"id": 9, "name": "b"}, {"id": 5, "name": "a"}]
    with open(out, "w") as file:
        json.dump({"images": images, "annotations": annotations, "categories": categories}, file)
    return {"boxes": len(annotations)}


def precision(model, inputs, boxes):
    """Average precision by pycocotools, where that is there."""
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError:
        return {}
    (y,) = run(model, np.load(inputs)).values()
    results = [
        {"image_id": 100 - i, "category_id": (5, 9)[label], "bbox": coco_box(box), "score": score}
        for i, sample in enumerate(y)
        for box, label, score in found(sample, least=0.001, most=0.65, apart=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(boxes)
        judge = COCOeval(truth, truth.loadRes(results), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return {"map": 100 * float(judge.stats[0]), "map-50": 100 * float(judge.stats[1])}


def masks(model, inputs, out):
    """Writes the inputs of a segmentation model with its own masks as labels; of every third row none."""
    feed = dict(np.load(inputs))
    (y,) = run(model, feed).values()
    labels = y.argmax(1).astype(np.uint8)
    labels[:, ::3] = 255
    np.savez(out, **feed, labels=labels)
    return {}


def overlap(model, data):
    """Intersection over union of a model's masks and the labels, mean over classes, in percent."""
    feed = dict(np.load(data))
    labels = feed.pop("labels")
    (y,) = run(model, feed).values()
    mask, counts = y.argmax(1), labels != 255
    ratios = []
    for c in range(y.shape[1]):
        a, b = (mask == c) & counts, labels == c
        if (a | b).any():
            ratios.append((a & b).sum() / (a | b).sum())
    return {"iou": 100 * float(np.mean(ratios))}


def detections(model, reference, inputs):
    """Detections of both models and those that both have: scores above 0.1, suppression at 0.45, pairs of a class at
    0.5."""
    feed = np.load(inputs)
    counts = np.zeros(3, int)
    for old, new in zip(*(next(iter(run(m, feed).values())) for m in (reference, model))):
        a, b = found(old), found(new)
        counts[:2] += len(a), len(b)
        for box, label, _ in a:
            same = [(overlap_of(box, q), i) for i, (q, other, _) in enumerate(b) if other == label and overlap_of(box, q) >= 0.5]
            if same:
                b.pop(max(same)[1])
                counts[2] += 1
    return dict(zip(("original", "model", "both"), counts.tolist()))


def reference(model, reference, inputs):
    """As `agree`, by ONNX's reference implementation, which computes in the model's own type."""
    feed = dict(np.load(inputs))
    results = []
    for path in (model, reference):
        evaluator = onnx.reference.ReferenceEvaluator(path)
        results.append(dict(zip(evaluator.output_names, evaluator.run(None, feed))))
    return differences(*results)


def outputs(model, inputs, outputs):
    return differences(dict(np.load(outputs)), run(model, np.load(inputs)))


def accuracy(model, data, scale, mean, std):
    """Top-1 on the arrays `images` and `labels` of an npz file."""
    arrays = np.load(data)
    images, labels = arrays["images"], arrays["labels"]
    s = session(model)
    mean, std = (np.float32(v).reshape(1, -1, 1, 1) for v in (mean, std))
    correct = in_five = 0
    for i in range(0, len(images), 64):
        x = (images[i : i + 64].astype(np.float32) * np.float32(scale) - mean) / std
        (logits,) = s.run(None, {s.get_inputs()[0].name: x})
        correct += int((logits.argmax(1) == labels[i : i + 64]).sum())
        in_five += int((np.argsort(-logits, 1)[:, :5] == labels[i : i + 64, None]).sum())
    return {"correct": correct, "in_five": in_five, "n": len(images)}


def first(data, out, count):
    np.savez(out, **{name: array[:count] for name, array in np.load(data).items()})
    return {}


def unlabelled(data, out, count=None):
    np.savez(out, images=np.load(data)["images"][:count])
    return {}


def mean_and_error(values):
    return [float(np.mean(values)), float(np.std(values, ddof=1) / math.sqrt(len(values)))]


def relation(original, model, data, scale):
    """How two classifiers of the same pictures differ: equal top classes, and KL(original || model) in nats."""
    x = np.load(data)["images"].astype(np.float32) * np.float32(scale)
    logs = []
    for path in (original, model):
        s = session(path)
        (logits,) = s.run(None, {s.get_inputs()[0].name: x})
        logits = logits.astype(np.float64)
        logits -= logits.max(1, keepdims=True)
        logs.append(logits - np.log(np.exp(logits).sum(1, keepdims=True)))
    p, q = logs
    kl, error = mean_and_error((np.exp(p) * (p - q)).sum(1))
    return {"same": int((p.argmax(1) == q.argmax(1)).sum()), "kl": kl, "error": error, "n": len(x)}


def uneven(model, data):
    """Writes a model of maps, 8 -> Conv -> Relu -> 1x1 Conv -> 4, whose output depends on four of the 16 channels
    between a hundred times as much as on the others, and inputs for it."""
    rng = np.random.default_rng(SEED)
    np.savez(data, input=rng.standard_normal((32, 8, 12, 12)).astype(np.float32))
    reads = rng.standard_normal((4, 16, 1, 1))
    reads[:, 4:] *= 0.01
    tensors = {"v": rng.standard_normal((16, 8, 3, 3)), "w": reads}
    tensors = [onnx.numpy_helper.from_array(t.astype(np.float32), name) for name, t in tensors.items()]
    nodes = [
        onnx.helper.make_node("Conv", ["input", "v"], ["h"], "first", pads=[1, 1, 1, 1]),
        onnx.helper.make_node("Relu", ["h"], ["a"], "relu"),
        onnx.helper.make_node("Conv", ["a", "w"], ["y"], "second"),
    ]
    value = lambda name, channels: onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", channels, 12, 12])
    graph = onnx.helper.make_graph(nodes, "g", [value("input", 8)], [value("y", 4)], tensors)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8), model)
    return {}


def restorer(model, other, data):
    """Writes two image-to-image models and noisy pictures with a target; answers with what the first one makes of
    them, by definition, and how far the second one is from it: mean and standard error, or a figure."""
    rng = np.random.default_rng(SEED)
    i, j = np.mgrid[:24, :20]
    target = np.stack([0.5 + 0.4 * np.sin(i / (3 + k)) * np.cos(j / (2 + k)) for k in range(5)])[:, None]
    noisy = target + 0.1 * rng.standard_normal(target.shape)
    np.savez(data, input=noisy.astype(np.float32), target=target.astype(np.float32))
    kernel = np.outer([1, 2, 1], [1, 2, 1]) / 16
    for path, factor in ((model, 1.0), (other, 1.01)):
        w = onnx.numpy_helper.from_array((factor * kernel).astype(np.float32)[None, None], "w")
        node = onnx.helper.make_node("Conv", ["input", "w"], ["restored"], "blur", pads=[1, 1, 1, 1])
        value = lambda name: onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", 1, "H", "W"])
        graph = onnx.helper.make_graph([node], "g", [value("input")], [value("restored")], [w])
        onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8), path)
    a = np.load(data)["target"].astype(np.float64)[:, 0]
    b, c = (run(path, np.load(data))["restored"].astype(np.float64)[:, 0] for path in (model, other))
    psnr = 10 * np.log10(1 / np.square(a - b).mean((1, 2)))
    g = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    g = np.outer(g, g) / g.sum() ** 2
    blur = lambda x: (np.lib.stride_tricks.sliding_window_view(x, (11, 11), (1, 2)) * g).sum((3, 4))
    ma, mb = blur(a), blur(b)
    va, vb, cov = blur(a * a) - ma**2, blur(b * b) - mb**2, blur(a * b) - ma * mb
    ssim = (2 * ma * mb + 1e-4) * (2 * cov + 9e-4) / ((ma**2 + mb**2 + 1e-4) * (va + vb + 9e-4))
    snr = 10 * math.log10(np.square(b).sum() / np.square(b - c).sum())
    return {"psnr": mean_and_error(psnr), "ssim": mean_and_error(ssim.mean((1, 2))), "snr": snr}


def convolutions(model):
    graph = onnx.load(model).graph
    dims = {t.name: list(t.dims) for t in graph.initializer}
    return [
        {"name": n.name or n.output[0], "weight": dims.get(n.input[1])} for n in graph.node if n.op_type == "Conv"
    ]


def room(folder):
    """Free bytes of the disk that a folder is on."""
    return {"free": shutil.disk_usage(folder).free}


def peak(command):
    """Runs a command; how it ended, and the most memory that it held, in bytes."""
    ended = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    return {"code": ended.returncode, "stdout": ended.stdout, "stderr": ended.stderr, "memory": memory}


def external(model, data):
    """What the checker makes of a model with external data, where its initializers lie, and the file's sizes."""
    onnx.checker.check_model(model, full_check=True)
    tensors = onnx.load(model, load_external_data=False).graph.initializer
    places = {t.name: {e.key: e.value for e in t.external_data} for t in tensors}
    status = os.stat(data)
    return {"places": places, "size": status.st_size, "allocated": status.st_blocks * 512}


def npz(out, arrays):
    np.savez(out, **{name: np.zeros(a["shape"], a["dtype"]) for name, a in arrays.items()})
    return {}


REQUESTS = (interface, functions, inputs, agree, outputs, accuracy, first, unlabelled, relation, restorer, uneven, convolutions, room, peak, external)
REQUESTS += (npz, build, cases, reference, channels, detections, boxes, precision, masks, overlap, optimised)


def main():
    handlers = {f.__name__: f for f in REQUESTS}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = handlers[request.pop("do")](**request)
        except Exception as e:  # reported to the test that asked
            answer = {"failure": f"{type(e).__name__}: {e}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
