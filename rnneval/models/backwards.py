"""Gradients by variable, a segment at a time, and the total derivative of one token's loss back through time.

Through time: one loss per row (never a sum of losses), h and c as independent coordinates (J. Martens, I. Sutskever:
Training deep and recurrent networks with Hessian-free optimization, 2012, section 3; R. Pascanu, T. Mikolov, Y. Bengio:
On the difficulty of training recurrent neural networks, ICML 2013, equations 3 to 5). For a linear layer the ratio at
lag k is ‖(Wᵀ)^k g‖ / ‖g‖; only where W = ρ·Q with Q orthogonal is that ρ^k.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from rnneval.backends.protocol import Ids, Place
from rnneval.metrics import gradient_norms
from rnneval.models.kernel import Packing, scored
from rnneval.models.layer_states import states_of
from rnneval.models.layers import columns_of
from rnneval.models.lm import RecurrentLM
from rnneval.models.trajectories import trajectories_of
from rnneval.records.gradients import ThroughTime, VariableGradient

GONE = 0.01
"""The share of its first norm below which a gradient counts as gone."""
Doubles = NDArray[np.float64]


def variable_gradients(
    lm: RecurrentLM, text: Ids, places: Sequence[Place], length: int
) -> tuple[float, dict[str, VariableGradient], dict[str, str]]:
    """Return the mean loss of segments, the gradient of each variable, and why some variables have none."""
    columns = columns_of(lm.model)
    one = _OneSegment(lm, [column.tensor for column in columns])
    norms, means, losses = [], [np.zeros(tuple(c.tensor.shape)) for c in columns], []
    for place in places:
        ids = text.ids(place.at, place.at + length + 1)[None]
        loss, found = one.run(tf.constant(ids[:, :-1]), tf.constant(ids[:, 1:]), tf.constant(place.state[None]))
        losses.append(float(loss))
        arrays = [
            np.zeros(mean.shape) if g is None else g.numpy().astype(np.float64)
            for g, mean in zip(found, means, strict=True)
        ]
        norms.append(list(gradient_norms(arrays).variables.values()))
        means = [mean + array / len(places) for mean, array in zip(means, arrays, strict=True)]
    table, variables, missing = np.array(norms), {}, {}
    for k, column in enumerate(columns):
        key = f"{column.layer}.{column.variable}"
        if not np.isfinite(table[:, k]).all():
            missing[key] = "it is not finite"
            continue
        variables[key] = VariableGradient(
            layer=column.layer,
            variable=column.variable,
            norm_mean=float(table[:, k].mean()),
            norm_max=float(table[:, k].max()),
            norm_of_mean=float(np.linalg.norm(means[k])),
            weight_norm=float(np.linalg.norm(np.asarray(column.tensor, np.float64))),
        )
    return float(np.mean(losses)), variables, missing


class _OneSegment:
    """The gradient of one segment's mean loss, compiled once."""

    def __init__(self, lm: RecurrentLM, variables: Sequence[Any]) -> None:
        self._lm, self._packing = lm, Packing.of(lm)
        self._variables = [getattr(variable, "value", variable) for variable in variables]
        self.run = tf.function(self._graph, autograph=False)

    def _graph(self, ids: Any, targets: Any, state: Any) -> Any:
        with tf.GradientTape() as tape:
            logits, _ = self._lm.step(ids, self._packing.unpack(state))
            loss = tf.reduce_mean(scored(logits, targets)[0])
        found = tape.gradient(loss, self._variables)
        return loss, [None if gradient is None else tf.convert_to_tensor(gradient) for gradient in found]


def through_time(
    lm: RecurrentLM, text: Ids, places: Sequence[Place], lags: int
) -> tuple[dict[str, ThroughTime], dict[str, str]]:
    """Return how the gradient of a token's loss falls off by lag for each state, and why some states have none."""
    back = _Backwards(lm)
    norms: dict[str, list[Doubles]] = {}
    for start in range(0, len(places), back.rows):
        some = places[start : start + back.rows]
        ids = np.stack([text.ids(place.at, place.at + lags + 2) for place in some])
        state = tf.constant(np.stack([place.state for place in some]))
        for key, norm in back.run(tf.constant(ids[:, :-1]), tf.constant(ids[:, -1]), state).items():
            norms.setdefault(key, []).append(norm.numpy().astype(np.float64)[:, ::-1])
    found, missing = {}, back.missing
    for key, parts in norms.items():
        decay = decay_of(np.concatenate(parts))
        if decay is None:
            missing[key] = "it does not act on the loss, or its gradient is not finite"
        else:
            found[key] = decay
    return found, missing


def decay_of(norms: Doubles) -> ThroughTime | None:
    """Summarise norms `(anchors, lags)`, lag 0 first, by lag; None where no lag has a gradient to compare with."""
    acting = np.flatnonzero((norms > 0).all(axis=0))
    if not np.isfinite(norms).all() or not len(acting):
        return None
    base = int(acting[0])
    ratio = norms / norms[:, base, None]
    low, median, high = np.percentile(ratio, [2.5, 50, 97.5], axis=0)
    below = median < GONE
    gone = int(np.flatnonzero(~below)[-1]) + 1 if below[-1] else None
    last = gone if gone is not None else len(median) - 1
    steps = max(1, last - base)
    return ThroughTime(
        median=tuple(median.tolist()),
        low=tuple(low.tolist()),
        high=tuple(high.tolist()),
        band=0.95,
        base=base,
        decay=float(median[last] ** (1 / steps)) if last > base else 1.0,
        gone=gone,
    )


class _Backwards:
    """One token's loss, differentiated by every state before it: all rows and all lags in one backward pass."""

    rows = 16

    def __init__(self, lm: RecurrentLM) -> None:
        self._lm, self._packing = lm, Packing.of(lm)
        self._units = tuple(unit for unit in lm.units if unit.is_layer and min(unit.sizes) > 0)
        self.missing = {unit.name: "a cell called by hand" for unit in lm.units if unit not in self._units}
        self.run = tf.function(self._graph, autograph=False)

    def _graph(self, ids: Any, target: Any, state: Any) -> dict[str, Any]:
        """Return norms by state, `(rows, time)`, for ids `(rows, time)` and the token after them `(rows,)`."""
        rows, time = ids.shape
        nudges = {unit: tf.zeros([rows, time, sum(unit.sizes)]) for unit in self._units}
        with tf.GradientTape() as tape:
            tape.watch(list(nudges.values()))
            with trajectories_of(self._units, nudges) as seen:
                logits, _ = self._lm.step(ids, self._packing.unpack(state))
            loss = scored(logits[:, -1:], target[:, None])[0]  # rows are independent: each row's own gradient
        self.missing |= seen.missing
        gradients = tape.gradient(loss, list(nudges.values()), unconnected_gradients=tf.UnconnectedGradients.ZERO)
        found: dict[str, Any] = {}
        for unit, gradient in zip(nudges, gradients, strict=True):
            parts = tf.split(gradient, list(unit.sizes), axis=-1)
            if unit in seen.nudged:
                found |= {slot.key: tf.norm(part, axis=-1) for slot, part in zip(states_of(unit), parts, strict=True)}
        return found
