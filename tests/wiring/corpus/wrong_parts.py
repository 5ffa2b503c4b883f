"""Wrong: a part of a state is lost or crossed, or a state is lost for a batch of one row only."""

import keras
import tensorflow as tf

from tests.wiring.corpus.case import E, U, V, wrong
from tests.wiring.corpus.parts import Embedded, TwoGRU, lstm_layer, zeros

layers = keras.layers


@wrong("dropped-state")
def graph_hands_on_h_alone():
    """The graph takes and gives h; its LSTM's c begins at zero in each call."""
    ids, h = keras.Input((None,), dtype="int32"), keras.Input((U,))
    x, new_h, _ = lstm_layer()(layers.Embedding(V, E)(ids), initial_state=[h, keras.ops.zeros_like(h)])
    return keras.Model([ids, h], [layers.Dense(V)(x), new_h])


@wrong("dropped-state", name="upper_lstm_of_two_loses_its_c")
class UpperLosesC(Embedded):
    """The upper LSTM's c is not returned and begins at zero; the lower LSTM is right."""

    def __init__(self):
        super().__init__()
        self.lower, self.upper = lstm_layer(), lstm_layer()

    def call(self, inputs, states=None, return_state=False):
        zero = zeros(inputs)
        h1, c1, h2 = states if states is not None else (zero, zero, zero)
        x, h1, c1 = self.lower(self.embedding(inputs), initial_state=[h1, c1])
        x, h2, _ = self.upper(x, initial_state=[h2, zero])
        return (self.dense(x), (h1, c1, h2)) if return_state else self.dense(x)


class Stacked(Embedded):
    """Two LSTM cells in one RNN; the faults are in `handed_on`."""

    def __init__(self):
        super().__init__()
        self.rnn = layers.RNN([layers.LSTMCell(U), layers.LSTMCell(U)], return_sequences=True, return_state=True)

    def call(self, inputs, states=None, return_state=False):
        x, (h1, c1), (h2, c2) = self.rnn(self.embedding(inputs), initial_state=states)
        return (self.dense(x), self.handed_on(h1, c1, h2, c2)) if return_state else self.dense(x)


@wrong("crossed-state", name="stacked_cells_lower_c_from_upper_h")
class CFromH(Stacked):
    """The lower cell's c is the upper cell's h."""

    def handed_on(self, h1, c1, h2, c2):
        return [[h1, h2], [h2, c2]]


@wrong("crossed-state", name="stacked_cells_exchange_c")
class CExchanged(Stacked):
    """Each cell of the stack gets the other's c."""

    def handed_on(self, h1, c1, h2, c2):
        return [[h1, c2], [h2, c1]]


class OneRowReset(TwoGRU):
    """The upper state is lost where the batch has one row: a squeeze that was repaired with zeros."""

    def call(self, inputs, states=None, return_state=False):
        s1, s2 = states if states is not None else (None, None)
        if s2 is not None and len(tf.squeeze(s2).shape) < 2:
            s2 = tf.zeros_like(s2)
        x, s1 = self.gru1(self.embedding(inputs), initial_state=s1)
        x, s2 = self.gru2(x, initial_state=s2)
        return (self.dense(x), (s1, s2)) if return_state else self.dense(x)


@wrong("ignored-state")
def upper_layer_reset_for_one_row():
    """The upper layer begins at zero in each call where the batch has one row."""
    return OneRowReset()
