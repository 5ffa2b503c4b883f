"""The question's and the answer's models, adapted to Keras 3 as far as they would not run, and no further.

Keras 3 wants a batch size in `get_initial_state` (which gives a list), and refuses `super().__init__(self)`.
"""
# ruff: noqa: RET505 - as their authors wrote them

import tensorflow as tf

from tests.wiring.corpus.case import right, wrong


class TutorialModel(tf.keras.Model):
    def __init__(self, vocab_size, embedding_dim, rnn_units):
        super().__init__()
        self.embedding = tf.keras.layers.Embedding(vocab_size, embedding_dim)
        self.gru = tf.keras.layers.GRU(rnn_units, return_sequences=True, return_state=True)
        self.dense = tf.keras.layers.Dense(vocab_size)

    def call(self, inputs, states=None, return_state=False, training=False):
        x = inputs
        x = self.embedding(x, training=training)
        if states is None:
            states = self.gru.get_initial_state(tf.shape(x)[0])
        x, states = self.gru(x, initial_state=states, training=training)
        x = self.dense(x, training=training)

        if return_state:
            return x, states
        else:
            return x


class QuestionModel(tf.keras.Model):
    def __init__(self, vocab_size, embedding_dim, rnn_units):
        super().__init__()
        self.embedding = tf.keras.layers.Embedding(vocab_size, embedding_dim)
        self.gru = tf.keras.layers.GRU(rnn_units, return_sequences=True, return_state=True)
        self.gru_2 = tf.keras.layers.GRU(rnn_units, return_sequences=True, return_state=True)
        self.dense = tf.keras.layers.Dense(vocab_size)

    def call(self, inputs, states=None, return_state=False, training=False):
        x = inputs
        x = self.embedding(x, training=training)
        if states is None:
            states = self.gru.get_initial_state(tf.shape(x)[0])
        x, states = self.gru(x, initial_state=states, training=training)
        if states is None:
            states = self.gru_2.get_initial_state(tf.shape(x)[0])
        x, states = self.gru_2(x, initial_state=states, training=training)
        x = self.dense(x, training=training)

        if return_state:
            return x, states
        else:
            return x


class GuardedModel(QuestionModel):
    def call(self, inputs, states=None, return_state=False, training=False):
        x = self.embedding(inputs, training=training)
        first = states is None
        if first:
            states = self.gru.get_initial_state(tf.shape(x)[0])
        x, states = self.gru(x, initial_state=states, training=training)
        if first:
            x, states = self.gru_2(x, training=training)
        else:
            x, states = self.gru_2(x, initial_state=states, training=training)
        x = self.dense(x, training=training)
        return (x, states) if return_state else x


class AnswerModel(tf.keras.Model):
    def __init__(self, vocab_size, embedding_dim, rnn_units1, rnn_units2):
        super().__init__()
        self.embedding = tf.keras.layers.Embedding(vocab_size, embedding_dim)
        self.gru1 = tf.keras.layers.GRU(rnn_units1, return_sequences=True, return_state=True)
        self.gru2 = tf.keras.layers.GRU(rnn_units2, return_sequences=True, return_state=True)
        self.dense = tf.keras.layers.Dense(vocab_size)

    def call(self, inputs, states=None, return_state=False, training=False):
        x = self.embedding(inputs, training=training)
        batch = tf.shape(x)[0]
        (s1, s2) = states or (self.gru1.get_initial_state(batch), self.gru2.get_initial_state(batch))
        x, s1 = self.gru1(x, initial_state=s1, training=training)
        x, s2 = self.gru2(x, initial_state=s2, training=training)
        x = self.dense(x, training=training)
        return (x, (s1, s2)) if return_state else x


@right()
def tutorial():
    return TutorialModel(11, 6, 8)


@wrong("shared-state")
def question():
    return QuestionModel(11, 6, 8)


@wrong("shared-state")
def question_guarded():
    return GuardedModel(11, 6, 8)


@right()
def answer():
    return AnswerModel(11, 6, 8, 12)
