"""The command `sepconv` of the wheel."""

import json
import signal
import subprocess
import sysconfig
from pathlib import Path

import models
import onnx

import sepconv


PROGRAM = Path(sysconfig.get_path("scripts")) / "sepconv"


def command(*arguments):
    return subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True)


def test_it_tells_its_version_and_its_help():
    version = command("--version")
    assert (version.returncode, version.stdout.strip()) == (0, f"sepconv {sepconv.__version__}")
    assert "Usage: sepconv compress" in command("compress", "--help").stdout


def test_it_compresses(tmp_path):
    done = command("compress", models.DIGITS, "--rank", 2, "--data-free=weights", "-o", tmp_path / "small.onnx")
    assert done.returncode == 0, done.stderr
    onnx.checker.check_model(onnx.load(tmp_path / "small.onnx"))
    assert "MACs" in done.stdout


def test_a_report_has_the_command_as_typed(tmp_path):
    done = command("inspect", models.DIGITS, "--report", tmp_path / "report")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["command"] == f"sepconv inspect {models.DIGITS} --report {tmp_path / 'report'}"


def test_its_exit_codes_tell_refusals_from_usage(tmp_path):
    refused, usage = command("inspect", tmp_path / "gone.onnx"), command("inspect", "--nonsense")
    assert (refused.returncode, usage.returncode) == (1, 2)
    assert "gone.onnx" in refused.stderr and "--nonsense" in usage.stderr


def test_ctrl_c_ends_it_without_a_traceback(tmp_path):
    arguments = ["compress", models.DIGITS, "--calib", models.DIGITS.with_name("digits_calib.npz"), "--scale", "1/255"]
    running = subprocess.Popen(
        [PROGRAM, *map(str, arguments), "-o", tmp_path / "small.onnx"], stderr=subprocess.PIPE, text=True
    )
    # It heeds signals once it tells of its progress, a second after its start.
    running.stderr.readline()
    running.send_signal(signal.SIGINT)
    told = running.communicate()[1]
    assert (running.returncode, list(tmp_path.iterdir())) == (130, [])
    assert "interrupted; nothing was written" in told and "Traceback" not in told
