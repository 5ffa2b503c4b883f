"""RecurrentLM: a Keras model whose state is an argument and a result, and its steps for `rnneval.evaluate`.

`rnneval.evaluate` carries states as vectors. In the graph of a step they become the tensors that the model takes, the
model runs, its predictions are scored, and the new state becomes vectors again: states in, losses and states out.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import tensorflow as tf
from keras import ops
from numpy.typing import NDArray

from rnneval.errors import CheckpointError, UsageError, in_one_line
from rnneval.models.keras.adapters import Answer, FlatAdapter
from rnneval.models.keras.hoisted import Arrangement, arranged
from rnneval.models.keras.layers import RecurrentUnit, gated_cells, states_of, why_no_gates, without_softmax
from rnneval.models.keras.state_tap import trajectories_of
from rnneval.models.protocol import (
    Layout,
    Predicted,
    Scorer,
    SeenRows,
    Sees,
    Shape,
    ShownModel,
    Stepped,
    Trajectory,
    Vectors,
)
from rnneval.records.run import (
    Checkpoint,
    LayerRecord,
    Warning,  # noqa: A004 - the record's own word
)
from rnneval.records.wiring import Slot
from rnneval.text import Vocabulary

State = tuple[Any, ...]
"""Leaves of a state, that is, its tensors; `()` stands for `states=None` if no leaves can."""

_FEW = 4  # rows of a step when no more are read than this
_WORTH_COMPILING = 4
"""Steps: fewer are made in a wider shape that was used already, since compiling costs as much as some of them."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class RecurrentLM(ShownModel):
    """A recurrent language model whose state is an argument and a result.

    Made by `rnneval.open` and `rnneval.wrap`.

    Example:
        >>> import keras, rnneval
        >>> model = keras.Sequential([keras.layers.Embedding(5, 4), keras.layers.GRU(3, return_sequences=True),
        ...                           keras.layers.Dense(5)])
        >>> lm = rnneval.wrap(model)
        >>> lm.width, [slot.slot for slot in lm.slots]
        (5, ['h'])
        >>> logits, state = lm.step([[1, 2, 3]], lm.initial_state(1))
        >>> tuple(logits.shape), [tuple(leaf.shape) for leaf in state]
        ((1, 3, 5), [(1, 3)])
    """

    model: Any
    contract: int
    """Number of the state contract, the way in which the model passes its state: 1 states argument, 2 state inputs,
    3 stateful, 4 stateless graph, 5 window."""
    width: int
    """V, the number of logits."""
    layers: tuple[LayerRecord, ...]
    """The recurrent layers, each at each of its places in a call, in the order in which they run."""
    slots: tuple[Slot | None, ...]
    """The layer and slot of each leaf of the state, where known."""
    batch_axes: tuple[int | None, ...]
    """The batch axis of each leaf."""
    input_kind: str
    output_kind: str
    assumptions: tuple[str, ...]
    """Assumptions that were made on opening, a sentence each."""
    warnings: tuple[Warning, ...] = ()
    """Warnings of the file, for every record of a run."""
    vocabulary: Vocabulary | None = None
    why_no_vocabulary: str = ""
    """The places where no vocabulary was found, and what to give."""
    checkpoint: Checkpoint
    drive: FlatAdapter
    units: tuple[RecurrentUnit, ...]
    """The recurrent layers, each at each of its places in a call."""
    row: State
    """The leaves, with one row each, that stand for `states=None`."""
    softmax: Any = None
    """The layer whose softmax is left out."""
    mixable: bool = True
    """True if leaves can stand for `states=None`, so that rows of one batch may start at different times."""
    repeatable: bool = True
    """True if the same ids give the same logits; a run of a model that draws random numbers is not valid."""
    window: int | None = None
    """N of a window model, which predicts from the last N tokens; None where a state is carried."""
    backend: str = field(default="keras", init=False)
    batched: bool = field(default=True, init=False)
    chunk: int = field(default=1, init=False)

    @property
    def memory_cells(self) -> bool:
        """True if a layer has memory cells, as an LSTM has."""
        return any(slot.rsplit(".", 1)[-1] == "c" for unit in self.units for slot in unit.slots)

    @property
    def device(self) -> str:
        """`GPU` if TensorFlow sees one, else `CPU`."""
        return "GPU" if tf.config.list_logical_devices("GPU") else "CPU"

    def _name(self) -> str:
        return type(self.model).__name__

    def start(self) -> Vectors:
        """Return the model's initial state as a vector, `(D,)`."""
        if not self.mixable:
            return np.zeros(1, np.float32)
        packed: Vectors = self.pack(self.row).numpy()[0]
        return packed

    def scorer(
        self, shape: Shape, *, kernel: str = "auto", padded: bool = True, sees: Sees = "losses", parallel: bool = True
    ) -> Scorer:
        """Prepare the model to read a text; see `rnneval.models.protocol.LanguageModel`."""
        arrangement = arranged(self.model, self.units, kernel)
        return KerasScorer(
            self, shape, arrangement if parallel else replace(arrangement, parts=1), padded=padded, sees=sees
        )

    def initial_state(self, batch: int) -> State:
        """Return the state that the model gives its layers for `states=None`, as leaves with `batch` rows.

        It is `()` if the model treats None unlike any state that it returns; `step` takes it as None.
        """
        if not self.mixable:
            return ()
        return tuple(tf.repeat(leaf, batch, axis=axis) for leaf, axis in zip(self.row, self.batch_axes, strict=True))

    def step(self, ids: Any, state: Sequence[Any]) -> Answer:
        """Read ids, int32 `(batch, time ≥ 1)`, from a state; return logits `(batch, time, V)` and the new state.

        The state is the flattened leaves of a state that the model returned (or of `initial_state`). Logits are
        float32; float64 log-probabilities if the model returns probabilities.

        Raises:
            UsageError: an id is negative or not below V, for which a lookup would return some row. The ids in a tensor
                are not checked, since its values may not exist yet.
        """
        if not tf.is_tensor(ids):
            given = np.asarray(ids)
            outside = np.argwhere((given < 0) | (given >= self.width))
            if len(outside):
                first = tuple(outside[0])
                raise UsageError(
                    f"{len(outside):,} ids that the model does not have, the first {given[first]} at "
                    f"({', '.join(map(str, first))}): its ids run from 0 to {self.width - 1:,}"
                )
        ids = tf.convert_to_tensor(ids, tf.int32)
        with without_softmax(self.softmax):
            logits, leaves = self.drive(ids, tuple(state) or None)
        if self.output_kind == "probabilities":
            logits = tf.math.log(tf.cast(logits, tf.float64))
        return Answer(logits, leaves)

    # Vectors are made and taken apart in the graph of a step: `rnneval.models.state` does it in NumPy, outside of one.

    def pack(self, state: Sequence[Any]) -> Any:
        """Put leaves into vectors `(rows, D)`; in a graph or eagerly."""
        dtype = tf.float32 if all(row.dtype == tf.float32 for row in self.row) else tf.float64
        columns = [
            tf.cast(tf.reshape(ops.moveaxis(leaf, axis, 0), [-1, row.shape.num_elements()]), dtype)
            for leaf, axis, row in zip(state, self.batch_axes, self.row, strict=True)
        ]
        return tf.concat(columns, axis=1)

    def unpack(self, vectors: Any) -> State:
        """Put vectors `(rows, D)` back into leaves."""
        leaves = []
        parts = tf.split(vectors, [row.shape.num_elements() for row in self.row], axis=1)
        for part, axis, row in zip(parts, self.batch_axes, self.row, strict=True):
            shape = [size for k, size in enumerate(row.shape) if k != axis]
            shaped = tf.reshape(tf.cast(part, row.dtype), [part.shape[0], *shape])
            leaves.append(ops.moveaxis(shaped, 0, axis))
        return tuple(leaves)


class KerasScorer:
    """Runs a Keras model for `rnneval.evaluate`, with steps compiled for the shapes that are worth it."""

    def __init__(self, lm: RecurrentLM, shape: Shape, arrangement: Arrangement, *, padded: bool, sees: Sees) -> None:
        # Padding follows the tokens that count, so it changes nothing but for a model that sees the future: without
        # it, a last short segment is a step of its own. A compiled step for every length would cost more than steps.
        self._lm, self._shape, self._padded, self._arrangement = lm, shape, padded, arrangement
        self._watched = _WatchedSteps(lm, sees)
        self._steps: dict[Shape, CompiledStep | WholeStateStep] = {}
        self.begin()

    @property
    def kernel(self) -> str:
        """The kernel that ran, in the words of `Arrangement.said`."""
        return self._arrangement.said

    def begin(self) -> None:
        """Begin a reading: the shapes of its steps depend on nothing that was read before."""
        self._asked: Counter[Shape] = Counter()
        self._used: set[Shape] = set()

    def score(self, ids: NDArray[np.int32], targets: NDArray[np.int32], states: Vectors, width: int) -> Stepped:
        """Read ids `(rows, time)` from states `(rows, D)` and score the targets."""
        rows, time = ids.shape
        wanted = Shape(
            rows=width if rows > _FEW else min(_FEW, width), segment=self._shape.segment if self._padded else time
        )
        shape = self._worth(wanted)
        if shape not in self._steps:
            self._steps[shape] = (
                CompiledStep(self._lm, self._watched, self._arrangement)
                if self._lm.mixable
                else WholeStateStep(self._lm, self._watched)
            )
        # A padded row repeats its last id, and a padded row or token is not counted.
        filled = ((0, shape.rows - rows), (0, shape.segment - time))
        both = [np.pad(array, filled, mode="edge") for array in (ids, targets)]
        return self._steps[shape].run(both[0], both[1], np.pad(states, (filled[0], (0, 0))))

    def _worth(self, wanted: Shape) -> Shape:
        """Return the wanted shape, or at first a wider one that this reading has used already."""
        self._asked[wanted] += 1
        wider = [shape for shape in self._used if shape.segment == wanted.segment and shape.rows > wanted.rows]
        if wider and wanted not in self._used and self._asked[wanted] <= _WORTH_COMPILING:
            return min(wider, key=lambda shape: shape.rows)
        self._used.add(wanted)
        return wanted


class _WatchedSteps:
    """Runs a model in a graph and records what is to be seen of its step, as tensors."""

    def __init__(self, lm: RecurrentLM, sees: Sees) -> None:
        self._lm, self._sees = lm, sees
        self.layout = Layout()

    def scored(self, ids: Any, targets: Any, state: Any) -> tuple[Any, Any, Any]:
        """Return the scores of the targets, the state, and the tensors that are seen: states and inputs by name.

        Time comes first in states, as in the loop: the transpose undoes the loop's own, and neither is run.
        """
        if self._sees == "losses":
            logits, after = self._lm.step(ids, state)
            return scored(logits, targets), after, ({}, {})
        with trajectories_of(self._lm.units) as found:
            logits, after = self._lm.step(ids, state)
        states: dict[str, Any] = {}
        inputs: dict[str, Any] = {}
        for unit, trajectory in found.by_unit(ids.shape[1]).items():
            for slot, own, before in zip(states_of(unit), trajectory.states, trajectory.before, strict=True):
                self.layout.states[slot.key] = slot
                states[slot.key] = (tf.transpose(own, [1, 0, 2]), before)
            if self._sees == "gates":
                with tf.init_scope():  # out of the graph that is being made: weights are read as arrays
                    self.layout.cells[unit.name] = gated_cells(unit)
                reason = why_no_gates(unit)
                if reason:
                    self.layout.missing[f"{unit.name}, gates"] = reason
                if self.layout.cells[unit.name]:
                    inputs[unit.name] = trajectory.inputs
        self.layout.missing |= found.missing
        return scored(logits, targets), after, (states, inputs)

    def stepped(self, predicted: Any, after: Vectors, parts: Sequence[tuple[int, Any]]) -> Stepped:
        """Return the result of a step, given what is seen in parts of so many rows: without a copy of large arrays."""
        nats, confidence, rank = (part.numpy() for part in predicted)
        seen = []
        for rows, tensors in parts:
            states, inputs = tf.nest.map_structure(lambda tensor: np.asarray(memoryview(tensor)), tensors)
            found = {key: Trajectory(own.transpose(1, 0, 2), before) for key, (own, before) in states.items()}
            seen.append(SeenRows(rows, self.layout, found, inputs))
        return Stepped(Predicted(nats, confidence.astype(np.float32), rank), after, tuple(seen))


class CompiledStep:
    """A model compiled for steps of one shape."""

    def __init__(self, lm: RecurrentLM, watched: _WatchedSteps, arrangement: Arrangement) -> None:
        self._lm, self._watched, self._arrangement = lm, watched, arrangement
        self._part_of = tf.function(self._part, autograph=False)  # parts of one size are traced once
        self._run = tf.function(self._graph, autograph=False)

    def run(self, ids: NDArray[np.int32], targets: NDArray[np.int32], states: Vectors) -> Stepped:
        """Read ids `(rows, segment)` from states `(rows, D)` and score the targets."""
        try:
            (*predicted, after), seen = self._run(tf.constant(ids), tf.constant(targets), tf.constant(states))
        except Exception as error:
            raise CheckpointError(
                f"{type(self._lm.model).__name__} raised {type(error).__name__} on ids of shape {ids.shape} when it "
                f"was run as a graph: {in_one_line(error)}"
            ) from error
        return self._watched.stepped(predicted, after.numpy(), [(len(rows), tensors) for rows, tensors in seen])

    def _graph(self, ids: Any, targets: Any, states: Any) -> Any:
        """Run the parts of the rows; nothing passes between them, so TensorFlow runs them at the same time.

        The arrays that are seen are large and are not joined: that would copy all of them.
        """
        divided = list(self._arrangement.divided(ids, targets, states))
        run = self._part if len(divided) == 1 else self._part_of
        parts = [run(*part) for part in divided]
        seen = [(part[0], tensors) for (*_, tensors), part in zip(parts, divided, strict=True)]
        columns = zip(*(part[:-1] for part in parts), strict=True)
        return [rows[0] if len(rows) == 1 else tf.concat(rows, axis=0) for rows in columns], seen

    def _part(self, ids: Any, targets: Any, states: Any) -> Any:
        with self._arrangement.running():
            predicted, after, seen = self._watched.scored(ids, targets, self._lm.unpack(states))
        return *predicted, self._lm.pack(after), seen


class WholeStateStep:
    """A model that cannot be started from a returned state: rows begin together, and their state is kept as it is."""

    def __init__(self, lm: RecurrentLM, watched: _WatchedSteps) -> None:
        self._watched = watched
        self._state: State = ()
        self._run = tf.function(watched.scored, autograph=False)

    def run(self, ids: NDArray[np.int32], targets: NDArray[np.int32], states: Vectors) -> Stepped:
        """Read ids `(rows, segment)`; zero states mean the start, and the state itself is kept here."""
        given = self._state if states.any() else ()
        predicted, self._state, seen = self._run(tf.constant(ids), tf.constant(targets), given)
        return self._watched.stepped(predicted, np.ones_like(states), [(len(ids), seen)])


def scored(logits: Any, targets: Any) -> tuple[Any, Any, Any]:
    """Score targets `(rows, time)` under logits `(rows, time, V)`: loss in nats, top-1 confidence, rank.

    `rnneval.models.scoring` in TensorFlow: the loss is the log-softmax of the logits, never the log of a softmax. The
    lower id wins a tie, as in argmax. V may be large, so there are few passes over the logits.
    """
    top = tf.reduce_max(logits, axis=-1)
    log_sum = tf.math.log(tf.reduce_sum(tf.exp(logits - top[..., None]), axis=-1))  # Σ ≥ 1: its logarithm is ≥ 0
    target = tf.gather(logits, targets, batch_dims=2)
    return (top - target) + log_sum, tf.exp(-log_sum), _rank(logits, targets, target)


def _rank(logits: Any, targets: Any, target: Any) -> Any:
    """Return how many ids rank before the target: those with a higher logit, and of equal ones those with a lower id.

    Signs say how many are higher and whether any is equal. Ties are rare, and only then counted.
    """
    signs = tf.sign(logits - target[..., None])
    more, differing = tf.reduce_sum(signs, axis=-1), tf.reduce_sum(tf.abs(signs), axis=-1)
    above = tf.cast((more + differing) / 2, tf.int32)  # whole numbers up to V, exact in float32
    width = tf.shape(logits)[-1]

    def with_ties() -> Any:
        earlier = (logits == target[..., None]) & (tf.range(width) < targets[..., None])
        return above + tf.reduce_sum(tf.cast(earlier, tf.int32), axis=-1)

    tied = tf.reduce_any(differing < tf.cast(width - 1, differing.dtype))
    return tf.cond(tied, with_ties, lambda: above)


@contextmanager
def eagerly(on: bool = True) -> Iterator[None]:
    """Run every `tf.function` of the block eagerly, or with `on=False` as a trace.

    A model whose `call` is a `tf.function` and is traced before its weights are loaded keeps the initial weights in
    that trace; so no trace is made until everything is in place.
    """
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(on)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)
