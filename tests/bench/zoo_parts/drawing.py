"""The picture of a record: speed against loss, one panel per model, as SVG."""

import math
from html import escape

from . import tables

COLUMNS = 3
PANEL_W, PANEL_H = 280, 200
LEFT, TOP, GAP_X, GAP_Y, LEGEND = 58, 46, 22, 52, 40
# Letters that the line below a panel's title has room for.
LETTERS = 40
# Loss in percent, on a logarithmic axis that is cut below.
LEAST, MOST = 0.1, 100.0
GRID = (0.1, 1, 10, 100)
# Shape and colour of a series: told apart without colour, too.
SERIES = {
    "sepconv": ("circle", "#d55e00", "sepconv"),
    "sepconv --speedup 2": ("diamond", "#d55e00", "sepconv --speedup 2"),
    "sepconv --int8": ("square", "#6f42c1", "sepconv --int8 (both)"),
    tables.INT8: ("triangle", "#0072b2", "ONNX Runtime INT8"),
    tables.PRUNING: ("wedge", "#117a4b", "onnxsim pruning"),
    "the paper's method": ("cross", "#6b7280", "paper's method"),
}
STYLE = """
text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; fill: #1b1f24; }
.muted { fill: #57606a; font-size: 12px; }
.title { font-size: 14px; font-weight: 600; }
.grid { stroke: #e3e7ec; }
.one { stroke: #8b949e; stroke-dasharray: 4 3; }
.frame { fill: none; stroke: #c5ccd3; }
"""


def svg(record):
    models = [model for model in record["models"] if "failed" not in model]
    rows = max(1, math.ceil(len(models) / COLUMNS))
    width = LEFT + COLUMNS * (PANEL_W + GAP_X)
    height = LEGEND + rows * (TOP + PANEL_H + GAP_Y)
    fastest = span(models)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-size="13" role="img" aria-labelledby="zoo-title zoo-desc">',
        '<title id="zoo-title">Speed against loss of compressed public models</title>',
        f'<desc id="zoo-desc">{escape(described(models))}</desc>',
        f"<style>{STYLE}</style>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        *legend(record),
    ]
    for k, model in enumerate(models):
        x = LEFT + k % COLUMNS * (PANEL_W + GAP_X)
        y = LEGEND + TOP + k // COLUMNS * (TOP + PANEL_H + GAP_Y)
        parts += panel(model, x, y, fastest)
    return "\n".join([*parts, "</svg>"]) + "\n"


def span(models):
    """The end of the speed axis, the same in all panels."""
    speeds = [row["speed"] for model in models for row in shown(model).values()]
    return max(3.0, math.ceil(2 * max(speeds, default=1) + 0.2) / 2)


def shown(model):
    rows = {name: tables.of_series(model, name) for name in SERIES}
    return {name: row for name, row in rows.items() if row and "score" in row}


def described(models):
    said = []
    for model in models:
        cells = [f"{SERIES[n][2]} {tables.cell(row)}" for n, row in shown(model).items()]
        said.append(f"{model['name']}: {'; '.join(cells) or 'no file'}.")
    return " ".join(said)


def legend(record):
    x = LEFT
    for name, _ in tables.columns(record):
        shape, colour, label = SERIES[name]
        yield mark(shape, colour, x + 6, 22)
        yield f'<text x="{x + 18}" y="26">{escape(label)}</text>'
        x += 44 + 7 * len(label)


def panel(model, x, y, fastest):
    yield f'<text class="title" x="{x}" y="{y - 26}">{escape(model["name"])}</text>'
    yield f'<text class="muted" x="{x}" y="{y - 9}">{escape(shortened(model["about"]))}</text>'
    for loss in GRID:
        v = y + down(loss)
        yield f'<line class="grid" x1="{x}" x2="{x + PANEL_W}" y1="{v:.1f}" y2="{v:.1f}"/>'
        if x == LEFT:
            label = f"≤ {loss:g} %" if loss == LEAST else f"{loss:g} %"
            yield f'<text class="muted" x="{x - 6}" y="{v + 4:.1f}" text-anchor="end">{label}</text>'
    for tick in range(int(fastest) + 1):
        u = x + across(tick, fastest)
        kind = "one" if tick == 1 else "grid"
        yield f'<line class="{kind}" x1="{u:.1f}" x2="{u:.1f}" y1="{y}" y2="{y + PANEL_H}"/>'
        yield f'<text class="muted" x="{u:.1f}" y="{y + PANEL_H + 16}" text-anchor="middle">{tick}x</text>'
    yield f'<rect class="frame" x="{x}" y="{y}" width="{PANEL_W}" height="{PANEL_H}"/>'
    yield f'<text class="muted" x="{x + PANEL_W}" y="{y + PANEL_H + 34}" text-anchor="end">speed →  loss ↓</text>'
    for name, row in shown(model).items():
        shape, colour, label = SERIES[name]
        u, v = x + across(row["speed"], fastest), y + down(100 * (1 - row["score"]["kept"]))
        yield f"<g><title>{escape(label)}: {escape(tables.cell(row))}</title>{mark(shape, colour, u, v)}</g>"


def shortened(text):
    return text if len(text) <= LETTERS else f"{text[: LETTERS - 1].rstrip(' ,(')}…"


def across(speed, fastest):
    return PANEL_W * min(speed, fastest) / fastest


def down(loss):
    """The least loss at the top."""
    cut = min(max(loss, LEAST), MOST)
    return PANEL_H * math.log(cut / LEAST) / math.log(MOST / LEAST)


def mark(shape, colour, x, y):
    r = 6
    paint = f'fill="{colour}" stroke="#ffffff"'
    if shape == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r}" {paint}/>'
    if shape == "cross":
        path = f"M{x - 5:.1f},{y - 5:.1f}l10,10m0,-10l-10,10"
        return f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2.5"/>'
    corners = {
        "square": [(-5, -5), (5, -5), (5, 5), (-5, 5)],
        "diamond": [(0, -7), (7, 0), (0, 7), (-7, 0)],
        "triangle": [(0, -7), (6, 5), (-6, 5)],
        "wedge": [(0, 7), (6, -5), (-6, -5)],
    }[shape]
    return f'<polygon points="{" ".join(f"{x + a:.1f},{y + b:.1f}" for a, b in corners)}" {paint}/>'
