"""Styles written after the checker, and held back: the rates on them were taken at their first run."""

import functools

import keras
import tensorflow as tf

from tests.wiring.corpus.case import E, U, V, right, wrong
from tests.wiring.corpus.parts import Embedded, gru_layer, zeros

layers = keras.layers
right = functools.partial(right, held_back=True)
wrong = functools.partial(wrong, held_back=True)


@right(name="graph_inside_a_subclass")
class GraphInside(Embedded):
    """A subclassed model around a functional one."""

    def __init__(self):
        super().__init__()
        x, s1, s2 = (keras.Input((None, E)), keras.Input((U,)), keras.Input((U,)))
        y, n1 = gru_layer()(x, initial_state=s1)
        y, n2 = gru_layer()(y, initial_state=s2)
        self.net = keras.Model([x, s1, s2], [y, n1, n2])

    def call(self, inputs, states=None, return_state=False):
        if states is None:
            states = [zeros(inputs)] * 2
        x, *states = self.net([self.embedding(inputs), *states])
        return (self.dense(x), states) if return_state else self.dense(x)


@right()
def closure():
    embedding, gru, dense = (
        layers.Embedding(V, E),
        gru_layer(),
        layers.Dense(V),
    )

    def model(ids, state=None):
        x, state = gru(embedding(ids), initial_state=state)
        return dense(x), state

    return model


class PeepholeCell(layers.Layer):
    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.state_size = [units, units, units]
        self.output_size = units
        self.gates = layers.Dense(3 * units)

    def call(self, inputs, states):
        h, c, m = states
        a, b, o = tf.split(self.gates(tf.concat([inputs, h, c, m], axis=-1)), 3, axis=-1)
        c = tf.sigmoid(a) * c + tf.tanh(b)
        h = tf.sigmoid(o) * tf.tanh(c)
        return h, [h, c, 0.5 * m + 0.5 * h]


@right(name="own_cell_of_three_states")
class Peephole(keras.Model):
    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(V, E)
        self.rnn = layers.RNN(PeepholeCell(U), return_sequences=True, return_state=True)
        self.dense = layers.TimeDistributed(layers.Dense(V))

    def call(self, inputs, states=None, return_state=False):
        x, *states = self.rnn(self.embedding(inputs), initial_state=states)
        return (self.dense(x), states) if return_state else self.dense(x)


@right(name="bidirectional_encoder_bridged")
class BidirectionalEncoder(Embedded):
    """The decoder starts from both directions of the encoder, joined and projected."""

    def __init__(self):
        super().__init__()
        self.encoder = layers.Bidirectional(layers.GRU(U, return_state=True))
        self.bridge, self.decoder = layers.Dense(U, activation="tanh"), gru_layer()

    def call(self, source, target, state=None, return_state=False):
        if state is None:
            _, forward, backward = self.encoder(self.embedding(source))
            state = self.bridge(tf.concat([forward, backward], axis=-1))
        x, state = self.decoder(self.embedding(target), initial_state=state)
        return (self.dense(x), state) if return_state else self.dense(x)


@right()
def stateful_stacked_cells():
    return keras.Sequential(
        [
            keras.Input(batch_shape=(3, None)),
            layers.Embedding(V, E),
            layers.RNN([layers.GRUCell(U), layers.LSTMCell(U)], return_sequences=True, stateful=True),
            layers.Dense(V),
        ]
    )
