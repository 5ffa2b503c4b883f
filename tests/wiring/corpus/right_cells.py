"""Right: cells, stacked cells, cells of cells, and loops written by hand."""

import keras
import tensorflow as tf

from tests.wiring.corpus.case import E, U, V, right

layers = keras.layers


@right(name="python_loop_over_cells")
class PythonLoop(keras.Model):
    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(V, E)
        self.cells = [layers.GRUCell(U) for _ in range(2)]
        self.dense = layers.Dense(V)

    def call(self, inputs, states=None, return_state=False):
        x = self.embedding(inputs)
        if states is None:
            states = [tf.zeros((tf.shape(inputs)[0], U)) for _ in self.cells]
        states = list(states)
        outputs = []
        for t in range(x.shape[1]):
            y = x[:, t]
            for i, cell in enumerate(self.cells):
                y, (states[i],) = cell(y, [states[i]])
            outputs.append(y)
        logits = self.dense(tf.stack(outputs, axis=1))
        return (logits, states) if return_state else logits


class RangeLoop(keras.Model):
    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(V, E)
        self.cell = layers.LSTMCell(U)
        self.dense = layers.Dense(V)

    def call(self, inputs, states=None, return_state=False):
        x = self.embedding(inputs)
        if states is None:
            states = (tf.zeros((tf.shape(inputs)[0], U)), tf.zeros((tf.shape(inputs)[0], U)))
        x = tf.transpose(x, [1, 0, 2])
        steps = tf.shape(x)[0]
        outputs = tf.TensorArray(tf.float32, size=steps)
        h, c = states
        for t in tf.range(steps):
            y, (h, c) = self.cell(x[t], [h, c])
            outputs = outputs.write(t, y)
        logits = self.dense(tf.transpose(outputs.stack(), [1, 0, 2]))
        return (logits, (h, c)) if return_state else logits


@right(name="tf_range_loop")
class RangeLoopService(tf.Module):
    """Keras cannot build a tf.range loop symbolically, so the model is driven from outside."""

    def __init__(self):
        super().__init__()
        self.net = RangeLoop()

    def __call__(self, ids, states=None):
        return self.net.call(ids, states, return_state=True)


@right(name="tf_scan")
class Scan(tf.Module):
    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(V, E)
        self.cell = layers.GRUCell(U)
        self.dense = layers.Dense(V)

    def __call__(self, ids, state=None):
        x = tf.transpose(self.embedding(ids), [1, 0, 2])
        if state is None:
            state = tf.zeros((tf.shape(ids)[0], U))
        states = tf.scan(lambda h, x_t: self.cell(x_t, [h])[0], x, initializer=state)
        return self.dense(tf.transpose(states, [1, 0, 2])), states[-1]


@right(name="tf_while_loop")
class While(tf.Module):
    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(V, E)
        self.cell = layers.SimpleRNNCell(U)
        self.dense = layers.Dense(V)

    def __call__(self, ids, state=None):
        x = self.embedding(ids)
        if state is None:
            state = tf.zeros((tf.shape(ids)[0], U))
        outputs = tf.TensorArray(tf.float32, size=x.shape[1])

        def body(t, h, out):
            y, (h,) = self.cell(x[:, t], [h])
            return t + 1, h, out.write(t, y)

        _, state, outputs = tf.while_loop(lambda t, *_: t < x.shape[1], body, (0, state, outputs))
        return self.dense(tf.transpose(outputs.stack(), [1, 0, 2])), state


@right(name="stacked_rnn_cells")
class StackedCells(keras.Model):
    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(V, E)
        self.rnn = layers.RNN([layers.LSTMCell(U), layers.GRUCell(U)], return_sequences=True, return_state=True)
        self.dense = layers.Dense(V)

    def call(self, inputs, states=None, return_state=False, training=False):
        x, *states = self.rnn(self.embedding(inputs), initial_state=states, training=training)
        return (self.dense(x), states) if return_state else self.dense(x)


@keras.saving.register_keras_serializable("corpus")
class MinimalCell(layers.Layer):
    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.state_size = units
        self.inner = layers.Dense(units)
        self.recurrent = layers.Dense(units, use_bias=False)

    def call(self, inputs, states):
        h = tf.tanh(self.inner(inputs) + self.recurrent(states[0]))
        return h, [h]


@right()
class CustomCell(keras.Model):
    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(V, E)
        self.rnn1 = layers.RNN(MinimalCell(U), return_sequences=True, return_state=True)
        self.rnn2 = layers.RNN(MinimalCell(U), return_sequences=True, return_state=True)
        self.dense = layers.Dense(V)

    def call(self, inputs, states=None, return_state=False):
        a, b = states if states is not None else (None, None)
        x, a = self.rnn1(self.embedding(inputs), initial_state=a)
        x, b = self.rnn2(x, initial_state=b)
        return (self.dense(x), [a, b]) if return_state else self.dense(x)


class TwoLevelCell(layers.Layer):
    """A cell made of two, each with a state of its own."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.c1 = layers.GRUCell(units)
        self.c2 = layers.GRUCell(units)
        self.state_size = [units, units]
        self.output_size = units

    def call(self, inputs, states):
        s1, s2 = states
        x, (s1,) = self.c1(inputs, [s1])
        x, (s2,) = self.c2(x, [s2])
        return x, [s1, s2]


@right()
class CellOfCells(keras.Model):
    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(V, E)
        self.rnn = layers.RNN(TwoLevelCell(U), return_sequences=True, return_state=True)
        self.dense = layers.Dense(V)

    def call(self, inputs, states=None, return_state=False):
        x, *states = self.rnn(self.embedding(inputs), initial_state=states)
        return (self.dense(x), states) if return_state else self.dense(x)


class DeepTransitionCell(layers.Layer):
    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.first = layers.GRUCell(units)
        self.second = layers.GRUCell(units)
        self.state_size = units
        self.output_size = units

    def call(self, inputs, states):
        x, middle = self.first(inputs, states)
        x, new = self.second(x, middle)
        return x, new


@right(declare=("mixed=rnn.cell.first", "mixed=rnn.cell.second"), name="deep_transition_declared")
class DeepTransition(keras.Model):
    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(V, U)
        self.rnn = layers.RNN(DeepTransitionCell(U), return_sequences=True, return_state=True)
        self.dense = layers.Dense(V)

    def call(self, inputs, state=None, return_state=False):
        x, state = self.rnn(self.embedding(inputs), initial_state=state)
        return (self.dense(x), state) if return_state else self.dense(x)


@right()
class TokenByToken(keras.Model):
    """Layers are run one token at a time."""

    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(V, E)
        self.gru1 = layers.GRU(U, return_sequences=True, return_state=True)
        self.gru2 = layers.GRU(U, return_sequences=True, return_state=True)
        self.dense = layers.Dense(V)

    def call(self, inputs, states=None, return_state=False):
        s1, s2 = states if states is not None else (None, None)
        x = self.embedding(inputs)
        outputs = []
        for t in range(inputs.shape[1]):
            y, s1 = self.gru1(x[:, t : t + 1], initial_state=s1)
            y, s2 = self.gru2(y, initial_state=s2)
            outputs.append(y)
        logits = self.dense(tf.concat(outputs, axis=1))
        return (logits, (s1, s2)) if return_state else logits


@right()
class InputFeeding(keras.Model):
    """Each step also reads the last step's output."""

    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(V, E)
        self.cell = layers.GRUCell(U)
        self.dense = layers.Dense(V)

    def call(self, inputs, states=None, return_state=False):
        x = self.embedding(inputs)
        if states is None:
            states = [tf.zeros((tf.shape(inputs)[0], U)), tf.zeros((tf.shape(inputs)[0], U))]
        h, fed = states
        outputs = []
        for t in range(inputs.shape[1]):
            fed, (h,) = self.cell(tf.concat([x[:, t], fed], axis=-1), [h])
            outputs.append(fed)
        logits = self.dense(tf.stack(outputs, axis=1))
        return (logits, [h, fed]) if return_state else logits


@right(expect="inconclusive", name="recurrence_by_hand")
class ByHand(keras.Model):
    """No layer or cell: only behaviour can be judged."""

    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(V, E)
        self.inner = layers.Dense(U)
        self.recurrent = layers.Dense(U)
        self.dense = layers.Dense(V)

    def call(self, inputs, state=None, return_state=False):
        x = self.embedding(inputs)
        if state is None:
            state = tf.zeros((tf.shape(inputs)[0], U))
        outputs = []
        for t in range(inputs.shape[1]):
            state = tf.tanh(self.inner(x[:, t]) + self.recurrent(state))
            outputs.append(state)
        logits = self.dense(tf.stack(outputs, axis=1))
        return (logits, state) if return_state else logits
