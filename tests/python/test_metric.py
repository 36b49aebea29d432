"""A metric of the caller's own."""

import threading

import models
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import sepconv


def two_outputs():
    """The small network with its map before the pool as a second output."""
    model = models.network()
    model.graph.output.append(helper.make_tensor_value_info("c", TensorProto.FLOAT, ["N", 8, 12, 12]))
    onnx.checker.check_model(model, full_check=True)
    return model


def nearness(original, rewritten):
    """Minus the root mean square of the change, over that of the original."""
    assert original.shape == rewritten.shape == (8,)
    return -np.sqrt(np.mean((original - rewritten) ** 2) / np.mean(original**2))


def test_models_are_judged_by_the_metric_and_its_unit_is_the_budget(model, calib):
    options = {"calib": calib, "target": "macs", "metric": nearness}
    tight, wide = (sepconv.compress(model, max_drop=drop, **options)[1] for drop in (0.05, 0.3))
    for report, drop in ((tight, 0.05), (wide, 0.3)):
        verdict = report.contents["verdict"]
        assert verdict["metric"] == "nearness"
        assert verdict["allowed"] == pytest.approx(-drop)
        assert -drop <= verdict["value"] < 0
    assert wide.compressed.macs < tight.compressed.macs


def test_a_metric_without_a_name_is_called_metric(model, calib):
    unnamed = lambda original, rewritten: nearness(original, rewritten)  # noqa: E731
    _, report = sepconv.compress(model, calib, target="macs", max_drop=0.3, metric=unnamed)
    assert report.contents["verdict"]["metric"] == "metric"


def test_several_outputs_come_by_name(calib):
    seen = set()

    def metric(original, rewritten):
        seen.add((*original, original["y"].shape, rewritten["c"].shape, original["c"].dtype.name))
        return -float(np.abs(original["c"] - rewritten["c"]).max())

    _, report = sepconv.compress(
        two_outputs(), calib, target="macs", target_macs=0.6, metric=metric
    )
    assert report.contents.get("verdict") is None and not seen
    sepconv.compress(two_outputs(), calib, target="macs", max_drop=100, metric=metric)
    assert seen == {("y", "c", (8,), (8, 12, 12), "float64")}


def test_the_metric_runs_on_another_thread(model, calib):
    threads = set()

    def metric(original, rewritten):
        threads.add(threading.get_ident())
        return nearness(original, rewritten)

    sepconv.compress(model, calib, target="macs", max_drop=0.3, metric=metric)
    assert threads and threading.get_ident() not in threads


def test_an_exception_in_the_metric_ends_the_work_and_is_raised(model, calib):
    calls = []

    def metric(original, rewritten):
        calls.append(1)
        raise LookupError("no such figure")

    with pytest.raises(LookupError, match="no such figure"):
        sepconv.compress(model, calib, max_drop=1, metric=metric)
    assert len(calls) == 1
    with pytest.raises(TypeError):
        sepconv.compress(model, calib, max_drop=1, metric=lambda a, b: "good")


def test_a_metric_needs_a_budget_in_its_unit(model, calib):
    with pytest.raises(sepconv.Error, match="metric: it needs a budget, such as max_drop in its own unit"):
        sepconv.compress(model, calib, metric=nearness)
