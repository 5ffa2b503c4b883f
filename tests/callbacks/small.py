"""Small trainings, every usual form of model and step."""

import keras
import numpy as np
import tensorflow as tf

WIDTH, ROWS = 9, 8


def data(rows=32, length=10):
    rng = np.random.default_rng(0)
    return rng.integers(0, WIDTH, (rows, length)), rng.integers(0, WIDTH, (rows, length))


def loss():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def sequential():
    return keras.Sequential(
        [
            keras.layers.Embedding(WIDTH, 5, name="embedding"),
            keras.layers.LSTM(6, return_sequences=True, name="lstm"),
            keras.layers.Dense(WIDTH, name="logits"),
        ]
    )


def functional():
    ids = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(WIDTH, 5, name="embedding")(ids)
    x = keras.layers.GRU(6, return_sequences=True, name="gru")(x)
    return keras.Model(ids, keras.layers.Dense(WIDTH, name="logits")(x))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.embedding = keras.layers.Embedding(WIDTH, 5)
        self.gru = keras.layers.GRU(6, return_sequences=True, return_state=True)
        self.dense = keras.layers.Dense(WIDTH)

    def call(self, ids, states=None, return_state=False, training=False):
        x, states = self.gru(self.embedding(ids), initial_state=states, training=training)
        x = self.dense(x)
        return (x, states) if return_state else x


class OwnStep(Subclassed):
    def train_step(self, inputs):
        x, y = inputs
        with tf.GradientTape() as tape:
            value = self.compute_loss(y=y, y_pred=self(x, training=True))
        grads = tape.gradient(value, self.trainable_variables)
        self.optimizer.apply_gradients(zip(grads, self.trainable_variables, strict=True))
        return {"loss": value}


MODELS = {"sequential": sequential, "functional": functional, "subclassed": Subclassed, "own step": OwnStep}


def compiled(kind="sequential", optimizer=None, *, built=True, **options):
    """A compiled model; where it and its optimizer are built, their step is traced once and not twice."""
    keras.utils.set_random_seed(3)
    model = MODELS[kind]()
    model.compile(loss=loss(), optimizer=optimizer or keras.optimizers.Adam(1e-2, global_clipnorm=0.1), **options)
    if built:
        model(data()[0][:1])
        model.optimizer.build(model.trainable_variables)
    return model


def trained(model, callbacks=(), epochs=2):
    x, y = data()
    return model.fit(x, y, batch_size=ROWS, epochs=epochs, shuffle=False, verbose=0, callbacks=list(callbacks))
