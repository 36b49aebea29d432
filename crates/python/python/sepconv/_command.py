"""The command `sepconv`, as the wheel installs it."""

from __future__ import annotations

import sys

from . import _options, _sepconv


def main() -> int:
    """Runs the command line on the arguments of this process, and gives its exit code."""
    _options.name_installed()
    return _sepconv.command(["sepconv", *sys.argv[1:]])
