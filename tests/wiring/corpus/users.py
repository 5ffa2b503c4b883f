"""Models as users write them, noted with their truth before the checker was changed for layers called twice.

Each builder says in one sentence what is right or wrong about its model.
"""

import functools

import keras
import tensorflow as tf

from tests.wiring.corpus.case import E, U, V, right, wrong
from tests.wiring.corpus.parts import Embedded, gru_layer, lstm_layer

layers = keras.layers
right = functools.partial(right, held_back=True)
wrong = functools.partial(wrong, held_back=True)


class CharAndClass(keras.Model):
    """A character model with a second stream for the class of the character (vowel, digit, …)."""

    def __init__(self, vocab_size, n_classes=3, dim=E, units=U):
        super().__init__()
        self.n_classes = n_classes
        self.char_embedding = layers.Embedding(vocab_size, dim)
        self.class_embedding = layers.Embedding(n_classes, dim)
        self.reader = gru_layer(units=units)
        self.out = layers.Dense(vocab_size)

    def call(self, ids, states=None, return_state=False, training=False):
        if states is None:
            zeros = tf.zeros((tf.shape(ids)[0], self.reader.units))
            states = (zeros, zeros)
        char_state, class_state = states
        chars, char_state = self.reader(self.char_embedding(ids), initial_state=char_state, training=training)
        classes, class_state = self.reader(
            self.class_embedding(ids % self.n_classes), initial_state=class_state, training=training
        )
        logits = self.out(tf.concat([chars, classes], axis=-1))
        return (logits, (char_state, class_state)) if return_state else logits


@right()
def one_gru_reads_chars_and_classes():
    """The GRU reads two streams, and the state of each stream returns to the call on that stream."""
    return CharAndClass(V)


@wrong("crossed-state", name="siamese_lstm_returns_right_before_left")
class Siamese(keras.Model):
    """The right stream's state is returned first, so that the left stream continues from it."""

    def __init__(self):
        super().__init__()
        self.left_embed = layers.Embedding(V, E)
        self.right_embed = layers.Embedding(V, E)
        self.lstm = lstm_layer()
        self.classifier = layers.Dense(V)

    def call(self, x, left_state=None, right_state=None):
        a, *new_left = self.lstm(self.left_embed(x), initial_state=left_state)
        b, *new_right = self.lstm(self.right_embed(x), initial_state=right_state)
        logits = self.classifier(layers.add([a, b]))
        return logits, new_right, new_left


@wrong("dropped-state", name="second_stream_of_the_lstm_starts_afresh")
class CharsAndBigrams(keras.Model):
    """One LSTM reads the characters and a hash of them.

    The state of the second stream is thrown away, and that stream begins at zero in each call.
    """

    def __init__(self):
        super().__init__()
        self.chars = layers.Embedding(V, E)
        self.hashed = layers.Embedding(7, E)
        self.lstm = lstm_layer()
        self.mix = layers.Dense(U, activation="relu")
        self.logits = layers.Dense(V)

    def call(self, ids, states=None, return_state=False):
        given = None if states is None else [states["h"], states["c"]]
        x, h, c = self.lstm(self.chars(ids), initial_state=given)
        y, _, _ = self.lstm(self.hashed((ids * 5) % 7))
        out = self.logits(self.mix(tf.concat([x, y], -1)))
        if return_state:
            return out, {"h": h, "c": c}
        return out


@wrong("crossed-state", name="states_change_places_in_training_only")
class TrainedOtherwise(keras.Model):
    """The training path was written first, and the inference path was repaired later.

    The two states are returned in reverse order with training=True, so that each layer gets the other's.
    """

    def __init__(self, vocab=V, width=U):
        super().__init__()
        self.emb = layers.Embedding(vocab, E)
        self.bottom = gru_layer(units=width)
        self.top = gru_layer(units=width)
        self.drop = layers.Dropout(0.1)
        self.proj = layers.Dense(vocab)

    def call(self, ids, states=None, return_state=False, training=False):
        s_bottom, s_top = states if states is not None else (None, None)
        x = self.drop(self.emb(ids), training=training)
        x, s_bottom = self.bottom(x, initial_state=s_bottom)
        x, s_top = self.top(x, initial_state=s_top)
        logits = self.proj(x)
        if not return_state:
            return logits
        if training:
            return logits, (s_top, s_bottom)
        return logits, (s_bottom, s_top)


@wrong("leftover-state", name="chatbot_goes_on_from_the_last_talk")
class ChatBot:
    """The bot goes on from its last state unless the caller passes one.

    A call without a state starts from what the last document left on the object.
    """

    def __init__(self):
        self.embed = layers.Embedding(V, E)
        self.gru = gru_layer()
        self.to_vocab = layers.Dense(V)
        self.last_state = None

    def __call__(self, tokens, states=None):
        if states is None:
            states = self.last_state
        hidden, new = self.gru(self.embed(tokens), initial_state=states)
        self.last_state = new
        return self.to_vocab(hidden), new


@right(name="stream_reader_with_its_own_memory")
class StreamReader:
    """A reader with a memory of its own; `reset_state` starts a new document.

    The model takes no state, keeps its own on purpose, and can be reset.
    """

    def __init__(self):
        self.embedding = layers.Embedding(V, E)
        self.cells = layers.RNN([layers.GRUCell(U), layers.GRUCell(U)], return_sequences=True, return_state=True)
        self.dense = layers.Dense(V)
        self.reset_state()

    def reset_state(self):
        self.memory = None

    def __call__(self, ids):
        x, *self.memory = self.cells(self.embedding(ids), initial_state=self.memory)
        return self.dense(x)


@wrong("future-leak", name="attention_without_a_causal_mask")
class AttentiveGRU(Embedded):
    """Attention without a causal mask lets each position see the tokens after it."""

    def __init__(self):
        super().__init__(width=U)
        self.gru, self.attention = gru_layer(), layers.MultiHeadAttention(num_heads=2, key_dim=U // 2)
        self.norm = layers.LayerNormalization()

    def call(self, inputs, state=None, return_state=False, training=False):
        x, state = self.gru(self.embedding(inputs), initial_state=state, training=training)
        x = self.norm(x + self.attention(x, x, training=training))
        x = self.dense(x)
        return (x, state) if return_state else x


@wrong("shared-state")
def decoder_begins_where_the_encoder_ended():
    """The decoder starts from the encoder's final state over the very ids that it is to predict."""
    ids = keras.Input((None,), dtype="int32")
    x = layers.Embedding(V, E)(ids)
    _, h, c = layers.LSTM(U, return_state=True, name="encoder")(x)
    y = layers.LSTM(U, return_sequences=True, name="decoder")(x, initial_state=[h, c])
    return keras.Model(ids, layers.Dense(V)(y))


@right(name="states_logged_but_not_read")
class LoggedStates:
    """The newest states are kept for plots of the hidden units, and are never read by the model.

    A copy of the state is kept for plots, and the GRU starts only from what the caller gives.
    """

    def __init__(self):
        self.embedding = layers.Embedding(V, E)
        self.gru = gru_layer()
        self.dense = layers.Dense(V)
        self.history = []

    def __call__(self, ids, state=None):
        x, state = self.gru(self.embedding(ids), initial_state=state)
        self.history = [*self.history[-9:], state.numpy()]
        return self.dense(x), state
