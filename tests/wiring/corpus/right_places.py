"""Right: one layer is called more than once in a step, and each place gets its own state back."""

import keras
import tensorflow as tf

from tests.wiring.corpus.case import E, U, V, right

layers = keras.layers


@right(name="two_places_in_a_flat_list")
class FlatFour(keras.Model):
    """One LSTM on two streams: a flat list of h, c, h, c.

    The first two tensors belong to the first call, the last two to the second, on both ways.
    """

    def __init__(self):
        super().__init__()
        self.fine = layers.Embedding(V, E)
        self.coarse = layers.Embedding(4, E)
        self.lstm = layers.LSTM(U, return_sequences=True, return_state=True)
        self.dense = layers.Dense(V)

    def call(self, inputs, states=None, return_state=False):
        h1, c1, h2, c2 = states if states is not None else [tf.zeros((tf.shape(inputs)[0], U))] * 4
        a, h1, c1 = self.lstm(self.fine(inputs), initial_state=[h1, c1])
        b, h2, c2 = self.lstm(self.coarse(inputs // 3), initial_state=[h2, c2])
        logits = self.dense(tf.concat([a, b], axis=-1))
        return (logits, [h1, c1, h2, c2]) if return_state else logits


@right(name="two_places_in_one_tensor")
class OneTensor(keras.Model):
    """One GRU on two streams: both states in one tensor.

    The halves of the tensor are taken apart in the order in which they were joined.
    """

    def __init__(self):
        super().__init__()
        self.embeddings = [layers.Embedding(V, E) for _ in range(2)]
        self.gru = layers.GRU(U, return_sequences=True, return_state=True)
        self.dense = layers.Dense(V)

    def call(self, inputs, state=None, return_state=False):
        if state is None:
            state = tf.zeros((tf.shape(inputs)[0], 2 * U))
        first, second = tf.split(state, 2, axis=-1)
        a, first = self.gru(self.embeddings[0](inputs), initial_state=first)
        b, second = self.gru(self.embeddings[1](inputs), initial_state=second)
        logits = self.dense(a * b)
        return (logits, tf.concat([first, second], axis=-1)) if return_state else logits


@right()
def graph_reads_two_streams_with_one_layer():
    """The graph's state outputs stand in the order of its state inputs."""
    ids = keras.Input((None,), dtype="int32")
    s1, s2 = keras.Input((U,)), keras.Input((U,))
    gru = layers.GRU(U, return_sequences=True, return_state=True)
    a, n1 = gru(layers.Embedding(V, E)(ids), initial_state=s1)
    b, n2 = gru(layers.Embedding(V, E)(ids), initial_state=s2)
    return keras.Model([ids, s1, s2], [layers.Dense(V)(layers.concatenate([a, b])), n1, n2])


@right()
def stateless_graph_reads_two_streams_with_one_layer():
    """The layer is called twice and carries nothing: each segment is read from the start."""
    ids = keras.Input((None,), dtype="int32")
    lstm = layers.LSTM(U, return_sequences=True, name="shared_lstm")
    a = lstm(layers.Embedding(V, E)(ids))
    b = lstm(layers.Embedding(V, E)(ids))
    return keras.Model(ids, layers.Dense(V)(layers.add([a, b])))


@right(name="three_places_by_name")
class ThreeByName(keras.Model):
    """One LSTM on three streams, states in a dict by the stream's name.

    Each stream's state is kept under the name of the stream.
    """

    def __init__(self):
        super().__init__()
        self.streams = ("id", "half", "parity")
        self.embeddings = [layers.Embedding(V, E) for _ in self.streams]
        self.lstm = layers.LSTM(U, return_sequences=True, return_state=True)
        self.dense = layers.Dense(V)

    def call(self, inputs, states=None, return_state=False):
        states = states or dict.fromkeys(self.streams)
        outs, new = [], {}
        for name, embedding, ids in zip(self.streams, self.embeddings, (inputs, inputs // 2, inputs % 2), strict=True):
            out, *new[name] = self.lstm(embedding(ids), initial_state=states[name])
            outs.append(out)
        logits = self.dense(tf.concat(outs, axis=-1))
        return (logits, new) if return_state else logits


@right(name="one_cell_on_two_streams_in_a_loop")
class CellOnTwoStreams(keras.Model):
    """One cell, two streams, a loop over the tokens.

    At each token the cell is called once a stream, each time with the state of that stream.
    """

    def __init__(self):
        super().__init__()
        self.left, self.right = layers.Embedding(V, E), layers.Embedding(V, E)
        self.cell = layers.GRUCell(U)
        self.dense = layers.Dense(V)

    def call(self, inputs, states=None, return_state=False):
        zeros = tf.zeros((tf.shape(inputs)[0], U))
        a, b = states if states is not None else (zeros, zeros)
        x, y = self.left(inputs), self.right(inputs)
        outputs = []
        for t in range(inputs.shape[1]):
            p, (a,) = self.cell(x[:, t], [a])
            q, (b,) = self.cell(y[:, t], [b])
            outputs.append(tf.concat([p, q], axis=-1))
        logits = self.dense(tf.stack(outputs, axis=1))
        return (logits, (a, b)) if return_state else logits


@right(name="stacked_cells_on_two_streams")
class StackOnTwoStreams(keras.Model):
    """An RNN of two cells on two streams.

    The states of both cells go back, in order, to the stream that they come from.
    """

    def __init__(self):
        super().__init__()
        self.left, self.right = layers.Embedding(V, E), layers.Embedding(V, E)
        self.rnn = layers.RNN([layers.GRUCell(U), layers.LSTMCell(U)], return_sequences=True, return_state=True)
        self.dense = layers.Dense(V)

    def call(self, inputs, states=None, return_state=False):
        a, b = states if states is not None else (None, None)
        x, *a = self.rnn(self.left(inputs), initial_state=a)
        y, *b = self.rnn(self.right(inputs), initial_state=b)
        return (self.dense(x + y), (a, b)) if return_state else self.dense(x + y)


class Twin(layers.Layer):
    """A layer of one's own that reads two streams with one GRU."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.gru = layers.GRU(units, return_sequences=True, return_state=True)

    def call(self, a, b, states=None):
        s, t = states if states is not None else (None, None)
        a, s = self.gru(a, initial_state=s)
        b, t = self.gru(b, initial_state=t)
        return a, b, (s, t)


@right(name="twin_reader_below_a_layer_of_its_own")
class TwinBelowTop(keras.Model):
    """A twin reader below a GRU that is called once.

    Three states come and go: two of the twin's places and one of the top layer.
    """

    def __init__(self):
        super().__init__()
        self.left, self.right = layers.Embedding(V, E), layers.Embedding(V, E)
        self.twin = Twin(U)
        self.top = layers.GRU(U, return_sequences=True, return_state=True)
        self.dense = layers.Dense(V)

    def call(self, inputs, states=None, return_state=False):
        lower, upper = states if states is not None else (None, None)
        a, b, lower = self.twin(self.left(inputs), self.right(inputs), states=lower)
        x, upper = self.top(tf.concat([a, b], axis=-1), initial_state=upper)
        return (self.dense(x), (lower, upper)) if return_state else self.dense(x)


@right(name="each_token_is_read_twice")
class Ponders(keras.Model):
    """The cell reads each token twice before it answers.

    One chain of states runs through all readings, and the last one is handed on.
    """

    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(V, E)
        self.cell = layers.GRUCell(U)
        self.dense = layers.Dense(V)

    def call(self, inputs, state=None, return_state=False):
        x = self.embedding(inputs)
        state = tf.zeros((tf.shape(inputs)[0], U)) if state is None else state
        outputs = []
        for t in range(inputs.shape[1]):
            for _ in range(2):
                y, (state,) = self.cell(x[:, t], [state])
            outputs.append(y)
        logits = self.dense(tf.stack(outputs, axis=1))
        return (logits, state) if return_state else logits
