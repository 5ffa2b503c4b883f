"""Wrong: one layer's state reaches another, within a call or at the next."""

import keras
import tensorflow as tf

from tests.wiring.corpus.case import E, U, V, wrong
from tests.wiring.corpus.parts import Embedded, TwoGRU, gru_layer, lstm_layer, zeros

layers = keras.layers


@wrong("shared-state", name="loop_carries_one_state")
class LoopCarriesOne(Embedded):
    """One pair of variables for every layer of the loop."""

    def __init__(self, depth=2):
        super().__init__()
        self.stack = [lstm_layer() for _ in range(depth)]

    def call(self, inputs, states=None, return_state=False):
        x = self.embedding(inputs)
        h, c = states if states is not None else (None, None)
        for lstm in self.stack:
            x, h, c = lstm(x, initial_state=[h, c] if h is not None else None)
        return (self.dense(x), [h, c]) if return_state else self.dense(x)


@wrong("shared-state", name="handed_over_at_the_first_call")
class FirstCallOnly(TwoGRU):
    """Layer 2 starts from layer 1's state at the first call, and is right from then on."""

    def call(self, inputs, states=None, return_state=False):
        s1, s2 = states if states is not None else (None, None)
        x, s1 = self.gru1(self.embedding(inputs), initial_state=s1)
        x, s2 = self.gru2(x, initial_state=s1 if s2 is None else s2)
        return (self.dense(x), (s1, s2)) if return_state else self.dense(x)


@wrong("shared-state", name="starts_from_last_output")
class StateAsOutput(TwoGRU):
    """Layer 2 starts from the last output of layer 1, which is its state."""

    def call(self, inputs, states=None, return_state=False):
        s1 = states[0] if states is not None else None
        x, s1 = self.gru1(self.embedding(inputs), initial_state=s1)
        x, s2 = self.gru2(x, initial_state=x[:, -1])
        return (self.dense(x), (s1, s2)) if return_state else self.dense(x)


@wrong("shared-state", name="shared_inside_tf_function")
class InsideTfFunction(TwoGRU):
    @tf.function
    def stack(self, x, state):
        x, state = self.gru1(x, initial_state=state)
        x, state = self.gru2(x, initial_state=state)
        return x, state

    def call(self, inputs, states=None, return_state=False):
        states = zeros(inputs) if states is None else states
        x, states = self.stack(self.embedding(inputs), states)
        return (self.dense(x), states) if return_state else self.dense(x)


@wrong("crossed-state", name="order_exchanged")
class Exchanged(TwoGRU):
    def call(self, inputs, states=None, return_state=False):
        s1, s2 = states if states is not None else (None, None)
        x, s1 = self.gru1(self.embedding(inputs), initial_state=s1)
        x, s2 = self.gru2(x, initial_state=s2)
        return (self.dense(x), (s2, s1)) if return_state else self.dense(x)


@wrong("crossed-state", name="dict_keys_sorted")
class SortedKeys(Embedded):
    """Values of a dict by sorted key: gru10 comes before gru9."""

    def __init__(self):
        super().__init__()
        self.stack = [gru_layer(name=name) for name in ("gru9", "gru10")]

    def call(self, inputs, states=None, return_state=False):
        x = self.embedding(inputs)
        given = [None, None] if states is None else [states[key] for key in sorted(states)]
        new = {}
        for gru, state in zip(self.stack, given, strict=True):
            x, new[gru.name] = gru(x, initial_state=state)
        return (self.dense(x), new) if return_state else self.dense(x)


@wrong("crossed-state", name="wrong_from_the_third_call")
class FromCallTwo:
    """Right for two calls, exchanged from the third on."""

    def __init__(self):
        self.embedding, self.gru1, self.gru2 = layers.Embedding(V, E), gru_layer(), gru_layer()
        self.dense = layers.Dense(V)

    def __call__(self, ids, states=None):
        calls, s1, s2 = states if states is not None else (0, None, None)
        if calls >= 2:
            s1, s2 = s2, s1
        x, s1 = self.gru1(self.embedding(ids), initial_state=s1)
        x, s2 = self.gru2(x, initial_state=s2)
        return self.dense(x), (calls + 1, s1, s2)


@wrong("shared-state")
def functional_shares_state():
    ids, given = keras.Input((None,), dtype="int32"), keras.Input((U,))
    x = layers.Embedding(V, E)(ids)
    x, state = gru_layer(name="lower")(x, initial_state=given)
    x, state = gru_layer(name="upper")(x, initial_state=state)
    return keras.Model([ids, given], [layers.Dense(V)(x), state])


@wrong("crossed-state")
def functional_outputs_exchanged():
    ids = keras.Input((None,), dtype="int32")
    s1, s2 = keras.Input((U,)), keras.Input((U,))
    x = layers.Embedding(V, E)(ids)
    x, n1 = gru_layer()(x, initial_state=s1)
    x, n2 = gru_layer()(x, initial_state=s2)
    return keras.Model([ids, s1, s2], [layers.Dense(V)(x), n2, n1])


@wrong("shared-state", name="encoder_reads_the_same_text")
class EncoderReadsTheSame(Embedded):
    """A handoff in form only: the encoder reads the text that the decoder predicts."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = layers.GRU(U, return_state=True), gru_layer()

    def call(self, inputs, state=None, return_state=False):
        x = self.embedding(inputs)
        if state is None:
            _, state = self.encoder(x)
        x, state = self.decoder(x, initial_state=state)
        return (self.dense(x), state) if return_state else self.dense(x)
