"""Models of the demo: one GRU layer, and two ways to stack a second one on it, of which one is wrong.

The demo writes this file into its folder, so that every command can be given it: `models.py:RightStack`. It needs only
Keras. A model is called with token ids `(batch, time)` and returns logits `(batch, time, vocab_size)`; with
`return_state=True` it also returns the state, which goes into the next call as `states`.
"""

import keras


class OneLayer(keras.Model):
    """TensorFlow's text generation tutorial: one recurrent layer, and its state."""

    def __init__(self, vocab_size, embedding_dim=64, rnn_units=128):
        super().__init__()
        self.embedding = keras.layers.Embedding(vocab_size, embedding_dim)
        self.gru = keras.layers.GRU(rnn_units, return_sequences=True, return_state=True)
        self.dense = keras.layers.Dense(vocab_size)

    def call(self, inputs, states=None, return_state=False, training=False):
        x = self.embedding(inputs, training=training)
        if states is None:
            states = self.gru.get_initial_state(keras.ops.shape(x)[0])
        x, states = self.gru(x, initial_state=states, training=training)
        x = self.dense(x, training=training)
        return (x, states) if return_state else x


class WrongStack(keras.Model):
    """A second layer, stacked as it is often done: it starts from the first one's state."""

    def __init__(self, vocab_size, embedding_dim=64, rnn_units=128):
        super().__init__()
        self.embedding = keras.layers.Embedding(vocab_size, embedding_dim)
        self.gru = keras.layers.GRU(rnn_units, return_sequences=True, return_state=True)
        self.gru_2 = keras.layers.GRU(rnn_units, return_sequences=True, return_state=True)
        self.dense = keras.layers.Dense(vocab_size)

    def call(self, inputs, states=None, return_state=False, training=False):
        x = self.embedding(inputs, training=training)
        if states is None:
            states = self.gru.get_initial_state(keras.ops.shape(x)[0])
        x, states = self.gru(x, initial_state=states, training=training)
        if states is None:
            states = self.gru_2.get_initial_state(keras.ops.shape(x)[0])
        x, states = self.gru_2(x, initial_state=states, training=training)
        x = self.dense(x, training=training)
        return (x, states) if return_state else x


class RightStack(keras.Model):
    """The same two layers, each with a state of its own."""

    def __init__(self, vocab_size, embedding_dim=64, rnn_units=128):
        super().__init__()
        self.embedding = keras.layers.Embedding(vocab_size, embedding_dim)
        self.gru1 = keras.layers.GRU(rnn_units, return_sequences=True, return_state=True)
        self.gru2 = keras.layers.GRU(rnn_units, return_sequences=True, return_state=True)
        self.dense = keras.layers.Dense(vocab_size)

    def call(self, inputs, states=None, return_state=False, training=False):
        x = self.embedding(inputs, training=training)
        batch = keras.ops.shape(x)[0]
        (s1, s2) = states or (self.gru1.get_initial_state(batch), self.gru2.get_initial_state(batch))
        x, s1 = self.gru1(x, initial_state=s1, training=training)
        x, s2 = self.gru2(x, initial_state=s2, training=training)
        x = self.dense(x, training=training)
        return (x, (s1, s2)) if return_state else x
