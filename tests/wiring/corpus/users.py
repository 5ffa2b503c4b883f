"""Models as users write them, noted with their truth before the checker was changed for layers called twice.

Each builder says in one sentence what is right or wrong about its model.
"""

import functools

import keras
import tensorflow as tf

from tests.wiring.corpus.case import E, U, V, right, wrong

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
        self.reader = layers.GRU(units, return_sequences=True, return_state=True)
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
        self.lstm = layers.LSTM(U, return_sequences=True, return_state=True)
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
        self.lstm = layers.LSTM(U, return_sequences=True, return_state=True)
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


@right(name="one_gru_over_three_scales")
class MultiScale(keras.Model):
    """Three embeddings of different vocabularies read by one shared GRU.

    The GRU is called three times, and the list of states is handed on in the order of the calls.
    """

    def __init__(self, sizes=(V, 5, 2)):
        super().__init__()
        self.sizes = sizes
        self.embeddings = [layers.Embedding(size, E) for size in sizes]
        self.gru = layers.GRU(U, return_sequences=True, return_state=True)
        self.head = keras.Sequential([layers.Dense(2 * U, activation="gelu"), layers.Dense(V)])

    def call(self, inputs, states=None, return_state=False, training=None):
        states = states if states is not None else [None] * len(self.sizes)
        outs, new_states = [], []
        for size, embedding, state in zip(self.sizes, self.embeddings, states, strict=True):
            out, new_state = self.gru(embedding(inputs % size), initial_state=state, training=training)
            outs.append(out)
            new_states.append(new_state)
        logits = self.head(tf.concat(outs, axis=-1), training=training)
        return (logits, new_states) if return_state else logits


@wrong("ignored-state", name="reset_in_the_demo_of_one_row")
class DemoServer(keras.Model):
    """The author reset the state for the interactive demo, where the batch has one row.

    A batch of one row loses the states that it was given, although new ones are returned.
    """

    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(V, E)
        self.lstm_a = layers.LSTM(U, return_sequences=True, return_state=True)
        self.lstm_b = layers.LSTM(U, return_sequences=True, return_state=True)
        self.fc = layers.Dense(V)

    def call(self, inputs, hidden=None, return_hidden=False):
        if inputs.shape[0] == 1:
            hidden = None
        a, b = hidden or (None, None)
        x, *a = self.lstm_a(self.embedding(inputs), initial_state=a)
        x, *b = self.lstm_b(x, initial_state=b)
        return (self.fc(x), (a, b)) if return_hidden else self.fc(x)


@wrong("crossed-state", name="states_change_places_in_training_only")
class TrainedOtherwise(keras.Model):
    """The training path was written first, and the inference path was repaired later.

    The two states are returned in reverse order with training=True, so that each layer gets the other's.
    """

    def __init__(self, vocab=V, width=U):
        super().__init__()
        self.emb = layers.Embedding(vocab, E)
        self.bottom = layers.GRU(width, return_sequences=True, return_state=True)
        self.top = layers.GRU(width, return_sequences=True, return_state=True)
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
        self.gru = layers.GRU(U, return_sequences=True, return_state=True)
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


@wrong("always-random")
def monte_carlo_dropout_graph():
    """Dropout is on in every call, so that two readings of one text differ."""
    tokens = keras.Input(shape=(None,), dtype="int32", name="tokens")
    h0 = keras.Input(shape=(U,), name="h0")
    x = layers.Embedding(V, E, name="embed")(tokens)
    x, h1 = layers.GRU(U, return_sequences=True, return_state=True, name="gru")(x, initial_state=h0)
    x = layers.Dropout(0.3, name="mc_dropout")(x, training=True)
    return keras.Model(inputs=[tokens, h0], outputs=[layers.Dense(V, name="logits")(x), h1])


@wrong("always-random", name="lstm_dropout_left_on")
class RegularisedLSTM(keras.Model):
    """The LSTM is always called with training=True, so that its dropout is on when the model is evaluated."""

    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(V, E)
        self.lstm = layers.LSTM(U, return_sequences=True, return_state=True, dropout=0.25)
        self.dense = layers.Dense(V)

    def call(self, inputs, states=None, return_state=False, training=False):
        x = self.embedding(inputs)
        x, h, c = self.lstm(x, initial_state=states, training=True)
        x = self.dense(x)
        return (x, [h, c]) if return_state else x


@wrong("dropped-state", name="lstm_hands_on_h_and_forgets_c")
class HiddenOnly(keras.Model):
    """Written after a GRU model: one state a layer. The LSTM's c is not returned, and begins at zero in each call."""

    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(V, E)
        self.lstm = layers.LSTM(U, return_sequences=True, return_state=True)
        self.dense = layers.Dense(V)

    def call(self, inputs, state=None, return_state=False):
        x = self.embedding(inputs)
        zeros = tf.zeros((tf.shape(inputs)[0], U))
        h = zeros if state is None else state
        x, h, _ = self.lstm(x, initial_state=[h, zeros])
        x = self.dense(x)
        if return_state:
            return x, h
        return x


@wrong("crossed-state", name="stacked_lstm_cells_unpacked_in_the_wrong_order")
class DeepRNN(keras.Model):
    """The flat list of states is taken apart and put together by hand.

    Keras gives h1, c1, h2, c2, but h1, h2, c1, c2 is read: cell 0's c comes from cell 1's h.
    """

    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(V, E)
        self.rnn = layers.RNN([layers.LSTMCell(U) for _ in range(2)], return_sequences=True, return_state=True)
        self.dense = layers.Dense(V)

    def call(self, ids, states=None, return_state=False):
        if states is not None:
            (h1, h2), (c1, c2) = states
            states = [[h1, c1], [h2, c2]]
        x, first, second = self.rnn(self.embedding(ids), initial_state=states)
        h1, h2, c1, c2 = tf.nest.flatten([first, second])
        return (self.dense(x), ((h1, h2), (c1, c2))) if return_state else self.dense(x)


class ShakespeareLSTM(keras.Model):
    """The text generation tutorial with two LSTMs and dropout."""

    def __init__(self, vocab_size, embedding_dim, rnn_units, rate=0.2):
        super().__init__()
        self.embedding = layers.Embedding(vocab_size, embedding_dim)
        self.lstm1 = layers.LSTM(rnn_units, return_sequences=True, return_state=True, dropout=rate)
        self.lstm2 = layers.LSTM(rnn_units, return_sequences=True, return_state=True, recurrent_dropout=rate)
        self.dropout = layers.Dropout(rate)
        self.dense = layers.Dense(vocab_size)

    def call(self, inputs, states=None, return_state=False, training=False):
        x = self.embedding(inputs, training=training)
        if states is None:
            batch = tf.shape(x)[0]
            states = self.lstm1.get_initial_state(batch), self.lstm2.get_initial_state(batch)
        states1, states2 = states
        x, *states1 = self.lstm1(x, initial_state=states1, training=training)
        x, *states2 = self.lstm2(x, initial_state=states2, training=training)
        x = self.dropout(x, training=training)
        x = self.dense(x, training=training)
        if return_state:
            return x, (states1, states2)
        return x


@right()
def shakespeare_with_two_lstms_and_dropout():
    """Each LSTM gets back its own h and c, and all dropout follows the training flag."""
    return ShakespeareLSTM(V, E, U)


class ResidualBlock(layers.Layer):
    def __init__(self, units, rate=0.1, **kwargs):
        super().__init__(**kwargs)
        self.gru = layers.GRU(units, return_sequences=True, return_state=True)
        self.norm = layers.LayerNormalization()
        self.drop = layers.Dropout(rate)

    def call(self, x, state=None, training=False):
        y, state = self.gru(self.norm(x), initial_state=state, training=training)
        return x + self.drop(y, training=training), state


@right(name="residual_stack_of_four_blocks")
class ResidualLM(keras.Model):
    """Each block's GRU has its own place in the list, on the way in and on the way out."""

    def __init__(self, depth=4):
        super().__init__()
        self.embedding = layers.Embedding(V, U)
        self.blocks = [ResidualBlock(U) for _ in range(depth)]
        self.final_norm = layers.LayerNormalization()
        self.unembed = layers.Dense(V, use_bias=False)

    def call(self, ids, states=None, return_states=False, training=False):
        x = self.embedding(ids)
        states = states or [None] * len(self.blocks)
        new = [None] * len(self.blocks)
        for i, block in enumerate(self.blocks):
            x, new[i] = block(x, states[i], training=training)
        logits = self.unembed(self.final_norm(x))
        return (logits, new) if return_states else logits


@wrong("future-leak", name="lower_layer_reads_both_ways")
class BidirectionalLM(keras.Model):
    """The lower layer reads in both directions, since that raised the accuracy.

    The backward half of the lower layer has read the token that is to be predicted.
    """

    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(V, E)
        self.context = layers.Bidirectional(layers.LSTM(U // 2, return_sequences=True))
        self.lstm = layers.LSTM(U, return_sequences=True, return_state=True)
        self.dense = layers.Dense(V)

    def call(self, inputs, states=None, return_state=False, training=False):
        x = self.context(self.embedding(inputs), training=training)
        x, h, c = self.lstm(x, initial_state=states, training=training)
        return (self.dense(x), (h, c)) if return_state else self.dense(x)


class CharWord(keras.Model):
    """Characters and words (here: ids in groups of three) in streams of their own."""

    def __init__(self, word_key="word", char_key="char"):
        super().__init__()
        self.keys = {"word": word_key, "char": char_key}
        self.char_embedding = layers.Embedding(V, E)
        self.word_embedding = layers.Embedding(V // 3 + 1, E)
        self.char_lstm = layers.LSTM(U, return_sequences=True, return_state=True, name="char_lstm")
        self.word_lstm = layers.LSTM(U, return_sequences=True, return_state=True, name="word_lstm")
        self.gate = layers.Dense(U, activation="sigmoid")
        self.dense = layers.Dense(V)

    def call(self, ids, *, states=None, return_state=False):
        states = states or {}
        char, *char_state = self.char_lstm(self.char_embedding(ids), initial_state=states.get("char"))
        word, *word_state = self.word_lstm(self.word_embedding(ids // 3), initial_state=states.get("word"))
        g = self.gate(tf.concat([char, word], axis=-1))
        logits = self.dense(g * char + (1.0 - g) * word)
        if return_state:
            return logits, {self.keys["char"]: char_state, self.keys["word"]: word_state}
        return logits


@right()
def chars_and_words_in_a_keyword_dict():
    """Both LSTMs find their own state under their own key."""
    return CharWord()


@wrong("crossed-state")
def chars_and_words_under_each_others_key():
    """The new states are put under each other's key, so that each LSTM continues from the other's."""
    return CharWord(word_key="char", char_key="word")


class Positions(keras.Model):
    """Sinusoidal positions are added to the embedding; the count of tokens read is a part of the state."""

    def __init__(self, counts=True):
        super().__init__()
        self.counts = counts
        self.embedding = layers.Embedding(V, E)
        self.gru = layers.GRU(U, return_sequences=True, return_state=True)
        self.dense = layers.Dense(V)

    def call(self, ids, states=None, return_state=False):
        if states is None:
            states = (tf.constant(0, tf.int32), tf.zeros((tf.shape(ids)[0], U)))
        count, hidden = states
        start = count if self.counts else 0
        steps = tf.cast(start + tf.range(tf.shape(ids)[1]), tf.float32)
        angles = steps[:, None] / tf.pow(50.0, tf.range(E, dtype=tf.float32)[None] / E)
        x, hidden = self.gru(self.embedding(ids) + tf.sin(angles), initial_state=hidden)
        logits = self.dense(x)
        return (logits, (count + tf.shape(ids)[1], hidden)) if return_state else logits


@right()
def positions_counted_across_segments():
    """The position goes on counting in the next segment, and the GRU gets back its own state."""
    return Positions()


@wrong("chunk-variance")
def positions_restart_in_each_segment():
    """The position begins at 0 in each call, so that predictions depend on how the text is cut."""
    return Positions(counts=False)


@right(name="convolution_carries_its_left_context")
class ConvThenGRU(keras.Model):
    """A convolution over the last three embeddings, whose left context is carried by hand.

    The last two embeddings are handed on beside the GRU's own state, so that a cut changes nothing.
    """

    def __init__(self, width=3):
        super().__init__()
        self.width = width
        self.embedding = layers.Embedding(V, E)
        self.conv = layers.Conv1D(U, width, padding="valid", activation="relu")
        self.gru = layers.GRU(U, return_sequences=True, return_state=True)
        self.dense = layers.Dense(V)

    def call(self, ids, states=None, return_state=False):
        x = self.embedding(ids)
        if states is None:
            states = {"context": tf.zeros((tf.shape(ids)[0], self.width - 1, E)), "hidden": None}
        x = tf.concat([states["context"], x], axis=1)
        context = x[:, -(self.width - 1) :]
        y, hidden = self.gru(self.conv(x), initial_state=states["hidden"])
        logits = self.dense(y)
        return (logits, {"context": context, "hidden": hidden}) if return_state else logits


@wrong("future-leak", name="attention_without_a_causal_mask")
class AttentiveGRU(keras.Model):
    """Attention without a causal mask lets each position see the tokens after it."""

    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(V, U)
        self.gru = layers.GRU(U, return_sequences=True, return_state=True)
        self.attention = layers.MultiHeadAttention(num_heads=2, key_dim=U // 2)
        self.norm = layers.LayerNormalization()
        self.dense = layers.Dense(V)

    def call(self, inputs, state=None, return_state=False, training=False):
        x, state = self.gru(self.embedding(inputs), initial_state=state, training=training)
        x = self.norm(x + self.attention(x, x, training=training))
        x = self.dense(x)
        return (x, state) if return_state else x


@right(name="truncated_bptt_in_a_custom_step")
class TruncatedBPTT(keras.Model):
    """A custom training step over pieces of a segment; the gradient stops where a piece ends.

    Each layer gets back its own state, and stop_gradient changes no number of it.
    """

    def __init__(self, piece=4):
        super().__init__()
        self.piece = piece
        self.embedding = layers.Embedding(V, E)
        self.rnn = layers.SimpleRNN(U, return_sequences=True, return_state=True)
        self.gru = layers.GRU(U, return_sequences=True, return_state=True)
        self.dense = layers.Dense(V)

    def call(self, ids, states=None, return_state=False, training=False):
        if states is not None and training:
            states = tf.nest.map_structure(tf.stop_gradient, states)
        a, b = states if states is not None else (None, None)
        x, a = self.rnn(self.embedding(ids), initial_state=a)
        x, b = self.gru(x, initial_state=b)
        return (self.dense(x), [a, b]) if return_state else self.dense(x)

    def train_step(self, data):
        x, y = data
        states, total = None, 0.0
        for start in range(0, x.shape[1], self.piece):
            with tf.GradientTape() as tape:
                logits, states = self(x[:, start : start + self.piece], states, return_state=True, training=True)
                loss = self.compute_loss(y=y[:, start : start + self.piece], y_pred=logits)
            self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
            total += loss
        return {"loss": total}


@wrong("stale-state", name="middle_layer_appends_the_old_state")
class LoopSlip(keras.Model):
    """The loop appends the state that it was given and not the new one.

    The middle layer's incoming state is returned for its new one, so that it never moves on.
    """

    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(V, E)
        self.stack = [layers.GRU(U, return_sequences=True, return_state=True) for _ in range(3)]
        self.dense = layers.Dense(V)

    def call(self, inputs, states=None, return_state=False):
        x = self.embedding(inputs)
        if states is None:
            states = [gru.get_initial_state(tf.shape(inputs)[0])[0] for gru in self.stack]
        new_states = []
        for gru, state in zip(self.stack, states, strict=True):
            x, new_state = gru(x, initial_state=state)
            new_states.append(state if gru is self.stack[1] else new_state)
        return (self.dense(x), new_states) if return_state else self.dense(x)


@right()
def sequential_from_a_beginners_course():
    """The model carries no state at all, and reads each segment from the start."""
    model = keras.Sequential(name="beginner")
    model.add(keras.Input((None,), dtype="int32"))
    model.add(layers.Embedding(V, E, mask_zero=False))
    model.add(layers.LSTM(U, return_sequences=True))
    model.add(layers.Dropout(0.2))
    model.add(layers.LSTM(U, return_sequences=True))
    model.add(layers.Dense(V))
    return model


@right()
def stateful_lstms_with_dropout_between():
    """Both LSTMs are stateful on purpose, and Keras gives each its own state back."""
    return keras.Sequential(
        [
            keras.Input(batch_shape=(4, None), dtype="int32"),
            layers.Embedding(V, E),
            layers.LSTM(U, return_sequences=True, stateful=True, dropout=0.1),
            layers.LayerNormalization(),
            layers.LSTM(U // 2, return_sequences=True, stateful=True),
            layers.Dropout(0.1),
            layers.Dense(V, activation="softmax"),
        ]
    )


@wrong("shared-state")
def decoder_begins_where_the_encoder_ended():
    """The decoder starts from the encoder's final state over the very ids that it is to predict."""
    ids = keras.Input((None,), dtype="int32")
    x = layers.Embedding(V, E)(ids)
    _, h, c = layers.LSTM(U, return_state=True, name="encoder")(x)
    y = layers.LSTM(U, return_sequences=True, name="decoder")(x, initial_state=[h, c])
    return keras.Model(ids, layers.Dense(V)(y))


class MultiplicativeLSTMCell(layers.Layer):
    """The mLSTM: the recurrent input is modulated by the token."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.state_size = [units, units]
        self.output_size = units
        self.wmx = layers.Dense(units, use_bias=False)
        self.wmh = layers.Dense(units, use_bias=False)
        self.gates = layers.Dense(4 * units)

    def build(self, input_shape):
        width = self.output_size
        self.wmx.build(input_shape)
        self.wmh.build((None, width))
        self.gates.build((None, input_shape[-1] + width))

    def call(self, inputs, states, training=False):
        h, c = states
        m = self.wmx(inputs) * self.wmh(h)
        i, f, o, u = tf.split(self.gates(tf.concat([inputs, m], axis=-1)), 4, axis=-1)
        c = tf.sigmoid(f + 1.0) * c + tf.sigmoid(i) * tf.tanh(u)
        h = tf.sigmoid(o) * tf.tanh(c)
        return h, [h, c]


@right(name="multiplicative_lstm_module")
class MultiplicativeLM(tf.Module):
    """The module returns h and c in the order in which it takes them."""

    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(V, E)
        self.rnn = layers.RNN(MultiplicativeLSTMCell(U), return_sequences=True, return_state=True)
        self.dense = layers.Dense(V)

    def __call__(self, ids, h=None, c=None):
        x, h, c = self.rnn(self.embedding(ids), initial_state=None if h is None else [h, c])
        return self.dense(x), h, c


@right(name="states_logged_but_not_read")
class LoggedStates:
    """The newest states are kept for plots of the hidden units, and are never read by the model.

    A copy of the state is kept for plots, and the GRU starts only from what the caller gives.
    """

    def __init__(self):
        self.embedding = layers.Embedding(V, E)
        self.gru = layers.GRU(U, return_sequences=True, return_state=True)
        self.dense = layers.Dense(V)
        self.history = []

    def __call__(self, ids, state=None):
        x, state = self.gru(self.embedding(ids), initial_state=state)
        self.history = [*self.history[-9:], state.numpy()]
        return self.dense(x), state


@right(name="long_segment_read_in_blocks")
class BlockwiseReader(keras.Model):
    """A long segment is read in blocks of four tokens, to save memory.

    Each block starts from the state at the end of the block before it, as one long call would.
    """

    def __init__(self, block=4):
        super().__init__()
        self.block = block
        self.embedding = layers.Embedding(V, E)
        self.gru = layers.GRU(U, return_sequences=True, return_state=True)
        self.dense = layers.Dense(V)

    def call(self, ids, state=None, return_state=False):
        outputs = []
        for start in range(0, ids.shape[1], self.block):
            x, state = self.gru(self.embedding(ids[:, start : start + self.block]), initial_state=state)
            outputs.append(x)
        logits = self.dense(tf.concat(outputs, axis=1))
        return (logits, state) if return_state else logits
