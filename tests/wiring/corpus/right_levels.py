"""Right: several levels, delays and stores of a state, in other forms than a loop over cells by name."""

import keras
import numpy as np
import tensorflow as tf

from tests.wiring.corpus.case import E, U, V, right
from tests.wiring.corpus.parts import Embedded, OneGRU, gru_layer, zeros

layers = keras.layers


@right(name="three_levels_of_lstm_cells")
class Levels(Embedded):
    """Level k moves where the number of tokens read is a multiple of 2 to the power of k; states in a dict."""

    def __init__(self):
        super().__init__(width=U)
        self.levels = [layers.LSTMCell(U) for _ in range(3)]

    def call(self, inputs, states=None, return_state=False):
        if states is None:
            states = {"read": zeros(inputs, 1), **{f"level{k}": (zeros(inputs), zeros(inputs)) for k in range(3)}}
        states, x, outputs = dict(states), self.embedding(inputs), []
        for t in range(inputs.shape[1]):
            y = x[:, t]
            for k, cell in enumerate(self.levels):
                moves, old = tf.equal(states["read"] % 2**k, 0), states[f"level{k}"]
                _, new = cell(y, old)
                states[f"level{k}"] = tuple(tf.where(moves, b, a) for a, b in zip(old, new, strict=True))
                y = y + states[f"level{k}"][0]
            states["read"] = states["read"] + 1
            outputs.append(y)
        logits = self.dense(tf.stack(outputs, axis=1))
        return (logits, self.handed_on(states)) if return_state else logits

    def handed_on(self, states):
        return states


@right(name="slow_cell_in_scan")
class SlowScan(tf.Module):
    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(V, E)
        self.fast, self.slow = layers.GRUCell(U), layers.GRUCell(U)
        self.dense = layers.Dense(V)

    def step(self, states, x):
        fast, slow, read = states
        slow = tf.where(tf.equal(read % 3, 0), self.slow(fast, [slow])[0], slow)
        return self.fast(tf.concat([x, slow], axis=-1), [fast])[0], slow, read + 1

    def __call__(self, ids, states=None):
        x = tf.transpose(self.embedding(ids), [1, 0, 2])
        states = states if states is not None else (zeros(ids), zeros(ids), zeros(ids, 1))
        fast, slow, read = tf.scan(self.step, x, initializer=states)
        return self.dense(tf.transpose(fast, [1, 0, 2])), (fast[-1], slow[-1], read[-1])


@keras.saving.register_keras_serializable("corpus")
class DelayedCell(layers.Layer):
    """A cell whose states are a queue: it goes on from the oldest."""

    def __init__(self, units, delay, **kwargs):
        super().__init__(**kwargs)
        self.units, self.delay = units, delay
        self.inner = layers.GRUCell(units)
        self.state_size, self.output_size = [units] * delay, units

    def call(self, inputs, states):
        y, new = self.inner(inputs, [states[0]])
        return y, [*states[1:], *new]


@right(name="delayed_cell_in_a_layer")
class Delayed(Embedded):
    def __init__(self, delay=3):
        super().__init__()
        self.rnn = layers.RNN(DelayedCell(U, delay), return_sequences=True, return_state=True)

    def call(self, inputs, states=None, return_state=False):
        x, *states = self.rnn(self.embedding(inputs), initial_state=states)
        return (self.dense(x), self.handed_on(states)) if return_state else self.dense(x)

    def handed_on(self, states):
        return states


@right()
def delay_longer_than_the_text_of_the_check():
    return LongDelay()


class LongDelay(Embedded):
    """The upper layer goes on from its state of twelve tokens ago."""

    def __init__(self):
        super().__init__()
        self.lower, self.upper = layers.GRUCell(U), layers.GRUCell(U)

    def call(self, inputs, states=None, return_state=False):
        h, past = states if states is not None else (zeros(inputs), [zeros(inputs)] * 12)
        x, past, outputs = self.embedding(inputs), list(past), []
        for t in range(inputs.shape[1]):
            y, (h,) = self.lower(x[:, t], [h])
            z, new = self.upper(y, [past.pop(0)])
            past += new
            outputs.append(y + z)
        logits = self.dense(tf.stack(outputs, axis=1))
        return (logits, (h, past)) if return_state else logits


@right(name="half_of_the_units_move_at_some_tokens")
class Skims(keras.Model):
    """At tokens that it skims, the cell keeps the upper half of its units."""

    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(V, E)
        self.cell, self.dense = layers.GRUCell(U), layers.Dense(V)

    def call(self, inputs, state=None, return_state=False):
        state = zeros(inputs) if state is None else state
        x, outputs = self.embedding(inputs), []
        for t in range(inputs.shape[1]):
            y, (new,) = self.cell(x[:, t], [state])
            skimmed = tf.concat([new[:, : U // 2], state[:, U // 2 :]], axis=-1)
            state = tf.where(tf.equal(inputs[:, t] % 2, 0)[:, None], skimmed, new)
            outputs.append(y)
        logits = self.dense(tf.stack(outputs, axis=1))
        return (logits, state) if return_state else logits


@right(name="slow_state_in_variables")
class InVariables(keras.Model):
    """Both states and the number of tokens are kept in variables, with a reset."""

    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(V, E)
        self.fast, self.slow, self.dense = layers.GRUCell(U), layers.GRUCell(U), layers.Dense(V)
        self.kept = [tf.Variable(tf.zeros((2, U)), trainable=False) for _ in range(2)]
        self.read = tf.Variable(0.0, trainable=False)

    def reset_state(self):
        for variable in (*self.kept, self.read):
            variable.assign(tf.zeros_like(variable))

    def call(self, inputs):
        x, outputs = self.embedding(inputs), []
        for t in range(inputs.shape[1]):
            if float(self.read) % 2 == 0:
                self.kept[1].assign(self.slow(x[:, t], [self.kept[1].read_value()])[0])
            y, (h,) = self.fast(tf.concat([x[:, t], self.kept[1]], axis=-1), [self.kept[0].read_value()])
            self.kept[0].assign(h)
            self.read.assign_add(1.0)
            outputs.append(y)
        return self.dense(tf.stack(outputs, axis=1))


@right(name="state_fades_at_every_token")
class FadesAlways(keras.Model):
    """The decay belongs to the recurrence: it happens at each token, wherever the text is cut."""

    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(V, E)
        self.cell, self.dense = layers.LSTMCell(U), layers.Dense(V)

    def call(self, inputs, states=None, return_state=False):
        h, c = states if states is not None else (zeros(inputs), zeros(inputs))
        x, outputs = self.embedding(inputs), []
        for t in range(inputs.shape[1]):
            y, (h, c) = self.cell(x[:, t], [h, c])
            h, c = h * 0.95, tf.clip_by_value(c, -1.0, 1.0)
            outputs.append(y)
        logits = self.dense(tf.stack(outputs, axis=1))
        return (logits, (h, c)) if return_state else logits


class Stores:
    """A service that stores states as numbers of half precision."""

    def __init__(self):
        self.embedding, self.gru, self.dense = layers.Embedding(V, E), gru_layer(), layers.Dense(V)

    def __call__(self, ids, state=None):
        state = None if state is None else tf.constant(np.asarray(state, np.float32))
        x, state = self.gru(self.embedding(ids), initial_state=state)
        return self.dense(x), state.numpy().astype(np.float16)


@right(declare=("chunked=gru",))
def state_stored_in_half_precision_as_declared():
    return Stores()


@right(name="state_clipped_where_no_state_comes")
class ClippedInVain(OneGRU):
    """The h of a GRU lies between −1 and 1, so a clip there changes nothing."""

    def call(self, inputs, state=None, return_state=False):
        x, state = self.gru(self.embedding(inputs), initial_state=state)
        return (self.dense(x), tf.clip_by_value(state, -1.0, 1.0)) if return_state else self.dense(x)
