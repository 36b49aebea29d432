"""Options in all their forms; that the command line has the same ones is tested beside its arguments."""

import subprocess
import sys
import typing

import models
import numpy as np
import pytest
from onnx import helper, numpy_helper

import sepconv
from sepconv import _options, _sepconv


def test_options_are_those_of_the_native_module():
    arguments = {"calib", "force"}
    own = {"input_shapes", "onnxruntime", "openvino"}
    assert set(typing.get_type_hints(sepconv.Options)) == set(_sepconv.options()) - arguments | own


def test_options_of_quantize_are_those_of_the_native_module():
    own = {"onnxruntime", "openvino"}
    assert set(typing.get_type_hints(sepconv.QuantizeOptions)) == set(_sepconv.quantize_options()) - {"force"} | own


def test_what_is_left_out_or_none_has_its_default(model, calib):
    made = lambda **options: sepconv.compress(model, calib, target_macs=0.5, **options)[0].SerializeToString()
    names = typing.get_type_hints(sepconv.Options).keys() - {"target_macs"}
    assert made() == made(**dict.fromkeys(names))


def test_numbers_of_numpy_are_numbers(model):
    made = lambda **options: sepconv.compress(model, data_free="weights", **options)[0].SerializeToString()
    assert made(rank=np.int64(2), seed=np.uint8(0)) == made(rank=2)
    assert made(energy=np.float32(0.5), quantized=np.False_) == made(energy=0.5)
    with pytest.raises(sepconv.Error, match="energy: expected a finite number, found nan"):
        made(energy=float("nan"))
    with pytest.raises(TypeError, match="energy: expected a number, found object"):
        made(energy=object())
    with pytest.raises(TypeError, match="no option 'force'"):
        made(force=True)


def test_all_lowerings_are_taken(model):
    hints = typing.get_type_hints(sepconv.Options)
    known = typing.get_args(typing.get_args(hints["lowering"])[0])
    written = set()
    for order in ("dw-pw", "pw-dw"):
        for lowering in known:
            _, report = sepconv.compress(model, rank=1, order=order, lowering=lowering, data_free="weights")
            # One that is for the other order falls back to the first.
            made = {layer.lowering for layer in report.layers}
            assert made <= {lowering, "branches"} or lowering == "auto"
            written |= made
    assert written == set(known) - {"auto"} and len(written) == 9


def pointwise():
    """`models.network` with a 1x1 convolution of rank 2 before it."""
    made = models.network()
    rng = np.random.default_rng(3)
    weight = (rng.standard_normal((8, 2)) @ rng.standard_normal((2, 8)))[..., None, None] / 4
    tensor = numpy_helper.from_array(weight.astype(np.float32), "point.weight")
    made.graph.initializer.append(tensor)
    made.graph.node.insert(0, helper.make_node("Conv", ["x", "point.weight"], ["p"], name="point"))
    made.graph.node[1].input[0] = "p"
    return made


@pytest.mark.parametrize("families", ["+lowrank", ["+lowrank"], "dw-pw,lowrank", ("dw-pw", "lowrank")])
def test_families_are_added_to_or_listed(families):
    def forms(**options):
        _, report = sepconv.compress(pointwise(), energy=0.9, data_free="weights", **options)
        return [layer.form for layer in report.layers]

    assert (forms()[0], forms(families=families)[0]) == ("kept", "lowrank")
    assert "kept" not in forms(families=families)


def test_results_are_tuned(model, calib):
    _, plain = sepconv.compress(model, calib, target_macs=0.5, tune=False)
    assert plain.contents["tuning"] is None
    tuned, report = sepconv.compress(model, calib, target_macs=0.5, tune=2)
    assert len(report.contents["tuning"]["epochs"][0]) == 3
    _, report = sepconv.compress(model, calib, target_macs=0.5, tune=True)
    assert 3 < len(report.contents["tuning"]["epochs"][0]) <= 21
    with pytest.raises(sepconv.Error, match="calib"):
        sepconv.compress(model, rank=1, tune=True)


def test_text_is_taken_as_on_the_command_line(model):
    pictures = np.random.default_rng(7).integers(0, 256, (40, 8, 12, 12), dtype=np.uint8)
    made = lambda data, **options: sepconv.compress(model, data, target_macs=0.5, **options)[0].SerializeToString()
    expected = made(pictures, scale=1 / 255, mean=[0.5] * 8, std=0.25)
    assert made(pictures, scale="1/255", mean=",".join(["0.5"] * 8), std="1/4") == expected
    rows = np.ascontiguousarray(pictures.transpose(0, 2, 3, 1))
    assert made(rows, layout="nhwc", scale="1/255", mean=np.full(8, 0.5, np.float32), std=0.25) == expected


def test_memory_is_bytes_or_text(model, calib):
    """Of a byte, layers that need data stay, and so all of them."""
    made = lambda size: sepconv.compress(model, calib, rank=1, max_memory=size)[0].SerializeToString()
    assert made(1 << 33) == made("8G") == made("8GiB") == made(None)
    for little in (1, "1"):
        with pytest.raises(sepconv.Error, match="memory"):
            made(little)


def test_data_that_is_not_fitted_to_tells_how_close_the_result_is(model, calib):
    made = lambda *data, **options: sepconv.compress(model, *data, rank=1, data_free="weights", **options)
    (without, synthetic), (given, measured) = made(), made(calib)
    assert without.SerializeToString() == given.SerializeToString()
    assert measured.contents["samples"] == len(calib) and measured.snr_db != synthetic.snr_db
    _, scaled = made(calib, scale=8, max_samples=5)
    assert scaled.contents["samples"] == 5 and scaled.snr_db != measured.snr_db


def test_preprocessing_may_come_from_a_file_and_be_overridden(model, calib, tmp_path):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('scale = "1/2"\nmean = 0.25\n')
    made = lambda **options: sepconv.compress(model, calib, target_macs=0.5, **options)[0].SerializeToString()
    assert made(preprocess=recipe) == made(scale=0.5, mean=0.25)
    assert made(preprocess=recipe, scale=2) == made(scale=2, mean=0.25) != made(preprocess=recipe)


def test_shapes_are_taken_by_name_as_text_and_by_the_former_name(model):
    made = lambda **options: sepconv.compress(model, rank=1, data_free="weights", **options)[1].original.macs
    one, four = made(), made(input_shape={"x": (4, 8, 12, 12)})
    assert four == 4 * one
    assert made(input_shape="x=4x8x12x12") == made(input_shape=["x=4x8x12x12"]) == four
    assert made(input_shape={"x": "4x8x12x12"}) == made(input_shape={"x": np.array([4, 8, 12, 12])}) == four
    assert made(input_shapes={"x": [4, 8, 12, 12]}) == four
    with pytest.raises(TypeError, match="same option"):
        made(input_shape="x=1x8x12x12", input_shapes={"x": [1, 8, 12, 12]})


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"scale": "1/x"}, "scale"),
        ({"mean": "a"}, "mean"),
        ({"resize": "large"}, "resize"),
        ({"crop": (1, 2, 3)}, "crop"),
        ({"channel_order": "gbr"}, "channel_order: expected rgb or bgr, found 'gbr'"),
        ({"layout": "chwn"}, "layout"),
        ({"preprocess": "missing.toml"}, "missing.toml"),
        ({"input_shape": "1x8x12x12"}, "input_shape"),
        ({"input_shape": "x=1xAx12x12"}, "input_shape"),
        ({"input_shape": {"x": "1x3xA"}}, "input_shape"),
        ({"max_memory": "much"}, "max_memory: 'much' is no size"),
        ({"max_memory": 0}, "max_memory: '0' is no size"),
        ({"max_memory": "120%"}, "max_memory: '120%' is more"),
        ({"families": "dw-pw,nonesuch"}, "nonesuch"),
        ({"families": "+nonesuch"}, "families: there is no '.nonesuch'"),
        ({"peak": float("nan")}, "peak: expected a finite number, found nan"),
        ({"max_time": float("inf")}, "max_time: expected a finite number, found inf"),
        ({"mean": [0, float("inf")]}, "mean: expected a finite number, found inf"),
        ({"max_samples": 0}, "max_samples: expected at least 1, found 0"),
        ({"seed": 2**70}, "seed: expected a whole number from 0"),
        ({"positions": -1}, "positions: expected a whole number from 0"),
        ({"eval": "\udcff"}, "eval: .* is no text of UTF-8"),
    ],
)
def test_wrong_values_are_refused_in_one_line(model, options, text):
    with pytest.raises(sepconv.Error, match=text) as caught:
        sepconv.compress(model, models.samples(4), rank=1, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"rank": 1.5}, "float"),
        ({"rank": True}, "bool"),
        ({"rank": object()}, "object"),
        ({"energy": np.array([0.5])}, "ndarray"),
        ({"int8": 1}, "int"),
        ({"order": 3}, "int"),
        ({"skip": 3}, "int"),
        ({"layers": 3.5}, "float"),
        ({"layers": ["a", 3]}, "list with int"),
        ({"families": 3}, "int"),
        ({"tune": "x"}, "str"),
        ({"tune": 1.5}, "float"),
        ({"plan": 3}, "int"),
        ({"scale": True}, "bool"),
        ({"scale": [1]}, "list"),
        ({"mean": {}}, "dict"),
        ({"mean": [[1]]}, "list"),
        ({"std": np.array(None)}, "ndarray"),
        ({"resize": 1.5}, "float"),
        ({"crop": (1, "2")}, "str"),
        ({"max_time": [1]}, "list"),
        ({"max_memory": True}, "bool"),
        ({"layout": 3}, "int"),
        ({"eval": b"data.npz"}, "bytes"),
        ({"onnxruntime": 3}, "int"),
        ({"input_shape": [1, 3, 16, 16]}, "list with int"),
        ({"input_shape": {"x": 5}}, "int"),
        ({"input_shape": {"x": (1, "A")}}, "(1, 'A')"),
        ({"input_shape": {5: (1, 2)}}, "int"),
        ({"metric": 3}, "int"),
        ({"progress": 5}, "int"),
    ],
)
def test_wrong_types_name_the_keyword(options, found):
    with pytest.raises(TypeError) as caught:
        sepconv.compress("missing.onnx", models.samples(4), **options)
    (name,) = options
    text = str(caught.value)
    assert text.startswith(f"{name}: expected ") and text.endswith(f", found {found}")


def test_every_option_has_a_type():
    native = {*_sepconv.options(), *_sepconv.quantize_options()} - {"calib"}
    for name in native:
        with pytest.raises(TypeError, match=f"^{name}: expected"):
            _options.as_json({}, force=[]) if name == "force" else _options.as_json({name: object()})


# What the command line is given for options that are not flags.
GIVEN = {
    "block": "2",
    "channel_order": "rgb",
    "crop": "8",
    "data_free": "weights",
    "effort": "quick",
    "input_shape": "x=1x8x12x12",
    "layout": "nchw",
    "lowering": "tiled",
    "max_memory": "1G",
    "max_time": "1m",
    "opset": "13",
    "order": "dw-pw",
    "precision": "auto",
    "resize": "8",
    "target": "macs",
    "task": "classify",
    "weight_bits": "7",
}
FLAGS = {"allow_costlier", "allow_slower", "int8", "quantized", "unweighted"}


def test_a_plan_refuses_the_options_that_the_command_line_refuses_beside_it():
    """The command line refuses usage with code 2, and the missing model with 1."""
    without = {"cache", "input_shapes", "plan"}
    options = sorted(typing.get_type_hints(sepconv.Options).keys() - without)
    written = lambda name: "--" + name.replace("_", "-") + ("" if name in FLAGS else "=" + GIVEN.get(name, "1"))
    code = (
        "import sys\n"
        "from sepconv import _sepconv\n"
        "for option in sys.argv[1:]:\n"
        "    print(_sepconv.command(['sepconv', 'compress', 'missing.onnx', '--plan=missing.json', option]))\n"
    )
    command = [sys.executable, "-c", code, *map(written, options)]
    done = subprocess.run(command, capture_output=True, text=True)
    codes = dict(zip(options, done.stdout.split(), strict=True))
    assert set(codes.values()) == {"1", "2"}, done.stderr
    budgets = {name for name in options if name.startswith("target_")} | {
        "rank",
        "energy",
        "speedup",
        "max_drop",
        "min_snr",
    }
    refused = {name for name, code in codes.items() if code == "2"}
    assert budgets < refused
    assert refused - budgets == set(_options._OF_PLAN)


def test_what_a_plan_says_is_refused_beside_it_by_its_keyword(model, calib):
    _, report = sepconv.compress(model, calib, target_macs=0.5)
    applied = lambda **options: sepconv.compress(model, calib, plan=report.plan, **options)[0].SerializeToString()
    with pytest.raises(sepconv.Error, match="plan: it says max_samples, seed itself, which can't be given beside it"):
        applied(seed=0, max_samples=8)
    with pytest.raises(sepconv.Error, match="plan: it says input_shape itself"):
        applied(input_shapes={"x": [1, 8, 12, 12]})
    with pytest.raises(sepconv.Error, match="rank and plan"):
        applied(rank=1)
    unset = {"unweighted": False, "layers": (), "input_shape": {}, "seed": None}
    assert applied(**unset) == applied(scale=1, threads=1, allow_slower=True) == applied()


def test_channels_count_alike_where_asked(calib):
    """Where the outputs are maps, their gradients weigh the channels; of classes they never do."""
    maps = models.network()
    del maps.graph.node[-2:]
    maps.graph.output[0].CopyFrom(helper.make_tensor_value_info("c", 1, ["N", 8, 12, 12]))
    made = lambda **options: sepconv.compress(maps, calib, rank=1, **options)[0].SerializeToString()
    assert made(unweighted=True) != made() == made(unweighted=False)


def test_the_library_that_is_named_is_used(model):
    """In a process of its own: one library is loaded per process."""
    code = (
        "import sys, sepconv\n"
        "model = sys.stdin.buffer.read()\n"
        "sepconv.compress(model, rank=1, target='onnxruntime', onnxruntime='missing.so')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], input=model.SerializeToString(), capture_output=True)
    assert done.returncode == 1 and b"sepconv.Error: target: " in done.stderr, done.stderr.decode()
    assert b"missing.so" in done.stderr, done.stderr.decode()


def test_budgets_of_macs_and_of_time_follow_one_another(model, calib, tmp_path):
    """In a process of its own, which looks for a runtime once."""
    np.save(tmp_path / "calib.npy", calib)
    code = (
        "import sys, sepconv\n"
        "model = sys.stdin.buffer.read()\n"
        "for target in ('macs', None):\n"
        "    sepconv.compress(model, 'calib.npy', rank=1, target=target, allow_slower=True)\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, input=model.SerializeToString(), capture_output=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
