"""Calls of a step function, each checked, and the probe that finds how its state is packed."""

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnneval.errors import CheckpointError
from rnneval.models.state import (
    StateLeaf,
    StatePacking,
    as_array,
    filled,
    form_of,
    leaves_of,
    made_like,
    not_arrays,
)

_PIECES = (2, 3, 1)  # tokens of the calls of the probe
_ROWS = (2, 3)
_SHIFT = 1000
_TOLERANCE = 1e-6  # largest difference, relative to the largest logit, of two calls that count as equal


class Called(NamedTuple):
    """Result of one call of a step function."""

    logits: NDArray[Any]  # (batch, time, V)
    state: Any  # the state as the user's function returned it


@dataclass(frozen=True, kw_only=True, eq=False)
class StepFunction:
    """A user's step function and its initial state; every call is checked."""

    step: Callable[[NDArray[np.int32], Any], Any]
    initial_state: Callable[[int], Any] | None
    width: int  # V, the number of logits

    def begin(self, rows: int) -> Any:
        """Return the initial state of `rows` rows."""
        if self.initial_state is None:
            return None
        try:
            return self.initial_state(rows)
        except Exception as error:
            raise CheckpointError(f"initial_state({rows}) raised {_brief(error)}") from error

    def __call__(self, ids: NDArray[np.int32], state: Any) -> Called:
        """Read ids `(batch, time)` from a state; refuse what is no logits `(batch, time, V)` with a state."""
        try:
            returned = self.step(np.array(ids, np.int32), state)  # a copy: PyTorch warns of arrays that are read only
        except Exception as error:
            raise CheckpointError(f"step raised {_brief(error)} on ids of shape {ids.shape}") from error
        if not isinstance(returned, tuple | list) or len(returned) != 2:
            pair = "a pair is needed, (logits, state), such as (logits, (h, c))"
            raise CheckpointError(f"step returned a {type(returned).__name__}: {pair}")
        logits = as_array(returned[0], "the logits")
        if logits.shape != (*ids.shape, self.width):
            raise CheckpointError(
                f"step returned logits of shape {logits.shape} for ids of shape {ids.shape}: "
                f"{(*ids.shape, self.width)} is needed, (batch, time, vocab_size)"
            )
        if logits.dtype.kind == "c":
            raise CheckpointError(f"step returned logits of type {logits.dtype}: real numbers are needed")
        return Called(logits, returned[1])

    def random_ids(self, rows: int, tokens: int, seed: int = 0) -> NDArray[np.int32]:
        """Return ids to try the function on, `(rows, tokens)`; id 0, which may mean padding, is left out."""
        low = 1 if self.width > 2 else 0
        return np.random.default_rng([seed, tokens]).integers(low, self.width, (rows, tokens), dtype=np.int32)


def _brief(error: Exception) -> str:
    """Return type and message of an error, and the line of the user's own code, if it is known."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "site-packages" not in f.filename and f.filename not in (__file__, "<string>")]
    where = f" ({own[-1].filename}:{own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}{where}"


def probe(function: StepFunction, *, separate: bool) -> tuple[StatePacking | None, bool]:
    """Call a step function a few times, and find the batch axis and the kind of every array of its state.

    Returns the packing of its state, None where that is no nest of arrays, and whether the same ids give the same
    logits, also from a state that was packed. A state that cannot be carried is refused.
    """
    runs = [_run(function, rows) for rows in ((1,) if separate else _ROWS)]
    states = runs[0].states
    opaque = not_arrays(leaves_of(states[-1]))
    if opaque:
        if not separate:
            function(function.random_ids(1, 2), function.begin(1))  # such a state is carried as it is, in one row
        return None, _repeats(function, runs[0])
    forms = [form_of(state) for run in runs for state in run.states]
    for form in forms:
        if form != forms[0]:
            raise CheckpointError(f"step returned a state of the form {forms[0]} and one of the form {form}")
    arrays = [[_arrays(state) for state in run.states] for run in runs]
    leaves = []
    for k, (path, value) in enumerate(leaves_of(states[-1])):
        seen = [[state[k] for state in run] for run in arrays]  # for each number of rows, after each call
        leaves.append(_leaf(path, value, seen, separate=separate))
    for k, leaf in enumerate(leaves):
        after = [state[k] for state in arrays[0]]
        leaves[k] = replace(leaf, counts=_only_counts(function, runs[0], after, k))
    packing = StatePacking(example=states[-1], leaves=tuple(leaves), initial=None, separate=separate)
    if not _starts_alike(function, packing, rows=len(runs[0].ids)):
        packing = replace(packing, initial=function.begin)
    repeatable = _repeats(function, runs[0])
    if repeatable:
        restored = packing.unpack(packing.pack(runs[0].states[0], len(runs[0].ids)))
        repeatable = _equal(function(_pieces(runs[0].ids)[1], restored).logits, runs[0].logits[1])
    return packing, repeatable


class _Run(NamedTuple):
    ids: NDArray[np.int32]  # ids of all calls, `(rows, tokens)`
    states: list[Any]  # the state after each call
    logits: list[NDArray[Any]]


def _run(function: StepFunction, rows: int) -> _Run:
    """Read three pieces of a text, and see that the states given stay as they are."""
    ids = function.random_ids(rows, sum(_PIECES))
    state, states, logits = function.begin(rows), [], []
    for piece in _pieces(ids):
        before = _copied(state)
        try:
            called = function(piece, state)
        except CheckpointError as error:
            if rows == 1 or error.__cause__ is None:
                raise
            raise CheckpointError(f"{error}; if it reads one row at a time, give batched=False") from error
        for (path, old), (_, new) in zip(before, _copied(state), strict=False):
            if old.shape != new.shape or not _alike(old, new):
                raise CheckpointError(
                    f"step changes the state that it is given, at {path}: the state before a call may be needed again, "
                    "so make a new array, or begin with a copy of it"
                )
        if np.isnan(called.logits).any():
            raise CheckpointError(f"step returned logits that are not a number for ids {piece[0].tolist()}")
        for path, array in _copied(called.state):
            if array.dtype.kind == "f" and np.isnan(array).any():
                raise CheckpointError(f"step returned {path} that is not a number for ids {piece[0].tolist()}")
        state = called.state
        states.append(state)
        logits.append(called.logits)
    return _Run(ids, states, logits)


def _pieces(ids: NDArray[np.int32]) -> list[NDArray[np.int32]]:
    return np.split(ids, np.cumsum(_PIECES)[:-1], axis=1)


def _arrays(state: Any) -> list[NDArray[Any]]:
    return [as_array(leaf.value, leaf.path) for leaf in leaves_of(state)]


def _alike(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")


def _copied(state: Any) -> list[tuple[str, NDArray[Any]]]:
    """Return copies of the arrays of a state, by path; leaves that are no arrays are left out."""
    leaves = leaves_of(state)
    other = set(not_arrays(leaves))
    return [(path, np.array(as_array(value, path))) for path, value in leaves if path not in other]


def _leaf(path: str, value: Any, seen: Sequence[Sequence[NDArray[Any]]], *, separate: bool) -> StateLeaf:
    """Describe one array of the state from its values after each call, for each number of rows."""
    for after in seen:
        for array, tokens in zip(after[1:], np.cumsum(_PIECES)[1:], strict=True):
            if array.shape != after[0].shape:
                raise CheckpointError(
                    f"{path} grows with the text: its shape is {after[0].shape} after {_PIECES[0]} tokens, and "
                    f"{array.shape} after {tokens}. A model that keeps its whole past (a key-value cache) is not "
                    "recurrent, and cannot be evaluated here; an array of fixed shape can"
                )
    last = seen[0][-1]
    leaf = StateLeaf(path=path, like=value, dtype=last.dtype, axis=None, shape=last.shape)
    if separate:
        return leaf
    axis = _batch_axis(path, *(run[-1].shape for run in seen))
    if axis is not None:
        return replace(leaf, axis=axis, shape=last.shape[:axis] + last.shape[axis + 1 :])
    constant = all(np.array_equal(array, last) for run in seen for array in run)
    if not constant and last.size > 1:
        raise CheckpointError(
            f"{path} has no batch axis: its shape is {last.shape} for {_ROWS[0]} rows and for {_ROWS[1]}, and its "
            "values change. Give it one row for each row of ids, or batched=False if step reads one row at a time"
        )
    return replace(leaf, constant=constant)


def _batch_axis(path: str, two: tuple[int, ...], three: tuple[int, ...]) -> int | None:
    """Return the axis that is as long as the batch; None where no axis depends on it."""
    if two == three:
        return None
    differing = [axis for axis, sizes in enumerate(zip(two, three, strict=False)) if sizes[0] != sizes[1]]
    if len(two) != len(three) or [(two[axis], three[axis]) for axis in differing] != [_ROWS]:
        raise CheckpointError(
            f"{path} has the shape {two} for {_ROWS[0]} rows and {three} for {_ROWS[1]}: exactly one axis must be as "
            "long as the batch, and the others must not depend on it"
        )
    return differing[0]


def _only_counts(function: StepFunction, run: _Run, after: Sequence[NDArray[Any]], k: int) -> bool:
    """Return whether array k counts tokens or calls, and another count changes no prediction."""
    if after[0].dtype.kind not in "iu" or not after[0].size:
        return False
    grown = [later.astype(np.int64) - earlier for earlier, later in pairwise(after)]
    of_tokens = all((growth == tokens).all() for growth, tokens in zip(grown, _PIECES[1:], strict=True))
    of_calls = all((growth == 1).all() for growth in grown)
    if not (of_tokens or of_calls):
        return False
    values = [leaf.value for leaf in leaves_of(run.states[-1])]
    try:
        values[k] = made_like(after[-1] + np.array(_SHIFT, after[-1].dtype), values[k])
        shifted = function(run.ids, filled(run.states[-1], iter(values)))
    except (CheckpointError, OverflowError):
        return False  # it is an index into a table, for example
    return _equal(shifted.logits, function(run.ids, run.states[-1]).logits)


def _starts_alike(function: StepFunction, packing: StatePacking, *, rows: int) -> bool:
    """Return whether the initial state survives packing; refuse one that differs between rows or calls."""
    initial, again = _copied(function.begin(rows)), _copied(function.begin(rows))
    if not all(_alike(a, b) for (_, a), (_, b) in zip(initial, again, strict=True)):
        raise CheckpointError(f"initial_state({rows}) returns other numbers at every call: a document must begin alike")
    state = function.begin(rows)
    if form_of(state) != form_of(packing.example) or not_arrays(leaves_of(state)):
        return False
    try:
        vectors = packing.pack(state, rows)
    except CheckpointError:
        return False  # other shapes
    kept = _copied(packing.unpack(vectors))
    if any(not np.array_equal(a, b.astype(a.dtype)) for (_, a), (_, b) in zip(initial, kept, strict=True)):
        return False  # other types, or a constant of its own
    if (vectors != vectors[0]).any():
        raise CheckpointError(f"initial_state({rows}) differs from row to row: every row must begin alike")
    return True


def _repeats(function: StepFunction, run: _Run) -> bool:
    """Return whether the same calls give the same logits."""
    state = function.begin(len(run.ids))
    for piece, logits in zip(_pieces(run.ids), run.logits, strict=True):
        called = function(piece, state)
        if not _equal(called.logits, logits):
            return False
        state = called.state
    return True


def _equal(a: NDArray[Any], b: NDArray[Any]) -> bool:
    """Return whether logits are equal but for rounding."""
    return bool(absolute_differences(a, b).max(initial=0.0) <= _TOLERANCE * largest_number(b))


def absolute_differences(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    """Return |a − b|; 0 where both are the same infinity, the logit of a token that is ruled out."""
    with np.errstate(invalid="ignore"):
        found = np.abs(a.astype(np.float64) - b)
    return np.where(a == b, 0.0, found)


def largest_number(numbers: NDArray[Any]) -> float:
    """Return the largest finite |number|, to which differences are relative; never 0."""
    return float(np.abs(numbers, where=np.isfinite(numbers), out=np.zeros(numbers.shape)).max(initial=1e-30))
