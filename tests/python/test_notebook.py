"""Reports as notebooks show them."""

import json
import types
from xml.etree import ElementTree

import sepconv


def report(**more):
    kept = {"name": "a<b>", "form": "kept", "reason": "it saves no MACs", "macs_before": 50, "macs_after": 50}
    layer = {"name": "conv", "form": "dw-pw", "rank": 2, "macs_before": 1950, "macs_after": 950}
    size = lambda factor: {"macs": 1000 * factor, "params": 100 * factor, "bytes": 5000 * factor}
    contents = {"original": size(2), "compressed": size(1), "layers": [layer, kept], "not_run": None} | more
    contents["layers"] = [{"weight_error": 0.0} | one for one in contents["layers"]]
    return sepconv.Report(types.SimpleNamespace(json=lambda: json.dumps(contents), snr_db=31.25))


def cells(html):
    root = ElementTree.fromstring(f"<div>{html}</div>")
    return ["|".join(cell.text or "" for cell in row) for row in root.iter("tr")]


def test_the_table_tells_sizes_and_layers():
    rows = cells(report()._repr_html_())
    assert "convolutions|2|1 rewritten|" in rows
    assert "MACs|2,000|1,000|2.00x" in rows
    assert "SNR of the worst channel||31.2 dB|" in rows
    assert "conv|dw-pw, rank 2|1,950|950|" in rows


def test_names_of_models_are_text():
    assert "a<b>|kept|50|50|it saves no MACs" in cells(report()._repr_html_())


def test_a_model_that_was_not_run_says_so():
    assert "not run||no runtime <x>|" in cells(report(not_run="no runtime <x>")._repr_html_())


def quantized(**more):
    layers = [("conv", "Conv", None), ("a<b>", "Gemm", "it costs the outputs too much")]
    layers = [
        {"name": name, "op_type": op_type, "kept": kept, "weight_bits": None if kept else 8}
        for name, op_type, kept in layers
    ]
    timing = {"models": [{"speed_up": {"median": 1.0}}, {"speed_up": {"median": 1.5}}]}
    contents = {"layers": layers, "bytes": [4000, 1000], "timing": timing, "not_timed": None, "missed": None}
    contents |= more
    return sepconv.QuantizeReport(types.SimpleNamespace(json=lambda: json.dumps(contents), snr_db=31.25))


def test_the_table_of_a_quantisation():
    rows = cells(quantized()._repr_html_())
    assert "layers|2|1 in eight bits|" in rows and "bytes|4,000|1,000|4.00x" in rows
    assert "SNR of the worst channel||31.2 dB|" in rows and "time|||1.50x" in rows
    assert "conv|Conv|eight bits" in rows and "a<b>|Gemm|it costs the outputs too much" in rows
    rows = cells(quantized(timing=None, not_timed="no <x>")._repr_html_())
    assert "not timed||no <x>|" in rows and not any(row.startswith("time|") for row in rows)
    missed = {"asked_db": 40.0, "reached_db": 31.25, "f1": None, "output": "y", "channel": None}
    assert "SNR asked for||40 dB|" in cells(quantized(missed=missed)._repr_html_())
