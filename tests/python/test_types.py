"""The types that the package states: what mypy makes of a caller, and whether they are true."""

import subprocess
import sys
from pathlib import Path


def check(*command, cwd):
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr


def test_callers_are_checked(tmp_path):
    # A needless `type: ignore` is an error too: each stands for a mistake that is found.
    check("mypy", "--strict", "--cache-dir", "cache", Path(__file__).with_name("usage.py"), cwd=tmp_path)


def test_the_package_is_typed_throughout(tmp_path):
    check("mypy", "--strict", "--cache-dir", "cache", "-p", "sepconv", cwd=tmp_path)


def test_the_stub_is_that_of_the_native_module(tmp_path):
    check("mypy.stubtest", "sepconv._sepconv", "--ignore-missing-stub", cwd=tmp_path)
