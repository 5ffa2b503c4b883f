"""Styles written after the checker, and held back: the rates on them were taken at their first run."""

import dataclasses
import functools

import keras
import tensorflow as tf

from tests.wiring.corpus.case import E, U, V, right, wrong

layers = keras.layers
right = functools.partial(right, held_back=True)
wrong = functools.partial(wrong, held_back=True)


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
def graph_inside_a_subclass():
    return GraphInside()


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


@right()
def dict_of_dicts():
    return Nested()


@dataclasses.dataclass
class Memory:
    low: object
    high: object


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


@right()
def dataclass_state():
    return WithDataclass()


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


@right()
def reshaped_batch_first():
    return BatchFirstStack()


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


class Peephole(keras.Model):
    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(V, E)
        self.rnn = layers.RNN(PeepholeCell(U), return_sequences=True, return_state=True)
        self.dense = layers.TimeDistributed(layers.Dense(V))

    def call(self, inputs, states=None, return_state=False):
        x, *states = self.rnn(self.embedding(inputs), initial_state=states)
        return (self.dense(x), states) if return_state else self.dense(x)


@right()
def own_cell_of_three_states():
    return Peephole()


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


@right()
def written_with_keras_ops():
    return InOps()


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


@right()
def decayed_between_calls():
    return Decayed()


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
def bidirectional_encoder_bridged():
    return BidirectionalEncoder()


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


@right()
def flattened_and_packed():
    return Pruned()


class FlattenedByKey(keras.Model):
    """tf.nest sorts the keys of a dict: the order of flattening is not that of writing."""

    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(V, E)
        self.lower = layers.GRU(U, return_sequences=True, return_state=True)
        self.higher = layers.GRU(U, return_sequences=True, return_state=True)
        self.dense = layers.Dense(V)

    def call(self, inputs, states=None, return_state=False):
        s1, s2 = tf.nest.flatten(states) if states is not None else (None, None)
        x, s1 = self.lower(self.embedding(inputs), initial_state=s1)
        x, s2 = self.higher(x, initial_state=s2)
        return (self.dense(x), {"lower": s1, "higher": s2}) if return_state else self.dense(x)


@wrong("crossed-state")
def flattened_by_sorted_key():
    return FlattenedByKey()


class TwoGRU(keras.Model):
    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(V, E)
        self.grus = [layers.GRU(U, return_sequences=True, return_state=True) for _ in range(2)]
        self.dense = layers.Dense(V)


class KeyCollision(TwoGRU):
    """Both layers keep their state under the name of their class."""

    def call(self, inputs, states=None, return_state=False):
        x = self.embedding(inputs)
        states = dict(states or {})
        for gru in self.grus:
            key = type(gru).__name__
            x, states[key] = gru(x, initial_state=states.get(key))
        return (self.dense(x), states) if return_state else self.dense(x)


@wrong("shared-state")
def keys_collide():
    return KeyCollision()


class ZipReversed(TwoGRU):
    def call(self, inputs, states=None, return_state=False):
        x = self.embedding(inputs)
        new = []
        for gru, s in zip(self.grus, reversed(states or [None, None]), strict=True):
            x, n = gru(x, initial_state=s)
            new.append(n)
        return (self.dense(x), new) if return_state else self.dense(x)


@wrong("crossed-state")
def zip_with_reversed():
    return ZipReversed()


class IndexMinusOne(TwoGRU):
    def call(self, inputs, states=None, return_state=False):
        x = self.embedding(inputs)
        new = []
        for i, gru in enumerate(self.grus):
            x, n = gru(x, initial_state=None if states is None else states[i - 1])
            new.append(n)
        return (self.dense(x), new) if return_state else self.dense(x)


@wrong("crossed-state")
def index_minus_one():
    return IndexMinusOne()


class WrongAxis(TwoGRU):
    def call(self, inputs, states=None, return_state=False):
        x = self.embedding(inputs)
        given = [None, None] if states is None else tf.unstack(states, axis=0)
        new = []
        for gru, s in zip(self.grus, given, strict=True):
            x, n = gru(x, initial_state=s)
            new.append(n)
        return (self.dense(x), tf.stack(new, axis=1)) if return_state else self.dense(x)


@wrong("mixed-state")
def stacked_and_unstacked_on_other_axes():
    return WrongAxis()


class AppendsForEver:
    """A list that grows; the first entries are read for ever."""

    def __init__(self):
        self.net = TwoGRU()
        self.states = []

    def __call__(self, ids):
        x = self.net.embedding(ids)
        for i, gru in enumerate(self.net.grus):
            x, new = gru(x, initial_state=self.states[i] if len(self.states) > i else None)
            self.states.append(new)
        return self.net.dense(x)


@wrong("stale-state")
def list_grows():
    return AppendsForEver()


class HFromOneCFromTheOther(keras.Model):
    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(V, E)
        self.low = layers.LSTM(U, return_sequences=True, return_state=True)
        self.high = layers.LSTM(U, return_sequences=True, return_state=True)
        self.dense = layers.Dense(V)

    def call(self, inputs, states=None, return_state=False):
        (h1, c1), (h2, c2) = states if states is not None else ([None] * 2, [None] * 2)
        x, h1, c1 = self.low(self.embedding(inputs), initial_state=None if h1 is None else [h1, c2])
        x, h2, c2 = self.high(x, initial_state=None if h2 is None else [h2, c2])
        return (self.dense(x), [(h1, c1), (h2, c2)]) if return_state else self.dense(x)


@wrong("crossed-state")
def cell_state_of_the_other_layer():
    return HFromOneCFromTheOther()


@wrong("swapped-slots")
def functional_h_and_c_exchanged():
    ids, h, c = keras.Input((None,), dtype="int32"), keras.Input((U,)), keras.Input((U,))
    x, new_h, new_c = layers.LSTM(U, return_sequences=True, return_state=True)(
        layers.Embedding(V, E)(ids), initial_state=[h, c]
    )
    return keras.Model([ids, h, c], [layers.Dense(V)(x), new_c, new_h])


class ForgetfulCell(layers.Layer):
    """A cell of one's own that returns the state that it was given."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.state_size = units
        self.inner, self.recurrent = layers.Dense(units), layers.Dense(units)

    def call(self, inputs, states):
        h = tf.tanh(self.inner(inputs) + self.recurrent(states[0]))
        return h, states


class Forgetful(keras.Model):
    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(V, E)
        self.rnn = layers.RNN(ForgetfulCell(U), return_sequences=True, return_state=True)
        self.dense = layers.Dense(V)

    def call(self, inputs, state=None, return_state=False):
        x, state = self.rnn(self.embedding(inputs), initial_state=state)
        return (self.dense(x), state) if return_state else self.dense(x)


@wrong("unused-state")
def cell_returns_its_incoming_state():
    return Forgetful()


class FirstOutput(TwoGRU):
    """The first output of the segment is kept as the state, not the last."""

    def call(self, inputs, states=None, return_state=False):
        x = self.embedding(inputs)
        new = []
        for i, gru in enumerate(self.grus):
            x, _ = gru(x, initial_state=None if states is None else states[i])
            new.append(x[:, 0])
        return (self.dense(x), new) if return_state else self.dense(x)


@wrong("dropped-state")
def first_output_kept_as_state():
    return FirstOutput()


class SharedInSublayer(layers.Layer):
    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.a = layers.GRU(units, return_sequences=True, return_state=True)
        self.b = layers.GRU(units, return_sequences=True, return_state=True)

    def call(self, x, state=None):
        x, state = self.a(x, initial_state=state)
        x, state = self.b(x, state)
        return x, state


class Outer(keras.Model):
    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(V, E)
        self.core = SharedInSublayer(U)
        self.dense = layers.Dense(V)

    def call(self, inputs, states=None, return_state=False):
        x, states = self.core(self.embedding(inputs), states)
        return (self.dense(x), states) if return_state else self.dense(x)


@wrong("shared-state")
def positional_state_in_a_sublayer():
    return Outer()


class SortedThroughNumpy:
    """The states are put into an array and sorted on the way, as a careless cache would."""

    def __init__(self):
        self.net = TwoGRU()

    def __call__(self, ids, state=None):
        first, second = (None, None) if state is None else (tf.constant(state[1]), tf.constant(state[0]))
        x, s1 = self.net.grus[0](self.net.embedding(ids), initial_state=first)
        x, s2 = self.net.grus[1](x, initial_state=second)
        return self.net.dense(x), [s1.numpy(), s2.numpy()]


@wrong("crossed-state")
def exchanged_through_numpy():
    return SortedThroughNumpy()
