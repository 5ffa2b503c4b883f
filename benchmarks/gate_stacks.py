"""Two stacked GRUs as people write them: right, and with layer 2 fed layer 1's state. Named by --builder."""

import keras
import tensorflow as tf


class _Stack(keras.Model):
    def __init__(self, vocab_size: int, units: int = 64):
        super().__init__()
        self.embedding = keras.layers.Embedding(vocab_size, 32)
        self.gru = keras.layers.GRU(units, return_sequences=True, return_state=True)
        self.gru_2 = keras.layers.GRU(units, return_sequences=True, return_state=True)
        self.dense = keras.layers.Dense(vocab_size)


class Right(_Stack):
    """Each layer gets its own state back."""

    def call(self, inputs, states=None, return_state=False, training=False):
        """Logits, and the states of both layers."""
        x = self.embedding(inputs)
        batch = tf.shape(x)[0]
        first, second = states or (self.gru.get_initial_state(batch), self.gru_2.get_initial_state(batch))
        if isinstance(first, list):
            first, second = first[0], second[0]
        x, first = self.gru(x, initial_state=first, training=training)
        x, second = self.gru_2(x, initial_state=second, training=training)
        x = self.dense(x)
        return (x, (first, second)) if return_state else x


class Wrong(_Stack):
    """Layer 2 starts every segment from layer 1's last state: it sees the future of the segment."""

    def call(self, inputs, states=None, return_state=False, training=False):
        """Logits, and one state: layer 2's, which layer 1 gets next time."""
        x = self.embedding(inputs)
        if states is None:
            states = self.gru.get_initial_state(tf.shape(x)[0])
            states = states[0] if isinstance(states, list) else states
        x, states = self.gru(x, initial_state=states, training=training)
        x, states = self.gru_2(x, initial_state=states, training=training)
        x = self.dense(x)
        return (x, states) if return_state else x
