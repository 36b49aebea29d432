"""The documents made from a record: docs/results.md, its picture, and the table of the README."""

import json

from . import drawing, recording, tables

BEGIN = "<!-- zoo table: tests/bench/zoo --render docs/results.json -->"
END = "<!-- end of zoo table -->"
PICTURE = "results.svg"


def render(path, root=recording.ROOT):
    """Writes them; gives their paths."""
    record = json.loads(path.read_text(encoding="utf-8"))
    written = documents(record, (root / "README.md").read_text(encoding="utf-8"))
    for name, text in written.items():
        (root / name).write_text(text, encoding="utf-8")
    return [root / name for name in written]


def documents(record, readme):
    """Text by path within the repository."""
    table = f"{tables.summary(record)}\n\n*{tables.setting(record)}*"
    return {
        "docs/results.md": tables.results(record, PICTURE),
        f"docs/{PICTURE}": drawing.svg(record),
        "README.md": tables.between(readme, BEGIN, END, table),
    }
