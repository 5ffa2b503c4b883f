"""Right: the state lives in the model: stateful layers, variables, attributes."""

import keras
import tensorflow as tf

from tests.wiring.corpus.case import E, U, V, right
from tests.wiring.corpus.parts import Embedded, gru_layer

layers = keras.layers


@right()
def stateful_sequential():
    return keras.Sequential(
        [
            keras.Input(batch_shape=(2, None)),
            layers.Embedding(V, E),
            layers.GRU(U, return_sequences=True, stateful=True),
            layers.GRU(U, return_sequences=True, stateful=True),
            layers.Dense(V),
        ]
    )


@right()
class StatefulSubclass(Embedded):
    def __init__(self):
        super().__init__()
        self.gru1 = layers.GRU(U, return_sequences=True, stateful=True)
        self.gru2 = layers.GRU(U, return_sequences=True, stateful=True)

    def call(self, inputs):
        return self.dense(self.gru2(self.gru1(self.embedding(inputs))))


class InVariables(Embedded):
    def __init__(self, batch=2):
        super().__init__()
        self.gru1, self.gru2, self.s1 = gru_layer(), gru_layer(), tf.Variable(tf.zeros((batch, U)), trainable=False)
        self.s2 = tf.Variable(tf.zeros((batch, U)), trainable=False)

    def call(self, inputs):
        x = self.embedding(inputs)
        x, new = self.gru1(x, initial_state=self.s1.read_value())
        self.s1.assign(new)
        x, new = self.gru2(x, initial_state=self.s2.read_value())
        self.s2.assign(new)
        return self.dense(x)


@right(name="state_in_variables")
class VariablesService:
    """Keras would assign symbols to the variables when it builds the model, so `call` is called."""

    def __init__(self):
        self.net = InVariables()

    def __call__(self, ids):
        return self.net.call(ids)


@right(name="state_as_numpy_array")
class AsNumpy:
    def __init__(self):
        self.embedding, self.gru, self.dense = layers.Embedding(V, E), gru_layer(), layers.Dense(V)
        self.last = None

    def __call__(self, ids):
        given = None if self.last is None else tf.convert_to_tensor(self.last)
        x, state = self.gru(self.embedding(ids), initial_state=given)
        self.last = state.numpy()
        return self.dense(x)
