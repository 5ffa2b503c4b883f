"""Locating a failed test of behaviour: the op at which a difference comes in, its layer and its line.

The two runs of a test are recorded op by op. A leak, noise or what is left over comes in at the first op whose outputs
differ where they must not. What depends on the cuts begins at the first op whose outputs for some token differ.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import keras
import numpy as np

from rnneval.records.wiring import TestResult
from rnneval.wiring.behaviour import Alteration, Subject, cut, later_changes, row_changes
from rnneval.wiring.facts import Spot
from rnneval.wiring.keras.names import frames_of_call
from rnneval.wiring.keras.probe import listening
from rnneval.wiring.keras.subject import Ready

_MOST_OPS = 200_000
_ROUNDING = 1e-4  # of the largest number of an op: a smaller difference between two ways to call it is rounding


@dataclass(frozen=True, kw_only=True, eq=False)
class _Ran:
    """One op that ran, with the layer and the line that called it."""

    name: str
    outputs: Sequence[Any]
    layer: Any
    line: Spot


_Tape = list[_Ran]


def locate(ready: Ready, oracles: Mapping[str, TestResult], seed: int) -> dict[str, Spot]:
    """Find where each failed test of behaviour fails, as far as it can be told; `seed` is that of the tests."""
    found = {}
    for name, search in _SEARCHES.items():
        ran = search(ready, seed) if name in oracles and oracles[name].verdict == "fail" else None
        layer = ready.names.of(ran.layer)[1] if ran is not None and ran.layer is not None else None
        if ran is not None and (layer or ran.line.file):
            found[name] = replace(ran.line, layer=layer)
    return found


def _leak(ready: Ready, seed: int, changes: Callable[[Subject], Iterator[Alteration]]) -> _Ran | None:
    """Find the op that lets a later token into earlier predictions, or one row into another."""
    subject = ready.subject(seed)
    for change in changes(subject):
        calls = subject.plan.calls_before(change.before)
        begins = sum(calls[:-1])

        def watched(values: Any, change: Alteration = change, length: int = calls[-1], begins: int = begins) -> Any:
            if change.before is None:
                return values[change.rows] if values.ndim > 1 and len(values) == subject.rows else None
            inside = values.ndim > 2 and values.shape[:2] == (subject.rows, length)
            return values[:, : change.before - begins] if inside else None

        plain, altered = (_taped(partial(ready.run, cut(ids, calls), seeds=True)) for ids in (subject.ids, change.ids))
        if [ran.name for ran in plain] == [ran.name for ran in altered]:
            ran = _first_difference(plain, altered, watched, partial(np.allclose, rtol=1e-5, atol=1e-7))
            if ran is not None:
                return ran
    return None


def _at_a_cut(ready: Ready, seed: int) -> _Ran | None:
    """Find the first op whose outputs for a token depend on where the text is cut into calls."""
    if ready.call.is_stateless_graph:
        return None  # the test carries the states in another way
    ids = ready.subject(seed).text
    whole = _by_token(_taped(partial(ready.run, [ids])), ids.shape)
    for parts in (3, ids.shape[1]):
        pieces = np.split(ids, parts, axis=1)
        several = _by_token(_taped(partial(ready.run, pieces)), pieces[0].shape)
        for key, runs in whole.items():
            again = several.get(key, [])
            if len(again) != parts * len(runs):
                continue  # another path was taken
            for k, (ran, values) in enumerate(runs):
                joined = [other for _, other in again[k :: len(runs)]]
                if any(other.shape[2:] != values.shape[2:] for other in joined):
                    continue
                change = np.abs(values - np.concatenate(joined, axis=1)).max(initial=0.0)
                if not change <= _ROUNDING * np.abs(values).max(initial=0.0):
                    return ran
    return None


def _by_token(tape: _Tape, shape: tuple[int, ...]) -> dict[Any, list[tuple[_Ran, Any]]]:
    """Return the ops with an output `(batch, time, …)`, and its numbers, by op type, layer and line."""
    found: dict[Any, list[tuple[_Ran, Any]]] = {}
    for ran in tape:
        for tensor in ran.outputs:
            values = _values(tensor)
            if values is not None and values.ndim > 2 and values.shape[:2] == shape and tensor.dtype.is_floating:
                found.setdefault((ran.name, id(ran.layer), ran.line), []).append((ran, values.astype(np.float64)))
    return found


def _noise(ready: Ready, seed: int) -> _Ran | None:
    """Find the first op whose outputs differ between two equal runs."""
    run = partial(ready.run, ready.subject(seed).pieces)
    return _first_difference(_taped(run), _taped(run))


def _leftover(ready: Ready, seed: int) -> _Ran | None:
    """Find the first op of a document whose outputs depend on what was read before it."""
    subject = ready.subject(seed)
    pieces, others = subject.pieces, subject.document

    def second(before: Any, training: bool = False) -> _Tape:
        ready.leave_behind(before, training=training)
        return _taped(partial(ready.read, pieces))

    pairs: list[tuple[Any, Any, bool]] = [(pieces, others, False), ([], pieces, False), ([], pieces, True)]
    differing = (
        _first_difference(second(one), second(other, training))
        for one, other, training in pairs
        if ready.trains or not training
    )
    return next((ran for ran in differing if ran is not None), None)


def _equal(a: Any, b: Any) -> bool:
    return np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


def _first_difference(
    one: _Tape,
    other: _Tape,
    watched: Callable[[Any], Any] = lambda values: values,
    alike: Callable[[Any, Any], bool] = _equal,
) -> _Ran | None:
    """Return the first op that is another one, or of whose outputs the watched part differs; NaN is one number."""
    for ran, again in zip(one, other, strict=False):
        for outputs in zip(ran.outputs, again.outputs, strict=False):
            a, b = (None if values is None else watched(values) for values in map(_values, outputs))
            if not (a is b if a is None or b is None else alike(a, b)):
                return again
        if ran.name != again.name:
            return again
    return None


_SEARCHES: Mapping[str, Callable[[Ready, int], _Ran | None]] = {
    "causal": partial(_leak, changes=later_changes),
    "training": lambda ready, seed: _leak(ready.in_training, seed, later_changes),
    "batch": partial(_leak, changes=row_changes),
    "chunk": _at_a_cut,
    "repeat": _noise,
    "fresh": _leftover,
}


def _taped(run: Callable[[], Any]) -> _Tape:
    """Record every op of a run with its outputs, which stay alive with the tape."""
    tape: _Tape = []

    def listen(name: str, _: Any, __: Any, outputs: Sequence[Any]) -> None:
        if len(tape) < _MOST_OPS:
            # The layer is the one that the author's line called, or belongs to.
            frames, line = frames_of_call(sys._getframe(1))
            callers = [f.f_locals.get("self") for f in frames if f.f_code.co_name in ("__call__", "call")]
            layers = [c for c in callers if isinstance(c, keras.layers.Layer) and not isinstance(c, keras.Model)]
            tape.append(_Ran(name=name, outputs=tuple(outputs), layer=layers[-1] if layers else None, line=line))

    with listening(listen):
        run()
    return tape


def _values(tensor: Any) -> Any:
    """Return a tensor's numbers; None for a resource or variant, which has none, and for a random generator's state."""
    dtype = getattr(tensor, "dtype", None)
    if dtype is None or not (dtype.is_floating or dtype.is_integer):
        return None
    return np.asarray(tensor.numpy())  # np.asarray fails for one number of bfloat16
