"""Gather the runs of benchmarks/layers.py into one small record, which docs/layers.md is made of.

    PYTHONPATH=. python benchmarks/layers_records.py --data tinyshakespeare.txt --runs RUNS --out benchmarks/layers.json

Two things are computed here: the n-gram baselines of the held-out text, and for seed 0 of each arm what goes on inside
(`rnneval.trace`, `rnneval.gradients`; kept in RUNS/inside.json). With --table only what follows from the seeds is
written: two studies of the same recipe have the same table, byte by byte, however often one of them was killed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import layers
import numpy as np
from layers_answer import compact

DIGITS = 4
"""Decimals of the nats of a block of 256 characters: 2e-7 nats per character."""


def run_of(folder: Path) -> dict[str, Any]:
    """Return what the record keeps of one run; all of it follows from the seed."""
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    training = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    forgetting = (run.get("streams") or {}).get("forgetting_length")
    return {
        **training["job"],
        **{key: training[key] for key in ("units", "parameters", "kept_epoch", "epochs")},
        "gradients": gradients_of(training["gradients"], training["recipe"]["clipnorm"]),
        "valid": run["valid"],
        "backend": run["backend"],
        "tokens": run["tokens"]["scored"],
        "total_nats": run["total_nats"],
        "token_by_token_nats": (run.get("token_by_token") or {}).get("total_nats"),
        "accuracy": run["scores"]["accuracy"]["value"],
        "forgetting_length": forgetting,
        "saturated": {name: state.get("saturated") for name, state in run["states"].items()},
        "nats": [round(nats, DIGITS) for nats in run["blocks"]["sums"]["nats"]],
    }


def gradients_of(history: dict[str, Any], limit: float) -> dict[str, Any]:
    """Summarise the gradient norms of a training: of the whole model, and of each layer."""
    total = np.array(history["total"])
    return {
        "steps": len(history["steps"]),
        "median": round(float(np.median(total)), 4),
        "p99": round(float(np.percentile(total, 99)), 4),
        "max": round(float(total.max()), 4),
        "clipped_share": round(float(np.mean(total > limit)), 4),
        "not_finite": int(np.count_nonzero(~np.isfinite(total))),
        "layers": {name: round(float(np.median(norms)), 4) for name, norms in history["layers"].items()},
    }


def table(runs: Path) -> dict[str, Any]:
    """Return the record without anything that differs between two studies of the same recipe."""
    folders = sorted(path.parent for path in runs.glob("[!.]*/run.json"))
    first = json.loads((folders[0] / "run.json").read_text(encoding="utf-8"))
    training = json.loads((folders[0] / "training.json").read_text(encoding="utf-8"))
    found = {folder.name: run_of(folder) for folder in folders}
    import layers_models as models

    return {
        "sizes": sorted({run["size"] for run in found.values()}),
        "recipe": training["recipe"],
        "model": {"embedding": models.EMBEDDING, "dropout": models.DROPOUT},
        "held_out": {key: first["text"][key] for key in ("sha256", "characters")},
        "vocabulary": first["vocabulary"]["size"],
        "signature": first["signature"],
        "wiring": json.loads((runs / "wiring.json").read_text(encoding="utf-8")),
        "blocks": {key: first["blocks"][key] for key in ("bytes", "tokens")},
        "runs": found,
    }


def machine(runs: Path) -> dict[str, Any]:
    """Return the time that the study took, and when it was started again."""
    paths = sorted(runs.glob("[!.]*/timing.json"))
    timing = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    ended = datetime.fromtimestamp(max(path.stat().st_mtime for path in paths), tz=UTC)
    by_arm: dict[str, list[float]] = {}
    for path, took in zip(paths, timing, strict=True):
        by_arm.setdefault(path.parent.name.rsplit("-", 2)[0], []).append(took["processor_seconds"])
    import keras
    import tensorflow as tf

    return {
        "hours_of_runs": round(sum(t["training_seconds"] + t["evaluation_seconds"] for t in timing) / 3600, 2),
        "processor_hours": round(sum(t["processor_seconds"] for t in timing) / 3600, 2),
        "seconds_by_arm": {arm: round(float(np.median(seconds)), 1) for arm, seconds in by_arm.items()},
        "cores": os.cpu_count(),
        "starts": [json.loads(line) for line in (runs / "starts.jsonl").read_text(encoding="utf-8").splitlines()],
        "ended": f"{ended:%Y-%m-%d %H:%M} UTC",
        "python": platform.python_version(),
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
    }


def repeated(again: Path | None, record: dict[str, Any]) -> list[str]:
    """Return the names of runs that were trained a second time, with the same result.

    Raises:
        ValueError: a run has another result.
    """
    folders = [] if again is None else sorted(path.parent for path in again.glob("[!.]*/run.json"))
    for folder in folders:
        if run_of(folder) != record["runs"][folder.name]:
            raise ValueError(f"{folder}: trained again, the run has another result than in the study")
    return [folder.name for folder in folders]


def counting(data: Path, folder: Path) -> dict[str, float]:
    """Return the losses of the baselines on the held-out text, fitted on the training part, in nats per character."""
    import rnneval

    text = data.read_text(encoding="utf-8")
    training, validation, held_out = layers.parts(text, layers.Recipe())
    fitted = folder.parent / "training.txt"
    fitted.write_text(training + validation, encoding="utf-8")
    run = rnneval.evaluate(layers.opened(folder, sorted(set(text))), string=held_out, fit_on=[fitted])
    return dict(run.baselines)


def inside(folder: Path, data: Path) -> dict[str, Any]:
    """Return the context curve, states, gates and reach of gradients of one checkpoint, on the held-out text."""
    import rnneval

    text = data.read_text(encoding="utf-8")
    vocabulary, held_out = sorted(set(text)), layers.parts(text, layers.Recipe())[2]
    truncation = layers.Recipe().segment
    run = rnneval.trace(layers.opened(folder, vocabulary), string=held_out, context=True, truncation=truncation)
    lm = rnneval.open(folder / "model.keras", vocabulary=vocabulary, backend="keras")
    backwards = rnneval.gradients(lm, string=held_out, truncation=truncation)
    kept = ("median", "decay", "gone")
    return {
        "context": _plain(run.context),
        "states": _plain(run.states),
        "gates": _plain(run.gates),
        "through_time": {
            name: {key: value for key, value in _plain(reach).items() if key in kept}
            for name, reach in backwards.through_time.items()
        },
    }


def _plain(value: Any) -> Any:
    """Return a value of a record as lists, maps and rounded numbers."""
    import msgspec

    return _rounded(json.loads(msgspec.json.encode(value)))


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def insides(runs: Path, data: Path) -> dict[str, Any]:
    """Look into seed 0 of each arm that has a state for each layer; what is known already is kept."""
    path = runs / "inside.json"
    known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for folder in sorted(runs.glob("[!.]*-seed0")):
        if folder.name not in known and (folder / "model.keras").exists():
            known[folder.name] = inside(folder, data)
            layers.write(path, known)
            print(f"looked into {folder.name}", flush=True)
    return known


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True, help="folder that benchmarks/layers.py wrote")
    parser.add_argument("--data", type=Path, help="tinyshakespeare.txt; not needed with --table")
    parser.add_argument("--again", type=Path, help="folder with runs that were trained again, to compare with")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--table", action="store_true", help="write only what follows from the seeds")
    arguments = parser.parse_args()
    record = table(arguments.runs)
    if not arguments.table:
        record["machine"] = {**machine(arguments.runs), "repeated": repeated(arguments.again, record)}
        record["baselines"] = counting(arguments.data, arguments.runs / f"gru-1-{record['sizes'][0]}-seed0")
        record["inside"] = insides(arguments.runs, arguments.data)
    arguments.out.write_text(compact(record), encoding="utf-8")


if __name__ == "__main__":
    main()
