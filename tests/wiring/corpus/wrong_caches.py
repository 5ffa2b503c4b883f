"""Wrong: what one document leaves on the object leaks into the next, where a call without a state goes on from it."""

import keras
import tensorflow as tf

from tests.wiring.corpus.case import E, U, V, wrong
from tests.wiring.corpus.parts import gru_layer, lstm_layer

layers = keras.layers


class Parts:
    """The layers of a model of two GRUs, the upper one above the lower."""

    def __init__(self):
        self.embedding, self.lower, self.upper = layers.Embedding(V, E), gru_layer(), gru_layer()
        self.dense = layers.Dense(V)
        self.last = None

    def read(self, ids, states):
        x, lower = self.lower(self.embedding(ids), initial_state=states[0])
        x, upper = self.upper(x, initial_state=states[1])
        return self.dense(x), (lower, upper)


@wrong("leftover-state", name="both_states_kept")
class Last(Parts):
    """A call without states starts from the last call's states."""

    def __call__(self, ids, states=None):
        logits, self.last = self.read(ids, states or self.last or (None, None))
        return logits, self.last


@wrong("leftover-state", name="upper_state_kept")
class UpperOnly(Parts):
    """The lower layer begins anew and the upper one does not.

    A call without states starts the upper layer from what the last document left.
    """

    def __call__(self, ids, states=None):
        logits, states = self.read(ids, states if states is not None else (None, self.last))
        self.last = states[1]
        return logits, states


@wrong("leftover-state", name="states_kept_in_a_default_argument")
class MutableDefault(Parts):
    """The dict of the default argument lives as long as the class.

    A call without states starts from what an earlier call left in the default argument's dict.
    """

    def __call__(self, ids, states=None, seen={}):  # noqa: B006 - the fault
        logits, new = self.read(ids, states or seen.get(id(self)) or (None, None))
        seen[id(self)] = new
        return logits, new


@wrong("leftover-state", name="states_of_training_found_by_evaluation")
class AfterTraining(Parts):
    """Training keeps its states for the next batch, and evaluation finds them.

    A call without states starts from the states of the last call with training=True.
    """

    def __call__(self, ids, states=None, training=False):
        logits, new = self.read(ids, states or self.last or (None, None))
        if training:
            self.last = new
        return logits, new


@wrong("leftover-state")
def states_kept_in_a_closure():
    """A call without a state starts from what the closure kept of the last call."""
    embedding, dense = layers.Embedding(V, E), layers.Dense(V)
    lstm = lstm_layer()
    kept = None

    def model(ids, state=None):
        nonlocal kept
        x, *kept = lstm(embedding(ids), initial_state=kept if state is None else state)
        return dense(x), kept

    return model


@wrong("leftover-state", name="tail_of_the_last_document_kept")
class ContextKept:
    """The tail of the embeddings is kept for the convolution, and not cleared for a new document.

    The GRU's state is right, but a new document's first token is convolved with the last document's end.
    """

    def __init__(self):
        self.embedding, self.conv = layers.Embedding(V, E), layers.Conv1D(U, 2, padding="valid")
        self.gru, self.dense = gru_layer(), layers.Dense(V)
        self.tail = None

    def __call__(self, ids, state=None):
        x = self.embedding(ids)
        fits = self.tail is not None and self.tail.shape[0] == ids.shape[0]
        tail = self.tail if fits else tf.zeros_like(x[:, :1])
        self.tail = x[:, -1:]
        x, state = self.gru(self.conv(tf.concat([tail, x], axis=1)), initial_state=state)
        return self.dense(x), state
