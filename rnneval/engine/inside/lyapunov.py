"""The largest Lyapunov exponent of each layer along a text: does a small change of the state grow or die out?

One tangent vector a layer and row is carried along by the Jacobian of the layer's own step (h and c together) and
renormalised at every token; the mean of the logarithms of its growth is the exponent (G. Benettin, L. Galgani,
A. Giorgilli, J.-M. Strelcyn: Lyapunov characteristic exponents for smooth dynamical systems. Meccanica 15, 1980). The
layers below are fixed, so a layer's exponent is the *conditional* one of its own block (L. Pecora, T. Carroll:
Synchronization in chaotic systems. Physical Review Letters 64, 1990); the Jacobian of a stack is block-triangular, so
the exponent of the stack is the largest of its layers'. The first steps, in which the vector turns into the direction
that grows most, are left out; the standard error is that of the means of blocks. For a linear layer the exponent tends
to the logarithm of the spectral radius of its recurrent matrix.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from rnneval.engine.inside.anchors import Place
from rnneval.engine.inside.courses import UnitCourse, courses_of
from rnneval.engine.runner import Ids
from rnneval.engine.states import Packing
from rnneval.models.layers import Unit
from rnneval.models.lm import RecurrentLM
from rnneval.records.run import Exponent

ROWS, STEPS, SETTLING = 8, 1_000, 100
"""Rows, tokens a row, and how many of them are left out at first."""
_SEGMENT = 50
_BLOCK = 50
_TINY = 1e-30
Doubles = NDArray[np.float64]


def exponents(
    lm: RecurrentLM, text: Ids, places: Sequence[Place], steps: int, settling: int = SETTLING
) -> tuple[dict[str, Exponent], dict[str, str]]:
    """Give the exponent of each layer and of `stack`, and of whom there is none, with the reason.

    Args:
        lm: The model.
        text: Where the ids are.
        places: Where to begin, one a row, each with `steps` tokens after it.
        steps: Tokens a row, a multiple of 50.
        settling: How many of them are left out at first.
    """
    growth, missing = _Walk(lm).growth(text, places, steps)
    found = {}
    for name, logs in growth.items():
        kept = logs[:, settling:]
        if (kept <= np.log(_TINY) / 2).any() or not np.isfinite(kept).all():
            missing[name] = "a change of its state is gone after one step, or is not finite"
        else:
            found[name] = _exponent(kept)
    if found and not missing:
        found["stack"] = max(found.values(), key=lambda exponent: exponent.value)
    return found, missing


def _exponent(logs: Doubles) -> Exponent:
    """Mean growth a token, `(rows, steps)`, and its standard error from blocks."""
    length = logs.shape[1] // _BLOCK * _BLOCK
    blocks = logs[:, logs.shape[1] - length :].reshape(-1, _BLOCK).mean(axis=1) if length else logs.mean(axis=1)
    error = float(blocks.std(ddof=1) / np.sqrt(len(blocks))) if len(blocks) > 1 else 0.0
    return Exponent(value=float(logs.mean()), standard_error=error, steps=logs.size)


class _Walk:
    """Rows of a model and, beside each layer, a tangent vector."""

    def __init__(self, lm: RecurrentLM) -> None:
        self._lm, self._packing = lm, Packing.of(lm)
        self._units = tuple(unit for unit in lm.units if unit.is_layer)
        self._missing = {unit.name: "a cell called by hand" for unit in lm.units if not unit.is_layer}
        self._run = tf.function(self._graph, autograph=False)

    def growth(self, text: Ids, places: Sequence[Place], steps: int) -> tuple[Mapping[str, Doubles], dict[str, str]]:
        """Give ln of each layer's growth at every step, `(rows, steps)`."""
        state = tf.constant(np.stack([place.state for place in places]))
        ids = np.stack([text.ids(place.at, place.at + steps) for place in places])
        vectors: dict[str, Any] = {}
        logs: dict[str, list[Doubles]] = {}
        for start in range(0, steps, _SEGMENT):
            state, vectors, grown = self._run(tf.constant(ids[:, start : start + _SEGMENT]), state, vectors)
            for name, log in grown.items():
                logs.setdefault(name, []).append(log.numpy().astype(np.float64))
        return {name: np.concatenate(parts, axis=1) for name, parts in logs.items()}, self._missing

    def _graph(self, ids: Any, state: Any, vectors: Mapping[str, Any]) -> Any:
        with courses_of(self._units) as seen:
            _, after = self._lm.step(ids, self._packing.unpack(state))
        turned, grown = {}, {}
        for unit, course in seen.courses(ids.shape[1]).items():
            before = [
                tf.concat([first[:, None], all_of[:, :-1]], axis=1)
                for first, all_of in zip(course.before, course.states, strict=True)
            ]
            vector = vectors.get(unit.name)
            turned[unit.name], grown[unit.name] = _carried(
                unit, course, before, _any(before) if vector is None else vector
            )
        self._missing |= seen.missing
        return self._packing.pack(after), turned, grown


def _any(before: Sequence[Any]) -> Any:
    """A direction to begin with: the same in every run."""
    rows, size = before[0].shape[0], sum(int(part.shape[-1]) for part in before)
    start = np.random.default_rng(0).standard_normal((rows, size))
    return tf.constant(start / np.linalg.norm(start, axis=1, keepdims=True), before[0].dtype)


def _carried(unit: Unit, course: UnitCourse, before: Sequence[Any], vector: Any) -> tuple[Any, Any]:
    """Carry tangent vectors `(rows, D)` along a segment; ln of the growth at each step, `(rows, time)`."""
    cell, steps = unit.layer.cell, int(course.inputs.shape[1])
    sizes = [int(part.shape[-1]) for part in before]
    form = _form_of(cell)
    logs = tf.TensorArray(vector.dtype, steps)

    def body(t: Any, v: Any, written: Any) -> Any:
        here = [part[:, t] for part in before]
        with tf.autodiff.ForwardAccumulator(here, tf.split(v, sizes, axis=1)) as forward:
            _, new = cell(course.inputs[:, t], keras.tree.pack_sequence_as(form, here))
        parts = [forward.jvp(part, tf.UnconnectedGradients.ZERO) for part in keras.tree.flatten(new)]
        moved = tf.concat(parts, axis=1)
        norm = tf.maximum(tf.norm(moved, axis=1), _TINY)
        return t + 1, moved / norm[:, None], written.write(t, tf.math.log(norm))

    _, turned, logs = tf.while_loop(lambda t, *_: t < steps, body, (tf.constant(0), vector, logs))
    return turned, tf.transpose(logs.stack())


def _form_of(cell: Any) -> Any:
    """The container in which the cell takes its states."""
    size = cell.state_size
    return size if isinstance(size, (list, tuple)) else [size]
