"""Styles written after the checker, and held back: the rates on them were taken at their first run."""

import dataclasses
import functools

import keras
import tensorflow as tf

from tests.wiring.corpus.case import E, U, V, right, wrong

layers = keras.layers
right = functools.partial(right, held_back=True)
wrong = functools.partial(wrong, held_back=True)


@right(name="graph_inside_a_subclass")
class GraphInside(keras.Model):
    """A subclassed model around a functional one."""

    def __init__(self):
        super().__init__()
        x, s1, s2 = keras.Input((None, E)), keras.Input((U,)), keras.Input((U,))
        y, n1 = layers.GRU(U, return_sequences=True, return_state=True)(x, initial_state=s1)
        y, n2 = layers.GRU(U, return_sequences=True, return_state=True)(y, initial_state=s2)
        self.embedding = layers.Embedding(V, E)
        self.net = keras.Model([x, s1, s2], [y, n1, n2])
        self.dense = layers.Dense(V)

    def call(self, inputs, states=None, return_state=False):
        if states is None:
            states = [tf.zeros((tf.shape(inputs)[0], U))] * 2
        x, *states = self.net([self.embedding(inputs), *states])
        return (self.dense(x), states) if return_state else self.dense(x)


@right()
def closure():
    embedding, gru, dense = (
        layers.Embedding(V, E),
        layers.GRU(U, return_sequences=True, return_state=True),
        layers.Dense(V),
    )

    def model(ids, state=None):
        x, state = gru(embedding(ids), initial_state=state)
        return dense(x), state

    return model


@right(name="dict_of_dicts")
class Nested(keras.Model):
    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(V, E)
        self.low = layers.LSTM(U, return_sequences=True, return_state=True)
        self.high = layers.LSTM(U, return_sequences=True, return_state=True)
        self.dense = layers.Dense(V)

    def call(self, inputs, memory=None, return_memory=False):
        x = self.embedding(inputs)
        memory = memory or {"low": None, "high": None}
        new = {}
        for name in ("low", "high"):
            given = memory[name]
            x, h, c = getattr(self, name)(x, initial_state=[given["h"], given["c"]] if given else None)
            new[name] = {"h": h, "c": c}
        return (self.dense(x), new) if return_memory else self.dense(x)


@dataclasses.dataclass
class Memory:
    low: object
    high: object


@right(name="dataclass_state")
class WithDataclass:
    def __init__(self):
        self.embedding = layers.Embedding(V, E)
        self.low = layers.GRU(U, return_sequences=True, return_state=True)
        self.high = layers.GRU(U, return_sequences=True, return_state=True)
        self.dense = layers.Dense(V)

    def __call__(self, ids, state=None):
        state = state or Memory(low=None, high=None)
        x, low = self.low(self.embedding(ids), initial_state=state.low)
        x, high = self.high(x, initial_state=state.high)
        return self.dense(x), Memory(low=low, high=high)


@right(name="reshaped_batch_first")
class BatchFirstStack(keras.Model):
    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(V, E)
        self.stack = [layers.GRU(U, return_sequences=True, return_state=True) for _ in range(2)]
        self.dense = layers.Dense(V)

    def call(self, inputs, state=None, return_state=False):
        x = self.embedding(inputs)
        if state is None:
            state = tf.zeros((tf.shape(inputs)[0], 2 * U))
        given = tf.unstack(tf.reshape(state, (-1, 2, U)), axis=1)
        new = []
        for gru, s in zip(self.stack, given, strict=True):
            x, n = gru(x, initial_state=s)
            new.append(n)
        state = tf.reshape(tf.stack(new, axis=1), (-1, 2 * U))
        return (self.dense(x), state) if return_state else self.dense(x)


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


@right(name="written_with_keras_ops")
class InOps(keras.Model):
    """Written with keras.ops alone."""

    def __init__(self):
        super().__init__()
        self.embed = layers.Embedding(V, E)
        self.a = layers.LSTM(U, return_sequences=True, return_state=True)
        self.b = layers.LSTM(U, return_sequences=True, return_state=True)
        self.head = layers.Dense(V)

    def call(self, tokens, cache=None):
        if cache is None:
            cache = keras.ops.zeros((4, keras.ops.shape(tokens)[0], U))
        h1, c1, h2, c2 = keras.ops.unstack(cache, 4)
        x, h1, c1 = self.a(self.embed(tokens), initial_state=[h1, c1])
        x, h2, c2 = self.b(x, initial_state=[h2, c2])
        return self.head(x), keras.ops.stack([h1, c1, h2, c2])


@right(name="decayed_between_calls")
class Decayed(keras.Model):
    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(V, E)
        self.stacks = {"main": [layers.GRU(U, return_sequences=True, return_state=True) for _ in range(2)]}
        self.dense = layers.Dense(V)

    def call(self, inputs, states=None, return_state=False):
        x = self.embedding(inputs)
        new = []
        for i, gru in enumerate(self.stacks["main"]):
            x, s = gru(x, initial_state=None if states is None else 0.95 * states[i])
            new.append(s)
        return (self.dense(x), tuple(new)) if return_state else self.dense(x)


@right(name="bidirectional_encoder_bridged")
class BidirectionalEncoder(keras.Model):
    """The decoder starts from both directions of the encoder, joined and projected."""

    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(V, E)
        self.encoder = layers.Bidirectional(layers.GRU(U, return_state=True))
        self.bridge = layers.Dense(U, activation="tanh")
        self.decoder = layers.GRU(U, return_sequences=True, return_state=True)
        self.dense = layers.Dense(V)

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


@right(name="flattened_and_packed")
class Pruned(keras.Model):
    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(V, E)
        self.one = layers.SimpleRNN(U, return_sequences=True, return_state=True)
        self.two = layers.GRU(U, return_sequences=True, return_state=True)
        self.dense = layers.Dense(V)

    def call(self, inputs, states=None, return_state=False):
        given = tf.nest.flatten(states) if states is not None else [None, None]
        x, a = self.one(self.embedding(inputs), initial_state=given[0])
        x, b = self.two(x, initial_state=given[1])
        new = tf.nest.pack_sequence_as([[0], [0]], [a, b])
        return (self.dense(x), new) if return_state else self.dense(x)
