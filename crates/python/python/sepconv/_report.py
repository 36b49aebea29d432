"""What became of a model."""

from __future__ import annotations

import html
import json
import os
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from . import _sepconv


@dataclass(frozen=True)
class Size:
    """Size of a model."""

    macs: int
    """Multiply-accumulates of one run; at batch 1 where the batch is free."""
    params: int
    """Parameters."""
    bytes: int
    """Bytes, external data included."""


@dataclass(frozen=True)
class Layer:
    """A convolution before and after."""

    name: str
    form: str
    """The family that took its place, such as "dw-pw", or "kept"."""
    rank: int | None
    lowering: str | None
    reason: str | None
    """Why it was kept."""
    macs_before: int | None
    macs_after: int | None
    weight_error: float
    """Relative error of the kernel, as decomposed without data."""


class Report:
    """What was done and measured. `contents` holds all of it, see docs/report.md of the project."""

    def __init__(self, outcome: _sepconv.Outcome) -> None:
        self._outcome = outcome

    @cached_property
    def contents(self) -> dict[str, Any]:
        """The contents of `report.json`."""
        contents: dict[str, Any] = json.loads(self._outcome.json())
        return contents

    @cached_property
    def original(self) -> Size:
        """The model given."""
        return _size(self.contents["original"])

    @cached_property
    def compressed(self) -> Size:
        """The model made."""
        return _size(self.contents["compressed"])

    @cached_property
    def layers(self) -> list[Layer]:
        """The convolutions in graph order."""
        names = Layer.__dataclass_fields__
        return [Layer(**{n: layer.get(n) for n in names}) for layer in self.contents["layers"]]

    @property
    def rewritten(self) -> list[Layer]:
        """The convolutions that were replaced."""
        return [layer for layer in self.layers if layer.form != "kept"]

    @property
    def snr_db(self) -> float | None:
        """The signal-to-noise ratio against the original of the worst channel of any output, in dB; infinite
        where nothing differs, `None` where it is not known. On the test part of `calib`, or what stands in
        for it: see docs/metrics.md of the project."""
        return self._outcome.snr_db

    @property
    def not_run(self) -> str | None:
        """Why the models were not run, where they were not."""
        reason: str | None = self.contents["not_run"]
        return reason

    @cached_property
    def plan(self) -> dict[str, Any]:
        """What was decided, for `plan=` of another call; see docs/plan.md of the project."""
        plan: dict[str, Any] = json.loads(self._outcome.plan())
        return plan

    def json(self) -> str:
        """The text of `report.json`."""
        return self._outcome.json()

    def markdown(self) -> str:
        """The report as Markdown."""
        return self._outcome.markdown()

    def html(self) -> str:
        """The report as one self-contained page."""
        return self._outcome.html()

    def save(self, folder: str | os.PathLike[str], *, force: bool = False) -> None:
        """Write the report into a folder: JSON, CSV, Markdown, HTML, and the curve as SVG."""
        self._outcome.save(folder, force)

    def save_plan(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Write the plan, for `plan=` or `sepconv compress --plan`."""
        self._outcome.save_plan(path, force)

    def __repr__(self) -> str:
        before, after = self.original, self.compressed
        snr = "" if self.snr_db is None else f", SNR {self.snr_db:.1f} dB"
        return (
            f"<sepconv.Report: {len(self.rewritten)} of {len(self.layers)} convolutions rewritten, "
            f"{before.macs} -> {after.macs} MACs ({before.macs / max(after.macs, 1):.2f}x), "
            f"{before.params} -> {after.params} parameters{snr}>"
        )

    def _repr_html_(self) -> str:
        """A short table, as notebooks show it; `html()` is the whole page."""
        return _summary(self)


def _summary(report: Report) -> str:
    before, after = report.original, report.compressed
    rows = [
        _row("convolutions", str(len(report.layers)), f"{len(report.rewritten)} rewritten", ""),
        _row("MACs", *_pair(before.macs, after.macs)),
        _row("parameters", *_pair(before.params, after.params)),
        _row("bytes", *_pair(before.bytes, after.bytes)),
    ]
    if report.snr_db is not None:
        rows.append(_row("SNR of the worst channel", "", f"{report.snr_db:.1f} dB", ""))
    if report.not_run is not None:
        rows.append(_row("not run", "", report.not_run, ""))
    layers = "".join(
        _row(
            layer.name,
            layer.form + ("" if layer.rank is None else f", rank {layer.rank}"),
            *_macs(layer),
            layer.reason or "",
        )
        for layer in report.layers
    )
    return (
        "<table><thead>"
        + _row("", "original", "compressed", "ratio", cell="th")
        + "</thead><tbody>"
        + "".join(rows)
        + "</tbody></table><details><summary>Convolutions</summary><table><thead>"
        + _row("name", "form", "MACs before", "MACs after", "reason", cell="th")
        + f"</thead><tbody>{layers}</tbody></table></details>"
    )


def _row(*texts: str, cell: str = "td") -> str:
    # Names come from models: they are text, not markup.
    return "<tr>" + "".join(f"<{cell}>{html.escape(text)}</{cell}>" for text in texts) + "</tr>"


def _pair(before: int, after: int) -> tuple[str, str, str]:
    times = f"{before / after:.2f}x" if after else ""
    return f"{before:,}", f"{after:,}", times


def _macs(layer: Layer) -> tuple[str, str]:
    before, after = layer.macs_before, layer.macs_after
    return "" if before is None else f"{before:,}", "" if after is None else f"{after:,}"


def _size(size: dict[str, Any]) -> Size:
    return Size(size["macs"], size["params"], size["bytes"])
