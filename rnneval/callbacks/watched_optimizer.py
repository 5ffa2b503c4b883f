"""Norms of the gradients and updates of an optimizer, computed inside the graph of the training step.

`optimizer.apply` is replaced on the instance inside a block, and at no other time. Every training step calls it: Keras'
own, a custom `train_step`, a custom loop, compiled by XLA or not. The numbers of each step go into one line of a ring
buffer, a variable on the device, and are fetched later: so many steps may run in one call (`steps_per_execution`), and
no step waits for the host.
"""

import hashlib
import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from rnneval.models.layers import Column, columns_of
from rnneval.models.state_tap import overridden

# Of each variable in each step: three norms, that of the update, and the count of numbers that are not finite.
STATISTICS = ("grad_norm", "grad_norm_clipped", "weight_norm", "update_norm", "not_finite")
_SETTINGS = ("clipnorm", "global_clipnorm", "clipvalue", "gradient_accumulation_steps")
_RING = 256  # steps that the buffer holds; older ones are overwritten


@dataclass(frozen=True, kw_only=True)
class Lines:
    """Statistics of the steps that were fetched at once: the lines of the ring buffer, one for each step."""

    steps: NDArray[np.int64]
    """Numbers of the steps, from 1, `(n,)`."""
    values: NDArray[np.float64]
    """Statistics of each variable, `(n, variables, statistics)`: `columns` and `STATISTICS` name them; NaN if none."""
    lost: int
    """Steps that were overwritten in the ring before they were fetched."""


class WatchedOptimizer:
    """Optimizer of a model, watched inside a block in which the training step is traced or run."""

    def __init__(self, model: Any, optimizer: Any, ring: int = _RING) -> None:
        self._model, self._optimizer, self._ring = model, optimizer, ring
        self.columns: tuple[Column, ...] = ()
        """The trainable variables of the model; known from the first step on."""
        self._places: dict[int, int] = {}
        """By the id of a variable: its index in `columns`."""
        self._lines: Any = None
        self._count: Any = None
        self.fetched = 0
        """Steps that were fetched so far."""

    def watching(self) -> AbstractContextManager[None]:
        """Watch the optimizer's `apply` while the block runs.

        Where all is built, the ring buffer is made before the step is traced: a function whose first trace makes
        variables is traced twice.
        """
        if self._model.built and self._optimizer.built:
            self._make_ready(self._optimizer._trainable_variables)
        return overridden(self._optimizer, "apply", self._apply_beside(self._optimizer.apply))

    def described(self) -> dict[str, str]:
        """Return the metadata of a history: the optimizer, its clipping, and a hash of all names and shapes."""
        inner, _ = _unwrapped(self._optimizer)
        settings = {"name": type(inner).__name__} | {name: getattr(inner, name, None) for name in _SETTINGS}
        layout = [(column.layer, column.variable, *map(int, column.tensor.shape)) for column in self.columns]
        return {
            "rnneval.optimizer": json.dumps({name: value for name, value in settings.items() if value is not None}),
            "rnneval.layout": hashlib.sha256(json.dumps(layout).encode()).hexdigest(),
        }

    def fetch(self) -> Lines:
        """Return the steps since the last call, in order."""
        count = 0 if self._count is None else int(self._count.numpy())
        first = max(self.fetched, count - self._ring)
        steps, lost, self.fetched = np.arange(first, count), first - self.fetched, count
        values = np.zeros((0, len(self.columns), len(STATISTICS)))
        if len(steps):
            values = tf.gather(self._lines, steps % self._ring).numpy().astype(np.float64)
        return Lines(steps=steps + 1, values=values, lost=lost)

    def _apply_beside(self, original: Any) -> Any:
        """Return an `apply` that measures the step which the original `apply` makes."""

        def apply(grads: Any, trainable_variables: Any = None) -> Any:
            optimizer, grads = self._optimizer, list(grads)
            variables = list(optimizer._trainable_variables if trainable_variables is None else trainable_variables)
            self._make_ready(variables)
            seen = [
                (g, v) for g, v in zip(grads, variables, strict=True) if g is not None and self._place(v) is not None
            ]
            step = _Step(optimizer, [g for g, _ in seen], [v for _, v in seen])
            result = original(grads, trainable_variables)
            self._write([self._place(v) for _, v in seen], step.numbers())
            return result

        return apply

    def _make_ready(self, variables: Sequence[Any]) -> None:
        """Build the optimizer as its `apply` would (a loss scale is made there), and make the ring buffer."""
        if not self._optimizer.built:
            self._optimizer.build(variables)
        if self._lines is not None:
            return
        self.columns = columns_of(self._model)
        for place, column in enumerate(self.columns):
            self._places |= {id(column.tensor): place, id(getattr(column.tensor, "value", column.tensor)): place}
        with tf.init_scope():
            self._lines = tf.Variable(tf.zeros([self._ring, len(self.columns), len(STATISTICS)]), trainable=False)
            self._count = tf.Variable(0, dtype=tf.int64, trainable=False)

    def _place(self, variable: Any) -> int | None:
        return self._places.get(id(variable))

    def _write(self, places: Sequence[int | None], numbers: Any) -> None:
        """Write one line of the ring."""
        empty = tf.fill([len(self.columns), len(STATISTICS)], tf.constant(np.nan, tf.float32))
        line = tf.tensor_scatter_nd_update(empty, [[place] for place in places], numbers) if places else empty
        here = tf.equal(tf.range(self._ring, dtype=tf.int64), self._count % self._ring)
        self._lines.assign(tf.where(here[:, None, None], line[None], self._lines))
        self._count.assign_add(1)


class _Step:
    """One step of an optimizer: made before the step, and read after it."""

    def __init__(self, optimizer: Any, grads: Sequence[Any], variables: Sequence[Any]) -> None:
        inner, scale = _unwrapped(optimizer)
        self._variables = variables
        unscaled = [_divided(grad, scale) for grad in grads]
        self._given = [_plain(grad) for grad in unscaled]
        self._weights = [tf.cast(tf.convert_to_tensor(variable), tf.float32) for variable in variables]
        self._clipped = _clipped_norms(inner, unscaled, variables)

    def numbers(self) -> Any:
        """Return the statistics `(variables, statistics)`, after the step."""
        updates = [
            tf.cast(tf.convert_to_tensor(v), tf.float32) - w
            for v, w in zip(self._variables, self._weights, strict=True)
        ]
        bad = [tf.cast(tf.math.count_nonzero(~tf.math.is_finite(grad)), tf.float32) for grad in self._given]
        columns = (_norms(self._given), self._clipped, _norms(self._weights), _norms(updates), bad)
        return tf.transpose(tf.stack([tf.stack(column) for column in columns]))


def _unwrapped(optimizer: Any) -> tuple[Any, Any]:
    """Return the optimizer that clips, and the loss scale of the gradients that come in."""
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return optimizer.inner_optimizer, tf.cast(tf.convert_to_tensor(optimizer.dynamic_scale), tf.float32)
    return optimizer, tf.constant(float(optimizer.loss_scale_factor or 1.0), tf.float32)


def _clipped_norms(inner: Any, given: Sequence[Any], variables: Sequence[Any]) -> list[Any]:
    """Return the norms of the clipped gradients; NaN in a step that only accumulates.

    Slices of an embedding are clipped as slices, as the optimizer does it: by a norm in which the slices of an id that
    occurs twice are not added up.
    """
    every = inner.gradient_accumulation_steps
    if not every:
        return _norms(_clipped(inner, given))
    held = [inner._accumulated_gradients[inner._get_variable_index(variable)] for variable in variables]
    mean = [(_plain(grad) + _plain(before)) / every for grad, before in zip(given, held, strict=True)]
    steps = tf.equal((tf.convert_to_tensor(inner._iterations) + 1) % every, 0)
    return [tf.where(steps, norm, np.nan) for norm in _norms(_clipped(inner, mean))]


def _clipped(inner: Any, grads: Sequence[Any]) -> Sequence[Any]:
    return list(inner._clip_gradients(list(grads)))


def _norms(tensors: Sequence[Any]) -> list[Any]:
    return [tf.norm(_plain(tensor)) for tensor in tensors]


def _divided(grad: Any, scale: Any) -> Any:
    if isinstance(grad, tf.IndexedSlices):
        return tf.IndexedSlices(_divided(grad.values, scale), grad.indices, grad.dense_shape)
    return tf.cast(tf.convert_to_tensor(grad), tf.float32) / scale


def _plain(grad: Any) -> Any:
    """Return a gradient as a float32 tensor: the slices of an embedding are added up."""
    return tf.cast(tf.convert_to_tensor(grad), tf.float32)
