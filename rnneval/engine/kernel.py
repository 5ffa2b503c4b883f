"""One step of all rows in one graph: state in, losses and state out."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from rnneval.engine.plan import Shape
from rnneval.errors import CheckpointError
from rnneval.models.lm import RecurrentLM, State
from rnneval.models.wrap import brief


class Predicted(NamedTuple):
    """What was predicted of each target; arrays of shape `(rows, segment)`."""

    nats: NDArray[np.float64]
    confidence: NDArray[np.float64]
    rank: NDArray[np.int64]


class Kernel:
    """A model compiled for one shape of step, with the state of its rows."""

    def __init__(self, lm: RecurrentLM, shape: Shape) -> None:
        self._lm = lm
        self._initial = lm.initial_state(shape.rows)
        self._state: State = self._initial
        self._run = tf.function(self._graph, autograph=False)

    def step(self, ids: NDArray[np.int32], targets: NDArray[np.int32], fresh: NDArray[np.bool_]) -> Predicted:
        """Read ids `(rows, segment)`, starting the rows in `fresh` `(rows,)` anew; score the targets.

        Raises:
            CheckpointError: the model's own code cannot be traced into a graph.
        """
        if not self._lm.mixable and fresh.any():
            self._state = ()
        try:
            *predicted, state = self._run(tf.constant(ids), tf.constant(targets), tf.constant(fresh), self._state)
        except Exception as error:
            raise CheckpointError(
                f"{type(self._lm.model).__name__} raised {type(error).__name__} on ids of shape {ids.shape} when it "
                f"was run as a graph: {brief(error)}"
            ) from error
        self._state = state
        nats, confidence, rank = (part.numpy() for part in predicted)
        return Predicted(nats.astype(np.float64), confidence.astype(np.float64), rank.astype(np.int64))

    def _graph(self, ids: Any, targets: Any, fresh: Any, state: Sequence[Any]) -> Any:
        logits, after = self._lm.step(ids, self._started(fresh, state))
        return *scored(logits, targets), after

    def _started(self, fresh: Any, state: Sequence[Any]) -> State:
        if not self._lm.mixable:
            return tuple(state)
        return tuple(
            tf.where(_along(fresh, axis, leaf), tf.cast(start, leaf.dtype), leaf)
            for start, leaf, axis in zip(self._initial, state, self._lm.batch_axes, strict=True)
        )


def _along(rows: Any, axis: int | None, leaf: Any) -> Any:
    """Give `(rows,)` the shape in which it broadcasts along the batch axis of a leaf."""
    return tf.reshape(rows, [-1 if at == axis else 1 for at in range(len(leaf.shape))])


def scored(logits: Any, targets: Any) -> tuple[Any, Any, Any]:
    """Score targets `(rows, time)` under logits `(rows, time, V)`: loss in nats, top-1 confidence, rank.

    The loss is by log-softmax of the logits, never the log of a softmax. A tie is broken as argmax breaks it, for the
    lower id.
    """
    log_p = tf.nn.log_softmax(logits)
    target = tf.gather(log_p, targets, batch_dims=2)
    beats = log_p > target[..., None]
    ties = (log_p == target[..., None]) & (tf.range(tf.shape(logits)[-1]) < targets[..., None])
    rank = tf.math.count_nonzero(beats | ties, axis=-1)
    return -target, tf.exp(tf.reduce_max(log_p, axis=-1)), rank


Progress = Callable[[int, int], None]
"""Called with the tokens scored so far and in all."""
