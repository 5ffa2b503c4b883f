"""Right: something is kept on the object, and a fresh start is a fresh start (or can be had by a reset)."""

import keras
import tensorflow as tf

from tests.wiring.corpus.case import E, U, V, right
from tests.wiring.corpus.parts import Embedded, gru_layer

layers = keras.layers


class Parts:
    """The layers of a model of one GRU."""

    def __init__(self):
        self.embedding, self.gru, self.dense = layers.Embedding(V, E), gru_layer(), layers.Dense(V)


@right(name="cache_cleared_at_a_fresh_start")
class Cleared(Parts):
    """The state passes through the object, and a fresh start clears it.

    A call without a state puts zeros on the object before the GRU reads them.
    """

    def __init__(self):
        super().__init__()
        self.current = None

    def __call__(self, ids, states=None):
        self.current = states if states is not None else tf.zeros((ids.shape[0], U))
        x, self.current = self.gru(self.embedding(ids), initial_state=self.current)
        return self.dense(x), self.current


@right(name="session_of_the_generator_only")
class Session(Parts):
    """`generate` keeps a state for its own use; a call does not look at it.

    The kept state is read by `generate` and by no call.
    """

    def __init__(self):
        super().__init__()
        self.session = None

    def __call__(self, ids, state=None):
        x, state = self.gru(self.embedding(ids), initial_state=state)
        return self.dense(x), state

    def generate(self, ids, steps):
        for _ in range(steps):
            logits, self.session = self(ids, self.session)
            ids = tf.argmax(logits[:, -1:], axis=-1, output_type=tf.int32)
        return ids


@right(name="memory_in_a_weight_on_purpose")
class InWeights(Embedded):
    """Stateful on purpose: no state is taken, and `reset_state` begins a new text.

    The model takes no states, and goes on from its own until it is reset.
    """

    def __init__(self, batch=2):
        super().__init__()
        self.gru = gru_layer()
        self.memory = self.add_weight(shape=(batch, U), initializer="zeros", trainable=False, name="memory")

    def reset_state(self):
        self.memory.assign(tf.zeros_like(self.memory))

    def call(self, inputs):
        x, new = self.gru(self.embedding(inputs), initial_state=self.memory + 0.0)
        self.memory.assign(new)
        return self.dense(x)
