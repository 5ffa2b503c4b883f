"""One step of all rows in one graph: states in, losses and states out."""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from rnneval.engine.arrangement import PLAIN, Arrangement
from rnneval.engine.plan import Shape
from rnneval.engine.states import Packing, Vectors
from rnneval.engine.watch import Watch, plain_step
from rnneval.errors import CheckpointError
from rnneval.models.lm import RecurrentLM
from rnneval.models.wrap import brief


class Predicted(NamedTuple):
    """What was predicted of each target; arrays of shape `(rows, segment)`."""

    nats: NDArray[np.floating[Any]]
    confidence: NDArray[np.float32]
    rank: NDArray[np.int32]


class Part(NamedTuple):
    """What a watch saw of neighbouring rows."""

    rows: int
    seen: Any
    """Its tensors, as arrays."""


class Stepped(NamedTuple):
    """What one step gave."""

    predicted: Predicted
    states: Vectors
    """`(rows, D)`."""
    inside: tuple[Part, ...] = ()
    """What a watch saw."""


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
        seen = tuple(Part(len(part[0]), _arrays(part[1])) for part in inside)
        return Stepped(Predicted(nats, confidence.astype(np.float32), rank), after.numpy(), seen)

    def _graph(self, ids: Any, targets: Any, states: Any) -> Any:
        """Nothing passes between the parts of the rows, so TensorFlow runs them at the same time.

        What a watch sees is much, and is not joined: that would be a copy of all of it.
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
    """A model whose start no returned state stands for: one row, its state as the model gives it."""

    def __init__(self, lm: RecurrentLM, shape: Shape, watch: Watch | None = None) -> None:
        self.shape = shape
        self._lm = lm
        self._step = plain_step if watch is None else watch.step
        self._state: tuple[Any, ...] = ()
        self._run = tf.function(self._graph, autograph=False)

    def step(self, ids: NDArray[np.int32], targets: NDArray[np.int32], states: Vectors) -> Stepped:
        """Read ids `(1, segment)`; states of no numbers mean the start, and stay so: the state is kept here."""
        if not states.any():
            self._state = ()
        *predicted, after, inside = self._run(tf.constant(ids), tf.constant(targets), self._state)
        self._state = after
        nats, confidence, rank = (part.numpy() for part in predicted)
        seen = (Part(len(ids), _arrays(inside)),)
        return Stepped(Predicted(nats, confidence.astype(np.float32), rank), np.ones_like(states), seen)

    def _graph(self, ids: Any, targets: Any, state: Any) -> Any:
        logits, after, inside = self._step(self._lm, ids, state)
        return *scored(logits, targets), after, inside


def _arrays(inside: Any) -> Any:
    """What a watch saw, in place: `numpy()` would copy it."""
    return tf.nest.map_structure(lambda tensor: np.asarray(memoryview(tensor)), inside)


def scored(logits: Any, targets: Any) -> tuple[Any, Any, Any]:
    """Score targets `(rows, time)` under logits `(rows, time, V)`: loss in nats, top-1 confidence, rank.

    The loss is by log-softmax of the logits, never the log of a softmax. A tie is broken as argmax breaks it, for the
    lower id. Each pass over the logits counts: V may be large.
    """
    top = tf.reduce_max(logits, axis=-1)
    log_sum = tf.math.log(tf.reduce_sum(tf.exp(logits - top[..., None]), axis=-1))  # Σ ≥ 1: its logarithm is ≥ 0
    target = tf.gather(logits, targets, batch_dims=2)
    return (top - target) + log_sum, tf.exp(-log_sum), _rank(logits, targets, target)


def _rank(logits: Any, targets: Any, target: Any) -> Any:
    """How many ids come before the target: those with more, and of those with as much the lower ones.

    Signs say how many have more, and whether any has as much; only then, which is rare, those are looked at.
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
