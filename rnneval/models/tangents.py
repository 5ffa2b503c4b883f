"""Tangent vectors that are carried along by the Jacobian of each layer's own step, for Lyapunov exponents.

The walk and its source are described in `rnneval.engine.diagnostics.probes`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from rnneval.backends.protocol import Ids, Place
from rnneval.models.kernel import Packing
from rnneval.models.layers import Unit
from rnneval.models.lm import RecurrentLM
from rnneval.models.trajectories import Trajectory, trajectories_of

TINY = 1e-30
"""The smallest growth of one step that is told apart from none."""
_SEGMENT = 50
Doubles = NDArray[np.float64]


class TangentWalk:
    """Rows of a model and, beside each layer, two tangent vectors a row."""

    def __init__(self, lm: RecurrentLM, text: Ids, places: Sequence[Place]) -> None:
        self._lm, self._packing, self._text, self._places = lm, Packing.of(lm), text, places
        self._units = tuple(unit for unit in lm.units if unit.is_layer)
        self.missing = {unit.name: "a cell called by hand" for unit in lm.units if not unit.is_layer}
        self._run = tf.function(self._graph, autograph=False)
        self._state: Any = tf.constant(np.stack([place.state for place in places]))
        self._vectors: dict[str, Any] = {}
        self._logs: dict[str, list[Doubles]] = {}
        self.walked = 0

    def on(self, steps: int) -> None:
        """Walk further."""
        for start in range(self.walked, self.walked + steps, _SEGMENT):
            ids = np.stack([self._text.ids(place.at + start, place.at + start + _SEGMENT) for place in self._places])
            self._state, self._vectors, grown = self._run(tf.constant(ids), self._state, self._vectors)
            for name, log in grown.items():
                self._logs.setdefault(name, []).append(log.numpy().astype(np.float64))
        self.walked += steps

    def growth(self, steps: int) -> dict[str, Doubles]:
        """Return ln of each layer's growth at the last `steps` tokens, `(2, rows, steps)`."""
        kept = {name: np.concatenate(logs, axis=1)[:, -steps:] for name, logs in self._logs.items()}
        return {name: logs.reshape(2, len(self._places), steps) for name, logs in kept.items()}

    def _graph(self, ids: Any, state: Any, vectors: Mapping[str, Any]) -> Any:
        """Read a segment, and return the state after it, the tangents carried through it, and their growth by step."""
        with trajectories_of(self._units) as seen:
            _, after = self._lm.step(ids, self._packing.unpack(state))
        turned, grown = {}, {}
        for unit, trajectory in seen.by_unit(ids.shape[1]).items():
            before = [
                tf.concat([first[:, None], all_of[:, :-1]], axis=1)
                for first, all_of in zip(trajectory.before, trajectory.states, strict=True)
            ]
            vector = vectors.get(unit.name)
            turned[unit.name], grown[unit.name] = _carried(
                unit, trajectory, before, _directions(before) if vector is None else vector
            )
        self.missing |= seen.missing
        return self._packing.pack(after), turned, grown


def _directions(before: Sequence[Any]) -> Any:
    """Return two independent unit vectors a row, `(2 · rows, D)`: the same in every run."""
    rows, size = 2 * before[0].shape[0], sum(int(part.shape[-1]) for part in before)
    start = np.random.default_rng(0).standard_normal((rows, size))
    return tf.constant(start / np.linalg.norm(start, axis=1, keepdims=True), before[0].dtype)


def _carried(unit: Unit, trajectory: Trajectory, before: Sequence[Any], vector: Any) -> tuple[Any, Any]:
    """Carry tangents `(2 · rows, D)` along a segment; return them and ln of their growth, `(2 · rows, time)`."""
    cell, steps = unit.layer.cell, int(trajectory.inputs.shape[1])
    sizes = [int(part.shape[-1]) for part in before]
    form = cell.state_size if isinstance(cell.state_size, (list, tuple)) else [cell.state_size]
    logs = tf.TensorArray(vector.dtype, steps)

    def body(t: Any, v: Any, written: Any) -> Any:
        here = [tf.tile(part[:, t], [2, 1]) for part in before]
        with tf.autodiff.ForwardAccumulator(here, tf.split(v, sizes, axis=1)) as forward:
            _, new = cell(tf.tile(trajectory.inputs[:, t], [2, 1]), keras.tree.pack_sequence_as(form, here))
        parts = [forward.jvp(part, tf.UnconnectedGradients.ZERO) for part in keras.tree.flatten(new)]
        moved = tf.concat(parts, axis=1)
        norm = tf.maximum(tf.norm(moved, axis=1), TINY)
        return t + 1, moved / norm[:, None], written.write(t, tf.math.log(norm))

    _, turned, logs = tf.while_loop(lambda t, *_: t < steps, body, (tf.constant(0), vector, logs))
    return turned, tf.transpose(logs.stack())
