"""What many models of the corpus are made of: an embedding, layers that carry a state, and logits."""

import keras
import tensorflow as tf

from tests.wiring.corpus.case import E, U, V

layers = keras.layers


def gru_layer(*, units=U, **options):
    return layers.GRU(units, return_sequences=True, return_state=True, **options)


def lstm_layer(*, units=U, **options):
    return layers.LSTM(units, return_sequences=True, return_state=True, **options)


def zeros(inputs, units=U):
    return tf.zeros((tf.shape(inputs)[0], units))


class Embedded(keras.Model):
    """An embedding and logits; a subclass adds what is between them."""

    def __init__(self, width=E):
        super().__init__()
        self.embedding, self.dense = layers.Embedding(V, width), layers.Dense(V)


class OneGRU(Embedded):
    def __init__(self, units=U):
        super().__init__()
        self.gru = gru_layer(units=units)


class TwoGRU(Embedded):
    def __init__(self):
        super().__init__()
        self.gru1, self.gru2 = gru_layer(), gru_layer()

    def begin(self, inputs):
        return tf.zeros((tf.shape(inputs)[0], U)), tf.zeros((tf.shape(inputs)[0], U))


class OneLSTM(Embedded):
    def __init__(self):
        super().__init__()
        self.lstm = lstm_layer()
