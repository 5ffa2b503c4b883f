"""Right: things done to states and around layers that are not faults."""

import keras
import numpy as np
import tensorflow as tf

from tests.wiring.corpus.case import E, U, V, right
from tests.wiring.corpus.parts import Embedded, OneGRU, gru_layer, lstm_layer, zeros

layers = keras.layers


@right(declare=("chunked=gru",), name="state_normalised_between_calls")
class NormalisedState(Embedded):
    def __init__(self):
        super().__init__()
        self.gru, self.norm = gru_layer(), layers.LayerNormalization()

    def call(self, inputs, state=None, return_state=False):
        x, state = self.gru(self.embedding(inputs), initial_state=state)
        state = self.norm(state)
        return (self.dense(x), state) if return_state else self.dense(x)


@right(declare=("chunked=gru",), name="zoneout_between_calls")
class Zoneout(OneGRU):
    def call(self, inputs, state=None, return_state=False):
        state = zeros(inputs) if state is None else state
        x, new = self.gru(self.embedding(inputs), initial_state=state)
        state = 0.9 * new + 0.1 * state
        return (self.dense(x), state) if return_state else self.dense(x)


@right(name="masked_embedding")
class Masked(keras.Model):
    """The mask of padding is handed over: Keras 3.15 drops that of the embedding where `initial_state` is given."""

    def __init__(self):
        super().__init__()
        self.embedding, self.lstm1 = layers.Embedding(V, E, mask_zero=True), lstm_layer()
        self.lstm2, self.dense = lstm_layer(), layers.Dense(V)

    def call(self, inputs, states=None, return_state=False):
        a, b = states if states is not None else (None, None)
        x, mask = self.embedding(inputs), self.mask_of(inputs)
        x, *a = self.lstm1(x, initial_state=a, mask=mask)
        x, *b = self.lstm2(x, initial_state=b, mask=mask)
        return (self.dense(x), (a, b)) if return_state else self.dense(x)

    def mask_of(self, inputs):
        return self.embedding.compute_mask(inputs)


@right(name="mixed_float16")
class HalfPrecision(keras.Model):
    def __init__(self):
        super().__init__(dtype="mixed_float16")
        self.embedding = layers.Embedding(V, E, dtype="mixed_float16")
        self.gru1, self.gru2 = gru_layer(dtype="mixed_float16"), gru_layer(dtype="mixed_float16")
        self.dense = layers.Dense(V, dtype="float32")

    def call(self, inputs, states=None, return_state=False):
        a, b = states if states is not None else (None, None)
        x, a = self.gru1(self.embedding(inputs), initial_state=a)
        x, b = self.gru2(x, initial_state=b)
        return (self.dense(x), (a, b)) if return_state else self.dense(x)


class ThroughNumpy(OneGRU):
    """States leave TensorFlow between calls, as in a service that stores them."""

    def call(self, inputs, state=None, return_state=False):
        x, state = self.gru(self.embedding(inputs), initial_state=state)
        return (self.dense(x), state) if return_state else self.dense(x)


class Service:
    def __init__(self, model):
        self.model = model

    def __call__(self, ids, state=None):
        state = None if state is None else tf.constant(np.asarray(state))
        logits, state = self.model(ids, state=state, return_state=True)
        return logits, state.numpy()


@right()
def through_numpy():
    return Service(ThroughNumpy())


@right(declare=("stateless=local",), name="one_layer_declared_stateless")
class WindowHelper(Embedded):
    """A second layer begins anew at every call on purpose."""

    def __init__(self):
        super().__init__()
        self.memory, self.local = gru_layer(), layers.GRU(U, return_sequences=True)

    def call(self, inputs, state=None, return_state=False):
        x = self.embedding(inputs)
        y, state = self.memory(x, initial_state=state)
        x = self.dense(tf.concat([y, self.local(x)], axis=-1))
        return (x, state) if return_state else x


@right(declare=("shared=gru",), name="weights_shared_over_depth_declared")
class SharedOverDepth(Embedded):
    def __init__(self):
        super().__init__(width=U)
        self.gru = gru_layer()

    def call(self, inputs, states=None, return_state=False):
        a, b = states if states is not None else (None, None)
        x = self.embedding(inputs)
        x, a = self.gru(x, initial_state=a)
        x, b = self.gru(x, initial_state=b)
        return (self.dense(x), (a, b)) if return_state else self.dense(x)


@right(declare=("mixed=fast",), name="gated_feedback_declared")
class Gated(Embedded):
    """Each layer starts from its own state and a gated share of the other's."""

    def __init__(self):
        super().__init__()
        self.slow, self.fast, self.gate = gru_layer(), gru_layer(), layers.Dense(U, activation="sigmoid")

    def call(self, inputs, states=None, return_state=False):
        x = self.embedding(inputs)
        if states is None:
            states = [zeros(inputs)] * 2
        slow, fast = states
        share = self.gate(tf.concat([slow, fast], axis=-1))
        x, new_fast = self.fast(x, initial_state=share * fast + (1 - share) * slow)
        x, new_slow = self.slow(x, initial_state=slow)
        return (self.dense(x), [new_slow, new_fast]) if return_state else self.dense(x)
