"""From a float model to one of eight bits, which ONNX Runtime runs."""

import json

import models
import numpy as np
import onnx
import pytest
from models import run, snr
from test_command import command

import sepconv


def operators(model):
    return {node.op_type for node in model.graph.node}


def early():
    """`models.network` in opset 11."""
    made = models.network()
    made.opset_import[0].version = 11
    return made


@pytest.fixture(scope="module")
def eight():
    """`models.network` in eight bits, its report, and what progress was told."""
    told = []
    progress = lambda *step: told.append(step)
    return *sepconv.quantize(models.network(), models.samples(), progress=progress), told


def test_the_outputs_stay(eight, model):
    made, report, told = eight
    onnx.checker.check_model(made, full_check=True)
    assert {"QuantizeLinear", "DequantizeLinear"} <= operators(made)
    assert made.graph.input == model.graph.input and made.graph.output == model.graph.output
    fresh = models.samples(32, seed=1)
    assert snr(run(model, x=fresh), run(made, x=fresh)) > 20
    assert {"ranges", "timing"} <= {stage.split()[-1] for stage, *_ in told}


def test_the_report(eight, model):
    made, report, _ = eight
    assert [(layer.name, layer.op_type, layer.reason) for layer in report.layers] == [
        ("first", "Conv", None),
        ("second", "Conv", None),
    ]
    assert report.eight_bits == report.layers and report.floats == []
    assert {layer.weight_bits for layer in report.layers} <= {7, 8}
    assert report.bytes_before == len(model.SerializeToString())
    assert report.bytes_after == len(made.SerializeToString()) < report.bytes_before / 2
    assert report.snr_db > 10 and report.comparison["runs"] == 12
    assert report.comparison["outputs"][0]["name"] == "y"
    assert report.speedup > 0 and report.not_timed is None
    assert json.loads(report.json()) == report.contents
    text = repr(report)
    assert "2 of 2 layers in eight bits" in text and "\n" not in text


def test_it_writes_the_file_of_the_command(eight, model, calib, tmp_path):
    source, data = tmp_path / "model.onnx", tmp_path / "data.npz"
    onnx.save(model, source)
    np.savez(data, x=calib)
    done = command("quantize", source, "--calib", data, "-o", tmp_path / "a.onnx")
    assert done.returncode == 0, done.stderr
    expected = (tmp_path / "a.onnx").read_bytes()
    assert eight[0].SerializeToString() == expected
    report = sepconv.quantize_file(source, tmp_path / "b.onnx", calib)
    assert (tmp_path / "b.onnx").read_bytes() == expected and len(report.eight_bits) == 2
    with pytest.raises(sepconv.Error, match="exists"):
        sepconv.quantize_file(source, tmp_path / "b.onnx", calib)
    # With other options, too.
    options = {"target": "tract", "held_out_every": 2, "seed": 3, "max_samples": 16, "all_layers": True, "scale": 2}
    flags = ["--target=tract", "--held-out-every=2", "--seed=3", "--max-samples=16", "--all-layers", "--scale=2"]
    command("quantize", source, "--calib", data, "-o", tmp_path / "a.onnx", "--force", *flags)
    sepconv.quantize_file(source, tmp_path / "b.onnx", data, force=True, **options)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes() != expected


def test_models_and_data_are_taken_in_all_forms(eight, model, calib, tmp_path):
    expected = eight[0].SerializeToString()
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    np.savez(tmp_path / "data.npz", x=calib)
    for given, data in [
        (model.SerializeToString(), {"x": calib}),
        (path, (calib[i : i + 16] for i in range(0, len(calib), 16))),
        (str(path), tmp_path / "data.npz"),
    ]:
        assert sepconv.quantize(given, data)[0].SerializeToString() == expected


def test_layers_stay_in_floats_with_their_reasons(eight, model, calib):
    least = eight[1].snr_db + 0.5
    _, report = sepconv.quantize(model, calib, min_snr=least)
    assert report.snr_db >= least and "1 of 2 layers in eight bits" in repr(report)
    assert [layer.reason for layer in report.floats] == ["it costs the outputs too much"]
    assert [layer.weight_bits for layer in report.floats] == [None]


def test_a_ratio_that_is_not_reached_is_told(eight, model, calib):
    assert eight[1].missed is None
    made, report = sepconv.quantize(model, calib, min_snr=150)
    missed = report.missed
    assert (missed.asked_db, missed.output) == (150, "y") and missed.reached_db == report.snr_db < 150
    assert len(report.eight_bits) > 0 and "of 150 dB asked for" in repr(report)
    assert sepconv.quantize(model, calib, all_layers=True)[1].missed is None


def test_an_earlier_opset_is_raised(calib):
    with pytest.raises(sepconv.Error, match="need opset 13, the model has opset 11"):
        sepconv.quantize(early(), calib)
    made, _ = sepconv.quantize(early(), calib, opset=13)
    onnx.checker.check_model(made, full_check=True)
    assert made.opset_import[0].version == 13


def test_values_of_another_range_are_told(model, calib):
    raw = np.random.default_rng(2).integers(0, 256, calib.shape).astype(np.uint8)
    with pytest.warns(UserWarning, match="is given 0 to 255.*scale=1/255"):
        sepconv.quantize(model, raw)


def test_what_is_in_eight_bits_is_refused(eight, calib):
    with pytest.raises(sepconv.Error, match="quantised already"):
        sepconv.quantize(eight[0], calib)


def test_an_exception_in_progress_ends_the_work(model, calib):
    def progress(*_):
        raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        sepconv.quantize(model, calib, progress=progress)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"model": "missing.onnx"}, sepconv.Error, "missing.onnx"),
        ({"model": 3}, TypeError, "found int"),
        ({"calib": None}, TypeError, "found NoneType"),
        ({"calib": "missing.npz"}, sepconv.Error, "missing.npz"),
        ({"calib": {"z": np.zeros((2, 8, 12, 12))}}, sepconv.Error, "no array for the model's input 'x'"),
        ({"min_snr": 20, "all_layers": True}, sepconv.Error, "all_layers or min_snr: one at a time"),
        ({"min_snr": "much"}, TypeError, "min_snr"),
        ({"held_out_every": 1}, sepconv.Error, "held_out_every: expected at least 2, found 1"),
        ({"opset": 15}, sepconv.Error, "opset: models are raised to opset 13, not 15"),
        ({"target": "macs"}, sepconv.Error, "target: no target 'macs'"),
        ({"rank": 1}, TypeError, "there is no option 'rank'"),
        ({"force": True}, TypeError, "there is no option 'force'"),
    ],
)
def test_refusals_are_one_line(arguments, error, text):
    with pytest.raises(error, match=text) as caught:
        sepconv.quantize(**{"model": models.network(), "calib": models.samples(4), **arguments})
    assert "\n" not in str(caught.value)
