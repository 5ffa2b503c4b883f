"""Runs that can neither pass a gate nor be a baseline: not valid, not finite, diverged, or of no common recipe.

These are decided before any test. A test cannot: one diverged run among several, or one diverged part of a text, makes
the standard error as large as the difference, so that t is near 1 whatever the loss.
"""

import math
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from rnneval.errors import RecordError, UsageError
from rnneval.gates.sides import NamedRecord, Side, side, slim
from rnneval.records import Run, encode, write_texts
from rnneval.records.encoding import require_consistent

FAR = math.log(100)
"""Least distance of `limit` above uniform guessing, in nats: in a small vocabulary a few sure and wrong predictions
reach twice its loss."""
BYTES = math.log(256)
"""Uniform guessing in nats a byte, for losses whose vocabulary is not known."""
LARGEST = math.log(np.finfo(float).max)
"""Mean loss, in nats, above which a perplexity is larger than any float."""
PARTS = 8
LEAST_TOKENS = 100
"""Tokens that a part needs to be held against `limit`; a few rare tokens may cost a good model as much."""
TWICE = math.log(2)
"""Largest distance between the losses of one recipe's runs, in nats a token: seeds differ by about 0.01."""


def limit(uniform: float) -> float:
    """Return the mean loss above which a run has diverged, given that of uniform guessing among V tokens.

    The perplexity is then above V², as far beyond guessing as guessing is from certainty, and above 100 V.

    >>> round(limit(math.log(65)), 2), round(limit(math.log(10_000)), 2)
    (8.78, 18.42)
    """
    return uniform + max(uniform, FAR)


def unfit(run: Run) -> str:
    """Return why a run decides nothing, whatever it is compared with; "" if it can be compared."""
    if run.total_nats is None:
        told = [warning.message for warning in run.warnings if warning.code == "not-finite"]
        return f"is not finite: {next(iter(told), 'a loss is not a number')}"
    if not run.valid:
        broken = run.wiring if run.wiring is not None and run.wiring.verdict == "fail" else None
        return f"is not valid: {broken.reason if broken else run.why_not_valid}".removesuffix(": not valid")
    return _diverged(run)


def problem(side: Side) -> str:
    """Name each run of a side that decides nothing, with its reason; "" if the side can be compared."""
    named = zip(side.names, map(unfit, side.runs), strict=True)
    return "; ".join(f"{name} {found}" for name, found in named if found) or _of_no_recipe(side)


def write_baselines(runs: Mapping[str | os.PathLike[str], NamedRecord]) -> None:
    """Write slim copies of runs as baselines, all of them or none; folders are made."""
    new = side([*runs.values()], "baseline")
    for name, run in zip(new.names, new.runs, strict=True):
        require_consistent(name, run)
    if found := problem(new):
        raise UsageError(f"no baseline was written, since nothing could be compared with it: {found}")
    texts = {os.fspath(path): encode(slim(run)) for path, run in zip(runs, new.runs, strict=True)}
    for folder in {Path(path).parent for path in texts}:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RecordError(f"{folder}: cannot be made: {error.strerror or error}") from error
    write_texts(texts)


def _diverged(run: Run) -> str:
    """Return the loss of the worst part of the text, if it is beyond what can be compared.

    The parts are the whole text, and each document, or eighths of a text that is a single document.
    """
    blocks, unit = run.blocks, "token" if "uniform" in run.baselines else "byte"
    uniform = run.baselines.get("uniform", BYTES)
    columns = np.array([blocks.sums["nats"], blocks.tokens if unit == "token" else blocks.scored_bytes])
    ends = np.array(blocks.bytes)
    starts = np.flatnonzero(np.diff(blocks.document, prepend=-1))
    if starts.size == 1:
        starts = np.array([part[0] for part in np.array_split(np.arange(ends.size), min(PARTS, ends.size))])
    nats, units = np.concatenate([columns.sum(axis=1, keepdims=True), np.add.reduceat(columns, starts, axis=1)], axis=1)
    means = nats / np.maximum(units, 1)
    most = np.where(units >= LEAST_TOKENS, limit(uniform), LARGEST)
    beyond = ~(means <= most)
    if not beyond.any():
        return ""
    worst = 0 if beyond.all() else int(np.where(beyond, means, -np.inf).argmax())  # 0 is the whole text
    place, hint = "", "; or its vocabulary is in another order than in training"
    if not beyond.all():
        first, last = np.append(0, starts)[worst], np.append(starts, ends.size)[worst] - 1
        place, hint = f" in bytes {ends[first - 1] if first else 0:,} to {ends[last]:,}", ""
    reason = f"diverged: {means[worst]:.4g} nats a {unit}{place}, far beyond uniform guessing"
    return f"{reason} ({uniform:.3g}; the limit is {most[worst]:.3g}){hint}"


def _of_no_recipe(side: Side) -> str:
    """Return why the runs of a side are no trainings of one recipe: their losses lie too far apart."""
    if len({(run.text.sha256, run.signature) for run in side.runs}) > 1:  # not comparable, for a better reason
        return ""
    means = [(run.total_nats or 0.0) / max(run.tokens.scored, 1) for run in side.runs]
    least, largest = int(np.argmin(means)), int(np.argmax(means))
    if means[largest] - means[least] <= TWICE:
        return ""
    return (
        f"{side.names[largest]} has {means[largest]:.4g} nats a token and {side.names[least]} {means[least]:.4g}, more "
        "than twice the perplexity, where seeds of one recipe differ by about 1 %: a training failed, or the runs are "
        "not of one recipe"
    )
