"""Models of benchmarks/layers.py: stacks of GRU or LSTM layers, the stack that shares a state, and their sizes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import tensorflow as tf

EMBEDDING = 32
DROPOUT = 0.1
TOLERANCE = 0.02
"""Largest relative difference between the parameters of a model and its budget."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One kind of model: what differs between the runs besides the seed."""

    kind: str
    """Recurrent layer: `gru` or `lstm`."""
    layers: int
    shared: bool = False
    """True for the wrong stack, whose second layer starts from the state of the first."""

    @property
    def name(self) -> str:
        """Name in folders and tables."""
        return f"{self.kind}-{self.layers}{'-shared' if self.shared else ''}"


ARMS = (
    Arm(kind="gru", layers=1),
    Arm(kind="gru", layers=2),
    Arm(kind="gru", layers=3),
    Arm(kind="lstm", layers=1),
    Arm(kind="lstm", layers=2),
    Arm(kind="gru", layers=2, shared=True),
)
BY_NAME: Mapping[str, Arm] = {arm.name: arm for arm in ARMS}


def parameters(arm: Arm, units: int, vocab_size: int) -> int:
    """Return the number of parameters: an embedding, recurrent layers of equal width, a dense layer with bias.

    >>> parameters(Arm(kind="gru", layers=1), 1, 65), parameters(Arm(kind="lstm", layers=2), 1, 65)
    (2315, 2358)
    """

    def recurrent(inputs: int) -> int:
        gates, biases = (3, 2) if arm.kind == "gru" else (4, 1)
        return gates * units * (inputs + units + biases)

    layers = recurrent(EMBEDDING) + (arm.layers - 1) * recurrent(units)
    return vocab_size * EMBEDDING + layers + (units + 1) * vocab_size


def units_for(arm: Arm, size: int, vocab_size: int) -> int:
    """Return the width whose number of parameters is nearest to `size`.

    Raises:
        ValueError: no width comes within 2 % of it.
    """
    units = min(range(1, 2048), key=lambda width: abs(parameters(arm, width, vocab_size) - size))
    if abs(parameters(arm, units, vocab_size) - size) > TOLERANCE * size:
        raise ValueError(f"{arm.name}: no width gives {size} parameters within 2 %")
    return units


class Stack(keras.Model):
    """Recurrent layers that each have a state of their own: the stack in the answer."""

    def __init__(
        self, vocab_size: int, kind: str = "gru", layers: int = 1, units: int = 128, unroll: bool = False
    ) -> None:
        super().__init__()
        kinds: dict[str, Callable[..., Any]] = {"gru": keras.layers.GRU, "lstm": keras.layers.LSTM}
        self.embedding = keras.layers.Embedding(vocab_size, EMBEDDING, name="embedding")
        self.recurrent = [
            kinds[kind](units, return_sequences=True, return_state=True, unroll=unroll, name=f"{kind}_{i + 1}")
            for i in range(layers)
        ]
        self.dropouts = [keras.layers.Dropout(DROPOUT) for _ in range(layers)]
        self.dense = keras.layers.Dense(vocab_size, name="logits")

    def call(self, inputs: Any, states: Any = None, return_state: bool = False, training: bool = False) -> Any:
        """Return the logits, and with `return_state` a list with the states of each layer."""
        x = self.embedding(inputs)
        if states is None:
            states = [layer.get_initial_state(tf.shape(inputs)[0]) for layer in self.recurrent]
        last = []
        for layer, dropout, state in zip(self.recurrent, self.dropouts, states, strict=True):
            x, *state_after = layer(x, initial_state=list(state), training=training)
            last.append(state_after)
            x = dropout(x, training=training)
        x = self.dense(x)
        return (x, last) if return_state else x


class SharedStack(keras.Model):
    """Two GRU layers that pass on one state: the stack in the question (docs/origin.md)."""

    def __init__(self, vocab_size: int, units: int = 128, unroll: bool = False) -> None:
        super().__init__()
        self.embedding = keras.layers.Embedding(vocab_size, EMBEDDING, name="embedding")
        options = {"return_sequences": True, "return_state": True, "unroll": unroll}
        self.gru = keras.layers.GRU(units, name="gru_1", **options)
        self.gru_2 = keras.layers.GRU(units, name="gru_2", **options)
        self.dropout = keras.layers.Dropout(DROPOUT)
        self.dropout_2 = keras.layers.Dropout(DROPOUT)
        self.dense = keras.layers.Dense(vocab_size, name="logits")

    def call(self, inputs: Any, states: Any = None, return_state: bool = False, training: bool = False) -> Any:
        """Return the logits, and with `return_state` the state of layer 2, from which layer 1 starts next time."""
        x = self.embedding(inputs)
        if states is None:
            states = self.gru.get_initial_state(tf.shape(inputs)[0])[0]
        x, states = self.gru(x, initial_state=states, training=training)
        x = self.dropout(x, training=training)
        x, states = self.gru_2(x, initial_state=states, training=training)
        x = self.dropout_2(x, training=training)
        x = self.dense(x)
        return (x, states) if return_state else x


def build(arm: Arm, units: int, vocab_size: int, *, unroll: bool = False) -> Any:
    """Return a model with its weights made; unrolled layers take longer to trace and train faster."""
    if arm.shared:
        model = SharedStack(vocab_size, units, unroll)
    else:
        model = Stack(vocab_size, arm.kind, arm.layers, units, unroll)
    model(tf.zeros((1, 2), tf.int32))
    return model


def zero_states(arm: Arm, units: int, rows: int) -> Any:
    """Return the states before the first segment, in the structure that the model takes."""
    if arm.shared:
        return tf.zeros((rows, units))
    return [[tf.zeros((rows, units)) for _ in range(2 if arm.kind == "lstm" else 1)] for _ in range(arm.layers)]


def sequential(model: Stack) -> Any:
    """Return the same layers, with the same weights, as a Sequential model, which can be saved whole."""
    layers = [model.embedding]
    for layer, dropout in zip(model.recurrent, model.dropouts, strict=True):
        layers += [layer, dropout]
    copies = [
        type(layer).from_config(
            {key: value for key, value in layer.get_config().items() if key not in {"return_state", "unroll"}}
        )
        for layer in [*layers, model.dense]
    ]
    made = keras.Sequential([keras.Input((None,), dtype="int32"), *copies])
    made.set_weights([weight for layer in [*layers, model.dense] for weight in layer.get_weights()])
    return made
