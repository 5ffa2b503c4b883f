"""The architecture that textgenrnn 2.0.0 publishes (its model.py and AttentionWeightedAverage.py), for Keras 3."""

import keras
from keras import ops

L = keras.layers


class AttentionWeightedAverage(L.Layer):
    """Weights the positions of the window by one number each."""

    def build(self, shape):
        self.W = self.add_weight(shape=(shape[-1], 1), name="attention_W")

    def call(self, x):
        logits = (x @ self.W)[..., 0]
        weights = ops.exp(logits - ops.max(logits, axis=-1, keepdims=True))
        weights = weights / (ops.sum(weights, axis=1, keepdims=True) + keras.config.epsilon())
        return ops.sum(x * weights[..., None], axis=1)


def make(vocab_size, *, max_length=40, dim_embeddings=100, rnn_layers=2, rnn_size=128, rnn_bidirectional=False):
    """`vocab_size` is without the id 0, which textgenrnn keeps for padding."""
    ids = keras.Input((max_length,), dtype="int32", name="input")
    found = [L.Embedding(vocab_size + 1, dim_embeddings, name="embedding")(ids)]
    for number in range(rnn_layers):
        name = f"rnn_{number + 1}"
        layer = L.LSTM(rnn_size, return_sequences=True, name=name)
        layer = L.Bidirectional(L.LSTM(rnn_size, return_sequences=True), name=name) if rnn_bidirectional else layer
        found.append(layer(found[-1]))
    x = AttentionWeightedAverage(name="attention")(L.Concatenate(name="rnn_concat")(found))
    return keras.Model(ids, L.Dense(vocab_size + 1, activation="softmax", name="output")(x))
