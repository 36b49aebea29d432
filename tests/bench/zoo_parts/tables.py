"""Markdown of a record: `results.md`, and the short table of the README."""

INT8 = "ONNX Runtime INT8"
PRUNING = "onnxsim pruning"
# Columns of the short table, and series of the picture: name in the record, heading.
COLUMNS = [
    ("sepconv", "sepconv"),
    ("sepconv --speedup 2", "sepconv `--speedup 2`"),
    ("sepconv --int8", "sepconv `--int8`"),
    (INT8, "ONNX Runtime INT8"),
    (PRUNING, "onnxsim pruning"),
    ("the paper's method", "paper's method"),
]


def rows_of(model, name):
    """All rows of a series."""
    return [row for row in model.get("variants", []) if row["name"] == name or row["name"].startswith(f"{name}, ")]


def of_series(model, name):
    """The row of a series: where it has several, the one that keeps most."""
    rows = rows_of(model, name)
    able = [row for row in rows if "score" in row]
    if able:
        return max(able, key=lambda row: (row["score"]["kept"], row["speed"]))
    return rows[0] if rows else None


def columns(record):
    """Those of the record: a series that none of its models was tried with has no column."""
    return [(name, head) for name, head in COLUMNS if any(rows_of(model, name) for model in record["models"])]


def kept(score):
    """The task's figure as one number: a share in percent, the SNR in dB of the worst output, or the PSNR in dB."""
    if "psnr_db" in score:
        return f"PSNR {score['psnr_db']:.1f} dB"
    if "snr_db" in score:
        return f"{min(score['snr_db']):.1f} dB"
    return f"{100 * score['kept']:.1f} %"


def summary(record):
    """One row a model: the speed on ONNX Runtime, and the part of the task's figure that is kept."""
    shown = columns(record)
    lines = ["| model | " + " | ".join(heading for _, heading in shown) + " |", "|---" * (len(shown) + 1) + "|"]
    for model in record["models"]:
        cells = [cell(of_series(model, name)) for name, _ in shown]
        lines.append(f"| {model['name']} ({model['about']}) | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cell(row):
    if row is None:
        return "not run"
    if "failed" in row:
        return "no file"
    return f"{row['speed']:.2f}x, {kept(row['score'])}"


def setting(record):
    """The machine, the versions and the command, in sentences."""
    machine, versions = record["machine"], record["versions"]
    named = ", ".join(f"{name} {version}" for name, version in versions.items())
    memory = f", {machine['memory_gb']} GB of memory" if machine["memory_gb"] else ""
    return (
        f"Machine: {machine['cpu']}, {machine['cores']} cores{memory}, {machine['system']}. Versions: {named}. "
        f"Date: {record['date']}. Command: `{record['command']}`."
    )


def results(record, picture=None):
    """The whole record as a page."""
    lines = ["# Public models, compressed", ""]
    if picture:
        lines += [f"![Speed against loss of every variant, a panel per model]({picture})", ""]
    lines += [
        "`tests/bench/zoo` brings the models, compresses them, and measures every variant on ONNX Runtime with one "
        "thread. The variants of a model run in turns.",
        "",
        setting(record),
        "",
        "- **Speed** is the median ratio of the original's time to that of the variant, with its interval of 95 %.",
        "- **Kept** compares outputs with those of the original, on data apart from the calibration data. Agreement "
        "is of top classes. Detections match at the same class and an IoU above 0.5. The SNR is over all values of "
        "an output, one figure an output.",
        "- **Made in** is the time of the command that made the file.",
        *notes(record),
        "",
        summary(record),
        "",
    ]
    for model in record["models"]:
        lines += section(model)
    return "\n".join(lines)


def notes(record):
    """About the series with several variants, as far as the record has them."""
    several = [name for name in (INT8, PRUNING) if any(rows_of(model, name) for model in record["models"])]
    if several:
        yield (
            f"- The summary shows one of the variants of {' and of '.join(several)}: the one that keeps most on the "
            "evaluation data."
        )
    if PRUNING in several:
        yield (
            "- The pruning of onnxsim cuts the least share of channels that leaves at most half of the MACs: the budget "
            "nearest to `--speedup 2`."
        )


def section(model):
    lines = [f"## {model['name']}", ""]
    if "failed" in model:
        return [*lines, f"{model['about']}, of `{model['package']}`. Not measured: {model['failed']}", ""]
    lines += [
        f"{capital(model['about'])}. Package `{model['package']}`, licence {model['licence']}. "
        f"Data: {model['data']}; {model['calibration_samples']} samples for calibration, "
        f"{model['evaluation_samples']} for evaluation. Times: {model['rounds']} rounds.",
        "",
        "| variant | time | speed | file | kept | made in |",
        "|---|---|---|---|---|---|",
        f"| original | {milliseconds(model['ms'])} | 1x | {megabytes(model['bytes'])} | | |",
    ]
    lines += [line(row) for row in model["variants"]]
    lines += ["", *(f"- {row['name']}: `{row['how']}`" for row in model["variants"]), ""]
    return lines


def line(row):
    made = f"{row['seconds']:.0f} s"
    if "failed" in row:
        return f"| {row['name']} | | | | no file: {row['failed'].replace('|', '/')} | {made} |"
    speed = f"{row['speed']:.2f}x ({row['low']:.2f} to {row['high']:.2f})"
    time, size = milliseconds(row["ms"]), megabytes(row["bytes"])
    return f"| {row['name']} | {time} | {speed} | {size} | {row['score']['text']} | {made} |"


def capital(text):
    return text[:1].upper() + text[1:]


def milliseconds(value):
    return f"{value:.3g} ms" if value < 100 else f"{value:.0f} ms"


def megabytes(value):
    return f"{value / 1e6:.2f} MB"


def between(page, begin, end, text):
    """The page with the lines between two marker lines replaced."""
    head, found, rest = page.partition(begin + "\n")
    _, closed, tail = rest.partition(end)
    if not found or not closed:
        raise SystemExit(f"zoo: no lines {begin} and {end}")
    return f"{head}{begin}\n{text.strip()}\n{end}{tail}"
