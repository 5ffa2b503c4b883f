"""`from_step`: a language model of any framework, given as a function from ids and a state to logits and a state.

`StepFunction` calls the user's function and checks what it returns. `probe` calls it a few times, and finds the batch
axis and the kind of every array of its state. `StepLM` is the model that `rnneval.evaluate` runs.
"""

import hashlib
import inspect
import math
import os
import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnneval.checkpoints.places import hash_of
from rnneval.errors import CheckpointError, UsageError, VocabularyError, type_and_message
from rnneval.models.protocol import (
    LanguageModel,
    LayerState,
    Layout,
    Predicted,
    Seen,
    Sees,
    Shape,
    Stepped,
    Trajectory,
    Vectors,
)
from rnneval.models.scoring import score_logits
from rnneval.models.state import (
    OpaqueState,
    Packing,
    StateLeaf,
    as_array,
    filled,
    form_of,
    is_array,
    leaves_of,
    made_like,
)
from rnneval.records.run import Checkpoint
from rnneval.text import Vocabulary, given_vocabulary

if TYPE_CHECKING:
    from rnneval.models.torch.recurrent import RecurrentModules

_PIECES = (2, 3, 1)  # tokens of the calls of the probe
_ROWS = (2, 3)
_SHIFT = 1000
_ROUNDING = 1e-6  # largest difference, relative to the largest logit, of two calls that count as equal
_FINGERPRINT = (2, 64)  # rows and tokens of the text whose logits tell one model from another
_NO_STATES = (
    "the model returns its state at the end of a call only: rnneval trace calls it token by token, as --segment 1 "
    "does, which takes longer"
)
_OPAQUE = "it is no nest of arrays that NumPy can read"

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

    def __call__(self, ids: NDArray[np.int32], state: Any) -> tuple[NDArray[Any], Any]:
        """Read ids `(batch, time)` from a state; return logits `(batch, time, V)` of NumPy and the user's own state."""
        tokens = np.array(ids, np.int32)  # a copy: PyTorch warns of arrays that are read only
        try:
            returned = self.step(*((tokens,) if state is None and self.has_start else (tokens, state)))
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


def probe(function: StepFunction, *, separate: bool) -> tuple[tuple[StateLeaf, ...] | None, Packing | None, bool]:
    """Return the arrays of a state and their packing, None where it is carried as it is, and whether calls repeat."""
    trials = [_tried(function, rows) for rows in ((1,) if separate else _ROWS)]
    first, example = trials[0], trials[0].states[-1]
    logits = first.logits[0]
    if logits.shape[-1] > 1 and (logits > 0).all() and np.allclose(logits.sum(axis=-1), 1, atol=1e-3):
        raise CheckpointError("step returned probabilities, which add up to 1: give logits, or their logarithms")
    leaves = leaves_of(example)
    if not all(map(is_array, leaves.values())):
        function(function.random_ids(1, 2), function.begin(1))  # such a state is carried as it is, in one row
        return None, None, _repeats(function, first, None)
    forms = {form_of(state): None for trial in trials for state in trial.states}
    if len(forms) > 1:
        advice = "give the same containers after each call (a cache that grows is one array that grows)"
        raise CheckpointError(f"step returned states of the forms {' and '.join(forms)}: {advice}")
    found = [_leaf(path, like, trials, separate=separate) for path, like in leaves.items()]
    kinds = tuple(replace(leaf, kind="counter") if _is_counter(function, first, leaf) else leaf for leaf in found)
    if any(leaf.kind == "memory" for leaf in kinds):
        return kinds, None, _repeats(function, first, None)
    packing = Packing(example=example, leaves=kinds, initial=None, separate=separate)
    if not _survives_packing(function, packing, len(first.pieces[0])):
        packing = replace(packing, initial=function.begin)
    return kinds, packing, _repeats(function, first, packing)


def _tried(function: StepFunction, rows: int, packing: Packing | None = None) -> _Trial:
    """Read three pieces of a text, states packed between them if asked, and see that those given stay as they are."""
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
        state = after if packing is None else packing.unpack(packing.pack(after, rows))
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
    seen = [trial.values(path) for trial in trials]
    early, late, last = seen[0]
    leaf = StateLeaf(path=path, like=like, dtype=last.dtype, axis=None, shape=last.shape)
    if any(array.shape != after[0].shape for after in seen for array in after):
        growth = (late.nbytes - early.nbytes) // (len(trials[0].pieces[0]) * _PIECES[1])
        return replace(leaf, kind="memory", growth=growth)
    if separate:
        return leaf
    two, three = (after[-1].shape for after in seen)
    if two != three:
        axes = {axis: sizes for axis, sizes in enumerate(zip_longest(two, three)) if sizes[0] != sizes[1]}
        if list(axes.values()) != [_ROWS]:
            said = f"{path} has the shape {two} for {_ROWS[0]} rows and {three} for {_ROWS[1]}"
            raise CheckpointError(f"{said}: exactly one axis must depend on the batch, and be as long as it")
        (axis,) = axes
        return replace(leaf, axis=axis, shape=two[:axis] + two[axis + 1 :])
    if all(_same(array, last) for after in seen for array in after):
        return replace(leaf, kind="constant")
    if last.size <= 1:
        return leaf
    said = f"{path} has no batch axis: its shape is {last.shape} for any number of rows, and its values change"
    raise CheckpointError(f"{said}: give it a row for each row of ids, or batched=False if step reads one row")


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


def _repeats(function: StepFunction, trial: _Trial, packing: Packing | None) -> bool:
    """Return whether the same calls give the same logits, also from states that were packed."""
    again = _tried(function, len(trial.pieces[0]), packing)
    return all(relative_difference(a, b) <= _ROUNDING for a, b in zip(again.logits, trial.logits, strict=True))


# The model


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class StepLM(LanguageModel):
    """A language model given as a step function; `from_step` makes it."""

    backend: ClassVar[str] = "step"
    kernel: ClassVar[str] = "step"
    function: StepFunction
    leaves: tuple[StateLeaf, ...] | None  # the arrays of its state; None where the state is no nest of arrays
    packing: Packing | None  # the packing of its state; None where the state is carried as it is, in one row
    every_token: bool = False  # whether states are observed, by calls of one token
    observer: "RecurrentModules | None" = None  # what sees the states in calls of many tokens
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Names of arrays of the state by their paths, where modules of PyTorch made them: one for each layer."""

    def initial_state(self, batch: int) -> Any:
        """Return the initial state of `batch` rows, as the user's function makes it."""
        return self.function.begin(batch)

    def step(self, ids: NDArray[np.int32], state: Any) -> tuple[NDArray[Any], Any]:
        """Read ids `(batch, time)` from a state; return logits `(batch, time, V)` of NumPy and the user's own state."""
        return self.function(ids, state)

    def start(self) -> Vectors:
        """Return the initial state, `(D,)`; zeros stand for one that has no vector of its own."""
        return self.carried().start(self.function.begin)

    def carried(self) -> Packing | OpaqueState:
        """Return the conversion of states between calls: into vectors, or the state as it is."""
        return self.packing or OpaqueState(self.initial_state)

    def scorer(self, shape: Shape, *, padded: bool = True, sees: Sees = "losses") -> "StepScorer":
        """Prepare steps of at most one shape; `padded` changes nothing."""
        if sees == "losses":
            return StepScorer(self, None, None)
        if self.packing is not None and self.observer is not None:
            return StepScorer(self, self.observer.layout(sees), self.observer)
        by_token = self.every_token or shape.segment == 1
        return StepScorer(self, _layout(self, sees, by_token=by_token), None)

    def named(self, path: str) -> tuple[str, str]:
        """Return the layer and the part of its state that a path stands for."""
        name, *more = self.names.get(path, ("", ""))
        layer, _, slot = name.rpartition(".")
        return layer_and_slot(path) if more else (layer, slot)


def from_step(
    step: Callable[[NDArray[np.int32], Any], Any],
    initial_state: Callable[[int], Any] | None = None,
    *,
    vocab_size: int | None = None,
    vocabulary: Vocabulary | str | os.PathLike[str] | Sequence[str] | Mapping[str, int] | None = None,
    name: str = "step",
    checkpoint: str | os.PathLike[str] | None = None,
    batched: bool = True,
    every_token: bool = False,
) -> StepLM:
    """Make a language model of a step function, so that a model of any framework can be evaluated.

    The function is called a few times at once, to find the batch axis of each array of its state. Arrays may be of any
    library that NumPy can read on the CPU (PyTorch, JAX, TensorFlow); the state that the function is given has the
    containers and the types that it returned.

    Args:
        step: Called as `step(ids, state)` with ids of type int32 and shape `(batch, time)`, time ≥ 1. Returns logits
            `(batch, time, V)` and the state after the last token: an array, or a tuple, list, dict, dataclass or other
            object that holds arrays, which it must not change: a state is used again. An array may grow with the text,
            as a cache does. An object without arrays that NumPy can read is carried as it is, even if `step` changes
            it in place; whether each of its parts is used is not tested then. A cache and such an object are read in
            one row, which is slower.
        initial_state: Called as `initial_state(batch)` for the state before the first token; None where `step` takes
            None for that.
        vocab_size: V, the number of logits; by default the number of tokens of the vocabulary.
        vocabulary: A Vocabulary, the tokens in the order of their ids, a map from token to id, or a vocabulary file. It
            is needed to evaluate the model.
        name: Name of the model in messages, records and reports.
        checkpoint: File of the weights, for the record: its path and hash. By default the record has a hash of logits.
        batched: Whether `step` reads several rows; give False for a function that reads one row at a time.
        every_token: Whether the state is observed after every token, for summaries and traces of states. `step` is then
            called for one token at a time, which takes longer.

    Raises:
        CheckpointError: the function fails, returns other shapes, or has a state that cannot be carried.
        VocabularyError: the vocabulary is not a one-to-one map, or does not fit the number of logits.
        UsageError: neither `vocab_size` nor `vocabulary` is given.

    Example:
        A model whose logits prefer the token that was most frequent so far, by a running count:

        >>> def step(ids, counts):
        ...     seen = counts[:, None] + np.cumsum(np.eye(3)[ids], axis=1)
        ...     return np.log(1 + seen), seen[:, -1]
        >>> lm = from_step(step, lambda batch: np.zeros((batch, 3)), vocabulary=["a", "b", "c"])
        >>> lm.width, lm.start().tolist(), lm.mixable
        (3, [0.0, 0.0, 0.0], True)
    """
    tokens, source = given_vocabulary(vocabulary), ""
    if vocab_size is None:
        if tokens is None:
            raise UsageError("from_step needs the number of logits: give vocab_size=V, or a vocabulary")
        vocab_size, source = tokens.first_id + tokens.size, tokens.source
    function = StepFunction(step=step, initial_state=initial_state, width=vocab_size, source=source)
    leaves, packing, repeatable = probe(function, separate=not batched)
    return StepLM(
        function=function,
        width=vocab_size,
        vocabulary=None if tokens is None else tokens.fit(vocab_size),
        why_no_vocabulary="" if tokens else "no vocabulary was given: give --vocab FILE",
        checkpoint=_checkpoint(function, checkpoint, name, rows=_FINGERPRINT[0] if batched else 1),
        assumptions=_assumptions(leaves),
        leaves=leaves,
        packing=packing,
        repeatable=repeatable,
        mixable=batched and packing is not None,
        batched=batched,
        every_token=every_token,
    )


def _assumptions(leaves: Sequence[StateLeaf] | None) -> tuple[str, ...]:
    """Return what was found by trying the function, a sentence each."""
    if leaves is None:
        return (f"its state is carried as it is, in one row: {_OPAQUE}",)
    counting = "counts tokens or calls and changes no prediction: it is not compared"
    said = [f"{leaf.path} {counting}" for leaf in leaves if leaf.kind == "counter"]
    if memory := [leaf for leaf in leaves if leaf.kind == "memory"]:
        more = f" and {len(memory) - 1} other arrays grow" if len(memory) > 1 else " grows"
        size = f"an attention memory of {sum(leaf.growth for leaf in memory):,} bytes a token"
        kept = "it is kept whole, and a text whose state is carried is read in one row"
        said.append(f"{memory[0].path}{more} with the text, {size}: {kept}")
    return tuple(said)


def _checkpoint(function: StepFunction, path: str | os.PathLike[str] | None, name: str, *, rows: int) -> Checkpoint:
    """Describe the origin of the weights: a file, or the logits of a fixed text."""
    logits, _ = function(function.random_ids(rows, _FINGERPRINT[1]), function.begin(rows))
    try:
        sha256 = hashlib.sha256(logits.tobytes()).hexdigest() if path is None else hash_of(Path(path))
    except OSError as error:
        raise CheckpointError(f"checkpoint {path} cannot be read: {error.strerror}") from error
    return Checkpoint(
        path="" if path is None else os.fspath(path),
        sha256=sha256,
        format="step",
        contract=1,
        parameters=0,
        dtype=logits.dtype.name,
        layers=(),
        name=name if path is None else None,
    )


def _layout(lm: StepLM, sees: Sees, *, by_token: bool) -> Layout:
    """Describe the states that a step shows, and why it does not show others."""
    layout = Layout(missing={"any gate": "a step function shows no gates"} if sees == "gates" else {})
    if lm.leaves is None or not by_token:
        layout.missing["any state"] = _OPAQUE if lm.leaves is None else _NO_STATES
        return layout
    for leaf in lm.leaves:
        layer, slot = lm.named(leaf.path)
        state = LayerState(layer=layer, slot=slot, units=leaf.size, limit=None)
        if leaf.kind == "memory":
            layout.missing[state.key] = "it grows with the text"
        elif leaf.kind == "state" and leaf.dtype.kind == "f" and leaf.size:
            layout.states[state.key] = state
        elif leaf.dtype.kind == "c":
            layout.missing[leaf.path] = "its numbers are complex"
    return layout


def layer_and_slot(path: str) -> tuple[str, str]:
    """Return the layer and the part of its state that a path stands for; no two paths have the same.

    Example:
        >>> layer_and_slot("state['encoder'][0].h"), layer_and_slot("state['encoder.h']"), layer_and_slot("state")
        (('state.encoder[0]', 'h'), ('state', "['encoder.h']"), ('state', 'value'))
    """
    plain = re.sub(r"\['(\w+)'\](?=[.\[]|$)", r".\1", path)  # a key that could be an attribute is written as one
    steps = re.fullmatch(r"(state.*?)(?:\.(\w+)|\[(\d+)\]|(\[(?:'(?:[^'\\]|\\.)*'|\"[^\"]*\"|[^\['\"]*)\]))", plain)
    if steps is None:
        return ("state", "value") if plain == "state" else ("state", plain.removeprefix("state"))
    outer, *last = steps.groups()
    return outer, next(filter(None, last))


class StepScorer:
    """Runs a step function, from the vectors of its states to the vectors after the call."""

    def __init__(self, lm: StepLM, layout: Layout | None, observer: "RecurrentModules | None") -> None:
        """Take the layout of what is observed: by the observer, or else in calls of one token."""
        self._lm, self._layout, self._observer = lm, layout, observer
        self._carried = lm.carried()
        self._leaves: dict[str, StateLeaf] = {}  # the arrays that are observed in calls of one token, by `LAYER.SLOT`
        if layout is not None and observer is None:
            named = {".".join(lm.named(leaf.path)): leaf for leaf in lm.leaves or ()}
            self._leaves = {key: named[key] for key in layout.states}

    def score(self, ids: NDArray[np.int32], targets: NDArray[np.int32], states: Vectors, width: int) -> Stepped:
        """Read ids from states and score the targets."""
        groups = self._carried.groups(states)
        if len(groups) == 1:
            return self._read(ids, targets, states)
        order = np.argsort(np.concatenate(groups))
        read = [self._read(ids[rows], targets[rows], states[rows]) for rows in groups]

        def joined(*parts: NDArray[Any]) -> NDArray[Any]:
            return np.concatenate(parts)[order]

        predicted = Predicted(*map(joined, *(part.predicted for part in read)))
        after = joined(*(part.states for part in read))
        if self._layout is None:
            return Stepped(predicted, after)
        seen = [part.seen for part in read if part.seen is not None]
        trajectories = {
            key: Trajectory(*map(joined, *(one.states[key] for one in seen))) for key in self._layout.states
        }
        inputs = {name: joined(*(one.inputs[name] for one in seen)) for name in self._layout.cells}
        return Stepped(predicted, after, Seen(self._layout, trajectories, inputs))

    def _read(self, ids: NDArray[np.int32], targets: NDArray[np.int32], vectors: Vectors) -> Stepped:
        """Read rows in one call, or token by token where arrays are observed."""
        state, rows = self._carried.unpack(vectors), len(ids)
        observed = [self._observed(state, rows)]
        pieces = np.arange(1, ids.shape[1] if self._leaves else 1)
        predicted: list[Predicted] = []
        nothing: Any = nullcontext(lambda: ({}, {}))
        with nothing if self._observer is None else self._observer.watching() as watched:
            for some, wanted in zip(np.split(ids, pieces, axis=1), np.split(targets, pieces, axis=1), strict=True):
                logits, state = self._lm.function(some, state)
                predicted.append(score_logits(logits, wanted))
                observed.append(self._observed(state, rows))
        states, inputs = watched()
        for key in self._leaves:
            before, *after = (values[key] for values in observed)
            states[key] = Trajectory(np.stack(after, axis=1), before)
        scored = Predicted(*(np.concatenate(column, axis=1) for column in zip(*predicted, strict=True)))
        seen = None if self._layout is None else Seen(self._layout, states, inputs)
        return Stepped(scored, self._carried.pack(state, rows), seen)

    def _observed(self, state: Any, rows: int) -> dict[str, NDArray[Any]]:
        """Return the states that are observed, `(rows, units)`; zeros where an initial state has none."""
        observed: dict[str, NDArray[Any]] = {}
        arrays = leaves_of(state) if self._leaves else {}
        for key, leaf in self._leaves.items():
            observed[key] = np.zeros((rows, leaf.size), self._carried.observed_type(leaf))
            if leaf.path in arrays:
                observed[key][:] = leaf.packed(as_array(arrays[leaf.path], leaf.path))
        return observed
