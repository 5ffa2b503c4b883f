"""Right: functional models with and without doors for their states, encoders and decoders, shared weights."""

import tempfile
from pathlib import Path

import keras
import tensorflow as tf

from tests.wiring.corpus.case import E, U, V, right

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
def functional_without_state():
    ids = keras.Input((None,), dtype="int32")
    x = layers.Embedding(V, U)(ids)
    y = layers.GRU(U, return_sequences=True)(x)
    x = layers.Add()([x, y])
    y = layers.GRU(U, return_sequences=True)(layers.LayerNormalization()(x))
    return keras.Model(ids, layers.Dense(V)(layers.Concatenate()([x, y])))


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
    x, n1 = layers.GRU(U, return_sequences=True, return_state=True)(x, initial_state=s1)
    x, n2 = layers.GRU(U, return_sequences=True, return_state=True)(x, initial_state=s2)
    return keras.Model([ids, s1, s2], [layers.Dense(V)(x), n1, n2])


@right()
def lstm_state_inputs_and_outputs():
    ids = keras.Input((None,), dtype="int32")
    given = [keras.Input((U,), name=name) for name in ("h1", "c1", "h2", "c2")]
    x = layers.Embedding(V, E)(ids)
    x, h1, c1 = layers.LSTM(U, return_sequences=True, return_state=True)(x, initial_state=given[:2])
    x, h2, c2 = layers.LSTM(U, return_sequences=True, return_state=True)(x, initial_state=given[2:])
    return keras.Model([ids, *given], [layers.Dense(V)(x), h1, c1, h2, c2])


@right()
def dict_inputs_and_outputs():
    inputs = {
        "ids": keras.Input((None,), dtype="int32", name="ids"),
        "lower": keras.Input((U,), name="lower"),
        "upper": keras.Input((U,), name="upper"),
    }
    x = layers.Embedding(V, E)(inputs["ids"])
    x, lower = layers.GRU(U, return_sequences=True, return_state=True)(x, initial_state=inputs["lower"])
    x, upper = layers.GRU(U, return_sequences=True, return_state=True)(x, initial_state=inputs["upper"])
    return keras.Model(inputs, {"logits": layers.Dense(V)(x), "lower": lower, "upper": upper})


@right()
def inference_model_sharing_weights():
    """The training model has no doors; the inference model has, and the same layers."""
    embedding, lstm, dense = (
        layers.Embedding(V, E),
        layers.LSTM(U, return_sequences=True, return_state=True),
        layers.Dense(V),
    )
    ids = keras.Input((None,), dtype="int32")
    training = keras.Model(ids, dense(lstm(embedding(ids))[0]))
    training(tf.ones((2, 3), tf.int32))
    h, c = keras.Input((U,)), keras.Input((U,))
    x, new_h, new_c = lstm(embedding(ids), initial_state=[h, c])
    return keras.Model([ids, h, c], [dense(x), new_h, new_c])


@right(name="encoder_and_decoder")
class Translator(keras.Model):
    """The encoder's last state is the decoder's first; then the decoder carries its own."""

    def __init__(self):
        super().__init__()
        self.source_embedding = layers.Embedding(V, E)
        self.target_embedding = layers.Embedding(V, E)
        self.encoder = layers.GRU(U, return_state=True)
        self.decoder = layers.GRU(U, return_sequences=True, return_state=True)
        self.dense = layers.Dense(V)

    def call(self, inputs, state=None, return_state=False):
        source, target = inputs
        if state is None:
            _, state = self.encoder(self.source_embedding(source))
        x, state = self.decoder(self.target_embedding(target), initial_state=state)
        return (self.dense(x), state) if return_state else self.dense(x)


@right(name="encoder_read_at_every_call")
class AttendingTranslator(keras.Model):
    """The encoder reads its source at every call, as its outputs are attended to."""

    def __init__(self):
        super().__init__()
        self.source_embedding = layers.Embedding(V, E)
        self.target_embedding = layers.Embedding(V, E)
        self.encoder = layers.LSTM(U, return_sequences=True, return_state=True)
        self.decoder = layers.LSTM(U, return_sequences=True, return_state=True)
        self.attention = layers.Attention()
        self.dense = layers.Dense(V)

    def call(self, source, target, states=None, return_state=False):
        memory, h, c = self.encoder(self.source_embedding(source))
        x, *states = self.decoder(self.target_embedding(target), initial_state=[h, c] if states is None else states)
        x = self.dense(tf.concat([x, self.attention([x, memory])], axis=-1))
        return (x, states) if return_state else x


@right(declare=("stateless=encoder", "stateless=decoder"))
def translator_graph_for_training():
    source, target = keras.Input((None,), dtype="int32"), keras.Input((None,), dtype="int32")
    _, h, c = layers.LSTM(U, return_state=True, name="encoder")(layers.Embedding(V, E)(source))
    decoder = layers.LSTM(U, return_sequences=True, return_state=True, name="decoder")
    x, _, _ = decoder(layers.Embedding(V, E)(target), initial_state=[h, c])
    return keras.Model([source, target], layers.Dense(V)(x))
