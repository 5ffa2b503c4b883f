"""`from_step`: a language model of any framework, given as a function from ids and a state to logits and a state."""

import hashlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnneval.errors import CheckpointError, UsageError
from rnneval.models.protocol import (
    LayerState,
    Layout,
    Predicted,
    Scorer,
    SeenRows,
    Sees,
    Shape,
    Stepped,
    Trajectory,
    Vectors,
)
from rnneval.models.scoring import score_logits
from rnneval.models.state import StatePacking
from rnneval.models.step.probing import StepFunction, probe
from rnneval.records.run import Checkpoint
from rnneval.text import Vocabulary, given_vocabulary

_NO_STATES = (
    "step returns its state at the end of a call only; from_step(…, every_token=True) calls it token by token, "
    "which takes longer"
)
_OPAQUE = "it is no nest of arrays that NumPy can read"
_NO_GATES = "a step function shows no gates"
_FINGERPRINT = (2, 64)  # rows and tokens of the text whose logits tell one model from another


@dataclass(frozen=True, kw_only=True, eq=False)
class StepLM:
    """A language model given as a step function; `from_step` makes it."""

    function: StepFunction = field(repr=False)
    vocabulary: Vocabulary | None
    checkpoint: Checkpoint
    packing: StatePacking | None = field(repr=False)
    """The packing of its state; None where the state is no nest of arrays."""
    repeatable: bool
    batched: bool  # whether it reads several rows in one call
    every_token: bool = False  # whether states are observed, by calls of one token
    name: str = "step"

    backend: str = field(default="step", init=False)
    input_kind: str = field(default="ids", init=False)
    output_kind: str = field(default="logits", init=False)
    warnings: tuple[()] = field(default=(), init=False)
    window: None = field(default=None, init=False)
    memory_cells: bool = field(default=False, init=False)
    device: str = field(default="CPU", init=False)

    @property
    def width(self) -> int:
        """V, the number of logits."""
        return self.function.width

    @property
    def why_no_vocabulary(self) -> str:
        """Advice for a model without a vocabulary."""
        return "" if self.vocabulary else "from_step was given no vocabulary: give vocabulary=…, or --vocab FILE"

    @property
    def assumptions(self) -> tuple[str, ...]:
        """Facts that were found by trying the function, a sentence each."""
        if self.packing is None:
            return (f"its state is carried as it is, in one row: {_OPAQUE}",)
        counters = [leaf.path for leaf in self.packing.leaves if leaf.counts]
        return tuple(
            f"{path} counts tokens or calls and changes no prediction: it is not compared" for path in counters
        )

    @property
    def mixable(self) -> bool:
        """True if rows of one batch may start at different times."""
        return self.batched and self.packing is not None

    def with_vocabulary(self, vocabulary: Vocabulary) -> "StepLM":
        """Return the same model with a vocabulary, which must fit the number of logits."""
        return replace(self, vocabulary=vocabulary.fit(self.width))

    def initial_state(self, batch: int) -> Any:
        """Return the initial state of `batch` rows, as the user's function makes it."""
        return self.function.begin(batch)

    def step(self, ids: NDArray[np.int32], state: Any) -> tuple[NDArray[Any], Any]:
        """Read ids `(batch, time)` from a state; return logits `(batch, time, V)` of NumPy and the user's own state."""
        return self.function(ids, state)

    def start(self) -> Vectors:
        """Return the initial state, `(D,)`; zeros stand for one that has no vector of its own."""
        if self.packing is None:
            return np.zeros(1, np.float32)
        if self.packing.initial is not None:
            return np.zeros(self.packing.size, self.packing.dtype)
        packed: Vectors = self.packing.pack(self.function.begin(1), 1)[0]
        return packed

    def scorer(
        self, shape: Shape, *, kernel: str = "auto", padded: bool = True, sees: Sees = "losses", parallel: bool = True
    ) -> Scorer:
        """Prepare steps of at most one shape; `padded` and `parallel` change nothing."""
        if kernel == "hoisted":
            raise UsageError("--kernel hoisted is for Keras models: a step function has one implementation, its own")
        by_token = self.every_token or shape.segment == 1
        layout = None if sees == "losses" else _layout(self.packing, sees, by_token=by_token)
        if self.packing is None:
            return _WholeStateScorer(self, layout)
        return _StepScorer(self.function, self.packing, layout)


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
            `(batch, time, V)` and the state after the last token: an array, or a tuple, list, dict, named tuple or
            dataclass of them. It must not change the state that it is given.
        initial_state: Called as `initial_state(batch)` for the state before the first token; None where `step` takes
            None for that.
        vocab_size: V, the number of logits; by default the number of tokens of the vocabulary.
        vocabulary: A Vocabulary, the tokens in the order of their ids, a map from token to id, or a vocabulary file. It
            is needed to evaluate the model.
        name: Name of the model in messages.
        checkpoint: File of the weights, for the record: its path and hash. By default the record has a hash of logits.
        batched: Whether `step` reads several rows; give False for a function that reads one row at a time.
        every_token: Whether the state is observed after every token, for summaries and traces of states. `step` is then
            called for one token at a time, which takes longer.

    Raises:
        CheckpointError: the function fails, returns other shapes, or has a state that cannot be carried.
        VocabularyError: the vocabulary is not a one-to-one map, or does not fit the number of logits.
        UsageError: neither `vocab_size` nor `vocabulary` is given, or `initial_state` cannot be called.

    Example:
        A model whose logits prefer the token that was most frequent so far, by a running count:

        >>> def step(ids, counts):
        ...     seen = counts[:, None] + np.cumsum(np.eye(3)[ids], axis=1)
        ...     return np.log(1 + seen), seen[:, -1]
        >>> lm = from_step(step, lambda batch: np.zeros((batch, 3)), vocabulary=["a", "b", "c"])
        >>> lm.width, lm.start().tolist(), lm.mixable
        (3, [0.0, 0.0, 0.0], True)
    """
    tokens = given_vocabulary(vocabulary)
    if vocab_size is None and tokens is None:
        raise UsageError("from_step needs the number of logits: give vocab_size=V, or a vocabulary")
    needed: dict[str, Any] = {"step(ids, state)": step}
    if initial_state is not None:
        needed["initial_state(batch)"] = initial_state
    for role, given in needed.items():
        if not callable(given):
            raise UsageError(f"from_step: {role} must be a function, and is a {type(given).__name__}")
    width = vocab_size if vocab_size is not None else tokens.first_id + tokens.size if tokens else 0
    function = StepFunction(step=step, initial_state=initial_state, width=width)
    packing, repeatable = probe(function, separate=not batched)
    return StepLM(
        function=function,
        vocabulary=None if tokens is None else tokens.fit(width),
        checkpoint=_checkpoint(function, checkpoint, rows=_FINGERPRINT[0] if batched else 1),
        packing=packing,
        repeatable=repeatable,
        batched=batched,
        every_token=every_token,
        name=name,
    )


def _checkpoint(function: StepFunction, path: str | os.PathLike[str] | None, *, rows: int) -> Checkpoint:
    """Describe the origin of the weights: a file, or the logits of a fixed text."""
    logits = function(function.random_ids(rows, _FINGERPRINT[1]), function.begin(rows)).logits
    content = np.ascontiguousarray(logits).tobytes()
    if path is not None:
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            raise CheckpointError(f"checkpoint {os.fspath(path)} cannot be read: {error.strerror}") from error
    return Checkpoint(
        path="" if path is None else os.fspath(path),
        sha256=hashlib.sha256(content).hexdigest(),
        format="step",
        contract=1,
        parameters=0,
        dtype=logits.dtype.name,
        layers=(),
    )


def _layout(packing: StatePacking | None, sees: Sees, *, by_token: bool) -> Layout:
    """Describe the states that a step shows, and why it does not show others."""
    layout = Layout(missing={"any gate": _NO_GATES} if sees == "gates" else {})
    if packing is None or not by_token:
        layout.missing["any state"] = _OPAQUE if packing is None else _NO_STATES
        return layout
    for leaf in packing.leaves:
        if leaf.dtype.kind == "f" and leaf.size:
            layer, slot = _named(leaf.path)
            state = LayerState(layer=layer, slot=slot, units=leaf.size, limit=None)
            layout.states[state.key] = state
        elif leaf.dtype.kind == "c":
            layout.missing[leaf.path] = "its numbers are complex"
    return layout


def _named(path: str) -> tuple[str, str]:
    """Return the layer and the part of its state that a path stands for.

    Example:
        >>> _named("state['encoder'][0].h"), _named("state[1]"), _named("state")
        (('state.encoder[0]', 'h'), ('state', '1'), ('state', 'value'))
    """
    steps = re.findall(r"\['(.*?)'\]|\[(.*?)\]|\.(\w+)", path)
    if not steps:
        return "state", "value"
    outer = "".join(f"[{index}]" if index else f".{key or attribute}" for key, index, attribute in steps[:-1])
    return f"state{outer}", "".join(steps[-1])


class _StepScorer:
    """Runs a step function whose state is packed."""

    kernel = "step"

    def __init__(self, function: StepFunction, packing: StatePacking, layout: Layout | None) -> None:
        """Take the layout of what is observed; with states in it, the function is called token by token."""
        self._function, self._packing, self._layout = function, packing, layout

    def begin(self) -> None:
        """Begin a reading; nothing is kept from one to the next."""

    def score(self, ids: NDArray[np.int32], targets: NDArray[np.int32], states: Vectors, width: int) -> Stepped:
        """Read ids from states and score the targets; rows that share values are read together."""
        groups = self._packing.groups(states)
        if len(groups) == 1:
            predicted, after = self._read(ids, targets, states)
        else:
            order = np.argsort(np.concatenate(groups))

            def in_place(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
                """Put the rows of several calls back in their places."""
                return np.concatenate(parts, dtype=parts[0].dtype, casting="unsafe")[order]

            read = [self._read(ids[rows], targets[rows], states[rows]) for rows in groups]
            predicted = Predicted(*map(in_place, zip(*(each for each, _ in read), strict=True)))
            after = in_place([each for _, each in read])
        if self._layout is None:
            return Stepped(predicted, after[:, -1])
        columns = {".".join(_named(leaf.path)): self._packing.columns(leaf) for leaf in self._packing.leaves}
        trajectories = {
            key: Trajectory(after[:, :, columns[key]], states[:, columns[key]]) for key in self._layout.states
        }
        return Stepped(predicted, after[:, -1], (SeenRows(len(ids), self._layout, trajectories, {}),))

    def _read(
        self, ids: NDArray[np.int32], targets: NDArray[np.int32], vectors: Vectors
    ) -> tuple[Predicted, NDArray[Any]]:
        """Read rows in one call, or token by token; also return the state after each call, `(rows, calls, D)`."""
        by_token = self._layout is not None and bool(self._layout.states)
        pieces = np.arange(1, ids.shape[1] if by_token else 1)
        state, predicted, after = self._packing.unpack(vectors), [], []
        for some, wanted in zip(np.split(ids, pieces, axis=1), np.split(targets, pieces, axis=1), strict=True):
            logits, state = self._function(some, state)
            predicted.append(score_logits(logits, wanted))
            after.append(self._packing.pack(state, len(ids)))
        columns = (np.concatenate(column, axis=1) for column in zip(*predicted, strict=True))
        return Predicted(*columns), np.stack(after, axis=1)


class _WholeStateScorer:
    """Runs a step function whose state is no nest of arrays: one row, whose state is kept here as it is."""

    kernel = "step"

    def __init__(self, lm: StepLM, layout: Layout | None) -> None:
        self._lm, self._layout = lm, layout
        self._state: Any = None

    def begin(self) -> None:
        """Begin a reading; its first step begins with the initial state."""

    def score(self, ids: NDArray[np.int32], targets: NDArray[np.int32], states: Vectors, width: int) -> Stepped:
        """Read ids `(1, time)`; zero states stand for the initial state, others for the state that is kept."""
        if len(ids) != 1:
            raise CheckpointError(f"{self._lm.name}: {len(ids)} rows, but its state is no array: give --streams 1")
        state = self._state if states.any() else self._lm.initial_state(1)
        logits, self._state = self._lm.function(ids, state)
        seen = () if self._layout is None else (SeenRows(1, self._layout, {}, {}),)
        return Stepped(score_logits(logits, targets), np.ones_like(states), seen)
