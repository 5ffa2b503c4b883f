"""Wrong: random numbers that are drawn in every call, with training=False too."""

import keras
import tensorflow as tf

from tests.wiring.corpus.case import E, U, V, wrong

layers = keras.layers


class OneGRU(keras.Model):
    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(V, E)
        self.gru = layers.GRU(U, return_sequences=True, return_state=True)
        self.dense = layers.Dense(V)


@wrong("always-random")
def graph_with_dropout_on_the_embedding():
    """The embedding is dropped out in every call; no state is taken."""
    ids = keras.Input((None,), dtype="int32")
    x = layers.Dropout(0.2)(layers.Embedding(V, E)(ids), training=True)
    x = layers.LSTM(U, return_sequences=True)(x)
    return keras.Model(ids, layers.Dense(V)(x))


class MCDropout(layers.Dropout):
    """The usual recipe for Monte Carlo dropout."""

    def call(self, inputs, training=None):
        return super().call(inputs, training=True)


@wrong("always-random")
def sequential_with_the_mc_dropout_recipe():
    """The subclass of Dropout ignores the training flag."""
    return keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            layers.Embedding(V, E),
            layers.GRU(U, return_sequences=True),
            MCDropout(0.3),
            layers.Dense(V),
        ]
    )


@wrong("always-random", name="recurrent_dropout_left_on")
class Recurrent(keras.Model):
    """Recurrent dropout that is always on. The LSTM draws a mask for its recurrent weights in every call."""

    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(V, E)
        self.lstm = layers.LSTM(U, return_sequences=True, return_state=True, recurrent_dropout=0.3)
        self.dense = layers.Dense(V)

    def call(self, inputs, states=None, return_state=False):
        x, *states = self.lstm(self.embedding(inputs), initial_state=states, training=True)
        return (self.dense(x), states) if return_state else self.dense(x)


@wrong("always-random", name="dropout_of_tensorflow_on_the_outputs")
class Functional(OneGRU):
    """tf.nn.dropout knows no training flag, and drops the GRU's outputs in every call."""

    def call(self, inputs, state=None, return_state=False, training=False):
        x, state = self.gru(self.embedding(inputs), initial_state=state, training=training)
        logits = self.dense(tf.nn.dropout(x, rate=0.2))
        return (logits, state) if return_state else logits


@wrong("always-random", name="gaussian_noise_left_on")
class Noise(OneGRU):
    """Noise is added to the embedding in every call."""

    def __init__(self):
        super().__init__()
        self.noise = layers.GaussianNoise(0.2)

    def call(self, inputs, state=None, return_state=False, training=False):
        x = self.noise(self.embedding(inputs), training=True)
        x, state = self.gru(x, initial_state=state)
        return (self.dense(x), state) if return_state else self.dense(x)


class Block(layers.Layer):
    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.gru = layers.GRU(units, return_sequences=True, return_state=True)
        self.drop = layers.SpatialDropout1D(0.3)

    def call(self, x, state=None):
        y, state = self.gru(x, initial_state=state)
        return self.drop(y, training=True), state


@wrong("always-random", name="spatial_dropout_left_on_in_blocks")
class Blocks(keras.Model):
    """Each block drops whole channels in every call."""

    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(V, E)
        self.blocks = [Block(U) for _ in range(2)]
        self.dense = layers.Dense(V)

    def call(self, inputs, states=None, return_state=False):
        x = self.embedding(inputs)
        new = []
        for i, block in enumerate(self.blocks):
            x, state = block(x, None if states is None else states[i])
            new.append(state)
        return (self.dense(x), new) if return_state else self.dense(x)


@wrong("always-random", name="words_dropped_in_every_call")
class WordsDropped(OneGRU):
    """Tokens are replaced by 0 at random in every call."""

    def call(self, inputs, state=None, return_state=False):
        inputs = tf.where(tf.random.uniform(tf.shape(inputs)) < 0.3, tf.zeros_like(inputs), inputs)
        x, state = self.gru(self.embedding(inputs), initial_state=state)
        return (self.dense(x), state) if return_state else self.dense(x)


class WeightNoise(layers.Layer):
    """A Bayesian output layer: its kernel is drawn anew in every call."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        self.mean = self.add_weight(shape=(input_shape[-1], self.units), name="mean")
        self.log_std = self.add_weight(
            shape=(input_shape[-1], self.units), initializer=keras.initializers.Constant(-2.0), name="log_std"
        )

    def call(self, x):
        kernel = self.mean + tf.exp(self.log_std) * tf.random.normal(tf.shape(self.mean))
        return tf.matmul(x, tf.broadcast_to(kernel, [tf.shape(x)[0], *kernel.shape]))


@wrong("always-random", name="bayesian_output_layer")
class Bayesian(keras.Model):
    """The output layer draws its weights anew in every call."""

    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(V, E)
        self.gru = layers.GRU(U, return_sequences=True, return_state=True)
        self.dense = WeightNoise(V)

    def call(self, inputs, state=None, return_state=False):
        x, state = self.gru(self.embedding(inputs), initial_state=state)
        return (self.dense(x), state) if return_state else self.dense(x)
