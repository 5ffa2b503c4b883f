"""Right: the containers in which people hand states on, and the ways in which `call` takes and gives them."""
# ruff: noqa: PYI024 - as people write them

import collections

import keras
import tensorflow as tf

from tests.wiring.corpus.case import E, U, V, right
from tests.wiring.corpus.parts import Embedded, OneLSTM, gru_layer, lstm_layer

layers = keras.layers


@right()
class ListLoop(Embedded):
    def __init__(self, depth=3):
        super().__init__()
        self.rnns = [gru_layer() for _ in range(depth)]

    def call(self, inputs, states=None, return_state=False, training=False):
        x = self.embedding(inputs)
        if states is None:
            states = [None] * len(self.rnns)
        new_states = []
        for rnn, state in zip(self.rnns, states, strict=True):
            x, new = rnn(x, initial_state=state, training=training)
            new_states.append(new)
        x = self.dense(x)
        return (x, new_states) if return_state else x


States = collections.namedtuple("States", ["bottom", "top"])


@right(name="namedtuple")
class NamedTuple(Embedded):
    def __init__(self):
        super().__init__()
        self.bottom = layers.SimpleRNN(U, return_sequences=True, return_state=True)
        self.top = layers.SimpleRNN(U, return_sequences=True, return_state=True)

    def call(self, inputs, state=None, return_state=False):
        x = self.embedding(inputs)
        bottom, top = state if state is not None else (None, None)
        x, bottom = self.bottom(x, initial_state=bottom)
        x, top = self.top(x, initial_state=top)
        out = self.dense(x)
        if return_state:
            return out, States(bottom=bottom, top=top)
        return out


@right()
class NestedLSTM(Embedded):
    def __init__(self):
        super().__init__()
        self.lstm1, self.lstm2 = lstm_layer(), lstm_layer(units=U + 2)

    def call(self, inputs, states=None, return_state=False, training=False):
        x = self.embedding(inputs)
        first, second = states if states is not None else (None, None)
        x, h1, c1 = self.lstm1(x, initial_state=first, training=training)
        x, h2, c2 = self.lstm2(x, initial_state=second, training=training)
        x = self.dense(x)
        return (x, ((h1, c1), (h2, c2))) if return_state else x


@right()
class SeparateArguments(OneLSTM):
    def call(self, x, h=None, c=None):
        given = None if h is None else [h, c]
        x, h, c = self.lstm(self.embedding(x), initial_state=given)
        return self.dense(x), h, c


@right()
class ReturnsDict(keras.Model):
    def __init__(self):
        super().__init__()
        self.embed, self.gru_a, self.gru_b = layers.Embedding(V, E), gru_layer(), gru_layer()
        self.out = layers.Dense(V)

    def call(self, tokens, states=None):
        a, b = (None, None) if states is None else (states["a"], states["b"])
        x, a = self.gru_a(self.embed(tokens), initial_state=a)
        x, b = self.gru_b(x, initial_state=b)
        return {"logits": self.out(x), "states": {"a": a, "b": b}}


class Short(keras.Model):
    def __init__(self):
        super().__init__()
        self.embed, self.gru, self.out = layers.Embedding(V, E), gru_layer(), layers.Dense(V)

    def read(self, tokens, states):
        x, states = self.gru(self.embed(tokens), initial_state=states)
        return self.out(x), states


@right()
class StatesRequired(Short):
    def get_initial_state(self, batch_size):
        return tf.zeros((batch_size, U))

    def call(self, tokens, states):
        return self.read(tokens, states)


@right()
class PairInput(Short):
    def call(self, inputs):
        tokens, state = inputs
        return self.read(tokens, state)


@right(name="plain_object")
class Plain:
    """No Keras model at all: an object that is called."""

    def __init__(self):
        self.embedding, self.gru1, self.gru2 = layers.Embedding(V, E), gru_layer(), gru_layer()
        self.head = layers.Dense(V)

    def __call__(self, ids, state=None):
        s1, s2 = state if state is not None else (None, None)
        x, s1 = self.gru1(self.embedding(ids), initial_state=s1)
        x, s2 = self.gru2(x, initial_state=s2)
        return self.head(x), (s1, s2)
