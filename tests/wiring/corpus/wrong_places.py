"""Wrong: one layer is called more than once in a step, and a place does not get its own state back."""

import keras
import tensorflow as tf

from tests.wiring.corpus.case import E, U, V, wrong
from tests.wiring.corpus.parts import gru_layer, lstm_layer, zeros

layers = keras.layers


class Streams(keras.Model):
    """One layer on several streams, each with an embedding and a state: the faults are in `read` and `handed_on`."""

    def __init__(self, rnn, streams=2):
        super().__init__()
        self.embeddings = [layers.Embedding(V, E) for _ in range(streams)]
        self.rnn, self.dense = rnn, layers.Dense(V)

    def call(self, inputs, states=None, return_state=False):
        begin = [zeros(inputs)] * (2 if isinstance(self.rnn, layers.LSTM) else 1)
        states = [begin] * len(self.embeddings) if states is None else states
        outputs, states = self.read([embedding(inputs) for embedding in self.embeddings], states)
        logits = self.dense(tf.concat(outputs, axis=-1))
        return (logits, self.handed_on(states)) if return_state else logits

    def read(self, texts, states):
        runs = [self.rnn(x, initial_state=state) for x, state in zip(texts, states, strict=True)]
        return [output for output, *_ in runs], [state for _, *state in runs]

    def handed_on(self, states):
        return states


class Rotated(Streams):
    """Each place continues from the state of the next."""

    def handed_on(self, states):
        return [*states[1:], states[0]]


@wrong("crossed-state")
def two_places_exchanged():
    return Rotated(gru_layer())


@wrong("crossed-state")
def three_places_rotated():
    return Rotated(gru_layer(), 3)


class Chained(Streams):
    """The second stream starts from the first stream's state at the end of the same segment."""

    def read(self, texts, states):
        a, *first = self.rnn(texts[0], initial_state=states[0])
        b, *second = self.rnn(texts[1], initial_state=first)
        return (a, b), (first, second)


@wrong("shared-state")
def second_place_starts_where_the_first_ended():
    return Chained(gru_layer())


class LastIgnored(Streams):
    """The last stream's state is returned and given back, and still it begins at zero."""

    def read(self, texts, states):
        return super().read(texts, [*states[:-1], None])


@wrong("ignored-state")
def second_place_ignores_its_state():
    return LastIgnored(gru_layer())


class LastDropped(LastIgnored):
    """The last stream begins at zero in each call, and its state is not returned."""

    def call(self, inputs, states=None, return_state=False):
        return super().call(inputs, None if states is None else [*states, None], return_state)

    def handed_on(self, states):
        return states[:-1]


@wrong("dropped-state")
def third_place_dropped():
    return LastDropped(lstm_layer(), 3)


@wrong("crossed-state")
def graph_exchanges_two_places():
    """The graph's state outputs stand in another order than its state inputs."""
    ids = keras.Input((None,), dtype="int32")
    s1, s2 = keras.Input((U,)), keras.Input((U,))
    gru = gru_layer(name="shared")
    a, n1 = gru(layers.Embedding(V, E)(ids), initial_state=s1)
    b, n2 = gru(layers.Embedding(V, E)(ids), initial_state=s2)
    return keras.Model([ids, s1, s2], [layers.Dense(V)(layers.concatenate([a, b])), n2, n1])


class CellsExchanged(Streams):
    """Each place keeps its h, and gets the c of the other place."""

    def handed_on(self, states):
        (h1, c1), (h2, c2) = states
        return [[h1, c2], [h2, c1]]


@wrong("crossed-state")
def only_c_exchanged_between_places():
    return CellsExchanged(lstm_layer())


@wrong("shared-state", name="stateful_layer_reads_two_streams")
class StatefulTwice(keras.Model):
    """A stateful layer has one state, whatever streams it reads.

    The second stream starts from what the first one has just left in the stateful layer.
    """

    def __init__(self):
        super().__init__()
        self.left, self.right = layers.Embedding(V, E), layers.Embedding(V, E)
        self.gru, self.dense = layers.GRU(U, return_sequences=True, stateful=True), layers.Dense(V)

    def call(self, inputs):
        a = self.gru(self.left(inputs))
        b = self.gru(self.right(inputs))
        return self.dense(tf.concat([a, b], axis=-1))
