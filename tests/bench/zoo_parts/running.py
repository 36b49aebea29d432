"""One run over the zoo: bring, compress, measure, record."""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from . import measuring, recording, tables, variants


def run(models, options, command):
    options.out.mkdir(parents=True, exist_ok=True)
    record = recording.begun(options, command)
    for model in models:
        start = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="sepconv-zoo-", dir=options.scratch) as folder:
            record["models"].append(measured(model, Path(folder), options))
        say(f"{model.name}: {time.perf_counter() - start:.0f} s")
        # After every model: an interrupted run leaves those that are done.
        recording.save(record, options.out / "results.json")
        (options.out / "results.md").write_text(tables.results(record), encoding="utf-8")
    print(tables.summary(record))


def measured(model, folder, options):
    """A model's entry of the record; a model that can't be brought has a reason."""
    try:
        original = model.bring()
        calibration = model.samples("calib", options.samples)
        evaluation = model.samples("eval", min(model.evaluated, options.evaluated or model.evaluated))
        calib = folder / "calib.npz"
        np.savez(calib, **{measuring.input_name(original): calibration})
    except Exception as error:
        say(f"{model.name}: {error}")
        return {"name": model.name, "about": model.about, "package": model.package, "failed": str(error)[:300]}
    entry = recording.entry(model, original, len(calibration), len(evaluation))
    tell = lambda name: say(f"{model.name}: {name}")
    made = list(variants.make(model, original, calib, folder, options, tell))
    judge(model, original, evaluation, made, tell)
    entry |= clock(original, evaluation[:1], made, options, tell)
    entry["variants"] = [recording.row(variant) for variant in made]
    return entry


def judge(model, original, evaluation, made, tell):
    """Gives every variant its score; one that does not run fails."""
    tell("outputs")
    expected = measuring.outputs(original, evaluation)
    for variant in (v for v in made if not v.failed):
        try:
            variant.score = model.score(expected, measuring.outputs(variant.path, evaluation))
        except Exception as error:
            variant.failed = f"does not run: {str(error).splitlines()[0][:200]}"


def clock(original, sample, made, options, tell):
    """Times the original and all variants that run, in turns. Gives the original's time."""
    tell("times")
    runnable = [v for v in made if not v.failed]
    table = measuring.times([original, *(v.path for v in runnable)], sample, options.rounds, options.clock)
    first, *others = measuring.speeds(table)
    for variant, speed in zip(runnable, others):
        variant.time = speed
    return {"ms": first["ms"], "rounds": len(table)}


def say(line):
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)
