"""A user's step function, and the probe that finds out how its state is carried.

`StepFunction` calls the function and checks what it returns. `probe` calls it a few times with two and three rows. It
finds the batch axis and the kind of every array of the state, and returns the carrier for it: `Packing` where vectors
hold all of the state, `OpaqueState` where it is no nest of arrays, changes its containers, or grows with the text.
"""

import inspect
import math
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise, zip_longest
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnneval.errors import CheckpointError, VocabularyError, type_and_message
from rnneval.models.state import (
    OpaqueState,
    Packing,
    StateCarrier,
    StateLeaf,
    as_array,
    filled,
    form_of,
    is_array,
    leaves_of,
    made_like,
)

_PIECES = (2, 3, 1)  # tokens of the calls of the probe
_ROWS = (2, 3)
_SHIFT = 1000
_ROUNDING = 1e-6  # largest difference, relative to the largest logit, of two calls that count as equal

# The function


@dataclass(frozen=True, kw_only=True, eq=False)
class StepFunction:
    """A user's step function and its initial state; every call is checked."""

    step: Callable[[NDArray[np.int32], Any], Any]
    initial_state: Callable[[int], Any] | None
    width: int  # V, the number of logits
    source: str = ""  # the vocabulary whose size V is, in words

    @cached_property
    def has_start(self) -> bool:
        """True where the function has a default for its state: it begins as its signature says."""
        return self.initial_state is None and has_default(self.step)

    def begin(self, rows: int) -> Any:
        """Return the initial state of `rows` rows."""
        if self.initial_state is None:
            return None
        try:
            return self.initial_state(rows)
        except Exception as error:
            raise CheckpointError(f"initial_state({rows}) raised {_brief(error)}") from error

    def __call__(self, ids: NDArray[np.int32], state: Any, *, last: bool = False) -> tuple[NDArray[Any], Any]:
        """Read ids `(batch, time)` from a state; return logits `(batch, time, V)` of NumPy and the user's own state.

        `last`: the state is used for the last time, so that a step that copies it need not.
        """
        tokens = np.array(ids, np.int32)  # a copy: PyTorch warns of arrays that are read only
        step = getattr(self.step, "last", self.step) if last else self.step
        try:
            returned = step(*((tokens,) if state is None and self.has_start else (tokens, state)))
        except Exception as error:
            raise CheckpointError(f"step raised {_brief(error)} on ids of shape {ids.shape}") from error
        if not isinstance(returned, tuple | list) or len(returned) != 2:
            raise CheckpointError(f"step returned a {type(returned).__name__}: a pair is needed, (logits, state)")
        logits, wanted = as_array(returned[0], "the logits"), (*ids.shape, self.width)
        if logits.shape == wanted and logits.dtype.kind != "c":
            return logits, returned[1]
        if not self.source or logits.shape[:-1] != ids.shape:
            seen = f"logits of shape {logits.shape} and type {logits.dtype} for ids of shape {ids.shape}"
            needed = f"real numbers of shape {wanted} are needed, (batch, time, vocab_size)"
            raise CheckpointError(f"step returned {seen}: {needed}")
        found = logits.shape[-1]
        special = found == self.width + 1
        more = f", or vocab_size={found} to have ids from 1" if special else ""
        raise VocabularyError(
            f"step returns {found:,} logits a token, and the vocabulary ({self.source}) has {self.width:,} tokens",
            cause="id 0 stands for [UNK] or padding" if special else "it is not the one of the training",
            advice=f"give the {found:,} tokens in the order of their ids{more}",
        )

    def random_ids(self, rows: int, tokens: int) -> NDArray[np.int32]:
        """Return ids to try the function on, `(rows, tokens)`; id 0, which may mean padding, is left out."""
        low = 1 if self.width > 2 else 0
        return np.random.default_rng([0, tokens]).integers(low, self.width, (rows, tokens), dtype=np.int32)


def has_default(function: Callable[..., Any]) -> bool:
    """Return whether the second argument of a function has a default, with which its user calls it first."""
    try:
        _, second, *_ = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # it has no signature, or fewer arguments
        return False
    return second.default is not second.empty and second.kind is second.POSITIONAL_OR_KEYWORD


def _brief(error: Exception) -> str:
    """Return type and message of an error, and the line of the user's own code, if it is known."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "site-packages" not in f.filename and f.filename not in (__file__, "<string>")]
    return type_and_message(error) + (f" ({own[-1].filename}:{own[-1].lineno})" if own else "")


# The probe


class _Trial(NamedTuple):
    """Three calls over pieces of a text: `(rows, tokens)` each, and what the function made of them."""

    pieces: list[NDArray[np.int32]]
    logits: list[NDArray[Any]]
    states: list[Any]  # the state after each call

    def values(self, path: str) -> list[NDArray[Any]]:
        """Return an array of the state after each call."""
        return [as_array(leaves_of(state)[path], path) for state in self.states]


def probe(function: StepFunction, *, separate: bool) -> tuple[StateCarrier, bool]:
    """Return what carries the state of a function, and whether equal calls give equal logits."""
    unknown = OpaqueState(function.begin)
    trials = [_tried(function, rows, unknown) for rows in ((1,) if separate else _ROWS)]
    first, example = trials[0], trials[0].states[-1]
    logits = first.logits[0]
    if logits.shape[-1] > 1 and (logits > 0).all() and np.allclose(logits.sum(axis=-1), 1, atol=1e-3):
        raise CheckpointError("step returned probabilities, which add up to 1: give logits, or their logarithms")
    leaves = leaves_of(example)
    forms = {form_of(state) for trial in trials for state in trial.states}
    if not all(map(is_array, leaves.values())) or len(forms) > 1:
        function(function.random_ids(1, 2), function.begin(1))  # such a state is carried as it is, in one row
        return unknown, _repeats(function, first, unknown)
    arrays = [_leaf(path, like, trials, separate=separate) for path, like in leaves.items()]
    kinds = tuple(replace(leaf, kind="counter") if _is_counter(function, first, leaf) else leaf for leaf in arrays)
    if any(leaf.kind == "memory" for leaf in kinds):
        whole = OpaqueState(function.begin, kinds)
        return whole, _repeats(function, first, whole)
    packing = Packing(begin=function.begin, example=example, leaves=kinds, separate=separate)
    if not _survives_packing(function, packing, len(first.pieces[0])):
        packing = replace(packing, marks_start=True)
    return packing, _repeats(function, first, packing)


def _tried(function: StepFunction, rows: int, carrier: StateCarrier) -> _Trial:
    """Read three pieces of a text, its states carried between them; refuse a step that changes the state it takes."""
    pieces = np.split(function.random_ids(rows, sum(_PIECES)), np.cumsum(_PIECES)[:-1], axis=1)
    trial, state = _Trial(pieces, [], []), function.begin(rows)
    for piece in pieces:
        before = _arrays(state)
        try:
            logits, after = function(piece, state)
        except CheckpointError as error:
            if rows == 1 or error.__cause__ is None:
                raise
            raise CheckpointError(f"{error}; if it reads one row at a time, give batched=False") from error
        for path, array in _arrays(state).items():
            if path not in before or not _same(array, before[path]):
                advice = "it may be needed again, so make a new array, or begin with a copy of it"
                raise CheckpointError(f"step changes the state that it is given, at {path}: {advice}")
        trial.logits.append(logits)
        trial.states.append(after)
        state = carrier.unpack(carrier.pack(after, rows))
    return trial


def _arrays(state: Any) -> dict[str, NDArray[Any]]:
    """Return copies of the arrays of a state, by path; leaves that are no arrays are left out."""
    return {path: np.array(as_array(leaf, path)) for path, leaf in leaves_of(state).items() if is_array(leaf)}


def _same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")


def relative_difference(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Return the largest difference, as a share of the largest in `b`; ∞ for NaN, and where infinities differ."""
    finite = np.isfinite(a) & np.isfinite(b)
    if not np.array_equal(a[~finite], b[~finite]):
        return math.inf
    one, other = (numbers[finite].astype(np.result_type(numbers, np.float64)) for numbers in (a, b))
    return float(np.abs(one - other).max(initial=0) / np.abs(other).max(initial=1e-30))


def _leaf(path: str, like: Any, trials: Sequence[_Trial], *, separate: bool) -> StateLeaf:
    """Describe one array of the state from its values after each call, for each number of rows."""
    values = [trial.values(path) for trial in trials]
    early, late, last = values[0]
    leaf = StateLeaf(path=path, like=like, dtype=last.dtype, axis=None, shape=last.shape)
    if any(array.shape != after[0].shape for after in values for array in after):
        growth = (late.size - early.size) * leaf.itemsize // (len(trials[0].pieces[0]) * _PIECES[1])
        return _memory(replace(leaf, kind="memory", growth=growth), values)
    if separate:
        return leaf
    two, three = (after[-1].shape for after in values)
    if two != three:
        axes = {axis: sizes for axis, sizes in enumerate(zip_longest(two, three)) if sizes[0] != sizes[1]}
        if list(axes.values()) != [_ROWS]:
            said = f"{path} has the shape {two} for {_ROWS[0]} rows and {three} for {_ROWS[1]}"
            raise CheckpointError(f"{said}: exactly one axis must depend on the batch, and be as long as it")
        (axis,) = axes
        return replace(leaf, axis=axis, shape=two[:axis] + two[axis + 1 :])
    if all(_same(array, last) for after in values for array in after):
        return replace(leaf, kind="constant")
    if last.size <= 1:
        return leaf
    said = f"{path} has no batch axis: its shape is {last.shape} for any number of rows, and its values change"
    raise CheckpointError(f"{said}: give it a row for each row of ids, or batched=False if step reads one row")


def _memory(leaf: StateLeaf, values: Sequence[Sequence[NDArray[Any]]]) -> StateLeaf:
    """Describe the last entry of a memory, if it grows along one axis alone and another one is that of the batch."""
    early, late, last = (array.shape for array in values[0])
    longer = [axis for axis, sizes in enumerate(zip_longest(early, late)) if sizes[0] != sizes[1]]
    rows = [axis for axis, sizes in enumerate(zip_longest(last, values[-1][-1].shape)) if sizes[0] != sizes[1]]
    if len(longer) != 1 or len(rows) != len(values) - 1 or len(early) != len(late) or longer == rows:
        return leaf
    shape = tuple(1 if axis in longer else size for axis, size in enumerate(last) if axis not in rows)
    return replace(leaf, along=longer[0], axis=rows[0] if rows else None, shape=shape)


def _is_counter(function: StepFunction, trial: _Trial, leaf: StateLeaf) -> bool:
    """Return whether an array counts tokens or calls, and another count changes no prediction."""
    after = trial.values(leaf.path)
    if leaf.kind != "state" or leaf.dtype.kind not in "iu" or not after[0].size:
        return False
    grown = [np.unique(later.astype(np.int64) - earlier).tolist() for earlier, later in pairwise(after)]
    if grown not in ([[count] for count in _PIECES[1:]], [[1], [1]]):
        return False
    state = trial.states[-1]
    try:
        leaves = leaves_of(state) | {leaf.path: made_like(after[-1] + np.array(_SHIFT, leaf.dtype), leaf.like)}
        shifted, _ = function(trial.pieces[-1], filled(state, iter(leaves.values())))
    except (CheckpointError, OverflowError):
        return False  # it is an index into a table, for example
    return relative_difference(shifted, function(trial.pieces[-1], state)[0]) <= _ROUNDING


def _survives_packing(function: StepFunction, packing: Packing, rows: int) -> bool:
    """Return whether the initial state can be packed as others are; refuse one that differs between rows or calls."""
    state = function.begin(rows)
    initial, again = _arrays(state), _arrays(function.begin(rows))
    if not all(_same(array, again[path]) for path, array in initial.items()):
        raise CheckpointError(f"initial_state({rows}) returns other numbers at every call: a document must begin alike")
    try:
        vectors = packing.pack(state, rows)
    except CheckpointError:
        return False  # another form, or other shapes
    kept = _arrays(packing.unpack(vectors))
    if any(not np.array_equal(array, kept[path].astype(array.dtype)) for path, array in initial.items()):
        return False  # other types, or a constant of its own
    if (vectors != vectors[0]).any():
        raise CheckpointError(f"initial_state({rows}) differs from row to row: every row must begin alike")
    return True


def _repeats(function: StepFunction, trial: _Trial, carrier: StateCarrier) -> bool:
    """Return whether the same calls give the same logits, also from states that were packed."""
    again = _tried(function, len(trial.pieces[0]), carrier)
    return all(relative_difference(a, b) <= _ROUNDING for a, b in zip(again.logits, trial.logits, strict=True))
