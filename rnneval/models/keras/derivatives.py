"""Derivatives: gradients by variable and back through time, and tangent vectors carried forward through the layers.

Back through time goes the total derivative of one token's loss: one loss per row (never a sum of losses), h and c as
independent coordinates (J. Martens, I. Sutskever: Training deep and recurrent networks with Hessian-free optimization,
2012, section 3; R. Pascanu, T. Mikolov, Y. Bengio: On the difficulty of training recurrent neural networks, ICML 2013,
equations 3 to 5). For a linear layer the ratio at lag k is ‖(Wᵀ)^k g‖ / ‖g‖; only where W = ρ·Q with Q orthogonal is
that ρ^k. Tangent vectors are for Lyapunov exponents (`rnneval.evaluate.diagnostics.probes`).
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from rnneval.arrays import Doubles
from rnneval.metrics.gradient_norms import decays_of
from rnneval.models.keras.layers import RecurrentUnit, layer_variables, states_of
from rnneval.models.keras.lm import RecurrentLM, scored
from rnneval.models.keras.state_tap import UnitRun, record_runs
from rnneval.models.protocol import TINY, IdSource, Place
from rnneval.records.run import ThroughTime, VariableGradient

_ROWS = 16  # tokens whose losses are differentiated in one backward pass
_SEGMENT = 50


def variable_gradients(
    lm: RecurrentLM, text: IdSource, places: Sequence[Place], length: int
) -> tuple[float, dict[str, VariableGradient], dict[str, str]]:
    """Return the mean loss of segments, the gradient of each variable, and why some variables have none."""
    columns = layer_variables(lm.model)
    tensors = [getattr(column.tensor, "value", column.tensor) for column in columns]

    @partial(tf.function, autograph=False)
    def gradient(ids: Any, targets: Any, state: Any) -> Any:
        with tf.GradientTape() as tape:
            logits, _ = lm.step(ids, lm.unpack(state))
            loss = tf.reduce_mean(scored(logits, targets)[0])
        found = tape.gradient(loss, tensors, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return loss, [tf.convert_to_tensor(each) for each in found]

    norms, means, losses = [], [np.zeros(tuple(c.tensor.shape)) for c in columns], []
    for place in places:
        ids = text.ids(place.at, place.at + length + 1)[None]
        loss, found = gradient(tf.constant(ids[:, :-1]), tf.constant(ids[:, 1:]), tf.constant(place.state[None]))
        losses.append(float(loss))
        arrays = [each.numpy().astype(np.float64) for each in found]
        norms.append([np.linalg.norm(array) for array in arrays])
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


def through_time(
    lm: RecurrentLM, text: IdSource, places: Sequence[Place], lags: int
) -> tuple[dict[str, ThroughTime], dict[str, str]]:
    """Return how the gradient of a token's loss falls off by lag for each state, and why some states have none."""
    units = tuple(unit for unit in lm.units if unit.is_layer and min(unit.sizes) > 0)
    missing = {unit.name: "a cell called by hand" for unit in lm.units if unit not in units}

    @partial(tf.function, autograph=False)
    def backwards(ids: Any, target: Any, state: Any) -> dict[str, Any]:
        """Return norms by state, `(rows, time)`, for ids `(rows, time)` and the token after them `(rows,)`."""
        rows, time = ids.shape
        nudges = {unit: tf.zeros([rows, time, sum(unit.sizes)]) for unit in units}
        with tf.GradientTape() as tape:
            tape.watch(list(nudges.values()))
            with record_runs(units, nudges=nudges, every_step=True) as seen:
                logits, _ = lm.step(ids, lm.unpack(state))
            loss = scored(logits[:, -1:], target[:, None])[0]  # rows are independent: each row's own gradient
        missing.update(seen.missing)
        nudged = {run.unit.at(run.turn) for run in seen.runs}
        gradients = tape.gradient(loss, list(nudges.values()), unconnected_gradients=tf.UnconnectedGradients.ZERO)
        by_slot: dict[str, Any] = {}
        for unit, gradient in zip(nudges, gradients, strict=True):
            parts = tf.split(gradient, list(unit.sizes), axis=-1)
            if unit in nudged:
                by_slot |= {slot.key: tf.norm(part, axis=-1) for slot, part in zip(states_of(unit), parts, strict=True)}
        return by_slot

    norms: dict[str, list[Doubles]] = {}
    for start in range(0, len(places), _ROWS):
        some = places[start : start + _ROWS]
        ids = np.stack([text.ids(place.at, place.at + lags + 2) for place in some])
        state = tf.constant(np.stack([place.state for place in some]))
        for key, norm in backwards(tf.constant(ids[:, :-1]), tf.constant(ids[:, -1]), state).items():
            norms.setdefault(key, []).append(norm.numpy().astype(np.float64)[:, ::-1])
    decays, none = decays_of({key: np.concatenate(parts) for key, parts in norms.items()})
    return decays, {**missing, **none}


class TangentWalk:
    """Rows of a model and, beside each layer, two tangent vectors a row."""

    def __init__(self, lm: RecurrentLM, text: IdSource, places: Sequence[Place]) -> None:
        self._lm, self._text, self._places = lm, text, places
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
        with record_runs(self._units, every_step=True) as seen:
            _, after = self._lm.step(ids, self._lm.unpack(state))
        turned, grown = {}, {}
        for unit, trajectory in seen.by_unit(ids.shape[1]).items():
            before = [
                tf.concat([first[:, None], all_of[:, :-1]], axis=1)
                for first, all_of in zip(trajectory.before, trajectory.states, strict=True)
            ]
            vector = vectors.get(unit.name)
            if vector is None:  # two independent unit vectors a row, `(2 · rows, D)`: the same in every run
                shape = (2 * before[0].shape[0], sum(int(part.shape[-1]) for part in before))
                start = np.random.default_rng(0).standard_normal(shape)
                vector = tf.constant(start / np.linalg.norm(start, axis=1, keepdims=True), before[0].dtype)
            turned[unit.name], grown[unit.name] = _carried(unit, trajectory, before, vector)
        self.missing |= seen.missing
        return self._lm.pack(after), turned, grown


def _carried(unit: RecurrentUnit, trajectory: UnitRun, before: Sequence[Any], vector: Any) -> tuple[Any, Any]:
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
