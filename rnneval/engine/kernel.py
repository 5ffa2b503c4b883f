"""One step of all rows in one graph: states in, losses and states out."""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

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


class Stepped(NamedTuple):
    """What one step gave."""

    predicted: Predicted
    states: Vectors
    """`(rows, D)`."""
    inside: Any = ()
    """What a watch saw, as arrays."""


class Kernel:
    """A model compiled for steps of one shape."""

    def __init__(self, lm: RecurrentLM, packing: Packing, shape: Shape, watch: Watch | None = None) -> None:
        self.shape = shape
        self._lm, self._packing = lm, packing
        self._step = plain_step if watch is None else watch.step
        self._run = tf.function(self._graph, autograph=False)

    def step(self, ids: NDArray[np.int32], targets: NDArray[np.int32], states: Vectors) -> Stepped:
        """Read ids `(rows, segment)` from states `(rows, D)` and score the targets.

        Raises:
            CheckpointError: the model's own code cannot be traced into a graph, or fails in it.
        """
        try:
            *predicted, after, inside = self._run(tf.constant(ids), tf.constant(targets), tf.constant(states))
        except Exception as error:
            raise CheckpointError(
                f"{type(self._lm.model).__name__} raised {type(error).__name__} on ids of shape {ids.shape} when it "
                f"was run as a graph: {brief(error)}"
            ) from error
        nats, confidence, rank = (part.numpy() for part in predicted)
        return Stepped(Predicted(nats, confidence.astype(np.float32), rank), after.numpy(), _arrays(inside))

    def _graph(self, ids: Any, targets: Any, states: Any) -> Any:
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
        return Stepped(Predicted(nats, confidence.astype(np.float32), rank), np.ones_like(states), _arrays(inside))

    def _graph(self, ids: Any, targets: Any, state: Any) -> Any:
        logits, after, inside = self._step(self._lm, ids, state)
        return *scored(logits, targets), after, inside


def _arrays(inside: Any) -> Any:
    """What a watch saw, in place: `numpy()` would copy it."""
    return tf.nest.map_structure(lambda tensor: np.asarray(memoryview(tensor)), inside)


def scored(logits: Any, targets: Any) -> tuple[Any, Any, Any]:
    """Score targets `(rows, time)` under logits `(rows, time, V)`: loss in nats, top-1 confidence, rank.

    The loss is by log-softmax of the logits, never the log of a softmax. A tie is broken as argmax breaks it, for the
    lower id.
    """
    log_p = tf.nn.log_softmax(logits)
    target = tf.gather(log_p, targets, batch_dims=2)
    beats = log_p > target[..., None]
    ties = (log_p == target[..., None]) & (tf.range(tf.shape(logits)[-1]) < targets[..., None])
    rank = tf.math.count_nonzero(beats | ties, axis=-1, dtype=tf.int32)
    return -target, tf.exp(tf.reduce_max(log_p, axis=-1)), rank
