"""Wrong: styles written after the checker, and held back; see held_back."""

import functools

import keras
import tensorflow as tf

from tests.wiring.corpus.case import U, right, wrong
from tests.wiring.corpus.parts import Embedded, gru_layer

layers = keras.layers
right = functools.partial(right, held_back=True)
wrong = functools.partial(wrong, held_back=True)


@wrong("crossed-state", name="flattened_by_sorted_key")
class FlattenedByKey(Embedded):
    """tf.nest sorts the keys of a dict: the order of flattening is not that of writing."""

    def __init__(self):
        super().__init__()
        self.lower, self.higher = gru_layer(), gru_layer()

    def call(self, inputs, states=None, return_state=False):
        s1, s2 = tf.nest.flatten(states) if states is not None else (None, None)
        x, s1 = self.lower(self.embedding(inputs), initial_state=s1)
        x, s2 = self.higher(x, initial_state=s2)
        return (self.dense(x), {"lower": s1, "higher": s2}) if return_state else self.dense(x)


class TwoGRU(Embedded):
    def __init__(self):
        super().__init__()
        self.grus = [gru_layer() for _ in range(2)]


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
class Forgetful(Embedded):
    def __init__(self):
        super().__init__()
        self.rnn = layers.RNN(ForgetfulCell(U), return_sequences=True, return_state=True)

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
