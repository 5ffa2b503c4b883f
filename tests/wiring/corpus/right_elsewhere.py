"""Right: random numbers that change nothing in evaluation, and batches of one row that are treated apart."""

import keras
import tensorflow as tf

from tests.wiring.corpus.case import E, right
from tests.wiring.corpus.parts import OneGRU

layers = keras.layers


@right(name="dropout_of_rate_zero_always_on")
class RateZero(OneGRU):
    """A dropout of rate 0 draws nothing."""

    def __init__(self):
        super().__init__()
        self.drop = layers.Dropout(0.0)

    def call(self, inputs, state=None, return_state=False):
        x, state = self.gru(self.drop(self.embedding(inputs), training=True), initial_state=state)
        return (self.dense(x), state) if return_state else self.dense(x)


@right(name="random_projection_of_a_fixed_seed")
class FixedProjection(OneGRU):
    """The projection is drawn from the same seed in every call, so that it is a constant."""

    def call(self, inputs, state=None, return_state=False):
        projection = tf.random.stateless_normal((E, E), seed=(3, 5))
        x, state = self.gru(tf.tensordot(self.embedding(inputs), projection, 1), initial_state=state)
        return (self.dense(x), state) if return_state else self.dense(x)


@right(name="monte_carlo_dropout_switched_off")
class Switch(OneGRU):
    """Monte Carlo dropout that is off until it is asked for.

    The switch is off, so that dropout follows the training flag.
    """

    def __init__(self, monte_carlo=False):
        super().__init__()
        self.monte_carlo = monte_carlo
        self.drop = layers.Dropout(0.3)

    def call(self, inputs, state=None, return_state=False, training=False):
        x, state = self.gru(self.embedding(inputs), initial_state=state)
        logits = self.dense(self.drop(x, training=training or self.monte_carlo))
        return (logits, state) if return_state else logits


@right(name="one_row_padded_to_two")
class OneRow(OneGRU):
    """A batch of one row is padded to two rows, since the author's accelerator wanted that.

    A single row is read twice with its own state, and one copy of both is given back.
    """

    def call(self, inputs, state=None, return_state=False):
        single = inputs.shape[0] == 1
        if single:
            inputs = tf.repeat(inputs, 2, axis=0)
            state = None if state is None else tf.repeat(state, 2, axis=0)
        x, state = self.gru(self.embedding(inputs), initial_state=state)
        logits = self.dense(x)
        if single:
            logits, state = logits[:1], state[:1]
        return (logits, state) if return_state else logits
