"""One step of all rows in one graph: states in, losses and states out.

`Packing` makes one vector per row of a model's state, whatever its containers and shapes. A `Watch` sees more of a step
than its losses; it is the one way for diagnostics into the exact stream.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from rnneval.backends.protocol import Predicted
from rnneval.engine.arrangement import PLAIN, Arrangement
from rnneval.engine.plan import Shape
from rnneval.errors import CheckpointError
from rnneval.models.lm import RecurrentLM
from rnneval.models.wrap import brief

if TYPE_CHECKING:
    from rnneval.engine.runner import Boundary

Vectors = NDArray[np.floating[Any]]
"""States as vectors, `(rows, D)` or `(D,)`.

They are float64 only where a leaf is not float32, since float64 holds every smaller type exactly.
"""


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


@dataclass(frozen=True, kw_only=True)
class Packing:
    """Conversion of the *leaves* of a model's state, its tensors, into one vector per row, and back."""

    leaves: tuple[Leaf, ...]

    @classmethod
    def of(cls, lm: RecurrentLM) -> "Packing":
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
            rows_first = tf.transpose(value, _rows_first(leaf.axis, len(leaf.shape) + 1))
            columns.append(tf.cast(tf.reshape(rows_first, [-1, leaf.size]), self.dtype))
        return tf.concat(columns, axis=1)

    def unpack(self, vectors: Any) -> tuple[Any, ...]:
        """Put vectors `(rows, D)` back into leaves."""
        parts = tf.split(vectors, [leaf.size for leaf in self.leaves], axis=1)
        return tuple(self._leaf(leaf, part) for leaf, part in zip(self.leaves, parts, strict=True))

    def _leaf(self, leaf: Leaf, part: Any) -> Any:
        rows = part.shape[0]
        shaped = tf.reshape(tf.cast(part, leaf.dtype), [rows, *leaf.shape])
        return tf.transpose(shaped, np.argsort(_rows_first(leaf.axis, len(leaf.shape) + 1)))


def _rows_first(axis: int, rank: int) -> list[int]:
    return [axis, *(other for other in range(rank) if other != axis)]


class Watched(NamedTuple):
    """Result of a watched step, as tensors."""

    logits: Any
    state: tuple[Any, ...]
    inside: Any
    """Any nest of tensors; () for none."""


class Watch(Protocol):
    """A probe of the exact stream."""

    weight: int
    """Numbers kept for a group of segments, for each number of the state: bounds how many groups are kept."""

    def step(self, lm: RecurrentLM, ids: Any, state: tuple[Any, ...]) -> Watched:
        """Run the model in a graph and observe it; the rows may come in several parts, each in a call of its own."""
        ...

    def rows(self, inside: Any, first: Sequence[int], counts: Sequence[int]) -> list[Any]:
        """Return what is kept of each row of a step; the rows come in the parts that `step` saw.

        Args:
            inside: The tensors of `step` as arrays; they may have more rows than there are positions.
            first: Position in the text of each row's first input token.
            counts: How many of its positions count.
        """
        ...

    def put(self, row: "Boundary", group: int | None) -> None:
        """Take one row at the end of a segment.

        Args:
            row: The observation.
            group: The boundary at which the group of the segment begins; None if the span is read only once. A span is
                re-evaluated from its start, and the last observation of a group is the valid one.
        """
        ...


def plain_step(lm: RecurrentLM, ids: Any, state: tuple[Any, ...]) -> Watched:
    """Run the model and observe nothing."""
    logits, after = lm.step(ids, state)
    return Watched(logits, after, ())


class WatchedRows(NamedTuple):
    """Arrays that a watch saw of neighbouring rows."""

    rows: int
    seen: Any
    """The watch's tensors, as arrays."""


class Stepped(NamedTuple):
    """Result of one step, as arrays."""

    predicted: Predicted
    states: Vectors
    """The state after the step, `(rows, D)`."""
    inside: tuple[WatchedRows, ...] = ()
    """The arrays that a watch saw."""


class Kernel:
    """A model compiled for steps of one shape."""

    def __init__(
        self,
        lm: RecurrentLM,
        packing: Packing,
        shape: Shape,
        watch: Watch | None = None,
        arrangement: Arrangement = PLAIN,
    ) -> None:
        self.shape = shape
        self._lm, self._packing, self._arrangement = lm, packing, arrangement
        self._step = plain_step if watch is None else watch.step
        self._part_of = tf.function(self._part, autograph=False)  # parts of one size are traced once
        self._run = tf.function(self._graph, autograph=False)

    def step(self, ids: NDArray[np.int32], targets: NDArray[np.int32], states: Vectors) -> Stepped:
        """Read ids `(rows, segment)` from states `(rows, D)` and score the targets.

        Raises:
            CheckpointError: the model's own code cannot be traced into a graph, or fails in it.
        """
        try:
            (*predicted, after), inside = self._run(tf.constant(ids), tf.constant(targets), tf.constant(states))
        except Exception as error:
            raise CheckpointError(
                f"{type(self._lm.model).__name__} raised {type(error).__name__} on ids of shape {ids.shape} when it "
                f"was run as a graph: {brief(error)}"
            ) from error
        nats, confidence, rank = (part.numpy() for part in predicted)
        seen = tuple(WatchedRows(len(part[0]), _arrays(part[1])) for part in inside)
        return Stepped(Predicted(nats, confidence.astype(np.float32), rank), after.numpy(), seen)

    def _graph(self, ids: Any, targets: Any, states: Any) -> Any:
        """Run the parts of the rows; nothing passes between them, so TensorFlow runs them at the same time.

        The arrays of a watch are large and are not joined: that would copy all of them.
        """
        divided = list(self._arrangement.divided(ids, targets, states))
        run = self._part if len(divided) == 1 else self._part_of
        parts = [run(*part) for part in divided]
        inside = [(part[0], seen) for (*_, seen), part in zip(parts, divided, strict=True)]
        columns = zip(*(part[:-1] for part in parts), strict=True)
        return [rows[0] if len(rows) == 1 else tf.concat(rows, axis=0) for rows in columns], inside

    def _part(self, ids: Any, targets: Any, states: Any) -> Any:
        with self._arrangement.running():
            logits, after, inside = self._step(self._lm, ids, self._packing.unpack(states))
        return *scored(logits, targets), self._packing.pack(after), inside


class WholeStateKernel:
    """A model that cannot be started from a returned state: one row, with the state as the model returns it."""

    def __init__(self, lm: RecurrentLM, shape: Shape, watch: Watch | None = None) -> None:
        self.shape = shape
        self._lm = lm
        self._step = plain_step if watch is None else watch.step
        self._state: tuple[Any, ...] = ()
        self._run = tf.function(self._graph, autograph=False)

    def step(self, ids: NDArray[np.int32], targets: NDArray[np.int32], states: Vectors) -> Stepped:
        """Read ids `(1, segment)`; zero states mean the start, and the state itself is kept here."""
        if not states.any():
            self._state = ()
        *predicted, after, inside = self._run(tf.constant(ids), tf.constant(targets), self._state)
        self._state = after
        nats, confidence, rank = (part.numpy() for part in predicted)
        seen = (WatchedRows(len(ids), _arrays(inside)),)
        return Stepped(Predicted(nats, confidence.astype(np.float32), rank), np.ones_like(states), seen)

    def _graph(self, ids: Any, targets: Any, state: Any) -> Any:
        logits, after, inside = self._step(self._lm, ids, state)
        return *scored(logits, targets), after, inside


def _arrays(inside: Any) -> Any:
    """Return the tensors that a watch saw as arrays, without the copy that `numpy()` would make."""
    return tf.nest.map_structure(lambda tensor: np.asarray(memoryview(tensor)), inside)


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
