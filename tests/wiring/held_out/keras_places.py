"""More held-out Keras models in pairs: where a fault is, beside the layers, half precision, and exchanged states."""

import keras
import tensorflow as tf

from tests.wiring.corpus.case import OUTSIDE, E, U, V, right, wrong
from tests.wiring.held_out.keras_models import Stack, gru, zeros

layers = keras.layers


# One cell as two, and dropout that stays on


class Cells(keras.Model):
    def __init__(self, cells):
        super().__init__()
        self.embedding, self.dense = layers.Embedding(V, U), layers.Dense(V)
        self.rnn = layers.RNN(layers.StackedRNNCells(cells), return_sequences=True, return_state=True)

    def call(self, inputs, states=None, return_state=False):
        x, *states = self.rnn(self.embedding(inputs), initial_state=states)
        return (self.dense(x), states) if return_state else self.dense(x)


right(name="two_cells_stacked")(lambda: Cells([layers.GRUCell(U) for _ in range(2)]))
wrong("shared-layer", name="one_cell_stacked_twice")(lambda: Cells([layers.GRUCell(U)] * 2))
wrong("shared-layer", name="one_lstm_cell_stacked_twice")(lambda: Cells([layers.LSTMCell(U)] * 2))


@right(name="dropout_of_the_second_layer_in_training")
class DroppedOut(keras.Model):
    """Dropout in the second layer, in training or always; or on what lies between the layers."""

    def __init__(self, *, always=False, between=False):
        super().__init__()
        self.embedding, self.dense = layers.Embedding(V, E), layers.Dense(V)
        self.l1, self.l2 = gru(), gru(dropout=0.0 if between else 0.4)
        self.drop = layers.Dropout(0.4 if between else 0.0)
        self.always = always

    def call(self, inputs, states=None, return_state=False, training=False):
        a, b = states if states is not None else (None, None)
        x, a = self.l1(self.embedding(inputs), initial_state=a, training=training)
        x = self.drop(x, training=training or self.always)
        x, b = self.l2(x, initial_state=b, training=training or self.always)
        return (self.dense(x), (a, b)) if return_state else self.dense(x)


wrong("always-random", layer="l2", name="dropout_of_the_second_layer_always_on")(lambda: DroppedOut(always=True))
right(name="dropout_between_the_layers_in_training")(lambda: DroppedOut(between=True))
wrong("always-random", layer="drop", name="dropout_between_the_layers_always_on")(
    lambda: DroppedOut(between=True, always=True)
)


# A memory beside the GRU


@right(name="position_carried")
class Positions(keras.Model):
    """Embeddings of positions, which repeat after 13 tokens; the position is a part of the state."""

    def __init__(self, fault=""):
        super().__init__()
        self.embedding, self.places = layers.Embedding(V, E), layers.Embedding(13, E)
        self.gru, self.dense = gru(), layers.Dense(V)
        self.fault = fault

    def call(self, inputs, states=None, return_state=False):
        state, position = states if states is not None else (None, tf.zeros(tf.shape(inputs)[:1], tf.int32))
        time = tf.shape(inputs)[1]
        start = tf.zeros_like(position) if self.fault == "lost" else position
        x = self.embedding(inputs) + self.places((start[:, None] + tf.range(time)) % 13)
        x, state = self.gru(x, initial_state=state)
        position += 2 * time if self.fault == "doubled" else time
        return (self.dense(x), (state, position)) if return_state else self.dense(x)


wrong("chunk-variance", layer=OUTSIDE, name="position_lost_between_calls")(lambda: Positions("lost"))
wrong("chunk-variance", layer=OUTSIDE, name="position_counted_twice")(lambda: Positions("doubled"))


@right(name="token_shift_carried")
class Shift(keras.Model):
    """A token shift: each input is mixed with the one before it, which is a part of the state."""

    def __init__(self, fault=""):
        super().__init__()
        self.embedding, self.gru, self.dense = layers.Embedding(V, E), gru(), layers.Dense(V)
        self.fault = fault

    def call(self, inputs, states=None, return_state=False):
        state, last = states if states is not None else (None, zeros(inputs, E))
        x = self.embedding(inputs)
        before = tf.zeros_like(last) if self.fault == "lost" else last
        mixed = 0.6 * x + 0.4 * tf.concat([before[:, None], x[:, :-1]], axis=1)
        y, state = self.gru(mixed, initial_state=state)
        last = mixed[:, -1] if self.fault == "doubled" else x[:, -1]
        return (self.dense(y), (state, last)) if return_state else self.dense(y)


wrong("chunk-variance", layer=OUTSIDE, name="token_shift_lost_between_calls")(lambda: Shift("lost"))


@wrong("chunk-variance", layer=OUTSIDE)
def token_shift_applied_twice_at_a_cut():
    """What is kept is the last mixed input, which has the shift in it already."""
    return Shift("doubled")


@right(name="attention_over_a_memory_that_is_carried")
class Attention(keras.Model):
    """A GRU over the embeddings, and attention over the last four of them, which are a part of the state."""

    def __init__(self, fault=""):
        super().__init__()
        self.embedding, self.gru, self.dense = layers.Embedding(V, E), gru(), layers.Dense(V)
        self.fault = fault

    def call(self, inputs, states=None, return_state=False):
        state, memory = states if states is not None else (None, tf.zeros((tf.shape(inputs)[0], 4, E)))
        x = self.embedding(inputs)
        time = tf.shape(x)[1]
        seen = tf.concat([tf.zeros_like(memory) if self.fault == "lost" else memory, x], axis=1)
        windows = tf.stack([seen[:, k : k + time] for k in range(5)], axis=2)  # (batch, time, 5, E)
        weights = tf.nn.softmax(40.0 * tf.reduce_sum(windows * x[:, :, None], axis=-1, keepdims=True), axis=2)
        y, state = self.gru(x, initial_state=state)
        logits = self.dense(tf.concat([y, tf.reduce_sum(weights * windows, axis=2)], axis=-1))
        memory = (tf.concat([seen, x], axis=1) if self.fault == "doubled" else seen)[:, -4:]
        return (logits, (state, memory)) if return_state else logits


wrong("chunk-variance", layer=OUTSIDE, name="attention_over_a_memory_that_is_lost")(lambda: Attention("lost"))


@wrong("chunk-variance", layer=OUTSIDE)
def attention_over_a_memory_that_gets_each_call_twice():
    """A call of four tokens or more hides it: its own last four are all that is kept."""
    return Attention("doubled")


# A default that is filled in place


class Session:
    def __init__(self):
        self.embedding, self.gru, self.dense = layers.Embedding(V, E), gru(), layers.Dense(V)

    def read(self, ids, state):
        x, state = self.gru(self.embedding(ids), initial_state=state)
        return self.dense(x), state


@right(name="states_passed_in_a_list")
class Explicit(Session):
    def __call__(self, ids, states=None):
        logits, state = self.read(ids, states[0] if states else None)
        return logits, [state]


@wrong("leftover-state", name="default_list_of_states_filled_in_place")
class FilledInPlace(Session):
    def __call__(self, ids, states=[]):  # noqa: B006 - the fault
        logits, state = self.read(ids, states[0] if states else None)
        states[:] = [state]
        return logits, list(states)


@right(name="states_passed_in_a_dict")
class ExplicitDict(Session):
    def __call__(self, ids, states=None):
        logits, state = self.read(ids, (states or {}).get("gru"))
        return logits, {"gru": state}


@wrong("leftover-state", name="default_dict_of_states_filled_in_place")
class FilledDict(Session):
    def __call__(self, ids, states={}):  # noqa: B006 - the fault
        logits, states["gru"] = self.read(ids, states.get("gru"))
        return logits, states


# Half precision


right(name="bfloat16_stack")(lambda: Stack(dtype="bfloat16"))
wrong("crossed-state", name="bfloat16_stack_with_states_exchanged")(lambda: Stack("exchanges", dtype="bfloat16"))
right(name="mixed_bfloat16_stack")(lambda: Stack(dtype="mixed_bfloat16"))
wrong("future-leak", name="mixed_bfloat16_stack_that_sees_the_next_token")(
    lambda: Stack("sees the next token", dtype="mixed_bfloat16")
)
right(name="float16_stack")(lambda: Stack(dtype="float16"))
wrong("stale-state", layer="l2", name="float16_stack_with_a_stale_state")(
    lambda: Stack("returns the incoming state", dtype="float16")
)


@right(name="bfloat16_with_a_scalar_in_the_state")
class Scaled(keras.Model):
    """In bfloat16, with a learned scalar, and another scalar that is handed on as a part of the state."""

    def __init__(self, *, drops=False):
        super().__init__(dtype="bfloat16")
        self.embedding = layers.Embedding(V, E, dtype="bfloat16")
        self.gru, self.dense = gru(dtype="bfloat16"), layers.Dense(V, dtype="bfloat16")
        self.scale = self.add_weight(shape=(), initializer="ones", name="scale", dtype="bfloat16")
        self.drops = drops

    def call(self, inputs, states=None, return_state=False):
        x = self.embedding(inputs) * self.scale
        if states is None:
            states = (tf.zeros((tf.shape(inputs)[0], U), x.dtype), tf.constant(0.5, x.dtype))
        state, keep = states
        x, state = self.gru(x, initial_state=state)
        if self.drops:
            state = tf.zeros_like(state)
        return (self.dense(x * keep), (state, keep)) if return_state else self.dense(x * keep)


wrong("dropped-state", layer="gru", name="bfloat16_with_a_scalar_in_the_state_and_the_rest_dropped")(
    lambda: Scaled(drops=True)
)


# States exchanged, ignored, dropped, stale


# Transformed between calls: right where that is declared, and refused where it is not


class Faded(layers.Layer):
    """A cell in the layer's own loop; the state fades at the start of each call."""

    def __init__(self, keep=0.5):
        super().__init__()
        self.cell = layers.GRUCell(U)
        self.keep = keep

    def call(self, x, state):
        state = self.keep * state
        outputs = []
        for t in range(x.shape[1]):
            y, (state,) = self.cell(x[:, t], [state])
            outputs.append(y)
        return tf.stack(outputs, axis=1), state


@right(expect="fail", name="state_fades_between_calls")
class Fading(keras.Model):
    def __init__(self):
        super().__init__()
        self.embedding, self.rnn, self.dense = layers.Embedding(V, E), Faded(), layers.Dense(V)

    def call(self, inputs, state=None, return_state=False):
        x, state = self.rnn(self.embedding(inputs), zeros(inputs) if state is None else state)
        return (self.dense(x), state) if return_state else self.dense(x)


right(declare=("chunked=rnn.cell",), name="state_fades_between_calls_as_declared")(Fading)


@right(expect="fail", name="state_normalised_between_calls")
class Normalised(keras.Model):
    def __init__(self):
        super().__init__()
        self.embedding, self.gru, self.dense = layers.Embedding(V, E), gru(), layers.Dense(V)
        self.norm = layers.LayerNormalization()

    def call(self, inputs, state=None, return_state=False):
        x, state = self.gru(self.embedding(inputs), initial_state=state)
        state = self.norm(state)
        return (self.dense(x), state) if return_state else self.dense(x)


right(declare=("chunked=gru",), name="state_normalised_between_calls_as_declared")(Normalised)
