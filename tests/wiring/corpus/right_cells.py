"""Right: cells, stacked cells, cells of cells, and loops written by hand."""

import keras
import tensorflow as tf

from tests.wiring.corpus.case import E, U, V, right
from tests.wiring.corpus.parts import Embedded, zeros

layers = keras.layers


@right(name="python_loop_over_cells")
class PythonLoop(Embedded):
    def __init__(self):
        super().__init__()
        self.cells = [layers.GRUCell(U) for _ in range(2)]

    def call(self, inputs, states=None, return_state=False):
        x = self.embedding(inputs)
        if states is None:
            states = [zeros(inputs) for _ in self.cells]
        states = list(states)
        outputs = []
        for t in range(x.shape[1]):
            y = x[:, t]
            for i, cell in enumerate(self.cells):
                y, (states[i],) = cell(y, [states[i]])
            outputs.append(y)
        logits = self.dense(tf.stack(outputs, axis=1))
        return (logits, states) if return_state else logits


@right(name="tf_scan")
class Scan(tf.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.cell, self.dense = layers.Embedding(V, E), layers.GRUCell(U), layers.Dense(V)

    def __call__(self, ids, state=None):
        x = tf.transpose(self.embedding(ids), [1, 0, 2])
        state = zeros(ids) if state is None else state
        states = tf.scan(lambda h, x_t: self.cell(x_t, [h])[0], x, initializer=state)
        return self.dense(tf.transpose(states, [1, 0, 2])), states[-1]


@right(name="stacked_rnn_cells")
class StackedCells(Embedded):
    def __init__(self):
        super().__init__()
        self.rnn = layers.RNN([layers.LSTMCell(U), layers.GRUCell(U)], return_sequences=True, return_state=True)

    def call(self, inputs, states=None, return_state=False, training=False):
        x, *states = self.rnn(self.embedding(inputs), initial_state=states, training=training)
        return (self.dense(x), states) if return_state else self.dense(x)


@keras.saving.register_keras_serializable("corpus")
class MinimalCell(layers.Layer):
    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.state_size = units
        self.inner, self.recurrent = layers.Dense(units), layers.Dense(units, use_bias=False)

    def call(self, inputs, states):
        h = tf.tanh(self.inner(inputs) + self.recurrent(states[0]))
        return h, [h]


@right()
class CustomCell(Embedded):
    def __init__(self):
        super().__init__()
        self.rnn1 = layers.RNN(MinimalCell(U), return_sequences=True, return_state=True)
        self.rnn2 = layers.RNN(MinimalCell(U), return_sequences=True, return_state=True)

    def call(self, inputs, states=None, return_state=False):
        a, b = states if states is not None else (None, None)
        x, a = self.rnn1(self.embedding(inputs), initial_state=a)
        x, b = self.rnn2(x, initial_state=b)
        return (self.dense(x), [a, b]) if return_state else self.dense(x)


class DeepTransitionCell(layers.Layer):
    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.first, self.second = layers.GRUCell(units), layers.GRUCell(units)
        self.state_size = units
        self.output_size = units

    def call(self, inputs, states):
        x, middle = self.first(inputs, states)
        x, new = self.second(x, middle)
        return x, new


@right(declare=("mixed=rnn.cell.first", "mixed=rnn.cell.second"), name="deep_transition_declared")
class DeepTransition(Embedded):
    def __init__(self):
        super().__init__(width=U)
        self.rnn = layers.RNN(DeepTransitionCell(U), return_sequences=True, return_state=True)

    def call(self, inputs, state=None, return_state=False):
        x, state = self.rnn(self.embedding(inputs), initial_state=state)
        return (self.dense(x), state) if return_state else self.dense(x)


@right(expect="inconclusive", name="recurrence_by_hand")
class ByHand(Embedded):
    """No layer or cell: only behaviour can be judged."""

    def __init__(self):
        super().__init__()
        self.inner, self.recurrent = layers.Dense(U), layers.Dense(U)

    def call(self, inputs, state=None, return_state=False):
        x = self.embedding(inputs)
        state = zeros(inputs) if state is None else state
        outputs = []
        for t in range(inputs.shape[1]):
            state = tf.tanh(self.inner(x[:, t]) + self.recurrent(state))
            outputs.append(state)
        logits = self.dense(tf.stack(outputs, axis=1))
        return (logits, state) if return_state else logits


class GatedSum(layers.Layer):
    """A gated sum over time, which begins by itself where it is given no state."""

    state_size = U

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.gate, self.value = layers.Dense(U), layers.Dense(U)

    def call(self, x, initial_state=None):
        keep = keras.ops.sigmoid(self.gate(x))
        new = (1 - keep) * self.value(x)
        if initial_state is not None:
            new = tf.concat([new[:, :1] + keep[:, :1] * initial_state[:, None], new[:, 1:]], axis=1)
        _, states = keras.ops.associative_scan(lambda a, b: (a[0] * b[0], b[0] * a[1] + b[1]), (keep, new), axis=1)
        return states, states[:, -1]


class GatedSums(Embedded):
    def __init__(self):
        super().__init__()
        self.lower, self.upper = GatedSum(), GatedSum()

    def call(self, inputs, states=None, return_state=False):
        a, b = states if states is not None else (None, None)
        x, a = self.lower(self.embedding(inputs), initial_state=a)
        x, b = self.upper(x, initial_state=b)
        return (self.dense(x), [a, b]) if return_state else self.dense(x)


@right()
class LayersThatBeginByThemselves(GatedSums):
    pass
