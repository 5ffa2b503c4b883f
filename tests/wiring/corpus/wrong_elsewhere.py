"""Wrong: one object for two layers, crossed cells, leaks in the sequence path, recurrences without cells, traces."""

import keras
import tensorflow as tf

from tests.wiring.corpus.case import E, U, V, wrong
from tests.wiring.corpus.parts import Embedded, OneGRU, TwoGRU, gru_layer, zeros
from tests.wiring.corpus.right_transforms import Masked

layers = keras.layers


@wrong("shared-layer")
class OneCellTwice(Embedded):
    def __init__(self):
        super().__init__(width=U)
        self.cells = [layers.GRUCell(U)] * 2

    def call(self, inputs, states=None, return_state=False):
        x = self.embedding(inputs)
        states = [zeros(inputs)] * 2 if states is None else list(states)
        outputs = []
        for t in range(inputs.shape[1]):
            y = x[:, t]
            for i, cell in enumerate(self.cells):
                y, (states[i],) = cell(y, [states[i]])
            outputs.append(y)
        logits = self.dense(tf.stack(outputs, axis=1))
        return (logits, states) if return_state else logits


@wrong("shared-layer")
def graph_uses_one_layer_twice():
    ids = keras.Input((None,), dtype="int32")
    gru = layers.GRU(U, return_sequences=True)
    x = layers.Embedding(V, U)(ids)
    return keras.Model(ids, layers.Dense(V)(gru(gru(x))))


class Stacked(TwoGRU):
    def between(self, x):
        return x

    def call(self, inputs, states=None, return_state=False):
        s1, s2 = states if states is not None else (None, None)
        x, s1 = self.gru1(self.embedding(inputs), initial_state=s1)
        x, s2 = self.gru2(self.between(x), initial_state=s2)
        return (self.dense(x), (s1, s2)) if return_state else self.dense(x)


@wrong("batch-leak", name="sequence_reshaped_across_the_batch")
class ReshapedSequence(Stacked):
    def between(self, x):
        shape = tf.shape(x)
        return tf.reshape(tf.transpose(x, [1, 0, 2]), shape)


@wrong("batch-leak")
class TimeMajorSlip(Stacked):
    """Reads (batch, time) as (time, batch) and back, which is not a transpose."""

    def between(self, x):
        batch, time = tf.shape(x)[0], tf.shape(x)[1]
        x = tf.reshape(x, (time, batch, U))
        return tf.transpose(x, [1, 0, 2])


@wrong("future-leak")
class MeanOverTime(Stacked):
    def between(self, x):
        return x - tf.reduce_mean(x, axis=1, keepdims=True)


@wrong("future-leak", name="convolution_with_same_padding")
class Convolved(Embedded):
    def __init__(self):
        super().__init__()
        self.conv, self.gru = layers.Conv1D(E, 3, padding="same"), gru_layer()

    def call(self, inputs, state=None, return_state=False):
        x, state = self.gru(self.conv(self.embedding(inputs)), initial_state=state)
        return (self.dense(x), state) if return_state else self.dense(x)


@wrong("future-leak", name="layer_runs_backwards")
class Backwards(Embedded):
    def __init__(self):
        super().__init__()
        self.gru = gru_layer(go_backwards=True)

    def call(self, inputs, state=None, return_state=False):
        x, state = self.gru(self.embedding(inputs), initial_state=state)
        return (self.dense(x), state) if return_state else self.dense(x)


class ByHand(Embedded):
    def __init__(self):
        super().__init__(width=U)
        self.inner, self.recurrent = [layers.Dense(U) for _ in range(2)], [layers.Dense(U) for _ in range(2)]

    def run(self, layer, x, state):
        outputs = []
        for t in range(x.shape[1]):
            state = tf.tanh(self.inner[layer](x[:, t]) + self.recurrent[layer](state))
            outputs.append(state)
        return tf.stack(outputs, axis=1), state


@wrong("future-leak", name="by_hand_layers_share_a_state")
class ByHandShared(ByHand):
    def call(self, inputs, state=None, return_state=False):
        state = zeros(inputs) if state is None else state
        x, state = self.run(0, self.embedding(inputs), state)
        x, state = self.run(1, x, state)
        return (self.dense(x), state) if return_state else self.dense(x)


@wrong("chunk-variance", name="by_hand_states_exchanged")
class ByHandExchanged(ByHand):
    def call(self, inputs, states=None, return_state=False):
        if states is None:
            states = [zeros(inputs)] * 2
        x, s1 = self.run(0, self.embedding(inputs), states[0])
        x, s2 = self.run(1, x, states[1])
        return (self.dense(x), [s2, s1]) if return_state else self.dense(x)


@wrong("unused-state", name="by_hand_state_unread")
class StateUnread(Embedded):
    """A recurrence by hand that accepts its state and begins anew."""

    def __init__(self):
        super().__init__(width=U)
        self.inner, self.recurrent = layers.Dense(U), layers.Dense(U)

    def call(self, inputs, state=None, return_state=False):
        x = self.embedding(inputs)
        state = zeros(inputs)
        outputs = []
        for t in range(x.shape[1]):
            state = tf.tanh(self.inner(x[:, t]) + self.recurrent(state))
            outputs.append(state)
        x = self.dense(tf.stack(outputs, axis=1))
        return (x, state) if return_state else x


class TracedUnbuilt(OneGRU):
    @tf.function
    def call(self, inputs, state=None, return_state=False):
        x, state = self.gru(self.embedding(inputs), initial_state=state)
        x = self.dense(x)
        if return_state:
            return x, state
        return x


@wrong("frozen-trace")
def traced_before_it_was_built():
    model = TracedUnbuilt()
    model(tf.ones((2, 3), tf.int32))
    return model


@wrong("chunk-variance", name="mask_dropped_where_a_state_is_given")
class MaskDropped(Masked):
    """The mask is left to the layers, which take it where they are given no state, and drop it where they are."""

    def mask_of(self, inputs):
        return None
