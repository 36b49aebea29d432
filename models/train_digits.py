#!/usr/bin/env python3
"""Train, export and check `digits.onnx`, the small real model of this folder.

    python models/train_digits.py            train, then write digits.onnx, the two npz files and SHA256SUMS
    python models/train_digits.py --check    change nothing: verify the checksums, re-evaluate the shipped file

Every number that steers the run is a constant below, and every random choice comes from one of
two seeds. `--check` needs numpy, onnx and onnxruntime only; training also needs jax, optax, scipy
and scikit-learn (whose wheel holds the data: nothing is downloaded).
"""

import argparse
import hashlib
import math
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

HERE = Path(__file__).resolve().parent
MODEL, CALIB, EVAL, SUMS = "digits.onnx", "digits_calib.npz", "digits_eval.npz", "SHA256SUMS"

# Data.
SIZE = 32  # pictures are upscaled from 8x8 to SIZE x SIZE
CLASSES = 10
N_EVAL = 500  # held out, 50 a class or as near as the data allows
N_CALIB = 400  # part of the training side, shipped without labels
SPLIT_SEED = 20240607

# Training.
TRAIN_SEED = 1
EPOCHS = 24
BATCH = 64
PEAK_LR = 0.05
WARMUP_EPOCHS = 2
# Strong on purpose: the random initialisation has to decay away, or the kernels stay nearly random,
# which classifies as well but has a flat spectrum that no low-rank form can follow.
WEIGHT_DECAY = 1.5e-2
LABEL_SMOOTHING = 0.05
MAX_SHIFT, MAX_DEGREES, MAX_ZOOM = 2.5, 10.0, 0.12  # pixels of 32, degrees, relative
BN_EPS, BN_MOMENTUM = 1e-5, 0.9

# Export.
OPSET, IR_VERSION = 13, 8


class ConvSpec(NamedTuple):
    """A convolution without bias, followed by a BatchNormalization."""

    name: str
    kernel: int
    c_in: int
    c_out: int
    stride: int


class BlockSpec(NamedTuple):
    """relu(bn(conv2(relu(bn(conv1(x))))) + shortcut(x)); no shortcut convolution means the identity."""

    conv1: ConvSpec
    conv2: ConvSpec
    shortcut: ConvSpec | None


def block(name, c_in, c_out, stride):
    plain = stride == 1 and c_in == c_out
    return BlockSpec(
        ConvSpec(f"{name}/conv1", 3, c_in, c_out, stride),
        ConvSpec(f"{name}/conv2", 3, c_out, c_out, 1),
        None if plain else ConvSpec(f"{name}/shortcut", 1, c_in, c_out, stride),
    )


STEM = [ConvSpec("stem/conv1", 3, 1, 64, 1), ConvSpec("stem/conv2", 3, 64, 64, 2)]
BLOCKS = [
    block("stage1/block0", 64, 64, 1),
    block("stage2/block0", 64, 128, 2),
    block("stage3/block0", 128, 128, 2),
]
HEAD = "head/fc"


def convolutions():
    """Every convolution, in topological order."""
    out = list(STEM)
    for b in BLOCKS:
        out += [c for c in b if c is not None]
    return out


# ---------------------------------------------------------------------------------------------
# Data
# ---------------------------------------------------------------------------------------------


def bilinear_matrix(n_in, n_out):
    """[n_out, n_in] weights of 1-D bilinear upscaling: pixel centres at half integers, edges held."""
    pos = np.clip((np.arange(n_out) + 0.5) * n_in / n_out - 0.5, 0, n_in - 1)
    low = np.minimum(pos.astype(int), n_in - 2)
    m = np.zeros((n_out, n_in))
    m[np.arange(n_out), low] = 1 - (pos - low)
    m[np.arange(n_out), low + 1] = pos - low
    return m


def load_data():
    """(images u8 [1797,1,32,32], labels i64 [1797]). Rounded to u8 here, before anything is trained."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    m = bilinear_matrix(8, SIZE)
    up = np.einsum("yi,nij,xj->nyx", m, digits.images / 16.0, m)
    images = np.rint(up * 255.0).astype(np.uint8)[:, None]
    return images, digits.target.astype(np.int64)


def split(labels):
    """Index arrays (train, eval), stratified by class; the calibration pictures are train[:N_CALIB]."""
    rng = np.random.default_rng(SPLIT_SEED)
    held = []
    by_class = [rng.permutation(np.flatnonzero(labels == c)) for c in range(CLASSES)]
    for idx in by_class:
        held.append(idx[: N_EVAL // CLASSES])
    held = np.concatenate(held)
    train = rng.permutation(np.setdiff1d(np.arange(len(labels)), held))
    return train, rng.permutation(held)


def to_input(images):
    """The documented preprocessing: u8 0..255 -> f32 0..1."""
    return images.astype(np.float32) / np.float32(255)


def augment(images, rng):
    """A random shift, rotation and zoom of each picture of an f32 [n,1,SIZE,SIZE] batch."""
    from scipy.ndimage import affine_transform

    out = np.empty_like(images)
    centre = (SIZE - 1) / 2
    for i, img in enumerate(images):
        angle = math.radians(rng.uniform(-MAX_DEGREES, MAX_DEGREES))
        zoom = 1 + rng.uniform(-MAX_ZOOM, MAX_ZOOM)
        c, s = math.cos(angle) / zoom, math.sin(angle) / zoom
        m = np.array([[c, -s], [s, c]])
        shift = rng.uniform(-MAX_SHIFT, MAX_SHIFT, 2)
        offset = centre - m @ (centre + shift)
        affine_transform(img[0], m, offset, output=out[i, 0], order=1)
    return out


# ---------------------------------------------------------------------------------------------
# Training (jax, NHWC; weights HWIO)
# ---------------------------------------------------------------------------------------------


def init_params(rng):
    params, stats = {}, {}
    for c in convolutions():
        fan_in = c.kernel * c.kernel * c.c_in
        shape = (c.kernel, c.kernel, c.c_in, c.c_out)
        params[c.name] = {
            "w": rng.normal(0, math.sqrt(2 / fan_in), shape).astype(np.float32),
            "scale": np.ones(c.c_out, np.float32),
            "bias": np.zeros(c.c_out, np.float32),
        }
        stats[c.name] = {"mean": np.zeros(c.c_out, np.float32), "var": np.ones(c.c_out, np.float32)}
    width = BLOCKS[-1].conv2.c_out
    params[HEAD] = {
        "w": rng.normal(0, math.sqrt(1 / width), (width, CLASSES)).astype(np.float32),
        "bias": np.zeros(CLASSES, np.float32),
    }
    return params, stats


def forward(params, stats, x, train):
    """(logits, new running statistics) for x [n,SIZE,SIZE,1]."""
    import jax
    import jax.numpy as jnp

    new_stats = {}

    def conv_bn(c, x):
        p = params[c.name]
        pad = c.kernel // 2
        y = jax.lax.conv_general_dilated(
            x, p["w"], (c.stride, c.stride), [(pad, pad)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        if train:
            mean, var = jnp.mean(y, (0, 1, 2)), jnp.var(y, (0, 1, 2))
            old = stats[c.name]
            new_stats[c.name] = {
                "mean": BN_MOMENTUM * old["mean"] + (1 - BN_MOMENTUM) * mean,
                "var": BN_MOMENTUM * old["var"] + (1 - BN_MOMENTUM) * var,
            }
        else:
            mean, var = stats[c.name]["mean"], stats[c.name]["var"]
        return (y - mean) * (p["scale"] / jnp.sqrt(var + BN_EPS)) + p["bias"]

    for c in STEM:
        x = jax.nn.relu(conv_bn(c, x))
    for b in BLOCKS:
        y = jax.nn.relu(conv_bn(b.conv1, x))
        y = conv_bn(b.conv2, y)
        x = jax.nn.relu(y + (x if b.shortcut is None else conv_bn(b.shortcut, x)))
    x = jnp.mean(x, (1, 2))
    return x @ params[HEAD]["w"] + params[HEAD]["bias"], new_stats


def train(images, labels):
    """(params, stats) after EPOCHS epochs; the held-out pictures are never looked at."""
    import jax
    import jax.numpy as jnp
    import optax

    rng = np.random.default_rng(TRAIN_SEED)
    params, stats = init_params(rng)
    steps = len(images) // BATCH
    schedule = optax.warmup_cosine_decay_schedule(0, PEAK_LR, WARMUP_EPOCHS * steps, EPOCHS * steps)
    decayed = jax.tree_util.tree_map(lambda p: p.ndim > 1, params)  # weights, not scales and biases
    optimiser = optax.chain(
        optax.add_decayed_weights(WEIGHT_DECAY, decayed), optax.sgd(schedule, momentum=0.9, nesterov=True)
    )
    state = optimiser.init(params)

    def loss(params, stats, x, y):
        logits, new_stats = forward(params, stats, x, train=True)
        target = optax.smooth_labels(jax.nn.one_hot(y, CLASSES), LABEL_SMOOTHING)
        return optax.softmax_cross_entropy(logits, target).mean(), (new_stats, logits)

    @jax.jit
    def step(params, stats, state, x, y):
        (value, (stats, logits)), grad = jax.value_and_grad(loss, has_aux=True)(params, stats, x, y)
        updates, state = optimiser.update(grad, state, params)
        return optax.apply_updates(params, updates), stats, state, value, jnp.mean(logits.argmax(-1) == y)

    x_all = to_input(images)
    for epoch in range(EPOCHS):
        start, seen = time.time(), []
        order = rng.permutation(len(images))
        for i in range(steps):
            idx = order[i * BATCH : (i + 1) * BATCH]
            x = augment(x_all[idx], rng).transpose(0, 2, 3, 1)
            params, stats, state, value, hits = step(params, stats, state, x, labels[idx])
            seen.append((float(value), float(hits)))
        value, hits = np.mean(seen, axis=0)
        print(f"epoch {epoch + 1:2d}/{EPOCHS}: loss {value:.4f}, train {hits:.4f}, {time.time() - start:.1f} s", flush=True)
    return jax.tree_util.tree_map(np.asarray, (params, stats))


# ---------------------------------------------------------------------------------------------
# Export
# ---------------------------------------------------------------------------------------------


def layer_costs():
    """[(name, weight shape, output shape, MACs a picture, parameters)] of every layer with weights.

    A convolution's parameters count its BatchNormalization's scale and bias, not the two statistics.
    """
    rows, size = [], {}
    side = SIZE
    for c in convolutions():
        # A shortcut reads what its block's first convolution read, so it has that one's output size.
        if c.name.endswith("/shortcut"):
            out = size[c.name.replace("shortcut", "conv1")]
        else:
            out = side = side // c.stride
        size[c.name] = out
        weight = (c.c_out, c.c_in, c.kernel, c.kernel)
        rows.append((c.name, weight, (c.c_out, out, out), math.prod(weight) * out * out, math.prod(weight) + 2 * c.c_out))
    width = BLOCKS[-1].conv2.c_out
    rows.append((HEAD, (CLASSES, width), (CLASSES,), CLASSES * width, CLASSES * width + CLASSES))
    return rows


def build_model(params, stats):
    from onnx import TensorProto, helper, numpy_helper

    nodes, initializers = [], []

    def tensor(name, value):
        initializers.append(numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name))
        return name

    def add(op, name, inputs, output=None, **attributes):
        out = output or f"{name}/output"
        nodes.append(helper.make_node(op, inputs, [out], name=name, **attributes))
        return out

    def conv_bn(c, x):
        p, s, pad = params[c.name], stats[c.name], c.kernel // 2
        bn = c.name.replace("conv", "bn") if "conv" in c.name else f"{c.name}_bn"
        y = add(
            "Conv", c.name, [x, tensor(f"{c.name}/weight", p["w"].transpose(3, 2, 0, 1))],
            kernel_shape=[c.kernel] * 2, strides=[c.stride] * 2, pads=[pad] * 4, dilations=[1, 1], group=1,
        )  # fmt: skip
        names = [("scale", p["scale"]), ("bias", p["bias"]), ("mean", s["mean"]), ("var", s["var"])]
        return add(
            "BatchNormalization", bn, [y] + [tensor(f"{bn}/{n}", v) for n, v in names],
            epsilon=BN_EPS, momentum=BN_MOMENTUM,
        )  # fmt: skip

    x = "input"
    for i, c in enumerate(STEM, 1):
        x = add("Relu", f"stem/relu{i}", [conv_bn(c, x)])
    for b in BLOCKS:
        name = b.conv1.name.removesuffix("/conv1")
        y = add("Relu", f"{name}/relu1", [conv_bn(b.conv1, x)])
        y = conv_bn(b.conv2, y)
        skip = x if b.shortcut is None else conv_bn(b.shortcut, x)
        x = add("Relu", f"{name}/relu2", [add("Add", f"{name}/add", [y, skip])])
    x = add("GlobalAveragePool", "head/pool", [x])
    x = add("Flatten", "head/flatten", [x], axis=1)
    fc = [x, tensor(f"{HEAD}/weight", params[HEAD]["w"].T), tensor(f"{HEAD}/bias", params[HEAD]["bias"])]
    add("Gemm", HEAD, fc, output="logits", transB=1)

    doc = (
        "Handwritten digits, 10 classes. Input: one grey channel, 32x32, u8 pixels / 255. "
        "A small ResNet of regular 3x3 convolutions; BatchNormalization nodes are kept, not folded."
    )
    graph = helper.make_graph(
        nodes, "digits",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 1, SIZE, SIZE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", CLASSES])],
        initializers, doc_string=doc,
    )  # fmt: skip
    model = helper.make_model(
        graph, producer_name="sepconv", ir_version=IR_VERSION, doc_string=doc,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )  # fmt: skip
    model.producer_version = "1"
    return model


# ---------------------------------------------------------------------------------------------
# Evaluation
# ---------------------------------------------------------------------------------------------


def evaluate(model_bytes, images, labels):
    """(correct, n, seconds) with onnxruntime on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model_bytes, providers=["CPUExecutionProvider"])
    start = time.time()
    correct = 0
    for i in range(0, len(images), 100):
        (logits,) = session.run(["logits"], {"input": to_input(images[i : i + 100])})
        correct += int((logits.argmax(1) == labels[i : i + 100]).sum())
    return correct, len(images), time.time() - start


def describe(correct, n):
    p = correct / n
    return f"{100 * p:.2f} % ({correct} of {n}), standard error {100 * math.sqrt(p * (1 - p) / n):.2f} points"


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check(folder):
    """Verify the checksums and re-evaluate the shipped model on the shipped held-out pictures."""
    import onnx

    sound = True
    for line in (folder / SUMS).read_text().splitlines():
        expected, name = line.split()
        actual = sha256(folder / name)
        sound &= actual == expected
        print(f"{name}: {'checksum OK' if actual == expected else f'CHECKSUM DIFFERS: {actual}'}")
    blob = (folder / MODEL).read_bytes()
    model = onnx.load_from_string(blob)
    onnx.checker.check_model(model, full_check=True)
    data = np.load(folder / EVAL)
    correct, n, seconds = evaluate(blob, data["images"], data["labels"])
    print(f"held-out accuracy: {describe(correct, n)}; {seconds:.2f} s")
    claimed = {p.key: p.value for p in model.metadata_props}["accuracy"]
    if not claimed.startswith(describe(correct, n)):
        sound = False
        print(f"DIFFERS from the file's own metadata: {claimed}")
    return 0 if sound else 1


def train_and_export(folder):
    import onnx
    from onnx import helper

    images, labels = load_data()
    train_idx, eval_idx = split(labels)
    assert not set(train_idx) & set(eval_idx)
    print(f"{len(train_idx)} training pictures, {N_CALIB} of them for calibration; {len(eval_idx)} held out")
    params, stats = train(images[train_idx], labels[train_idx])

    model = build_model(params, stats)
    held, truth = images[eval_idx], labels[eval_idx]
    correct, n, _ = evaluate(model.SerializeToString(), held, truth)
    props = {
        "dataset": "UCI Optical Recognition of Handwritten Digits, test set, as in sklearn.datasets.load_digits; "
        "8x8 upscaled to 32x32 (bilinear), rounded to u8",
        "accuracy": f"{describe(correct, n)}, held-out split, onnxruntime",
        "licence": "model: MIT OR Apache-2.0; data: CC BY 4.0",
        "preprocessing": "f32 = u8 / 255, NCHW, one channel",
        "source": "models/train_digits.py",
    }
    helper.set_model_props(model, props)
    onnx.checker.check_model(model, full_check=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MODEL).write_bytes(model.SerializeToString(deterministic=True))
    np.savez_compressed(folder / CALIB, images=images[train_idx[:N_CALIB]])
    np.savez_compressed(folder / EVAL, images=held, labels=truth)
    lines = [f"{sha256(folder / name)}  {name}\n" for name in (MODEL, CALIB, EVAL)]
    (folder / SUMS).write_text("".join(lines))

    costs = layer_costs()
    for name, weight, out, macs, count in costs:
        print(f"| `{name}` | {'x'.join(map(str, weight))} | {'x'.join(map(str, out))} | {macs:,} | {count:,} |")
    print(f"total {sum(r[3] for r in costs):,} MACs a picture, {sum(r[4] for r in costs):,} parameters")
    return check(folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="verify and re-evaluate the shipped files, write nothing")
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write to or check (default: this one)")
    args = parser.parse_args()
    return check(args.out) if args.check else train_and_export(args.out)


if __name__ == "__main__":
    sys.exit(main())
