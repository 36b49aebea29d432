"""What became of a model."""

from __future__ import annotations

import html
import json
import os
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

from . import _sepconv
from ._values import path as as_path


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


@dataclass(frozen=True)
class QuantizedLayer:
    """A layer of a quantised model."""

    name: str
    op_type: str
    """Its operator: "Conv", "ConvTranspose", "Gemm" or "MatMul"."""
    reason: str | None
    """Why it stays in floats; `None` where it is in eight bits."""
    weight_bits: int | None = None
    """Bits that its weights are rounded to, 7 or 8; `None` in floats."""


@dataclass(frozen=True)
class Missed:
    """The signal-to-noise ratio that was asked for, where no choice of layers that was tried reaches it."""

    asked_db: float
    """The ratio in dB that the worst channel of the outputs was to keep."""
    reached_db: float | None
    """The ratio in dB that it keeps; `None` where it is not known, and of detections that the graph orders."""
    f1: float | None
    """F1 in percent that such detections keep, of which as much may be lost as noise over signal."""
    output: str
    """The output of that channel."""
    channel: int | None
    """The channel, from 0; `None` where the output is one channel."""


class _Record:
    """What reports have in common."""

    _outcome: _sepconv.Outcome | _sepconv.Quantized

    @cached_property
    def contents(self) -> dict[str, Any]:
        """The contents of `json`."""
        contents: dict[str, Any] = json.loads(self.json())
        return contents

    @property
    def snr_db(self) -> float | None:
        """The signal-to-noise ratio against the original of the worst channel of any output, in dB; infinite
        where nothing differs, `None` where it is not known. On the test part of `calib`, or what stands in
        for it: see docs/metrics.md of the project."""
        return self._outcome.snr_db

    def json(self) -> str:
        """All of it as JSON."""
        return self._outcome.json()

    def __copy__(self) -> _Record:
        """Another report of the same outcome, which never changes."""
        made = object.__new__(type(self))
        made._outcome = self._outcome
        return made

    def __deepcopy__(self, _: object) -> _Record:
        return self.__copy__()

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} can't be pickled: pickle its contents, a dict, in its place")


class Report(_Record):
    """What was done and measured. `contents` holds all of it, see docs/report.md of the project: that of
    `report.json`."""

    _outcome: _sepconv.Outcome

    def __init__(self, outcome: _sepconv.Outcome) -> None:
        self._outcome = outcome

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
    def not_run(self) -> str | None:
        """Why the models were not run, where they were not."""
        reason: str | None = self.contents["not_run"]
        return reason

    @cached_property
    def plan(self) -> dict[str, Any]:
        """What was decided, for `plan=` of another call; see docs/plan.md of the project."""
        plan: dict[str, Any] = json.loads(self._outcome.plan())
        return plan

    def markdown(self) -> str:
        """The report as Markdown."""
        return self._outcome.markdown()

    def html(self) -> str:
        """The report as one self-contained page."""
        return self._outcome.html()

    def save(self, folder: str | os.PathLike[str], *, force: bool = False) -> None:
        """Write the report into a folder: JSON, CSV, Markdown, HTML, and the curve as SVG."""
        self._outcome.save(as_path("folder", folder), force)

    def save_plan(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Write the plan, for `plan=` or `sepconv compress --plan`."""
        self._outcome.save_plan(as_path("path", path), force)

    def __repr__(self) -> str:
        before, after = self.original, self.compressed
        return (
            f"<sepconv.Report: {len(self.rewritten)} of {len(self.layers)} convolutions rewritten, "
            f"{before.macs} -> {after.macs} MACs ({before.macs / max(after.macs, 1):.2f}x), "
            f"{before.params} -> {after.params} parameters{_snr(self)}>"
        )

    def _repr_html_(self) -> str:
        """A short table, as notebooks show it; `html()` is the whole page."""
        return _summary(self)


class QuantizeReport(_Record):
    """What `quantize` did and measured. `contents` holds all of it, as `sepconv quantize --json` prints it."""

    _outcome: _sepconv.Quantized

    def __init__(self, outcome: _sepconv.Quantized) -> None:
        self._outcome = outcome

    @cached_property
    def layers(self) -> list[QuantizedLayer]:
        """The convolutions and products by a matrix, in graph order."""
        layers = self.contents["layers"]
        return [QuantizedLayer(one["name"], one["op_type"], one["kept"], one["weight_bits"]) for one in layers]

    @property
    def eight_bits(self) -> list[QuantizedLayer]:
        """The layers in eight bits."""
        return [layer for layer in self.layers if layer.reason is None]

    @property
    def floats(self) -> list[QuantizedLayer]:
        """The layers that stay in floats, with their reasons."""
        return [layer for layer in self.layers if layer.reason is not None]

    @property
    def bytes_before(self) -> int:
        """Bytes of the model given, external data included."""
        before: int = self.contents["bytes"][0]
        return before

    @property
    def bytes_after(self) -> int:
        """Bytes of the model made, external data included."""
        after: int = self.contents["bytes"][1]
        return after

    @property
    def comparison(self) -> dict[str, Any]:
        """Both models on samples that were held out: the runtime (`target`), how many samples (`runs`), and a
        dict per output (`outputs`) with its name, `max_abs`, `snr_db` in dB and `top1_agreement`, a share."""
        comparison: dict[str, Any] = self.contents["comparison"]
        return comparison

    @property
    def missed(self) -> Missed | None:
        """The ratio of `min_snr`, where the outputs do not keep it; `None` where they do, or with `all_layers`."""
        missed = self.contents["missed"]
        return None if missed is None else Missed(**missed)

    @property
    def speedup(self) -> float | None:
        """Times that the model is faster than the original on `target`, on one thread: the median of ratios
        within rounds. `None` where the models were not timed."""
        timing = self.contents["timing"]
        return None if timing is None else float(timing["models"][1]["speed_up"]["median"])

    @property
    def not_timed(self) -> str | None:
        """Why the models were not timed, where they were not."""
        reason: str | None = self.contents["not_timed"]
        return reason

    def __repr__(self) -> str:
        before, after = self.bytes_before, self.bytes_after
        speedup = "" if self.speedup is None else f", {self.speedup:.2f}x as fast"
        asked = "" if self.missed is None else f" of {self.missed.asked_db:g} dB asked for"
        return (
            f"<sepconv.QuantizeReport: {len(self.eight_bits)} of {len(self.layers)} layers in eight bits, "
            f"{before} -> {after} bytes ({before / max(after, 1):.2f}x){_snr(self)}{asked}{speedup}>"
        )

    def _repr_html_(self) -> str:
        """A short table, as notebooks show it."""
        rows = [
            _row("layers", str(len(self.layers)), f"{len(self.eight_bits)} in eight bits", ""),
            _row("bytes", *_pair(self.bytes_before, self.bytes_after)),
            *_measured(self),
        ]
        if self.missed is not None:
            rows.append(_row("SNR asked for", "", f"{self.missed.asked_db:g} dB", ""))
        if self.speedup is not None:
            rows.append(_row("time", "", "", f"{self.speedup:.2f}x"))
        if self.not_timed is not None:
            rows.append(_row("not timed", "", self.not_timed, ""))
        layers = [_row(layer.name, layer.op_type, layer.reason or "eight bits") for layer in self.layers]
        return _table(("", "original", "quantised", "ratio"), rows) + _unfolded(
            "Layers", ("name", "operator", "form or reason"), layers
        )


def _summary(report: Report) -> str:
    before, after = report.original, report.compressed
    rows = [
        _row("convolutions", str(len(report.layers)), f"{len(report.rewritten)} rewritten", ""),
        _row("MACs", *_pair(before.macs, after.macs)),
        _row("parameters", *_pair(before.params, after.params)),
        _row("bytes", *_pair(before.bytes, after.bytes)),
        *_measured(report),
    ]
    if report.not_run is not None:
        rows.append(_row("not run", "", report.not_run, ""))
    layers = [
        _row(
            layer.name,
            layer.form + ("" if layer.rank is None else f", rank {layer.rank}"),
            *_macs(layer),
            layer.reason or "",
        )
        for layer in report.layers
    ]
    return _table(("", "original", "compressed", "ratio"), rows) + _unfolded(
        "Convolutions", ("name", "form", "MACs before", "MACs after", "reason"), layers
    )


def _snr(record: _Record) -> str:
    return "" if record.snr_db is None else f", SNR {record.snr_db:.1f} dB"


def _measured(record: _Record) -> list[str]:
    if record.snr_db is None:
        return []
    return [_row("SNR of the worst channel", "", f"{record.snr_db:.1f} dB", "")]


def _unfolded(title: str, head: tuple[str, ...], rows: list[str]) -> str:
    return f"<details><summary>{title}</summary>{_table(head, rows)}</details>"


def _table(head: tuple[str, ...], rows: list[str]) -> str:
    return f"<table><thead>{_row(*head, cell='th')}</thead><tbody>{''.join(rows)}</tbody></table>"


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
