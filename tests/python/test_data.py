"""Models and data in every form that is taken, and what is refused."""

import subprocess
import sys
from pathlib import Path

import models
import numpy as np
import onnx
import pytest

import sepconv


@pytest.fixture(scope="module")
def expected():
    """What every form gives."""
    small, _ = sepconv.compress(models.network(), models.samples(), target_macs=0.5)
    return small.SerializeToString()


@pytest.mark.parametrize("form", ["bytes", "bytearray", "memoryview", "str", "path"])
def test_forms_of_the_model(form, model, calib, expected, tmp_path):
    encoded, path = model.SerializeToString(), tmp_path / "model.onnx"
    path.write_bytes(encoded)
    given = {
        "bytes": encoded,
        "bytearray": bytearray(encoded),
        "memoryview": memoryview(encoded),
        "str": str(path),
        "path": path,
    }[form]
    small, _ = sepconv.compress(given, calib, target_macs=0.5)
    assert isinstance(small, onnx.ModelProto)
    assert small.SerializeToString() == expected


FORMS = {
    "dict": lambda a: {"x": a},
    "list of batches": lambda a: [a[:10], a[10:40], a[40:]],
    "generator of dicts": lambda a: ({"x": a[i : i + 16]} for i in range(0, len(a), 16)),
    "one batch": lambda a: iter([a]),
    "Fortran order": np.asfortranarray,
    "strided": lambda a: np.repeat(a, 2, axis=0)[::2],
    "big-endian": lambda a: a.astype(">f4"),
    "read-only": lambda a: np.frombuffer(a.tobytes(), np.float32).reshape(a.shape),
    "double": lambda a: a.astype(np.float64),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_the_data(form, model, calib, expected):
    untouched = calib.copy()
    small, _ = sepconv.compress(model, FORMS[form](calib), target_macs=0.5)
    assert small.SerializeToString() == expected
    assert np.array_equal(calib, untouched)


def test_data_on_disk(model, calib, expected, tmp_path):
    np.savez(tmp_path / "data.npz", x=calib)
    small, _ = sepconv.compress(model, tmp_path / "data.npz", target_macs=0.5)
    assert small.SerializeToString() == expected


def test_pictures_as_bytes_are_scaled(model):
    pictures = np.random.default_rng(3).integers(0, 256, (32, 8, 12, 12), dtype=np.uint8)
    options = {"target_macs": 0.5, "scale": 1 / 255, "mean": 0.5, "std": [0.25]}
    stored, _ = sepconv.compress(model, pictures, **options)
    # As the library computes it: in double precision, rounded once.
    ready = ((pictures * (1 / 255) - 0.5) / 0.25).astype(np.float32)
    floats, _ = sepconv.compress(model, ready, target_macs=0.5)
    assert stored.SerializeToString() == floats.SerializeToString()
    raw, _ = sepconv.compress(model, pictures, target_macs=0.5)
    assert raw.SerializeToString() != floats.SerializeToString()


def test_inputs_are_told_apart_by_name():
    model = models.network(inputs=("left", "right"))
    left, right = models.samples(seed=1), 0.1 * models.samples(seed=2)
    given = {"left": left, "right": right}
    turned = dict(reversed(given.items()))
    swapped = {"left": right, "right": left}
    fit = lambda calib: sepconv.compress(model, calib, target_macs=0.5)[0].SerializeToString()
    # Both inputs are added up, so that only a mix-up of the samples could differ.
    assert fit(given) == fit(turned) == fit(swapped)
    with pytest.raises(sepconv.Error, match="no array for the model's input 'right'"):
        fit({"left": left})
    with pytest.raises(sepconv.Error, match=r"no input 'other' \(inputs: left, right\)"):
        fit({**given, "other": left})
    with pytest.raises(sepconv.Error, match="48 samples"):
        fit({"left": left, "right": right[:7]})


def test_batches_of_grey_pictures_may_leave_out_the_channel():
    pictures = models.digits("calib")["images"][:32].reshape(32, 32, 32)
    fit = lambda calib: sepconv.compress(models.DIGITS, calib, rank=2, scale=1 / 255)[0].SerializeToString()
    assert fit([pictures[:16], pictures[16:]]) == fit(pictures)
    with pytest.raises(sepconv.Error, match="items of 2 axes are given for input 'input' of 4 axes"):
        fit(list(pictures))


COPIES = """
import resource, sys
sys.path.insert(0, sys.argv[1])
import models, numpy as np, sepconv
model = models.network()
calib = np.random.default_rng(0).standard_normal((48 * 1024, 8, 12, 12), dtype=np.float32)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
sepconv.compress(model, calib[:64], rank=1, max_samples=32)
before = peak()
sepconv.compress(model, calib, rank=1, max_samples=32)
print(calib.nbytes, peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the unit of ru_maxrss differs")
def test_arrays_are_not_copied():
    command = [sys.executable, "-c", COPIES, str(Path(__file__).parent)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    size, grown = map(int, done.stdout.split())
    assert grown < size / 4


def test_arrays_are_let_go(model, calib):
    before = sys.getrefcount(calib)
    _, report = sepconv.compress(model, calib, target_macs=0.5)
    assert sys.getrefcount(calib) == before
    assert report.contents["kind"] == "compress"


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"model": b"no model"}, sepconv.Error, "<bytes>"),
        ({"model": "missing.onnx"}, sepconv.Error, "missing.onnx"),
        ({"model": 3}, TypeError, "found int"),
        ({"calib": 3}, TypeError, "found int"),
        ({"calib": [(1, 2)]}, TypeError, "found tuple"),
        ({"calib": {3: np.zeros(3)}}, TypeError, "found int"),
        ({"calib": np.array(["a"])}, TypeError, "array of numbers"),
        ({"calib": []}, sepconv.Error, "there are no batches"),
        ({"calib": [{"x": np.zeros(3)}, np.zeros(3)]}, sepconv.Error, "batch 1"),
        ({"calib": list(models.samples(4))}, sepconv.Error, "each item of an iterable is a batch with its batch axis"),
        ({"calib": [{"x": one} for one in models.samples(4)]}, sepconv.Error, "items of 3 axes .* input 'x' of 4 axes"),
        ({"calib": np.zeros((4, 3, 12, 12))}, sepconv.Error, r"\[\?,8,12,12\]"),
        ({"calib": "missing.npz"}, sepconv.Error, "missing.npz"),
        ({"target_macs": 1.5}, sepconv.Error, "1.5"),
        ({"target_macs": "half"}, TypeError, "target_macs"),
        ({"rank": 1, "energy": 0.9}, sepconv.Error, "rank and energy"),
        ({"rank": 1, "plan": {}}, sepconv.Error, "rank and plan"),
        ({"plan": {}}, sepconv.Error, "it is no plan"),
        ({"plan": "missing.json"}, sepconv.Error, "missing.json: No such file"),
        ({"max_drop": 1.0}, sepconv.Error, "needs data"),
        ({"families": ["cp", "nonesuch"]}, sepconv.Error, "there is no 'nonesuch'"),
        ({"order": "first"}, sepconv.Error, "there is no 'first'"),
        ({"lowering": "lower"}, sepconv.Error, "there is no 'lower'"),
        ({"data_free": "magic"}, sepconv.Error, "there is no 'magic'"),
        ({"target": "abacus"}, sepconv.Error, "abacus"),
        ({"layers": "nothing*"}, sepconv.Error, "nothing"),
        ({"input_shapes": {"x": [0]}}, sepconv.Error, "'0' is not a positive extent"),
        ({"input_shapes": {"z": [1]}}, sepconv.Error, "'z'"),
        ({"scale": 0.0}, sepconv.Error, "scale"),
        ({"threads": 0}, sepconv.Error, "at least 1"),
        ({"target_mac": 0.5}, TypeError, "no option 'target_mac'"),
    ],
)
def test_refusals_are_one_line(arguments, error, text):
    with pytest.raises(error, match=text) as caught:
        sepconv.compress(**{"model": models.network(), **arguments})
    assert "\n" not in str(caught.value)
    assert issubclass(sepconv.Error, ValueError)


@pytest.mark.parametrize("work", [sepconv.compress_file, sepconv.quantize_file])
@pytest.mark.parametrize(("paths", "text"), [((b"a", "b"), "input: .* found bytes"), (("a", None), "output: .* found None")])
def test_files_that_are_no_paths_are_named(work, paths, text, calib):
    with pytest.raises(TypeError, match=text):
        work(*paths, calib)


def test_values_of_another_range_are_told(calib):
    raw = np.random.default_rng(2).integers(0, 256, calib.shape).astype(np.uint8)
    with pytest.warns(UserWarning, match="is given 0 to 255.*scale=1/255"):
        sepconv.compress(models.network(), raw, target_macs=0.5)
