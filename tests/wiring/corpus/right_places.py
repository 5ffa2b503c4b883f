"""Right: one layer is called more than once in a step, and each place gets its own state back."""

import keras
import tensorflow as tf

from tests.wiring.corpus.case import E, U, V, right
from tests.wiring.corpus.parts import Embedded, gru_layer, zeros

layers = keras.layers


@right()
def graph_reads_two_streams_with_one_layer():
    """The graph's state outputs stand in the order of its state inputs."""
    ids = keras.Input((None,), dtype="int32")
    s1, s2 = keras.Input((U,)), keras.Input((U,))
    gru = gru_layer()
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


@right(name="one_cell_on_two_streams_in_a_loop")
class CellOnTwoStreams(keras.Model):
    """One cell, two streams, a loop over the tokens.

    At each token the cell is called once a stream, each time with the state of that stream.
    """

    def __init__(self):
        super().__init__()
        self.left, self.right = layers.Embedding(V, E), layers.Embedding(V, E)
        self.cell, self.dense = layers.GRUCell(U), layers.Dense(V)

    def call(self, inputs, states=None, return_state=False):
        zero = zeros(inputs)
        a, b = states if states is not None else (zero, zero)
        x, y = self.left(inputs), self.right(inputs)
        outputs = []
        for t in range(inputs.shape[1]):
            p, (a,) = self.cell(x[:, t], [a])
            q, (b,) = self.cell(y[:, t], [b])
            outputs.append(tf.concat([p, q], axis=-1))
        logits = self.dense(tf.stack(outputs, axis=1))
        return (logits, (a, b)) if return_state else logits


@right(name="each_token_is_read_twice")
class Ponders(Embedded):
    """The cell reads each token twice before it answers.

    One chain of states runs through all readings, and the last one is handed on.
    """

    def __init__(self):
        super().__init__()
        self.cell = layers.GRUCell(U)

    def call(self, inputs, state=None, return_state=False):
        x = self.embedding(inputs)
        state = zeros(inputs) if state is None else state
        outputs = []
        for t in range(inputs.shape[1]):
            for _ in range(2):
                y, (state,) = self.cell(x[:, t], [state])
            outputs.append(y)
        logits = self.dense(tf.stack(outputs, axis=1))
        return (logits, state) if return_state else logits
