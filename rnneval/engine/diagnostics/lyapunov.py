"""The largest Lyapunov exponent of each layer along a text: does a small change of the state grow or die out?

Tangent vectors of a layer's state (h and c together) are carried along by the Jacobian of the layer's own step and
renormalised at every token. The mean logarithm of their growth is the exponent (G. Benettin, L. Galgani, A. Giorgilli,
J.-M. Strelcyn: Lyapunov characteristic exponents for smooth dynamical systems. Meccanica 15, 1980). The layers below
are fixed, so a layer's exponent is the *conditional* one of its own block (L. Pecora, T. Carroll: Synchronization in
chaotic systems. Physical Review Letters 64, 1990). The Jacobian of a stack is block-triangular, so the exponent of the
stack is the largest of its layers'. For a linear layer the exponent tends to the logarithm of the spectral radius of
its recurrent matrix.

A tangent vector needs time to turn into the direction that grows most: about 1 / (λ₁ − λ₂) tokens, which is thousands
where the two largest exponents are close. Each row therefore carries two tangents that begin in independent random
directions. The rows walk on until the two agree, and only the last `STEPS` tokens are averaged. What the two still
differ by, as a root mean square over rows, is part of the error.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from rnneval.engine.diagnostics.anchors import Place
from rnneval.engine.diagnostics.trajectories import Trajectory, trajectories_of
from rnneval.engine.kernel import Packing
from rnneval.engine.runner import Ids
from rnneval.models.layers import Unit
from rnneval.models.lm import RecurrentLM
from rnneval.records.run import Exponent

ROWS, STEPS = 8, 1_000
"""The number of rows, and of the tokens of each row that are averaged."""
SETTLING, MOST_SETTLING = 100, 8_000
"""The fewest and the most tokens of a row that are walked before those that are averaged."""
_SEGMENT = 50
_FURTHER = 500
"""Tokens walked before the tangents are compared again."""
_SETTLED = 0.25
"""The tangents have settled where their difference is at most this share of the spread over the text."""
_ROUNDING = 1e-6
"""Differences of growth below this are rounding of float32, in nats per token."""
_CLUSTERS = 8
_TINY = 1e-30
Doubles = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Exponents:
    """Exponents by layer and of `stack`, with the reasons why others are missing."""

    found: Mapping[str, Exponent]
    missing: Mapping[str, str]
    unsettled: Mapping[str, float]
    """Layers whose two tangents still differ at the end of the walk, with the difference in nats per token."""


def exponents(lm: RecurrentLM, text: Ids, places: Sequence[Place], steps: int) -> Exponents:
    """Estimate the largest Lyapunov exponent of each layer and of the stack.

    Args:
        lm: The model.
        text: The text with the ids.
        places: Starting points, one per row, each followed by `steps` tokens.
        steps: The most tokens to walk in each row: a multiple of 50, more than `SETTLING`.
    """
    walk = _Walk(lm, text, places)
    measured = min(STEPS, steps - SETTLING)
    walk.on(SETTLING + measured)
    while True:
        found, missing, unsettled = {}, dict(walk.missing), {}
        for name, logs in walk.growth(measured).items():
            if (logs <= np.log(_TINY) / 2).any() or not np.isfinite(logs).all():
                missing[name] = "a change of its state is gone after one step, or is not finite"
                continue
            spread, difference = _errors(logs)
            if not difference <= max(_SETTLED * spread, _ROUNDING):
                unsettled[name] = difference
            found[name] = Exponent(
                value=float(logs.mean()),
                standard_error=float(np.hypot(spread, difference)),
                steps=logs.shape[1] * measured,
                settling=walk.walked - measured,
            )
        if not unsettled or walk.walked >= steps:
            break
        walk.on(min(_FURTHER, steps - walk.walked))
    if found and not missing:
        found["stack"] = max(found.values(), key=lambda exponent: exponent.value)
    return Exponents(found=found, missing=missing, unsettled=unsettled)


def _errors(logs: Doubles) -> tuple[float, float]:
    """Return the error from the spread over the text, and that of tangents that have not settled.

    `logs` holds the growth of both tangents, `(2, rows, steps)`. The spread is that of row means; where there are
    fewer than 8 rows, each is cut into equal blocks, so that there are at least 8 clusters.
    """
    blocks = -(-_CLUSTERS // logs.shape[1])
    along = logs.mean(axis=0)[:, logs.shape[2] % blocks :]
    means = along.reshape(along.shape[0] * blocks, -1).mean(axis=1)
    spread = float(means.std(ddof=1) / np.sqrt(len(means)))
    apart = logs[0].mean(axis=1) - logs[1].mean(axis=1)
    return spread, float(np.sqrt(np.mean(apart**2)))


class _Walk:
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
        norm = tf.maximum(tf.norm(moved, axis=1), _TINY)
        return t + 1, moved / norm[:, None], written.write(t, tf.math.log(norm))

    _, turned, logs = tf.while_loop(lambda t, *_: t < steps, body, (tf.constant(0), vector, logs))
    return turned, tf.transpose(logs.stack())
