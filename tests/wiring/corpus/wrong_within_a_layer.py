"""Wrong: a layer's own state is exchanged, misplaced, old, ignored, dropped, random or noisy."""

import keras
import tensorflow as tf

from tests.wiring.corpus.case import U, wrong
from tests.wiring.corpus.parts import Embedded, OneGRU, OneLSTM, TwoGRU, gru_layer

layers = keras.layers


@wrong("swapped-slots", name="h_and_c_swapped_on_the_way_in")
class SwappedOnTheWayIn(OneLSTM):
    def call(self, inputs, states=None, return_state=False):
        if states is not None:
            c, h = states
            states = [h, c]
        x, h, c = self.lstm(self.embedding(inputs), initial_state=states)
        return (self.dense(x), (h, c)) if return_state else self.dense(x)


@wrong("swapped-slots", name="h_given_as_c")
class SameTwice(OneLSTM):
    def call(self, inputs, states=None, return_state=False):
        x, h, _ = self.lstm(self.embedding(inputs), initial_state=states)
        return (self.dense(x), [h, h]) if return_state else self.dense(x)


@wrong("swapped-slots", declare=("causal=false",))
class DirectionsSwapped(Embedded):
    def __init__(self):
        super().__init__()
        self.both = layers.Bidirectional(gru_layer())

    def call(self, inputs, states=None, return_state=False):
        x, forward, backward = self.both(self.embedding(inputs), initial_state=states)
        return (self.dense(x), [backward, forward]) if return_state else self.dense(x)


@wrong("misplaced-state")
class Transposed(OneGRU):
    """Batch and units are of the same size, so nothing fails."""

    def __init__(self):
        super().__init__(units=2)

    def call(self, inputs, state=None, return_state=False):
        x, state = self.gru(self.embedding(inputs), initial_state=state)
        return (self.dense(x), tf.transpose(state)) if return_state else self.dense(x)


@wrong("misplaced-state", name="every_row_gets_the_first")
class WrongBeams(OneGRU):
    def call(self, inputs, state=None, return_state=False):
        if state is not None:
            state = tf.gather(state, tf.zeros_like(inputs[:, 0]))
        x, state = self.gru(self.embedding(inputs), initial_state=state)
        return (self.dense(x), state) if return_state else self.dense(x)


@wrong("stale-state", name="first_initial_state_cached")
class CachedStart:
    def __init__(self):
        self.net = OneGRU()
        self.start = None

    def __call__(self, ids):
        if self.start is None:
            self.start = tf.random.normal((ids.shape[0], U))
        x, _ = self.net.gru(self.net.embedding(ids), initial_state=self.start)
        return self.net.dense(x)


@wrong("stale-state")
class OneCallBehind:
    """The state of the call before the last."""

    def __init__(self):
        self.net = OneGRU()

    def __call__(self, ids, states=None):
        older, last = states if states is not None else (None, None)
        x, new = self.net.gru(self.net.embedding(ids), initial_state=older)
        return self.net.dense(x), (new if last is None else last, new)


@wrong("ignored-state", name="half_of_the_state_kept")
class HalfKept(OneGRU):
    def call(self, inputs, state=None, return_state=False):
        if state is not None:
            state = tf.pad(state[:, : U // 2], [[0, 0], [0, U // 2]])
        x, state = self.gru(self.embedding(inputs), initial_state=state)
        return (self.dense(x), state) if return_state else self.dense(x)


@wrong("ignored-state", name="cell_state_reset")
class OnlyHKept(OneLSTM):
    def call(self, inputs, states=None, return_state=False):
        given = None if states is None else [states[0], tf.zeros_like(states[1])]
        x, h, c = self.lstm(self.embedding(inputs), initial_state=given)
        return (self.dense(x), [h, c]) if return_state else self.dense(x)


@wrong("ignored-state", name="stateful_layer_reset_in_call")
class StatefulReset(Embedded):
    def __init__(self):
        super().__init__()
        self.gru = layers.GRU(U, return_sequences=True, stateful=True)

    def call(self, inputs):
        if self.gru.built:
            self.gru.reset_state()
        return self.dense(self.gru(self.embedding(inputs)))


@wrong("dropped-state", name="second_layer_not_carried")
class SecondDropped(TwoGRU):
    def call(self, inputs, state=None, return_state=False):
        x, state = self.gru1(self.embedding(inputs), initial_state=state)
        x, _ = self.gru2(x)
        return (self.dense(x), state) if return_state else self.dense(x)


@wrong("dropped-state", name="takes_states_and_returns_none")
class NothingReturned(TwoGRU):
    def call(self, inputs, states=None):
        s1, s2 = states if states is not None else (None, None)
        x, _ = self.gru1(self.embedding(inputs), initial_state=s1)
        x, _ = self.gru2(x, initial_state=s2)
        return self.dense(x)


@wrong("dropped-state", name="one_of_two_is_stateful")
class OneStateful(Embedded):
    """One layer is stateful, its neighbour is not."""

    def __init__(self):
        super().__init__()
        self.carried = layers.GRU(U, return_sequences=True, stateful=True)
        self.forgotten = layers.GRU(U, return_sequences=True)

    def call(self, inputs):
        return self.dense(self.forgotten(self.carried(self.embedding(inputs))))


@wrong("random-state", name="keras_random_at_every_call")
class KerasRandomStart(OneGRU):
    def call(self, inputs, state=None, return_state=False):
        given = keras.random.uniform((inputs.shape[0], U))
        x, state = self.gru(self.embedding(inputs), initial_state=given)
        return (self.dense(x), state) if return_state else self.dense(x)


@wrong("noisy-state", name="dropout_at_inference")
class AlwaysDropout(OneGRU):
    def call(self, inputs, state=None, return_state=False):
        x, state = self.gru(self.embedding(inputs), initial_state=state)
        state = tf.nn.dropout(state, 0.3)
        return (self.dense(x), state) if return_state else self.dense(x)
