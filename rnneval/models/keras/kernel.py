"""The steps of a Keras model for the engine: all rows in one graph, states in, losses and states out.

`Packing` makes one vector per row of a model's state, whatever its containers and shapes.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from rnneval.errors import CheckpointError, in_one_line
from rnneval.models.keras.arrangement import Arrangement
from rnneval.models.keras.layers import gated_cells, states_of, why_no_gates
from rnneval.models.keras.state_tap import trajectories_of
from rnneval.models.protocol import Layout, Predicted, SeenRows, Sees, Shape, Stepped, Trajectory, Vectors

if TYPE_CHECKING:
    from rnneval.models.keras.lm import RecurrentLM

_FEW = 4  # rows of a step when no more are read than this
_WORTH_COMPILING = 4
"""Steps: fewer are made in a wider shape that was used already, since compiling costs as much as some of them."""


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """One leaf of the state: its batch axis, and the shape of one row of it."""

    axis: int
    shape: tuple[int, ...]
    dtype: Any

    @property
    def size(self) -> int:
        """Count of numbers in one row."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def rows_first(self) -> list[int]:
        """The axes of the leaf with its batch axis first."""
        return [self.axis, *(other for other in range(len(self.shape) + 1) if other != self.axis)]


@dataclass(frozen=True, kw_only=True)
class Packing:
    """Conversion of the *leaves* of a model's state, its tensors, into one vector per row, and back."""

    leaves: tuple[Leaf, ...]

    @classmethod
    def of(cls, lm: "RecurrentLM") -> "Packing":
        """Make the packing that fits the initial state of a model."""
        leaves = []
        for leaf, axis in zip(lm.initial_state(1), lm.batch_axes, strict=True):
            assert axis is not None  # noqa: S101 - else the model is not mixable, and nothing is packed
            shape = tuple(int(n) for n in leaf.shape)
            leaves.append(Leaf(axis=axis, shape=shape[:axis] + shape[axis + 1 :], dtype=leaf.dtype))
        return cls(leaves=tuple(leaves))

    @property
    def size(self) -> int:
        """D, the count of numbers in one row."""
        return sum(leaf.size for leaf in self.leaves)

    @property
    def dtype(self) -> Any:
        """The type of the vectors."""
        return np.float32 if all(leaf.dtype == tf.float32 for leaf in self.leaves) else np.float64

    def pack(self, state: Sequence[Any]) -> Any:
        """Put leaves, tensors, into vectors `(rows, D)`; in a graph or eagerly."""
        columns = []
        for leaf, value in zip(self.leaves, state, strict=True):
            rows_first = tf.transpose(value, leaf.rows_first)
            columns.append(tf.cast(tf.reshape(rows_first, [-1, leaf.size]), self.dtype))
        return tf.concat(columns, axis=1)

    def unpack(self, vectors: Any) -> tuple[Any, ...]:
        """Put vectors `(rows, D)` back into leaves."""
        leaves = []
        parts = tf.split(vectors, [leaf.size for leaf in self.leaves], axis=1)
        for leaf, part in zip(self.leaves, parts, strict=True):
            shaped = tf.reshape(tf.cast(part, leaf.dtype), [part.shape[0], *leaf.shape])
            leaves.append(tf.transpose(shaped, np.argsort(leaf.rows_first)))
        return tuple(leaves)


class KerasScorer:
    """Runs a Keras model for the engine, with steps compiled for the shapes that are worth it."""

    def __init__(self, lm: "RecurrentLM", shape: Shape, arrangement: Arrangement, *, padded: bool, sees: Sees) -> None:
        # Padding follows the tokens that count, so it changes nothing but for a model that sees the future: without
        # it, a last short segment is a step of its own. A compiled step for every length would cost more than steps.
        self._lm, self._shape, self._padded = lm, shape, padded
        self._watched = _WatchedSteps(lm, sees)
        self._arrangement = arrangement
        self._packing = Packing.of(lm) if lm.mixable else None
        self._kernels: dict[Shape, Kernel | WholeStateKernel] = {}
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
        if shape not in self._kernels:
            self._kernels[shape] = (
                WholeStateKernel(self._lm, self._watched)
                if self._packing is None
                else Kernel(self._lm, self._packing, self._watched, self._arrangement)
            )
        # A padded row repeats its last id, and a padded row or token is not counted.
        filled = ((0, shape.rows - rows), (0, shape.segment - time))
        both = [np.pad(array, filled, mode="edge") for array in (ids, targets)]
        return self._kernels[shape].step(both[0], both[1], np.pad(states, (filled[0], (0, 0))))

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

    def __init__(self, lm: "RecurrentLM", sees: Sees) -> None:
        self._lm, self._sees = lm, sees
        self.layout = Layout()

    def run(self, ids: Any, state: Any) -> tuple[Any, Any, Any]:
        """Return the logits, the state, and the tensors that are seen: states and inputs by name.

        Time comes first in states, as in the loop: the transpose undoes the loop's own, and neither is run.
        """
        if self._sees == "losses":
            return *self._lm.step(ids, state), ({}, {})
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
        return logits, after, (states, inputs)

    def seen(self, rows: int, tensors: Any) -> SeenRows:
        """Return what was seen as arrays, without the copy that `numpy()` would make."""
        states, inputs = tf.nest.map_structure(lambda tensor: np.asarray(memoryview(tensor)), tensors)
        found = {key: Trajectory(own.transpose(1, 0, 2), before) for key, (own, before) in states.items()}
        return SeenRows(rows, self.layout, found, inputs)


class Kernel:
    """A model compiled for steps of one shape."""

    def __init__(self, lm: "RecurrentLM", packing: Packing, watched: _WatchedSteps, arrangement: Arrangement) -> None:
        self._lm, self._packing, self._arrangement, self._watched = lm, packing, arrangement, watched
        self._part_of = tf.function(self._part, autograph=False)  # parts of one size are traced once
        self._run = tf.function(self._graph, autograph=False)

    def step(self, ids: NDArray[np.int32], targets: NDArray[np.int32], states: Vectors) -> Stepped:
        """Read ids `(rows, segment)` from states `(rows, D)` and score the targets."""
        try:
            (*predicted, after), seen = self._run(tf.constant(ids), tf.constant(targets), tf.constant(states))
        except Exception as error:
            raise CheckpointError(
                f"{type(self._lm.model).__name__} raised {type(error).__name__} on ids of shape {ids.shape} when it "
                f"was run as a graph: {in_one_line(error)}"
            ) from error
        nats, confidence, rank = (part.numpy() for part in predicted)
        parts = tuple(self._watched.seen(len(rows), tensors) for rows, tensors in seen)
        return Stepped(Predicted(nats, confidence.astype(np.float32), rank), after.numpy(), parts)

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
            logits, after, seen = self._watched.run(ids, self._packing.unpack(states))
        return *scored(logits, targets), self._packing.pack(after), seen


class WholeStateKernel:
    """A model that cannot be started from a returned state: one row, with the state as the model returns it."""

    def __init__(self, lm: "RecurrentLM", watched: _WatchedSteps) -> None:
        self._lm, self._watched = lm, watched
        self._state: tuple[Any, ...] = ()
        self._run = tf.function(self._graph, autograph=False)

    def step(self, ids: NDArray[np.int32], targets: NDArray[np.int32], states: Vectors) -> Stepped:
        """Read ids `(1, segment)`; zero states mean the start, and the state itself is kept here."""
        if not states.any():
            self._state = ()
        *predicted, after, seen = self._run(tf.constant(ids), tf.constant(targets), self._state)
        self._state = after
        nats, confidence, rank = (part.numpy() for part in predicted)
        rows = (self._watched.seen(len(ids), seen),)
        return Stepped(Predicted(nats, confidence.astype(np.float32), rank), np.ones_like(states), rows)

    def _graph(self, ids: Any, targets: Any, state: Any) -> Any:
        logits, after, seen = self._watched.run(ids, state)
        return *scored(logits, targets), after, seen


def scored(logits: Any, targets: Any) -> tuple[Any, Any, Any]:
    """Score targets `(rows, time)` under logits `(rows, time, V)`: loss in nats, top-1 confidence, rank.

    The loss is the log-softmax of the logits, never the log of a softmax. The lower id wins a tie, as in argmax. V may
    be large, so there are few passes over the logits.
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
