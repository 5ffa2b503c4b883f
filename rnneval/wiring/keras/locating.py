"""Locating a failed test of behaviour: the op at which a difference comes in, its layer and its line.

The two runs of a test are recorded op by op, each on a *tape*. A leak, noise or what is left over comes in at the first
op whose outputs differ where they must not. What depends on the cuts begins at the first op whose outputs for some
token differ.

```text
run A   Gather  MatMul  BiasAdd  Tanh  …       the same ops in the same order,
run B   Gather  MatMul  BiasAdd  Tanh  …       each with its outputs
          =       =        ≠                   → the layer and line of this BiasAdd
```

TensorFlow calls us back from inside of each op (`probe.listening`), while the author's code waits further out on
Python's stack. Layer and line are known to these frames alone, so the frames are read:

```text
author's call(…)   file:line   ◂ the innermost frame of no library is the line
  Dense.__call__    self        ◂ the outermost layer that this line called is the layer
    Dense.call
      tf.add
        the callback                we look outwards from here
```
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import keras
import numpy as np

from rnneval.records.wiring import TestResult
from rnneval.wiring.facts import Spot
from rnneval.wiring.keras.names import frames_of_call
from rnneval.wiring.keras.probe import listening
from rnneval.wiring.keras.subject import Ready
from rnneval.wiring.subject import Alteration, Subject, cut, later_changes, row_changes

_MOST_OPS = 200_000
_ROUNDING = 1e-4  # of the largest number of an op: a smaller difference between two ways to call it is rounding


@dataclass(frozen=True, kw_only=True, eq=False)
class _RunOp:
    """One op that ran, with the layer and the line that called it."""

    name: str
    outputs: Sequence[Any]
    layer: Any  # None where no layer called it
    line: Spot

    @property
    def numbers(self) -> list[Any]:
        """The numbers of each output; None for a resource or variant, and for the state of a random generator."""
        return [_numbers(tensor) for tensor in self.outputs]


_Tape = list[_RunOp]


def locate(ready: Ready, oracles: Mapping[str, TestResult], seed: int) -> dict[str, Spot]:
    """Find where each failed test of behaviour fails, as far as it can be told; `seed` is that of the tests."""
    spots = {}
    for name in (name for name in _SEARCHES if name in oracles and oracles[name].verdict == "fail"):
        op = _SEARCHES[name](ready, seed)
        if op is not None and (op.layer is not None or op.line.file):
            spots[name] = replace(op.line, layer=None if op.layer is None else ready.names.of(op.layer)[1])
    return spots


def _leak(ready: Ready, seed: int, changes: Callable[[Subject], Iterator[Alteration]]) -> _RunOp | None:
    """Find the op that lets a later token into earlier predictions, or one row into another."""
    subject = ready.subject(seed)
    for change in changes(subject):
        calls = subject.plan.calls_before(change.before)
        plain, altered = (_taped(partial(ready.run, cut(ids, calls), seeds=True)) for ids in (subject.ids, change.ids))
        if [op.name for op in plain] == [op.name for op in altered]:
            watched = partial(_unreached, change, subject.rows, calls)
            op = _first_difference(plain, altered, watched, partial(np.allclose, rtol=1e-5, atol=1e-7))
            if op is not None:
                return op
    return None


def _unreached(change: Alteration, rows: int, calls: Sequence[int], values: Any) -> Any:
    """Return the part of an op's numbers that an alteration must not reach: rows, or positions of the last call."""
    if change.before is None:
        return values[change.rows] if values.ndim > 1 and len(values) == rows else None
    *earlier, length = calls
    by_token = values.ndim > 2 and values.shape[:2] == (rows, length)
    return values[:, : change.before - sum(earlier)] if by_token else None


def _at_a_cut(ready: Ready, seed: int) -> _RunOp | None:
    """Find the first op whose outputs for a token depend on where the text is cut into calls."""
    if ready.call.is_stateless_graph:
        return None  # the test carries the states in another way
    ids = ready.subject(seed).text
    whole = _by_place(_taped(partial(ready.run, [ids])), ids.shape)
    for parts in (3, ids.shape[1]):
        pieces = np.split(ids, parts, axis=1)
        several = _by_place(_taped(partial(ready.run, pieces)), pieces[0].shape)
        for place, runs in whole.items():
            again = several.get(place, [])
            if len(again) != parts * len(runs):
                continue  # another path was taken
            for k, (op, values) in enumerate(runs):
                if _differs_by_cut(values, [piece for _, piece in again[k :: len(runs)]]):
                    return op
    return None


def _differs_by_cut(whole: Any, pieces: Sequence[Any]) -> bool:
    """Return whether an op gave other numbers by more than rounding; arrays that do not fit tell nothing."""
    if any(piece.shape[2:] != whole.shape[2:] for piece in pieces):
        return False
    change = np.abs(whole - np.concatenate(pieces, axis=1)).max(initial=0.0)
    return not change <= _ROUNDING * np.abs(whole).max(initial=0.0)


def _by_place(tape: _Tape, shape: tuple[int, ...]) -> dict[Any, list[tuple[_RunOp, Any]]]:
    """Return the ops with an output `(rows, time, …)`, and its numbers, by op type, layer and line."""
    runs: dict[Any, list[tuple[_RunOp, Any]]] = {}
    for op in tape:
        for values in op.numbers:
            if values is not None and values.dtype.kind not in "iu" and values.shape[:2] == shape and values.ndim > 2:
                runs.setdefault((op.name, id(op.layer), op.line), []).append((op, values.astype(np.float64)))
    return runs


def _noise(ready: Ready, seed: int) -> _RunOp | None:
    """Find the first op whose outputs differ between two equal runs."""
    run = partial(ready.run, ready.subject(seed).pieces)
    return _first_difference(_taped(run), _taped(run))


def _leftover(ready: Ready, seed: int) -> _RunOp | None:
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
    return next((op for op in differing if op is not None), None)


def _equal(a: Any, b: Any) -> bool:
    return np.array_equal(a, b, equal_nan=a.dtype.kind == "f")  # NaN is one number


def _first_difference(
    one: _Tape,
    other: _Tape,
    watched: Callable[[Any], Any] | None = None,
    alike: Callable[[Any, Any], bool] = _equal,
) -> _RunOp | None:
    """Return the first op that is another one, or whose outputs differ; `watched` gives the part that must agree."""
    for op, again in zip(one, other, strict=False):
        for pair in zip(op.numbers, again.numbers, strict=False):
            a, b = (values if values is None or watched is None else watched(values) for values in pair)
            comparable = a is not None and b is not None
            if not alike(a, b) if comparable else a is not b:
                return again
        if op.name != again.name:
            return again
    return None


_SEARCHES: Mapping[str, Callable[[Ready, int], _RunOp | None]] = {
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
            frames, line = frames_of_call(sys._getframe(1))
            callers = [f.f_locals.get("self") for f in frames if f.f_code.co_name in ("__call__", "call")]
            layers = [c for c in callers if isinstance(c, keras.layers.Layer) and not isinstance(c, keras.Model)]
            tape.append(_RunOp(name=name, outputs=tuple(outputs), layer=layers[-1] if layers else None, line=line))

    with listening(listen):
        run()
    return tape


def _numbers(tensor: Any) -> Any:
    dtype = getattr(tensor, "dtype", None)
    if dtype is None or not (dtype.is_floating or dtype.is_integer):
        return None
    return np.asarray(tensor.numpy())  # np.asarray fails for one number of bfloat16
