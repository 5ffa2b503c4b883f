"""Wrong: styles written after the checker, and held back; see held_back."""

import functools

import keras
import tensorflow as tf

from tests.wiring.corpus.case import E, U, V, right, wrong

layers = keras.layers
right = functools.partial(right, held_back=True)
wrong = functools.partial(wrong, held_back=True)


@wrong("crossed-state", name="flattened_by_sorted_key")
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


class TwoGRU(keras.Model):
    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(V, E)
        self.grus = [layers.GRU(U, return_sequences=True, return_state=True) for _ in range(2)]
        self.dense = layers.Dense(V)


@wrong("shared-state", name="keys_collide")
class KeyCollision(TwoGRU):
    """Both layers keep their state under the name of their class."""

    def call(self, inputs, states=None, return_state=False):
        x = self.embedding(inputs)
        states = dict(states or {})
        for gru in self.grus:
            key = type(gru).__name__
            x, states[key] = gru(x, initial_state=states.get(key))
        return (self.dense(x), states) if return_state else self.dense(x)


@wrong("crossed-state", name="zip_with_reversed")
class ZipReversed(TwoGRU):
    def call(self, inputs, states=None, return_state=False):
        x = self.embedding(inputs)
        new = []
        for gru, s in zip(self.grus, reversed(states or [None, None]), strict=True):
            x, n = gru(x, initial_state=s)
            new.append(n)
        return (self.dense(x), new) if return_state else self.dense(x)


@wrong("crossed-state")
class IndexMinusOne(TwoGRU):
    def call(self, inputs, states=None, return_state=False):
        x = self.embedding(inputs)
        new = []
        for i, gru in enumerate(self.grus):
            x, n = gru(x, initial_state=None if states is None else states[i - 1])
            new.append(n)
        return (self.dense(x), new) if return_state else self.dense(x)


@wrong("mixed-state", name="stacked_and_unstacked_on_other_axes")
class WrongAxis(TwoGRU):
    def call(self, inputs, states=None, return_state=False):
        x = self.embedding(inputs)
        given = [None, None] if states is None else tf.unstack(states, axis=0)
        new = []
        for gru, s in zip(self.grus, given, strict=True):
            x, n = gru(x, initial_state=s)
            new.append(n)
        return (self.dense(x), tf.stack(new, axis=1)) if return_state else self.dense(x)


@wrong("stale-state", name="list_grows")
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


@wrong("crossed-state", name="cell_state_of_the_other_layer")
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


@wrong("unused-state", name="cell_returns_its_incoming_state")
class Forgetful(keras.Model):
    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(V, E)
        self.rnn = layers.RNN(ForgetfulCell(U), return_sequences=True, return_state=True)
        self.dense = layers.Dense(V)

    def call(self, inputs, state=None, return_state=False):
        x, state = self.rnn(self.embedding(inputs), initial_state=state)
        return (self.dense(x), state) if return_state else self.dense(x)


@wrong("dropped-state", name="first_output_kept_as_state")
class FirstOutput(TwoGRU):
    """The first output of the segment is kept as the state, not the last."""

    def call(self, inputs, states=None, return_state=False):
        x = self.embedding(inputs)
        new = []
        for i, gru in enumerate(self.grus):
            x, _ = gru(x, initial_state=None if states is None else states[i])
            new.append(x[:, 0])
        return (self.dense(x), new) if return_state else self.dense(x)


class SharedInSublayer(layers.Layer):
    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.a = layers.GRU(units, return_sequences=True, return_state=True)
        self.b = layers.GRU(units, return_sequences=True, return_state=True)

    def call(self, x, state=None):
        x, state = self.a(x, initial_state=state)
        x, state = self.b(x, state)
        return x, state


@wrong("shared-state", name="positional_state_in_a_sublayer")
class Outer(keras.Model):
    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(V, E)
        self.core = SharedInSublayer(U)
        self.dense = layers.Dense(V)

    def call(self, inputs, states=None, return_state=False):
        x, states = self.core(self.embedding(inputs), states)
        return (self.dense(x), states) if return_state else self.dense(x)


@wrong("crossed-state", name="exchanged_through_numpy")
class SortedThroughNumpy:
    """The states are put into an array and sorted on the way, as a careless cache would."""

    def __init__(self):
        self.net = TwoGRU()

    def __call__(self, ids, state=None):
        first, second = (None, None) if state is None else (tf.constant(state[1]), tf.constant(state[0]))
        x, s1 = self.net.grus[0](self.net.embedding(ids), initial_state=first)
        x, s2 = self.net.grus[1](x, initial_state=second)
        return self.net.dense(x), [s1.numpy(), s2.numpy()]
