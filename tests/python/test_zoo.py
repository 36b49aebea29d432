"""The pure parts of tests/bench/zoo. Nothing is downloaded."""

import importlib.util
import json
import sys
import types
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

from zoo_parts import (  # noqa: E402
    bisection,
    drawing,
    measuring,
    ncnn,
    packages,
    recording,
    rendering,
    sound,
    tables,
    tasks,
    variants,
)


def detection(*rows):
    """YOLOv8's output of rows (x, y, w, h, scores of two classes)."""
    return [np.array(rows, np.float32).T[None]]


SCORE = tasks.detections(tasks.yolo_v8, 0.25)
PAIR = detection((10, 10, 8, 8, 0.9, 0), (40, 40, 8, 8, 0, 0.8))


def test_detections_match_by_class_and_overlap():
    same = SCORE([PAIR], [PAIR])
    assert (same["recall"], same["precision"], same["detections"]) == (1, 1, 2)
    other_class = detection((10, 10, 8, 8, 0, 0.9), (40, 40, 8, 8, 0, 0.8))
    assert SCORE([PAIR], [other_class])["recall"] == 0.5
    moved = detection((16, 10, 8, 8, 0.9, 0), (40, 40, 8, 8, 0, 0.8))
    assert SCORE([PAIR], [moved])["recall"] == 0.5


def test_detections_that_are_missing_or_too_many_count_apart():
    one = detection((10, 10, 8, 8, 0.9, 0))
    missing, added = SCORE([PAIR], [one]), SCORE([one], [PAIR])
    assert (missing["recall"], missing["precision"]) == (0.5, 1)
    assert (added["recall"], added["precision"]) == (1, 0.5)


def test_overlapping_detections_are_one():
    twice = detection((10, 10, 8, 8, 0.9, 0), (11, 10, 8, 8, 0.8, 0))
    assert SCORE([twice], [twice])["detections"] == 1


def test_a_broken_detector_finds_nothing():
    broken = SCORE([PAIR], [[np.full((1, 6, 2), np.nan, np.float32)]])
    assert (broken["recall"], broken["kept"]) == (0, 0)


def test_yolox_boxes_lie_in_their_cells():
    values = np.zeros((1, 3549, 6), np.float32)
    # The second cell of the second row, at stride 8: 52 cells a row.
    values[0, 53] = [0.5, 0.5, np.log(2), 0, 1, 0.9]
    boxes, scores, classes = tasks.yolox([values])
    np.testing.assert_allclose(boxes[53], [4, 8, 20, 16], atol=1e-4)
    assert scores.argmax() == 53 and classes[53] == 0


def test_pictures_have_the_mean_of_their_ratios():
    a = [[np.zeros((1, 3, 4, 4), np.float32)]] * 2
    b = [[np.full((1, 3, 4, 4), error, np.float32)] for error in (0.1, 0.001)]
    score = tasks.picture(a, b)
    assert score["psnr_db"] == pytest.approx(40)
    assert score["kept"] == pytest.approx(0.99)
    assert tables.kept(score) == "PSNR 40.0 dB"


def test_a_network_of_ncnn_is_the_same_in_onnx(tmp_path):
    import onnxruntime

    draws = np.random.default_rng(0)
    kernel, biases = draws.standard_normal((4, 3, 3, 3)).astype(np.float16), draws.standard_normal(4).astype(np.float32)
    slopes = np.array([0.5, -0.5, 0.25, 2], np.float32)
    wide = draws.standard_normal((12, 4, 1, 1)).astype(np.float32)
    lines = [
        "7767517",
        "7 8",
        "Input input 0 1 data",
        "Split split 1 2 data a b",
        "Convolution conv 1 1 a c 0=4 1=3 4=1 5=1 6=108 9=2 -23310=1,0.1",
        "PReLU prelu 1 1 c p 0=4",
        "Convolution wide 1 1 p w 0=12 1=1 6=48",
        "PixelShuffle shuffle 1 1 w s 0=2",
        "Interp resize 1 1 b r 0=1 1=2.0 2=2.0",
        "BinaryOp add 2 1 s r out 0=0",
    ]
    source = tmp_path / "net.param"
    source.write_text("\n".join(lines) + "\n")
    halves, floats = np.uint32(0x01306B47).tobytes(), np.uint32(0).tobytes()
    parts = [halves, kernel.tobytes(), biases.tobytes(), slopes.tobytes(), floats, wide.tobytes()]
    source.with_suffix(".bin").write_bytes(b"".join(parts))
    ncnn.convert(source, tmp_path / "net.onnx")
    x = draws.standard_normal((1, 3, 5, 6)).astype(np.float32)
    (found,) = onnxruntime.InferenceSession(tmp_path / "net.onnx").run(None, {"data": x})
    padded = np.pad(x[0], ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))
    y = np.einsum("oikl,ihwkl->ohw", kernel.astype(np.float32), windows) + biases[:, None, None]
    y = np.where(y < 0, 0.1 * y, y)
    y = np.where(y < 0, slopes[:, None, None] * y, y)
    y = np.einsum("oi,ihw->ohw", wide[:, :, 0, 0], y).reshape(3, 2, 2, 5, 6).transpose(0, 3, 1, 4, 2).reshape(3, 10, 12)
    expected = y + x[0].repeat(2, 1).repeat(2, 2)
    assert np.abs(found[0] - expected).max() < 1e-4
    # Weights that no layer reads are a fault of the conversion.
    source.with_suffix(".bin").write_bytes(b"".join([*parts, floats]))
    with pytest.raises(ValueError, match="left over"):
        ncnn.convert(source, tmp_path / "net.onnx")


def test_numbers_have_one_ratio_an_output():
    a = [[np.ones(10), np.ones(4)]]
    b = [[np.ones(10) * 1.1, np.ones(4)]]
    score = tasks.numbers(a, b)
    assert score["snr_db"] == pytest.approx([20, 200], abs=1e-6)
    assert score["kept"] == pytest.approx(0.9)
    assert "20.0, 200.0 dB" in score["text"]


def test_classes_pitches_and_masks():
    a, b = [[np.array([[0.1, 0.9]])]], [[np.array([[0.6, 0.4]])]]
    assert tasks.agreement(a + a, a + b)["agreement"] == 0.5
    frame = lambda at: [np.exp(-0.5 * (np.arange(360) - at) ** 2)[None]]
    assert tasks.pitch([frame(100), frame(100)], [frame(102), frame(103)])["raw_pitch_accuracy"] == 0.5
    assert tasks.mask(0.5)(a, b)["iou"] == 0


def test_the_interval_of_the_median_holds_it():
    # By the binomial distribution: the 10th and the 21st of 30.
    assert measuring.median_interval(range(1, 31)) == (10, 15.5, 21)
    assert measuring.median_interval([3, 1, 2]) == (1, 2, 3)


def test_speeds_are_ratios_within_a_round():
    table = np.array([[2.0, 1.0], [4.0, 2.0], [8.0, 4.0]])
    original, twice = measuring.speeds(table)
    assert (original["speed"], original["ms"]) == (1, 4000)
    assert (twice["speed"], twice["low"], twice["high"]) == (2, 2, 2)


def test_parts_of_the_sound_differ_and_stay_the_same():
    assert np.array_equal(sound.tones("calib", 2, 256, 16000), sound.tones("calib", 2, 256, 16000))
    assert not np.array_equal(sound.tones("calib", 2, 256, 16000), sound.tones("eval", 2, 256, 16000))
    assert np.abs(sound.chords("eval", 1, 2048, 22050)).max() <= 0.9


def test_members_are_found_by_their_ends():
    assert packages.only(["a/x.onnx", "a/y.onnx"], "y.onnx") == "a/y.onnx"
    with pytest.raises(OSError, match="2 members"):
        packages.only(["a/x.onnx", "b/x.onnx"], "x.onnx")


def test_a_command_that_fails_is_a_row(tmp_path):
    options = types.SimpleNamespace(binary=sys.executable, limit=20)
    variant = variants.ours("sepconv", "--calib calib.npz", tmp_path / "m", tmp_path / "c", tmp_path, options)
    assert variant.failed and variant.path is None
    assert recording.row(variant)["failed"] == variant.failed
    assert variants.reason("a\nerror: /tmp/x/model.onnx: not faster\n") == "error: model.onnx: not faster"


def test_a_peer_that_fails_is_a_row(tmp_path):
    files, options = [tmp_path / "no.onnx", tmp_path / "no.npz"], types.SimpleNamespace(limit=60)
    variant = variants.theirs("onnxsim pruning, L2", "simplify", "prune", files, ["L2"], tmp_path, options)
    assert variant.failed and variant.path is None and variant.how == "simplify"
    assert str(tmp_path) not in variant.failed
    late = types.SimpleNamespace(limit=0.01)
    assert variants.theirs("a", "b", "prune", files, ["L2"], tmp_path, late).failed == "took longer than 0.01 s"


def test_the_least_percentage_that_is_enough():
    for least in (1, 2, 50, 98, 99):
        assert bisection.least(lambda percent, least=least: percent >= least) == least
    assert bisection.least(lambda percent: False) is None


def test_the_versions_are_those_of_the_packages_that_are_there(tmp_path):
    found = recording.versions(tmp_path / "none")
    assert found["numpy"] == np.__version__ and found["sepconv"] == ""
    assert ("onnxsim" in found) == bool(importlib.util.find_spec("onnxsim"))


def record():
    row = {"name": "sepconv", "how": "sepconv compress", "seconds": 3.0, "bytes": 1_000_000, "ms": 5.0}
    row |= {"speed": 2.0, "low": 1.9, "high": 2.1, "score": {"kept": 0.98, "text": "agreement 98.0 %"}}
    worse = row | {"name": "ONNX Runtime INT8, MinMax", "score": {"kept": 0.5, "text": "agreement 50.0 %"}}
    better = row | {"name": "ONNX Runtime INT8, Percentile", "score": {"kept": 0.9, "text": "agreement 90.0 %"}}
    failed = {"name": "sepconv --int8", "how": "sepconv compress --int8", "seconds": 1.0, "failed": "not faster"}
    model = {"name": "net", "about": "a <net>", "package": "net==1", "licence": "MIT", "data": "noise"}
    model |= {"calibration_samples": 8, "evaluation_samples": 4, "bytes": 2_000_000, "ms": 10.0, "rounds": 30}
    cut = row | {"name": "onnxsim pruning, L2", "score": {"kept": 0.3, "text": "agreement 30.0 %"}}
    uncut = {"name": "onnxsim pruning, Wanda", "how": "onnxsim", "seconds": 1.0, "failed": "too few"}
    model |= {"variants": [row, failed, worse, better, uncut, cut]}
    gone = {"name": "gone", "about": "a net", "package": "gone==1", "failed": "pip download gone==1: no"}
    machine = {"cpu": "a CPU", "cores": 2, "memory_gb": 8, "system": "Linux"}
    top = {"command": "tests/bench/zoo", "date": "2026-01-01", "machine": machine, "versions": {"onnx": "1"}}
    return top | {"samples": 8, "models": [model, gone]}


def test_tables_tell_figures_and_failures():
    summary = tables.summary(record()).splitlines()
    assert summary[0] == "| model | sepconv | sepconv `--int8` | ONNX Runtime INT8 | onnxsim pruning |"
    assert summary[2] == "| net (a <net>) | 2.00x, 98.0 % | no file | 2.00x, 90.0 % | 2.00x, 30.0 % |"
    assert summary[3] == "| gone (a net) | not run | not run | not run | not run |"
    page = tables.results(record(), "results.svg")
    assert "variants of ONNX Runtime INT8 and of onnxsim pruning: the one" in page
    assert "| onnxsim pruning, Wanda | | | | no file: too few | 1 s |" in page
    assert "| sepconv | 5 ms | 2.00x (1.90 to 2.10) | 1.00 MB | agreement 98.0 % | 3 s |" in page
    assert "| sepconv --int8 | | | | no file: not faster | 1 s |" in page
    assert "Not measured: pip download gone==1: no" in page


def test_the_picture_is_well_formed_and_holds_every_model():
    root = ElementTree.fromstring(drawing.svg(record()))
    text = "".join(root.itertext())
    assert "net" in text and "a <net>" in text and "sepconv: 2.00x, 98.0 %" in text
    assert "onnxsim pruning: 2.00x, 30.0 %" in text
    assert "gone" not in text and "paper's method" not in text


def test_documents_are_replaced_between_the_markers():
    readme = f"before\n{rendering.BEGIN}\nold\n{rendering.END}\nafter\n"
    made = rendering.documents(record(), readme)["README.md"]
    assert made.startswith(f"before\n{rendering.BEGIN}\n| model |") and made.endswith(f"{rendering.END}\nafter\n")
    assert "old" not in made
    with pytest.raises(SystemExit):
        rendering.documents(record(), "no markers")


def test_the_documents_are_those_of_the_record():
    recorded = json.loads((recording.ROOT / "docs/results.json").read_text())
    made = rendering.documents(recorded, (recording.ROOT / "README.md").read_text())
    for name, text in made.items():
        assert (recording.ROOT / name).read_text() == text, f"tests/bench/zoo --render docs/results.json writes {name}"
