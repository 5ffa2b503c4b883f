"""Wrong: one layer is called more than once in a step, and a place does not get its own state back."""

import keras
import tensorflow as tf

from tests.wiring.corpus.case import E, U, V, wrong
from tests.wiring.corpus.parts import gru_layer, lstm_layer, zeros

layers = keras.layers


class TwoStreams(keras.Model):
    """One GRU on two streams; the faults are in `wired`."""

    def __init__(self):
        super().__init__()
        self.left, self.right = layers.Embedding(V, E), layers.Embedding(V, E)
        self.gru = gru_layer()
        self.dense = layers.Dense(V)

    def call(self, inputs, states=None, return_state=False):
        if states is None:
            states = (zeros(inputs), zeros(inputs))
        a, b, states = self.wired(self.left(inputs), self.right(inputs), *states)
        logits = self.dense(tf.concat([a, b], axis=-1))
        return (logits, states) if return_state else logits


@wrong("crossed-state", name="two_places_exchanged")
class Exchanged(TwoStreams):
    """Each place continues from the state of the other."""

    def wired(self, x, y, s1, s2):
        a, n1 = self.gru(x, initial_state=s1)
        b, n2 = self.gru(y, initial_state=s2)
        return a, b, (n2, n1)


@wrong("shared-state", name="second_place_starts_where_the_first_ended")
class Chained(TwoStreams):
    """The second stream starts from the first stream's state at the end of the same segment."""

    def wired(self, x, y, s1, s2):
        a, n1 = self.gru(x, initial_state=s1)
        b, n2 = self.gru(y, initial_state=n1)
        return a, b, (n1, n2)


@wrong("ignored-state", name="second_place_ignores_its_state")
class SecondIgnored(TwoStreams):
    """The second stream's state is returned and given back, and still it begins at zero."""

    def wired(self, x, y, s1, s2):
        a, n1 = self.gru(x, initial_state=s1)
        b, n2 = self.gru(y)
        return a, b, (n1, n2)


class ThreeStreams(keras.Model):
    """One GRU on three streams, states in a list."""

    def __init__(self):
        super().__init__()
        self.embeddings = [layers.Embedding(V, E) for _ in range(3)]
        self.gru = gru_layer()
        self.dense = layers.Dense(V)

    def call(self, inputs, states=None, return_state=False):
        states = states if states is not None else [zeros(inputs)] * 3
        outs, new = [], []
        for embedding, state in zip(self.embeddings, states, strict=False):
            out, n = self.gru(embedding(inputs), initial_state=state)
            outs.append(out)
            new.append(n)
        logits = self.dense(tf.concat(outs, axis=-1))
        return (logits, self.handed_on(new)) if return_state else logits


@wrong("crossed-state", name="three_places_rotated")
class Rotated(ThreeStreams):
    """The list is turned by one, so that each of the three places gets the next one's state."""

    def handed_on(self, new):
        return [*new[1:], new[0]]


@wrong("dropped-state", name="third_place_dropped")
class ThirdDropped(keras.Model):
    """One LSTM on three streams; the state of the third is not kept.

    The third stream begins at zero in each call, and its state is not returned.
    """

    def __init__(self):
        super().__init__()
        self.embeddings = [layers.Embedding(V, E) for _ in range(3)]
        self.lstm = lstm_layer()
        self.dense = layers.Dense(V)

    def call(self, inputs, states=None, return_state=False):
        first, second = states if states is not None else (None, None)
        a, *first = self.lstm(self.embeddings[0](inputs), initial_state=first)
        b, *second = self.lstm(self.embeddings[1](inputs), initial_state=second)
        c = self.lstm(self.embeddings[2](inputs))[0]
        logits = self.dense(tf.concat([a, b, c], axis=-1))
        return (logits, (first, second)) if return_state else logits


@wrong("crossed-state")
def graph_exchanges_two_places():
    """The graph's state outputs stand in another order than its state inputs."""
    ids = keras.Input((None,), dtype="int32")
    s1, s2 = keras.Input((U,)), keras.Input((U,))
    gru = gru_layer(name="shared")
    a, n1 = gru(layers.Embedding(V, E)(ids), initial_state=s1)
    b, n2 = gru(layers.Embedding(V, E)(ids), initial_state=s2)
    return keras.Model([ids, s1, s2], [layers.Dense(V)(layers.concatenate([a, b])), n2, n1])


class LSTMStreams(keras.Model):
    """One LSTM on two streams."""

    def __init__(self):
        super().__init__()
        self.left, self.right = layers.Embedding(V, E), layers.Embedding(V, E)
        self.lstm = lstm_layer()
        self.dense = layers.Dense(V)

    def call(self, inputs, states=None, return_state=False):
        (h1, c1), (h2, c2) = states if states is not None else [[zeros(inputs)] * 2] * 2
        a, h1, c1 = self.lstm(self.left(inputs), initial_state=[h1, c1])
        b, h2, c2 = self.lstm(self.right(inputs), initial_state=[h2, c2])
        logits = self.dense(tf.concat([a, b], axis=-1))
        return (logits, self.handed_on(h1, c1, h2, c2)) if return_state else logits


@wrong("crossed-state", name="only_c_exchanged_between_places")
class CellsExchanged(LSTMStreams):
    """Each place keeps its h, and gets the c of the other place."""

    def handed_on(self, h1, c1, h2, c2):
        return [[h1, c2], [h2, c1]]


@wrong("shared-state", name="stateful_layer_reads_two_streams")
class StatefulTwice(keras.Model):
    """A stateful layer has one state, whatever streams it reads.

    The second stream starts from what the first one has just left in the stateful layer.
    """

    def __init__(self):
        super().__init__()
        self.left, self.right = layers.Embedding(V, E), layers.Embedding(V, E)
        self.gru = layers.GRU(U, return_sequences=True, stateful=True)
        self.dense = layers.Dense(V)

    def call(self, inputs):
        a = self.gru(self.left(inputs))
        b = self.gru(self.right(inputs))
        return self.dense(tf.concat([a, b], axis=-1))
