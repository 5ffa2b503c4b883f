"""Behavioural tests of the whole model: no hooks, only logits compared.

An oracle, under its key in the record, is the result of one test. Each test compares the logits of two ways to read
the same ids, which differ in one thing:

- `chunk`: one call over all tokens, or several calls with the state carried; the logits must be equal.
- `causal`: a later token of a call is altered; the predictions before it must not change.
- `batch`: all rows but row 0 are altered; row 0 must not change.
- `used`: the first two calls are altered; the third *must* change, else the state is not used.
- `repeat`: the same calls twice, random generators left to go on; the logits must be equal.
- `alone`: row 0 is called without the other rows; its logits must be equal.
- `fresh`: a document is read first, or after another document; its logits must be equal.
- `training`: as `causal`, with training=True.

Differences are relative to the largest logit, so that untrained weights suffice.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from functools import partial

import msgspec
import numpy as np
from numpy.typing import NDArray

from rnneval.errors import type_and_message
from rnneval.records.wiring import Oracle

TOKENS = 9  # three calls of three tokens
Ids = NDArray[np.int32]
Logits = list[NDArray[np.float64]]
Runner = Callable[..., Logits]
"""Calls of ids `(batch, time)`, read one after the other with the state carried → the logits of each call."""
KEYS = ("chunk", "causal", "batch", "used", "repeat", "alone", "fresh", "training")
"""The keys of all tests, in the order of the record."""
_THIRDS = (3, 6)
_CUTS = ((1,), (3, 5, 6))  # beside the thirds, which are run anyway; a fault that begins late needs several calls
ALTERED = ((0, 2), (1, 2), (2, 1), (2, 2))
"""(call, token) of the positions altered by `causal`: the last token of each call, and once the one before it."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model to be tested."""

    run: Runner
    batch: int
    low: int  # lowest id that is drawn
    high: int  # one more than the highest id that is drawn
    tolerance: float
    seed: int
    single: bool = False  # whether it can be called with one row alone
    run_after: Callable[..., Logits] | None = None
    """(calls of one document, calls of the next, training=False) → the logits of the next.

    With training=True the first document is read with training=True. None where no document can be begun.
    """
    run_training: Callable[..., Logits] | None = None
    """`run` with training=True; None where the model cannot be called so.

    With seeds=True, Keras' random generators are put back first: equal calls then draw the same numbers.
    """
    why_not_training: str = ""  # the error that the model raises with training=True


def run_oracles(subject: Subject, *, without: Collection[str] = ()) -> dict[str, Oracle]:
    """Run the tests of behaviour, by key; a test that cannot be run is inconclusive, with the reason.

    Left out are `alone` where the model takes no batch of one row, `fresh` where no document can be begun,
    `training` where the model takes no such argument, and those of `chunk`, `causal`, `batch` and `used` in `without`.
    """
    compared = [name for name in KEYS[: KEYS.index("repeat")] if name not in without]
    ids = random_ids(subject)
    try:
        base = subject.run(thirds(ids))
        problem = _problem(base, ids)
        again = subject.run(thirds(ids)) if not problem else base
    except Exception as error:
        problem, base, again = f"the model raises: {type_and_message(error)}", [], []
    if problem:
        return {name: _cannot(subject, problem) for name in (*compared, "repeat")}
    repeat = _judged(subject, _difference(base, again), "the same three calls, run twice", "differ")
    if repeat.verdict == "fail":
        why = "the model gives different logits for the same calls, so nothing can be compared"
        return {**{name: _cannot(subject, why) for name in compared}, "repeat": repeat}
    left_out = {
        "alone": not subject.single,
        "fresh": subject.run_after is None,
        "training": subject.run_training is None and not subject.why_not_training,
    }
    found: dict[str, Oracle] = {}
    for name in (*compared, "repeat", *(name for name, left in left_out.items() if not left)):
        try:
            found[name] = repeat if name == "repeat" else _TESTS[name](subject, ids, base)
        except Exception as error:
            found[name] = _cannot(subject, f"the model raises: {type_and_message(error)}")
    return found


def _largest(differences: Iterable[tuple[float, str]]) -> tuple[float, str]:
    """Return the largest difference (or NaN) and where it was seen; nowhere if there is none."""
    worst, where = 0.0, ""
    for difference, seen in differences:
        if not difference <= worst:  # also true for NaN
            worst, where = difference, seen
    return worst, where


def _chunk(subject: Subject, ids: Ids, base: Logits) -> Oracle:
    whole = subject.run([ids])

    def joined(pieces: Logits) -> Logits:
        """Return pieces as one array; only the last prediction where the model makes one per call."""
        return [pieces[-1]] if whole[0].ndim < 3 else [np.concatenate(pieces, axis=1)]

    found: list[tuple[float, tuple[int, ...]]] = [(_difference(joined(whole), joined(base)), _THIRDS)]
    found += [(_difference(joined(whole), joined(subject.run(np.split(ids, cut, axis=1)))), cut) for cut in _CUTS]
    worst, where = _largest((seen, f" (cut after token {', '.join(map(str, cut))})") for seen, cut in found)
    return _judged(subject, worst, f"one call over {TOKENS} tokens against several{where}", "differ")


def _causal(subject: Subject, ids: Ids, base: Logits) -> Oracle:
    if base[0].ndim < 3:
        return Oracle(verdict="pass", tolerance=subject.tolerance, detail="one prediction a call, after its last token")
    found = []
    for call, token in ALTERED:
        logits = subject.run(later_altered(subject, ids, call, token))
        difference = _difference([base[call][:, :token]], [logits[call][:, :token]], base)
        found.append((difference, f" (token {token} of call {call} altered, tokens before it watched)"))
    worst, where = _largest(found)
    return _judged(subject, worst, f"a later token altered{where}", "change earlier predictions")


def _batch(subject: Subject, ids: Ids, base: Logits) -> Oracle:
    if subject.batch < 2:
        return Oracle(verdict="pass", tolerance=subject.tolerance, detail="the model takes one row at a time")
    logits = subject.run(other_rows_altered(subject, ids))
    difference = _difference([array[:1] for array in base], [array[:1] for array in logits], base)
    return _judged(subject, difference, "row 1 altered, row 0 watched", "change row 0")


def _used(subject: Subject, ids: Ids, base: Logits) -> Oracle:
    other = np.concatenate([_other(subject, ids[:, :6]), ids[:, 6:]], axis=1)
    difference = _difference(base[2:], subject.run(thirds(other))[2:], base)
    used = difference > subject.tolerance
    return Oracle(
        verdict="pass" if used else "fail",
        largest_difference=_finite(difference),
        tolerance=subject.tolerance,
        detail=f"two other segments before, the same one after: the logits {'differ' if used else 'are equal'}"
        f" ({difference:.2g})",
    )


def _alone(subject: Subject, ids: Ids, base: Logits) -> Oracle:
    first, logits = [array[:1] for array in base], subject.run(thirds(ids[:1]))
    if [array.shape for array in logits] != [array.shape for array in first]:
        return _cannot(subject, "the model takes no batch of one row")
    return _judged(subject, _difference(first, logits, base), "row 0 without the other rows", "differs")


def _fresh(subject: Subject, ids: Ids, _: Logits) -> Oracle:
    run_after = subject.run_after
    assert run_after is not None  # noqa: S101 - else the test is left out
    pieces, others = thirds(ids), another_document(subject, ids)
    first = run_after([], pieces)
    begun = {"the same": run_after(pieces, pieces), "another": run_after(others, pieces)}
    if subject.run_training is not None:
        begun["one with training=True"] = run_after(pieces, pieces, training=True)
    worst, where = _largest((_difference(first, logits), f" ({before})") for before, logits in begun.items())
    return _judged(subject, worst, f"a document read first, and after another document{where}", "differs")


def _training(subject: Subject, ids: Ids, evaluated: Logits) -> Oracle:
    """Test as `_causal` does, with training=True; inconclusive where noise or means over the batch hide the result."""
    if subject.run_training is None:
        return _cannot(subject, f"the model raises with training=True: {subject.why_not_training}")
    training = replace(subject, run=partial(subject.run_training, seeds=True))
    base = training.run(thirds(ids))
    if _difference(evaluated, base) == 0:
        return _judged(subject, 0.0, "training=True against training=False", "differ")
    if not _difference(base, training.run(thirds(ids))) <= subject.tolerance:
        return _cannot(subject, "with training=True equal calls differ, so looking ahead cannot be told from noise")
    if _batch(training, ids, base).verdict != "pass":
        return _cannot(subject, "with training=True rows depend on each other (means over the batch?)")
    found = _causal(training, ids, base)
    return msgspec.structs.replace(found, detail=f"with training=True: {found.detail}")


_TESTS: dict[str, Callable[[Subject, Ids, Logits], Oracle]] = {
    "chunk": _chunk,
    "causal": _causal,
    "batch": _batch,
    "used": _used,
    "alone": _alone,
    "fresh": _fresh,
    "training": _training,
}
"""The tests by key, each of which compares logits with those of three calls; `repeat` goes before them."""


def random_ids(subject: Subject) -> Ids:
    """Return the ids of the tests, `(batch, TOKENS)`: random, always the same for a seed."""
    generator = np.random.default_rng([subject.seed, 0])
    return generator.integers(subject.low, subject.high, (subject.batch, TOKENS), dtype=np.int32)


def thirds(ids: Ids) -> list[Ids]:
    """Return the ids as three calls read them."""
    return np.split(ids, _THIRDS, axis=1)


def later_altered(subject: Subject, ids: Ids, call: int, token: int) -> list[Ids]:
    """Return the calls up to `call`, one token of which is another."""
    altered = ids.copy()
    altered[:, 3 * call + token] = _other(subject, altered[:, 3 * call + token])
    return thirds(altered)[: call + 1]


def other_rows_altered(subject: Subject, ids: Ids) -> list[Ids]:
    """Return the three calls with other ids in all rows but the first."""
    altered = ids.copy()
    altered[1:] = _other(subject, altered[1:])
    return thirds(altered)


def another_document(subject: Subject, ids: Ids) -> list[Ids]:
    """Return other ids, cut in another place."""
    return np.split(_other(subject, ids), (2,), axis=1)


def _judged(subject: Subject, difference: float, what: str, verb: str) -> Oracle:
    """Return the result of a test that passes if there is no difference: `what` was compared, `verb` how it fails."""
    fine = difference <= subject.tolerance
    outcome = (
        "no difference" if difference == 0 else f"{'' if fine else f'{verb}: '}{difference:.2g} of the largest logit"
    )
    return Oracle(
        verdict="pass" if fine else "fail",
        largest_difference=_finite(difference),
        tolerance=subject.tolerance,
        detail=f"{what}: {outcome}",
    )


def _cannot(subject: Subject, why: str) -> Oracle:
    return Oracle(verdict="inconclusive", tolerance=subject.tolerance, detail=why)


def _finite(difference: float) -> float | None:
    return float(difference) if np.isfinite(difference) else None


def _problem(logits: Logits, ids: Ids) -> str:
    """Return the reason why logits cannot be compared; "" if they can."""
    if any(not np.isfinite(array).all() for array in logits):
        return "the logits are not finite"
    shape = logits[0].shape
    if len(shape) == 3 and shape[:2] != (ids.shape[0], 3):
        return (
            f"{shape[1]} predictions for 3 tokens: what belongs to which token is not known (a model that generates?)"
        )
    if len(shape) not in (2, 3):
        return f"logits of shape {shape}: (batch, time, vocabulary) or (batch, vocabulary) can be judged"
    return ""


def _difference(a: Logits, b: Logits, scale: Logits | None = None) -> float:
    """Return max |Δ| / max |logit|; infinite where shapes differ."""
    if [x.shape for x in a] != [x.shape for x in b]:
        return float("inf")
    largest = max(float(np.abs(x).max(initial=0.0)) for x in scale or a)
    change = max((float(np.abs(x - y).max(initial=0.0)) for x, y in zip(a, b, strict=True)), default=0.0)
    return change / max(largest, 1e-30)


def _other(subject: Subject, ids: Ids) -> Ids:
    """Return another id at each position."""
    # Two ids further on, around the end of the range; one further where there are few: of two ids, the second next is
    # the same one.
    span = subject.high - subject.low
    shifted: Ids = ((ids - subject.low + 1 + (span > 3)) % span + subject.low).astype(np.int32)
    return shifted
