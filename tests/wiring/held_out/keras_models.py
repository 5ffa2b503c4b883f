"""Held-out Keras models in pairs: a right one and the same one with a fault, as close as can be.

The truth of each was written before it was run, and without a look at the code of the check.
"""

import keras
import tensorflow as tf

import rnneval
from tests.wiring.corpus.case import E, U, V, right, wrong

layers = keras.layers
END = V - 1
"""The id that ends a text, in models that know one."""


def gru(**options):
    """A GRU that can be made in bfloat16 too, for which the default (orthogonal) initializer has no kernel."""
    return layers.GRU(U, return_sequences=True, return_state=True, recurrent_initializer="glorot_uniform", **options)


def zeros(inputs, width=U):
    return tf.zeros((tf.shape(inputs)[0], width))


class Stack(keras.Model):
    """Two GRUs; `fault` says what is wrong, and a right stack has none."""

    def __init__(self, fault="", mask=None, dtype="float32"):
        super().__init__(dtype=dtype)
        self.embedding = layers.Embedding(V, E, dtype=dtype)
        self.l1, self.l2 = gru(dtype=dtype), gru(dtype=dtype)
        self.dense = layers.Dense(V, dtype=dtype)
        self.fault = fault
        self.mask = mask

    def call(self, inputs, states=None, return_state=False):
        a, b = states if states is not None else (None, None)
        x = self.embedding(inputs)
        if self.fault == "sees the next token":
            x += tf.concat([x[:, 1:], x[:, -1:]], axis=1)
        if self.fault == "takes the mean of the rows":
            x += tf.reduce_mean(x, axis=0, keepdims=True)
        x, new_a = self.l1(x, initial_state=a)
        x, new_b = self.l2(x, initial_state=None if self.fault == "ignores" else b)
        new = (new_a, new_b)
        if self.fault == "exchanges":
            new = (new_b, new_a)
        if self.fault == "drops":
            new = (new_a, tf.zeros_like(new_b))
        if self.fault == "returns the incoming state" and b is not None:
            new = (new_a, b)
        logits = self.dense(x)
        if self.mask is not None:
            logits += tf.constant(self.mask, logits.dtype)
        return (logits, new) if return_state else logits


# Output masks


def one(value):
    return [value if i == 3 else 0.0 for i in range(V)]


def half(value):
    return [value if i % 2 else 0.0 for i in range(V)]


BIAS = [9.0, -7.0, 4.0, 0.0, -12.0, 6.0, 2.0, -3.0, 8.0, -20.0, 1.0]
"""As a trained output layer has: some tokens are frequent, others are hardly ever seen."""


right(name="mask_of_minus_100_at_one_id")(lambda: Stack(mask=one(-100.0)))
wrong("future-leak", name="mask_of_minus_100_at_one_id_and_next_token_seen")(
    lambda: Stack("sees the next token", mask=one(-100.0))
)
wrong("batch-leak", name="mask_of_minus_100_at_one_id_and_rows_mixed")(
    lambda: Stack("takes the mean of the rows", mask=one(-100.0))
)
right(name="mask_of_minus_1e9_at_one_id")(lambda: Stack(mask=one(-1e9)))
wrong("future-leak", name="mask_of_minus_1e9_at_one_id_and_next_token_seen")(
    lambda: Stack("sees the next token", mask=one(-1e9))
)
right(name="mask_of_minus_1e9_at_half_of_the_ids")(lambda: Stack(mask=half(-1e9)))
wrong("crossed-state", name="mask_of_minus_1e9_at_half_of_the_ids_and_states_exchanged")(
    lambda: Stack("exchanges", mask=half(-1e9))
)
wrong("future-leak", name="mask_of_minus_1e9_at_half_of_the_ids_and_next_token_seen")(
    lambda: Stack("sees the next token", mask=half(-1e9))
)
right(name="large_bias_of_the_output")(lambda: Stack(mask=BIAS))


# Updates under a condition, in the layer's own loop


class Clockwork(layers.Layer):
    """A fast cell that moves at every token, and a slow one at every third; the tick is a part of the state."""

    def __init__(self, *, restarts=False):
        super().__init__()
        self.slow, self.fast = layers.GRUCell(U), layers.GRUCell(U)
        self.restarts = restarts

    def call(self, x, states):
        slow, fast, tick = states
        if self.restarts:
            tick = tf.zeros_like(tick)
        outputs = []
        for t in range(x.shape[1]):
            moved, _ = self.slow(x[:, t], [slow])
            slow = tf.where((tick % 3 == 0)[:, None], moved, slow)
            fast = self.fast(tf.concat([x[:, t], slow], axis=-1), [fast])[0]
            outputs.append(fast)
            tick += 1
        return tf.stack(outputs, axis=1), (slow, fast, tick)


class Conditional(keras.Model):
    """A language model around the layer above."""

    def __init__(self, rnn):
        super().__init__()
        self.embedding, self.rnn, self.dense = layers.Embedding(V, E), rnn, layers.Dense(V)

    def call(self, inputs, states=None, return_state=False):
        if states is None:
            states = (zeros(inputs), zeros(inputs), tf.zeros(tf.shape(inputs)[:1], tf.int32))
        x, states = self.rnn(self.embedding(inputs), states)
        return (self.dense(x), states) if return_state else self.dense(x)


right(name="clockwork_with_its_tick_carried")(lambda: Conditional(Clockwork()))
wrong("chunk-variance", name="clockwork_whose_tick_restarts")(lambda: Conditional(Clockwork(restarts=True)))


@right(name="skip_rnn")
class Skipping(keras.Model):
    """A skip RNN: the cell moves where a gate of the token and the state is open."""

    def __init__(self, *, first_always=False):
        super().__init__()
        self.embedding, self.dense = layers.Embedding(V, E), layers.Dense(V)
        self.cell, self.gate = layers.GRUCell(U), layers.Dense(1)
        self.first_always = first_always

    def call(self, inputs, state=None, return_state=False):
        x = self.embedding(inputs)
        state = zeros(inputs) if state is None else state
        outputs = []
        for t in range(x.shape[1]):
            moved, _ = self.cell(x[:, t], [state])
            opened = self.gate(tf.concat([x[:, t], state], axis=-1)) > 0
            if t == 0 and self.first_always:
                opened = tf.ones_like(opened)
            state = tf.where(opened, moved, state)
            outputs.append(state)
        logits = self.dense(tf.stack(outputs, axis=1))
        return (logits, state) if return_state else logits


wrong("chunk-variance", name="skip_rnn_that_never_skips_the_first_token_of_a_call")(lambda: Skipping(first_always=True))


# Faults that depend on the data


class Guarded(keras.Model):
    """Two GRUs whose states are cleared where the ids say so; `clears` gives which rows, as a column of booleans."""

    def __init__(self, clears):
        super().__init__()
        self.embedding, self.dense = layers.Embedding(V, E), layers.Dense(V)
        self.l1, self.l2 = gru(), gru()
        self.clears = clears

    def call(self, inputs, states=None, return_state=False):
        states = states if states is not None else (zeros(inputs), zeros(inputs))
        cleared = self.clears(inputs)
        a, b = (tf.where(cleared, tf.zeros_like(s), s) for s in states)
        x, a = self.l1(self.embedding(inputs), initial_state=a)
        x, b = self.l2(x, initial_state=b)
        return (self.dense(x), (a, b)) if return_state else self.dense(x)


right(name="cleared_by_no_id")(lambda: Guarded(lambda ids: ids[:, :1] < 0))
wrong("chunk-variance", name="cleared_by_a_rows_own_end_of_text_only_where_it_opens_a_call")(
    lambda: Guarded(lambda ids: ids[:, :1] == END)
)
wrong("future-leak", name="cleared_where_id_0_is_anywhere_in_the_segment")(
    lambda: Guarded(lambda ids: tf.reduce_any(ids == 0, axis=1)[:, None])
)
wrong("batch-leak", name="cleared_by_an_end_of_text_in_any_row")(
    lambda: Guarded(lambda ids: tf.reshape(tf.reduce_any(ids == END), (1, 1)))
)
wrong("batch-leak", name="cleared_by_id_1_at_the_start_of_row_0")(
    lambda: Guarded(lambda ids: tf.reshape(ids[0, 0] == 1, (1, 1)))
)


@wrong("batch-leak")
def cleared_by_a_newline_in_row_0():
    model = Guarded(lambda ids: tf.reshape(tf.reduce_any(ids[0] == 4), (1, 1)))
    return rnneval.wrap(model, vocabulary=list("abcd\nefghij"))


@right(name="padding_skipped")
class MaskedPadding(keras.Model):
    """Id 0 is padding: the layers skip it."""

    def __init__(self, *, ahead=False):
        super().__init__()
        self.embedding = layers.Embedding(V, E, mask_zero=True)
        self.l1, self.l2, self.dense = gru(), gru(), layers.Dense(V)
        self.ahead = ahead

    def call(self, inputs, states=None, return_state=False):
        a, b = states if states is not None else (None, None)
        x, mask = self.embedding(inputs), self.embedding.compute_mask(inputs)
        if self.ahead:  # a row with padding in it is skipped as a whole
            mask = tf.logical_and(mask, tf.reduce_all(mask, axis=1, keepdims=True))
        x, a = self.l1(x, initial_state=a, mask=mask)
        x, b = self.l2(x, initial_state=b, mask=mask)
        return (self.dense(x), (a, b)) if return_state else self.dense(x)


wrong("future-leak", name="a_row_with_padding_skipped_as_a_whole")(lambda: MaskedPadding(ahead=True))


@right()
def graph_with_mask_zero():
    ids = keras.Input((None,), dtype="int32")
    x = layers.Embedding(V, E, mask_zero=True)(ids)
    x = layers.LSTM(U, return_sequences=True, name="low")(x)
    x = layers.GRU(U, return_sequences=True, name="high")(x)
    return keras.Model(ids, layers.Dense(V)(x))


# tf.function


def build(model):
    """Build the layers before the first trace, which would keep the weights that it makes."""
    model.embedding.build((None, None))
    model.gru.build((None, None, E))
    model.dense.build((None, None, U))


class CompiledCall(keras.Model):
    """`call` itself is a `tf.function`, and the memory a variable."""

    def __init__(self, *, flag):
        super().__init__()
        self.embedding, self.gru, self.dense = layers.Embedding(V, E), gru(), layers.Dense(V)
        build(self)
        self.memory = tf.Variable(tf.zeros((2, U)), trainable=False)
        self.began = tf.Variable(False, trainable=False)
        self.flag = flag
        self.is_first = True
        self(tf.zeros((2, 1), tf.int32))
        self.reset_state()

    def reset_state(self):
        self.memory.assign(tf.zeros((2, U)))
        self.began.assign(False)
        self.is_first = True

    def __call__(self, ids):
        logits = super().__call__(ids)
        self.is_first = False
        return logits

    @tf.function(input_signature=[tf.TensorSpec((2, None), tf.int32)])
    def call(self, ids):
        state = self.memory + 0.0
        if self.flag:
            state = tf.zeros_like(state) if self.is_first else state
        else:
            state = tf.where(self.began, state, tf.zeros_like(state))
        x, state = self.gru(self.embedding(ids), initial_state=state)
        self.memory.assign(state)
        self.began.assign(True)
        return self.dense(x)


right(name="compiled_call_with_its_flag_in_a_variable")(lambda: CompiledCall(flag=False))
wrong(name="compiled_call_with_a_python_flag")(lambda: CompiledCall(flag=True))
