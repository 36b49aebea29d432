"""The parts of `tests/bench/zoo`."""
