"""The published architecture of reactionrnn 0.1 in Keras 3: it reads 140 characters and predicts five reactions."""

import keras


def make(reset_after: bool = False) -> keras.Model:
    characters = keras.Input((140,), name="input")
    x = keras.layers.Embedding(401, 100, name="embedding")(characters)
    x = keras.layers.GRU(256, reset_after=reset_after, name="rnn")(x)
    return keras.Model(characters, keras.layers.Dense(5, activation="relu", name="output")(x))
