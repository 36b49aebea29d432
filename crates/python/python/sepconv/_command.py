"""The command `sepconv`, as the wheel installs it."""

from __future__ import annotations

import signal
import sys

from . import _options, _sepconv


def main() -> int:
    """Runs the command line on the arguments of this process, and gives its exit code."""
    # The command handles Ctrl-C: Python would add a traceback. Where it is ignored, it stays so.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    _options.name_installed()
    return _sepconv.command(["sepconv", *sys.argv[1:]])
