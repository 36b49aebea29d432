"""From a model to a smaller one, which ONNX Runtime runs."""

import copy
import json
import pickle

import models
import numpy as np
import onnx
import onnxruntime
import pytest
from models import run, snr

import sepconv


def test_a_budget_is_met_and_the_outputs_stay_close(model, calib):
    before = model.SerializeToString()
    small, report = sepconv.compress(model, calib=calib, target_macs=0.5)
    assert model.SerializeToString() == before
    onnx.checker.check_model(small, full_check=True)
    assert report.compressed.macs <= 0.5 * report.original.macs
    assert small.graph.input == model.graph.input and small.graph.output == model.graph.output
    fresh = models.samples(32, seed=1)
    assert snr(run(model, x=fresh), run(small, x=fresh)) > 10


def test_the_digits_are_still_read():
    images = models.digits("calib")["images"]
    small, report = sepconv.compress(
        models.DIGITS, images, rank=2, skip="stem/conv1", scale=1 / 255, max_samples=200
    )
    held = models.digits("eval")
    inputs = held["images"].astype(np.float32) / 255
    right = np.mean(run(small, input=inputs).argmax(1) == held["labels"])
    assert right > 0.98
    kept = {layer.name for layer in report.layers if layer.form == "kept"}
    assert "stem/conv1" in kept and len(report.rewritten) == 7
    assert report.compressed.macs < report.original.macs / 3


def test_without_data_the_default_keeps_30_db(model):
    _, report = sepconv.compress(model, min_snr=1)
    assert report.snr_db >= 1
    with pytest.raises(sepconv.Error, match="nothing was written: no saving keeps .* 30 dB"):
        sepconv.compress(model)


def test_full_rank_is_exact(model):
    small, report = sepconv.compress(model, rank=9, allow_costlier=True, data_free="weights")
    assert len(report.rewritten) == 2
    fresh = models.samples(4, seed=2)
    assert snr(run(model, x=fresh), run(small, x=fresh)) > 100


def test_a_plan_is_applied_again(model, calib):
    small, report = sepconv.compress(model, calib, target_macs=0.5)
    again, _ = sepconv.compress(model, calib, plan=report.plan)
    assert again.SerializeToString() == small.SerializeToString()


def test_files(model, calib, tmp_path):
    source, target = tmp_path / "model.onnx", tmp_path / "small.onnx"
    onnx.save(model, source)
    report = sepconv.compress_file(source, target, calib, target_macs=0.5)
    small, _ = sepconv.compress(model, calib, target_macs=0.5)
    assert target.read_bytes() == small.SerializeToString()
    assert report.contents["output"] == str(target)
    with pytest.raises(sepconv.Error, match="exists"):
        sepconv.compress_file(source, target, calib, target_macs=0.5)
    sepconv.compress_file(source, target, calib, target_macs=0.6, force=True)
    assert target.read_bytes() != small.SerializeToString()
    report.save_plan(tmp_path / "plan.json")
    again, _ = sepconv.compress(source, calib, plan=tmp_path / "plan.json")
    assert again.SerializeToString() == small.SerializeToString()


def test_external_data(model, calib, tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    small, report = sepconv.compress(path, calib, target_macs=0.5)
    assert report.compressed.macs <= 0.5 * report.original.macs
    fresh = models.samples(8, seed=1)
    assert snr(run(models.network(), x=fresh), run(small, x=fresh)) > 10


def test_the_report(model, calib, tmp_path):
    _, report = sepconv.compress(model, calib, target_macs=0.5)
    assert [layer.name for layer in report.layers] == ["first", "second"]
    assert sum(layer.macs_after for layer in report.layers) == pytest.approx(report.compressed.macs, rel=0.05)
    assert report.contents == json.loads(report.json())
    assert report.contents["output"] is None and report.not_run is None
    assert report.contents["settings"]["budget"] == {"target-macs": 0.5}
    text = repr(report)
    assert f"{report.original.macs} -> {report.compressed.macs} MACs" in text and "\n" not in text
    report.save(tmp_path / "report")
    assert json.loads((tmp_path / "report" / "report.json").read_text()) == report.contents
    assert (tmp_path / "report" / "report.html").read_text() == report.html()
    assert (tmp_path / "report" / "report.md").read_text() == report.markdown()
    with pytest.raises(sepconv.Error, match="exists"):
        report.save(tmp_path / "report")


def test_reports_are_copied_and_say_what_to_pickle(model, calib):
    _, compressed = sepconv.compress(model, calib, rank=1)
    _, quantized = sepconv.quantize(model, calib)
    for report in (compressed, quantized):
        for other in (copy.copy(report), copy.deepcopy(report)):
            assert type(other) is type(report) and other.contents == report.contents
            assert other.contents is not report.contents
        with pytest.raises(TypeError, match=f"a {type(report).__name__} can't be pickled: pickle its contents"):
            pickle.dumps(report)
        assert pickle.loads(pickle.dumps(report.contents)) == report.contents


def test_measured_time_on_this_interpreters_onnxruntime(model, calib):
    try:
        _, report = sepconv.compress(model, calib, rank=1, target="onnxruntime")
    except sepconv.Error as error:
        # Measured here, no rewrite may be faster.
        assert "nothing was written" in str(error)
    else:
        assert report.contents["timing"]["version"] == onnxruntime.__version__
