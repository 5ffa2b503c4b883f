"""Right: what is done with training=True alone, and leaves each layer its own state."""

import keras
import tensorflow as tf

from tests.wiring.corpus.case import right
from tests.wiring.corpus.parts import TwoGRU

layers = keras.layers


@right(name="zoneout_in_training")
class Zoneout(TwoGRU):
    """Some units keep their old value from one segment to the next.

    Each layer gets its own states, new or old, and only training draws among them.
    """

    def call(self, inputs, states=None, return_state=False, training=False):
        old1, old2 = states if states is not None else self.begin(inputs)
        x, new1 = self.gru1(self.embedding(inputs), initial_state=old1)
        x, new2 = self.gru2(x, initial_state=old2)
        if training:
            new1 = tf.where(tf.random.uniform(tf.shape(new1)) < 0.1, old1, new1)
            new2 = tf.where(tf.random.uniform(tf.shape(new2)) < 0.1, old2, new2)
        return (self.dense(x), (new1, new2)) if return_state else self.dense(x)


@right(name="random_first_state_in_training")
class RandomStart(TwoGRU):
    """The first state is drawn in training only, and carried states are used as they are."""

    def call(self, inputs, states=None, return_state=False, training=False):
        if states is None:
            states = self.begin(inputs)
            if training:
                states = tuple(tf.random.normal(tf.shape(s), stddev=0.1) for s in states)
        s1, s2 = states
        x, s1 = self.gru1(self.embedding(inputs), initial_state=s1)
        x, s2 = self.gru2(x, initial_state=s2)
        return (self.dense(x), (s1, s2)) if return_state else self.dense(x)


@right(name="batch_normalisation_between_layers")
class Normalised(TwoGRU):
    """Training takes means over the batch by design, and evaluation uses the moving ones."""

    def __init__(self):
        super().__init__()
        self.noise, self.norm = layers.GaussianNoise(0.1), layers.BatchNormalization()

    def call(self, inputs, states=None, return_state=False, training=False):
        s1, s2 = states if states is not None else (None, None)
        x, s1 = self.gru1(self.noise(self.embedding(inputs), training=training), initial_state=s1)
        x, s2 = self.gru2(self.norm(x, training=training), initial_state=s2)
        return (self.dense(x), [s1, s2]) if return_state else self.dense(x)


@right(name="token_by_token_in_training")
class StepsInTraining(TwoGRU):
    """Both branches run the same recurrence, one token by token and one in whole segments."""

    def call(self, inputs, states=None, return_state=False, training=False):
        s1, s2 = states if states is not None else self.begin(inputs)
        x = self.embedding(inputs)
        if training:
            outputs = []
            for t in range(inputs.shape[1]):
                y, s1 = self.gru1(x[:, t : t + 1], initial_state=s1)
                y, s2 = self.gru2(y, initial_state=s2)
                outputs.append(y)
            x = tf.concat(outputs, axis=1)
        else:
            x, s1 = self.gru1(x, initial_state=s1)
            x, s2 = self.gru2(x, initial_state=s2)
        return (self.dense(x), (s1, s2)) if return_state else self.dense(x)
