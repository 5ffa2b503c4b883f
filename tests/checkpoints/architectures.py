"""Models that people save, each written once for whatever Keras is given as `k`: Keras 2 writes, Keras 3 builds.

A name says the kind of input, the layers and the way out. `WHAT` says what rnneval should make of each.
"""

from typing import Any, NamedTuple

V = 7  # ids 0 to 6
N = 6  # tokens in a window


class What(NamedTuple):
    """What should be recognised of a model."""

    contract: int
    input: str = "ids"


def _stack(k: Any, *layers: Any, head: Any = None, **first: Any) -> Any:
    dense = k.layers.Dense(V, name="out") if head is None else head
    shape = first.pop("shape", (None,))
    batch = first.pop("batch", None)
    given = {"batch_input_shape": (batch, *shape)} if k.__version__.startswith("2.") else None
    if given is None:
        entry = k.layers.Input(batch_shape=(batch, *shape)) if batch else k.layers.Input(shape)
    else:
        entry = k.layers.InputLayer(**given)
    return k.Sequential([entry, *layers, dense])


def gru(k: Any) -> Any:
    kl = k.layers
    return _stack(k, kl.Embedding(V, 5), kl.GRU(4, return_sequences=True))


def gru_before(k: Any) -> Any:
    kl = k.layers
    return _stack(k, kl.Embedding(V, 5), kl.GRU(4, return_sequences=True, reset_after=False))


def lstm_softmax(k: Any) -> Any:
    kl = k.layers
    head = kl.Dense(V, activation="softmax")
    return _stack(
        k, kl.Embedding(V, 5), kl.LSTM(4, return_sequences=True), kl.LSTM(3, return_sequences=True), head=head
    )


def dressed(k: Any) -> Any:
    """Everything that stands between recurrent layers."""
    kl = k.layers
    return _stack(
        k,
        kl.Embedding(V, 5),
        kl.SpatialDropout1D(0.2),
        kl.LSTM(4, return_sequences=True, dropout=0.2, recurrent_dropout=0.1),
        kl.BatchNormalization(),
        kl.TimeDistributed(kl.Dense(5, activation="relu")),
        kl.LayerNormalization(),
        kl.GRU(4, return_sequences=True),
        kl.LeakyReLU(),
        kl.Dropout(0.3),
        head=kl.TimeDistributed(kl.Dense(V)),
    )


def residual(k: Any) -> Any:
    kl = k.layers
    ids = kl.Input((None,))
    x = kl.Embedding(V, 4)(ids)
    a = kl.GRU(4, return_sequences=True)(x)
    b = kl.LSTM(4, return_sequences=True)(kl.Add()([x, a]))
    c = kl.Concatenate()([a, b, kl.SimpleRNN(3, return_sequences=True)(x)])
    return k.Model(ids, kl.Activation("softmax")(kl.Dense(V)(c)))


def stateful(k: Any) -> Any:
    kl = k.layers
    layers = (kl.Embedding(V, 5), kl.GRU(4, return_sequences=True, stateful=True))
    return _stack(k, *layers, kl.LSTM(3, return_sequences=True, stateful=True), batch=2)


def one_step(k: Any) -> Any:
    """One token a call, one prediction a call: how a stateful model is often saved for sampling."""
    kl = k.layers
    return _stack(k, kl.Embedding(V, 5), kl.LSTM(4, stateful=True), batch=1, shape=(1,))


def states(k: Any) -> Any:
    """Contract 2: states go in and come out."""
    kl = k.layers
    ids, h, c, g = kl.Input((None,)), kl.Input((4,)), kl.Input((4,)), kl.Input((3,))
    x, h1, c1 = kl.LSTM(4, return_sequences=True, return_state=True)(kl.Embedding(V, 5)(ids), initial_state=[h, c])
    x, g1 = kl.GRU(3, return_sequences=True, return_state=True)(x, initial_state=g)
    return k.Model([ids, h, c, g], [kl.Dense(V)(x), h1, c1, g1])


def cell(k: Any) -> Any:
    kl = k.layers
    return _stack(k, kl.Embedding(V, 5), kl.RNN(kl.GRUCell(4), return_sequences=True))


def cells(k: Any) -> Any:
    kl = k.layers
    return _stack(k, kl.Embedding(V, 5), kl.RNN([kl.LSTMCell(3), kl.GRUCell(4)], return_sequences=True))


def one_hot(k: Any) -> Any:
    kl = k.layers
    return _stack(k, kl.LSTM(4, return_sequences=True), shape=(None, V))


def scaled(k: Any) -> Any:
    kl = k.layers
    return _stack(k, kl.LSTM(4, return_sequences=True), shape=(None, 1))


def masked(k: Any) -> Any:
    kl = k.layers
    return _stack(k, kl.Embedding(V, 5, mask_zero=True), kl.GRU(4, return_sequences=True))


def hard(k: Any) -> Any:
    kl = k.layers
    options = {"recurrent_activation": "hard_sigmoid", "return_sequences": True}
    return _stack(k, kl.Embedding(V, 5), kl.LSTM(4, **options), kl.GRU(3, **options))


def operations(k: Any) -> Any:
    """Operations of TensorFlow between the layers, a temperature at the end; Keras 3 has operations of its own."""
    kl = k.layers
    if k.__version__.startswith("2."):
        import tensorflow as tf

        one_hot, cast, tanh = tf.one_hot, tf.cast, tf.tanh
    else:
        one_hot, cast, tanh = k.ops.one_hot, k.ops.cast, k.ops.tanh
    ids = kl.Input((None,))
    x = kl.LSTM(4, return_sequences=True)(one_hot(cast(ids, "int32"), V))
    y = kl.GRU(4, return_sequences=True)(x)
    return k.Model(ids, kl.Dense(V)((x + y) * 0.5 - tanh(y) * x) / 0.7)


def window(k: Any) -> Any:
    kl = k.layers
    return _stack(k, kl.Embedding(V, 5), kl.LSTM(4), head=kl.Dense(V, activation="softmax"), shape=(N,))


def window_one_hot(k: Any) -> Any:
    """The lstm_text_generation example of Keras."""
    kl = k.layers
    return _stack(k, kl.LSTM(4), head=kl.Dense(V, activation="softmax"), shape=(N, V))


def window_scaled(k: Any) -> Any:
    """The tutorial of Machine Learning Mastery."""
    kl = k.layers
    layers = (kl.LSTM(4, return_sequences=True), kl.Dropout(0.2), kl.LSTM(4), kl.Dropout(0.2))
    return _stack(k, *layers, head=kl.Dense(V, activation="softmax"), shape=(N, 1))


def tutorial(k: Any) -> Any:
    """TensorFlow's text generation tutorial: contract 1, saved as weights alone."""

    class MyModel(k.Model):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = k.layers.Embedding(V, 5)
            self.gru = k.layers.GRU(4, return_sequences=True, return_state=True)
            self.dense = k.layers.Dense(V)

        def call(self, inputs: Any, states: Any = None, return_state: bool = False, training: bool = False) -> Any:
            x = self.embedding(inputs, training=training)
            x, states = self.gru(x, initial_state=states, training=training)
            x = self.dense(x, training=training)
            return (x, states) if return_state else x

    return MyModel()


WHAT = {
    "gru": What(4),
    "gru_before": What(4),
    "lstm_softmax": What(4),
    "dressed": What(4),
    "residual": What(4),
    "stateful": What(3),
    "one_step": What(3),
    "states": What(2),
    "cell": What(4),
    "cells": What(4),
    "one_hot": What(4, "one-hot"),
    "scaled": What(4, "scaled"),
    "masked": What(4),
    "hard": What(4),
    "operations": What(4),
    "window": What(5),
    "window_one_hot": What(5, "one-hot"),
    "window_scaled": What(5, "scaled"),
    "tutorial": What(1),
}


def make(name: str) -> Any:
    """The builder that tests name: the same architecture in Keras 3."""
    import keras

    return globals()[name](keras)
