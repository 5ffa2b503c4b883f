"""Wrong: states of two layers are averaged, added, or cut apart in the wrong place."""

import keras
import tensorflow as tf

from tests.wiring.corpus.case import U, wrong
from tests.wiring.corpus.parts import TwoGRU

layers = keras.layers


@wrong("mixed-state", name="slice_off_by_four")
class SliceOff(TwoGRU):
    def call(self, inputs, state=None, return_state=False):
        if state is None:
            state = tf.zeros((tf.shape(inputs)[0], 2 * U))
        x, s1 = self.gru1(self.embedding(inputs), initial_state=state[:, 4 : 4 + U])
        x, s2 = self.gru2(x, initial_state=state[:, U:])
        return (self.dense(x), tf.concat([s1, s2], axis=1)) if return_state else self.dense(x)


@wrong("mixed-state", name="reshape_mixes_batch_and_layer")
class ReshapedAcross(TwoGRU):
    """Stacked on axis 1, taken apart on axis 0."""

    def call(self, inputs, state=None, return_state=False):
        batch = tf.shape(inputs)[0]
        if state is None:
            state = tf.zeros((batch, 2, U))
        s1, s2 = tf.unstack(tf.reshape(state, (2, batch, U)))
        x, s1 = self.gru1(self.embedding(inputs), initial_state=s1)
        x, s2 = self.gru2(x, initial_state=s2)
        return (self.dense(x), tf.stack([s1, s2], axis=1)) if return_state else self.dense(x)
