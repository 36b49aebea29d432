"""Processes that are forked before and after the first call."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import multiprocessing, sys
sys.path.insert(0, sys.argv[1])
import models, sepconv

calls = {
    "nothing": lambda: None,
    "compress": lambda: sepconv.compress(models.network(), rank=1, data_free="weights", target="macs"),
    "quantize": lambda: sepconv.quantize(models.network(), models.samples(8)),
}

def child():
    try:
        calls[sys.argv[3]]()
    except sepconv.Error as error:
        print(error, flush=True)
    else:
        print("done", flush=True)

calls[sys.argv[2]]()
fork = multiprocessing.get_context("fork").Process(target=child)
fork.start()
fork.join(60)
fork.kill()
"""


def forked(before, within):
    """What a fork says that calls `within`, of a process that has called `before`."""
    command = [sys.executable, "-c", CODE, str(Path(__file__).parent), before, within]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")


@pytest.mark.parametrize("within", ["compress", "quantize"])
def test_a_fork_after_the_first_call_is_refused_at_once(within):
    text = forked("compress", within)
    assert "forked from one that has called sepconv already" in text
    assert "start method 'spawn'" in text and text.count("\n") == 1


def test_a_fork_before_the_first_call_works():
    assert forked("nothing", "compress") == "done\n"
