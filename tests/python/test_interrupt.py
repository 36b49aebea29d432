"""Progress, Ctrl-C, and other threads at work meanwhile."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import models
import numpy as np
import onnx
import pytest

import sepconv


@pytest.fixture(scope="module")
def long():
    """Arguments of work that takes many seconds."""
    return {
        "model": models.DIGITS.read_bytes(),
        "calib": models.digits("calib")["images"],
        "scale": 1 / 255,
        "families": ["dw-pw", "pw-dw"],
        "max_drop": 0.5,
    }


def test_progress_is_told_on_the_callers_thread(model, calib):
    told = []
    progress = lambda stage, done, total: told.append((threading.get_ident(), stage, done, total))
    plain, _ = sepconv.compress(model, calib, target_macs=0.5)
    small, _ = sepconv.compress(model, calib, target_macs=0.5, progress=progress)
    assert small.SerializeToString() == plain.SerializeToString()
    assert {thread for thread, *_ in told} == {threading.get_ident()}
    # A total of 0 is one that is not known.
    assert all(stage and 0 <= done and (done <= total or total == 0) for _, stage, done, total in told)
    assert len({stage for _, stage, *_ in told}) > 1


def test_an_exception_in_progress_ends_the_work(long):
    calls = []

    def progress(stage, done, total):
        calls.append(stage)
        raise LookupError("enough")

    started = time.monotonic()
    with pytest.raises(LookupError, match="enough"):
        sepconv.compress(**long, progress=progress)
    assert len(calls) == 1
    assert time.monotonic() - started < 10


def test_ctrl_c_ends_the_work_and_leaves_nothing(long, tmp_path, monkeypatch, request):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    # A shell starts background processes with the signal ignored, and Python leaves it so.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    references = sys.getrefcount(long["calib"])
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        sepconv.compress(**{**long, "model": models.DIGITS})
    assert 0.9 < time.monotonic() - started < 10
    assert list(tmp_path.iterdir()) == []
    gc.collect()
    # Not within the assertion: pytest keeps its arguments, which counts.
    left = sys.getrefcount(long["calib"])
    assert left == references
    # And all is as before.
    _, report = sepconv.compress(models.network(), models.samples(), target_macs=0.5)
    assert report.rewritten


def test_a_handler_of_the_callers_own_is_heeded(long):
    def handler(number, frame):
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        with pytest.raises(TimeoutError):
            sepconv.compress(**long)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_other_threads_run_meanwhile():
    done, beats = threading.Event(), []

    def beat():
        while not done.wait(0.005):
            beats.append(time.monotonic())

    thread = threading.Thread(target=beat)
    thread.start()
    started = time.monotonic()
    images = models.digits("calib")["images"][:32]
    sepconv.compress(models.DIGITS, images, rank=1, scale=1 / 255)
    ended = time.monotonic()
    done.set()
    thread.join()
    within = [beat for beat in beats if started < beat < ended]
    assert ended - started > 0.2
    # Held all the time, the lock would leave a gap as long as the work.
    assert np.diff([started, *within, ended]).max() < (ended - started) / 2
    assert len(within) > 10


def test_calls_from_several_threads(model, calib):
    expected = sepconv.compress(model, calib, target_macs=0.5)[0].SerializeToString()
    results = []
    work = lambda: results.append(sepconv.compress(model, calib, target_macs=0.5)[0].SerializeToString())
    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 3


LONG = """
import os, signal, sys, threading, time
import models, sepconv

signal.signal(signal.SIGINT, signal.default_int_handler)
sent = []

def progress(stage, done, total):
    # The closing check: a pass of it takes far longer than anybody waits.
    if stage == "running" and not sent:
        sent.append(None)
        timer = threading.Timer(0.5, lambda: (sent.append(time.monotonic()), os.kill(os.getpid(), signal.SIGINT)))
        timer.start()

try:
    sepconv.compress_file(sys.argv[1], sys.argv[2], rank=1, data_free="weights", progress=progress)
except KeyboardInterrupt:
    print(time.monotonic() - sent[1])
"""


def test_ctrl_c_is_heeded_within_a_long_forward_pass(tmp_path):
    onnx.save(models.long(), tmp_path / "long.onnx")
    paths = [str(tmp_path / name) for name in ("long.onnx", "out.onnx")]
    environment = {**os.environ, "PYTHONPATH": str(Path(models.__file__).parent)}
    done = subprocess.run(
        [sys.executable, "-c", LONG, *paths], capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 2.0
    # A staged file goes with the interpreter, although its work has not ended.
    assert [path.name for path in tmp_path.iterdir()] == ["long.onnx"]
