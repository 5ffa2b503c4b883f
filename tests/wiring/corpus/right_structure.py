"""Right: blocks, models in models, layers of one's own, `tf.function`."""

import keras
import tensorflow as tf

from tests.wiring.corpus.case import U, right
from tests.wiring.corpus.parts import Embedded, TwoGRU, gru_layer, lstm_layer, zeros

layers = keras.layers


class Block(layers.Layer):
    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.norm, self.rnn = layers.LayerNormalization(), lstm_layer(units=units)

    def call(self, x, state=None):
        y, h, c = self.rnn(self.norm(x), initial_state=state)
        return x + y, [h, c]


@right()
class Blocks(Embedded):
    def __init__(self, depth=2):
        super().__init__(width=U)
        self.blocks = [Block(U) for _ in range(depth)]

    def call(self, inputs, states=None, return_state=False):
        x = self.embedding(inputs)
        new = []
        for i, block in enumerate(self.blocks):
            x, state = block(x, None if states is None else states[i])
            new.append(state)
        return (self.dense(x), new) if return_state else self.dense(x)


class OwnGRU(layers.GRU):
    """A layer of one's own that only scales its output."""

    def call(self, sequences, initial_state=None, mask=None, training=False):
        x, state = super().call(sequences, initial_state=initial_state, mask=mask, training=training)
        return 0.5 * x, state


@right(name="layer_of_ones_own")
class OwnLayer(Embedded):
    def __init__(self):
        super().__init__()
        self.a = OwnGRU(U, return_sequences=True, return_state=True)
        self.b = OwnGRU(U, return_sequences=True, return_state=True)

    def call(self, inputs, states=None, return_state=False):
        s, t = states or (None, None)
        x, s = self.a(self.embedding(inputs), initial_state=s)
        x, t = self.b(x, initial_state=t)
        return (self.dense(x), (s, t)) if return_state else self.dense(x)


class Traced(TwoGRU):
    @tf.function
    def call(self, inputs, states=None, return_state=False):
        a, b = states if states is not None else (None, None)
        x, a = self.gru1(self.embedding(inputs), initial_state=a)
        x, b = self.gru2(x, initial_state=b)
        x = self.dense(x)
        if return_state:
            return x, (a, b)
        return x


@right()
def tf_function_on_call_built_before():
    model = Traced()
    tf.config.run_functions_eagerly(True)
    model(tf.ones((2, 3), tf.int32))
    tf.config.run_functions_eagerly(False)
    model(tf.ones((2, 3), tf.int32))
    return model


@right(name="tf_function_on_step")
class TracedStep(Embedded):
    def __init__(self):
        super().__init__()
        self.cell = layers.GRUCell(U)

    @tf.function
    def step(self, x, state):
        y, (state,) = self.cell(x, [state])
        return y, state

    def call(self, inputs, state=None, return_state=False):
        x = self.embedding(inputs)
        state = zeros(inputs) if state is None else state
        outputs = []
        for t in range(inputs.shape[1]):
            y, state = self.step(x[:, t], state)
            outputs.append(y)
        x = self.dense(tf.stack(outputs, axis=1))
        return (x, state) if return_state else x


@right()
class ParallelBranches(Embedded):
    """Two layers side by side, read by a third."""

    def __init__(self):
        super().__init__()
        self.left, self.right, self.top = gru_layer(), lstm_layer(), gru_layer()

    def call(self, inputs, states=None, return_state=False):
        a, b, c = states if states is not None else (None, None, None)
        x = self.embedding(inputs)
        left, a = self.left(x, initial_state=a)
        right_, *b = self.right(x, initial_state=b)
        x, c = self.top(tf.concat([left, right_], axis=-1), initial_state=c)
        return (self.dense(x), (a, b, c)) if return_state else self.dense(x)
