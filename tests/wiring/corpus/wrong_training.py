"""Wrong with training=True alone: evaluated, these models are right."""

import keras

from tests.wiring.corpus.case import U, wrong
from tests.wiring.corpus.parts import Embedded, TwoGRU, lstm_layer

layers = keras.layers


@wrong("shared-state", name="training_shares_the_state")
class Shares(TwoGRU):
    """In training, the second layer starts from the first layer's new state."""

    def call(self, inputs, states=None, return_state=False, training=False):
        s1, s2 = states if states is not None else self.begin(inputs)
        x, s1 = self.gru1(self.embedding(inputs), initial_state=s1)
        x, s2 = self.gru2(x, initial_state=s1 if training else s2)
        return (self.dense(x), (s1, s2)) if return_state else self.dense(x)


@wrong("misplaced-state", name="training_reverses_the_rows")
class Shuffles(TwoGRU):
    """In training, a row continues from the state of another row."""

    def call(self, inputs, states=None, return_state=False, training=False):
        s1, s2 = states if states is not None else self.begin(inputs)
        x, s1 = self.gru1(self.embedding(inputs), initial_state=s1)
        x, s2 = self.gru2(x, initial_state=s2)
        if training:
            s1, s2 = s1[::-1], s2[::-1]
        return (self.dense(x), (s1, s2)) if return_state else self.dense(x)


@wrong("dropped-state", name="training_drops_the_upper_layers_state")
class Drops(TwoGRU):
    """In training, the upper layer begins at zero in each call, and its new state is thrown away."""

    def call(self, inputs, states=None, return_state=False, training=False):
        s1, s2 = states if states is not None else self.begin(inputs)
        x, s1 = self.gru1(self.embedding(inputs), initial_state=s1)
        if training:
            x, _ = self.gru2(x)
        else:
            x, s2 = self.gru2(x, initial_state=s2)
        return (self.dense(x), (s1, s2)) if return_state else self.dense(x)


@wrong("future-leak", name="training_reads_ahead")
class LooksAhead(TwoGRU):
    """An auxiliary layer that reads backwards helps in training.

    In training, each position also sees what a backward layer made of the later tokens.
    """

    def __init__(self):
        super().__init__()
        self.helper = layers.GRU(U, return_sequences=True, go_backwards=True)
        self.helper.build((None, None, U))

    def call(self, inputs, states=None, return_state=False, training=False):
        s1, s2 = states if states is not None else self.begin(inputs)
        x, s1 = self.gru1(self.embedding(inputs), initial_state=s1)
        if training:
            x = x + self.helper(x)[:, ::-1]
        x, s2 = self.gru2(x, initial_state=s2)
        return (self.dense(x), (s1, s2)) if return_state else self.dense(x)


class Block(layers.Layer):
    """The flag reaches this block through Keras, although the model does not hand it on."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.lstm = lstm_layer(units=units)

    def call(self, x, state=None, training=False):
        x, h, c = self.lstm(x, initial_state=state)
        return x, ([c, h] if training else [h, c])


@wrong("swapped-slots", name="training_swaps_h_and_c_in_a_block")
class FlagFromKeras(Embedded):
    """In training, the block returns its LSTM's c before its h."""

    def __init__(self):
        super().__init__()
        self.block = Block(U)

    def call(self, inputs, states=None, return_state=False, training=False):
        x, states = self.block(self.embedding(inputs), states)
        return (self.dense(x), states) if return_state else self.dense(x)
