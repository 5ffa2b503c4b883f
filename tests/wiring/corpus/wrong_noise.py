"""Wrong: random numbers that are drawn in every call, with training=False too."""

import keras
import tensorflow as tf

from tests.wiring.corpus.case import E, U, V, wrong
from tests.wiring.corpus.parts import OneGRU

layers = keras.layers


@wrong("always-random")
def graph_with_dropout_on_the_embedding():
    """The embedding is dropped out in every call; no state is taken."""
    ids = keras.Input((None,), dtype="int32")
    x = layers.Dropout(0.2)(layers.Embedding(V, E)(ids), training=True)
    x = layers.LSTM(U, return_sequences=True)(x)
    return keras.Model(ids, layers.Dense(V)(x))


@wrong("always-random", name="dropout_of_tensorflow_on_the_outputs")
class Functional(OneGRU):
    """tf.nn.dropout knows no training flag, and drops the GRU's outputs in every call."""

    def call(self, inputs, state=None, return_state=False, training=False):
        x, state = self.gru(self.embedding(inputs), initial_state=state, training=training)
        logits = self.dense(tf.nn.dropout(x, rate=0.2))
        return (logits, state) if return_state else logits


@wrong("always-random", name="gaussian_noise_left_on")
class Noise(OneGRU):
    """Noise is added to the embedding in every call."""

    def __init__(self):
        super().__init__()
        self.noise = layers.GaussianNoise(0.2)

    def call(self, inputs, state=None, return_state=False, training=False):
        x = self.noise(self.embedding(inputs), training=True)
        x, state = self.gru(x, initial_state=state)
        return (self.dense(x), state) if return_state else self.dense(x)


@wrong("always-random", name="words_dropped_in_every_call")
class WordsDropped(OneGRU):
    """Tokens are replaced by 0 at random in every call."""

    def call(self, inputs, state=None, return_state=False):
        inputs = tf.where(tf.random.uniform(tf.shape(inputs)) < 0.3, tf.zeros_like(inputs), inputs)
        x, state = self.gru(self.embedding(inputs), initial_state=state)
        return (self.dense(x), state) if return_state else self.dense(x)
