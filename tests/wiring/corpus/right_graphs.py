"""Right: functional models with and without doors for their states, encoders and decoders, shared weights."""

import tempfile
from pathlib import Path

import keras
import tensorflow as tf

from tests.wiring.corpus.case import E, U, V, right
from tests.wiring.corpus.parts import gru_layer, lstm_layer

layers = keras.layers


@right()
def sequential_without_state():
    return keras.Sequential(
        [
            layers.Embedding(V, E),
            layers.LSTM(U, return_sequences=True),
            layers.GRU(U, return_sequences=True),
            layers.Dense(V),
        ]
    )


@right()
def loaded_from_a_file():
    model = sequential_without_state()
    model(tf.ones((2, 3), tf.int32))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        return keras.models.load_model(path)


@right()
def state_inputs_and_outputs():
    ids = keras.Input((None,), dtype="int32")
    s1, s2 = keras.Input((U,), name="s1"), keras.Input((U,), name="s2")
    x = layers.Embedding(V, E)(ids)
    x, n1 = gru_layer()(x, initial_state=s1)
    x, n2 = gru_layer()(x, initial_state=s2)
    return keras.Model([ids, s1, s2], [layers.Dense(V)(x), n1, n2])


@right(name="encoder_and_decoder")
class Translator(keras.Model):
    """The encoder's last state is the decoder's first; then the decoder carries its own."""

    def __init__(self):
        super().__init__()
        self.source_embedding, self.target_embedding = layers.Embedding(V, E), layers.Embedding(V, E)
        self.encoder, self.decoder = layers.GRU(U, return_state=True), gru_layer()
        self.dense = layers.Dense(V)

    def call(self, inputs, state=None, return_state=False):
        source, target = inputs
        if state is None:
            _, state = self.encoder(self.source_embedding(source))
        x, state = self.decoder(self.target_embedding(target), initial_state=state)
        return (self.dense(x), state) if return_state else self.dense(x)


@right(declare=("stateless=encoder", "stateless=decoder"))
def translator_graph_for_training():
    source, target = keras.Input((None,), dtype="int32"), keras.Input((None,), dtype="int32")
    _, h, c = layers.LSTM(U, return_state=True, name="encoder")(layers.Embedding(V, E)(source))
    decoder = lstm_layer(name="decoder")
    x, _, _ = decoder(layers.Embedding(V, E)(target), initial_state=[h, c])
    return keras.Model([source, target], layers.Dense(V)(x))
