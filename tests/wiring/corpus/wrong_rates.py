"""Wrong: states of several rates and queues that are lost, old or exchanged, and arithmetic between calls."""

import keras
import tensorflow as tf

from tests.wiring.corpus.case import U, wrong
from tests.wiring.corpus.parts import Embedded, OneGRU, gru_layer, zeros
from tests.wiring.corpus.right_rates import Queue, StackedQueues, TwoRates

layers = keras.layers


class Ticking(TwoRates):
    """The slow cell is called at every second token; the faults are in `handed_on`."""

    def moves(self, x, slow, count, ids):
        return self.slow(x, [slow])[0] if bool(self.ticks(count)[0, 0]) else slow

    def call(self, inputs, states=None, return_state=False):
        old = states if states is not None else (zeros(inputs), zeros(inputs), zeros(inputs, 1))
        logits, new = super().call(inputs, states, True)
        return (logits, self.handed_on(old, new)) if return_state else logits


@wrong("stale-state", layer="slow", name="slow_state_is_one_call_behind_where_it_moved")
class SlowBehind(Ticking):
    """The slow state that came in is returned, as if it had not moved."""

    def handed_on(self, old, new):
        return new[0], old[1], new[2]


@wrong("chunk-variance", name="clock_of_the_slow_cell_begins_anew")
class ClockBeginsAnew(Ticking):
    """Each call counts its tokens from 0, so that the slow cell moves at other tokens."""

    def handed_on(self, old, new):
        return new[0], new[1], tf.zeros_like(new[2])


@wrong("crossed-state", name="fast_and_slow_states_exchanged")
class RatesExchanged(Ticking):
    def handed_on(self, old, new):
        return new[1], new[0], new[2]


@wrong("ignored-state", layer="slow", name="slow_state_lost_between_calls")
class SlowLost(Ticking):
    def call(self, inputs, states=None, return_state=False):
        if states is not None:
            states = states[0], tf.zeros_like(states[1]), states[2]
        return super().call(inputs, states, return_state)

    def handed_on(self, old, new):
        return new


@wrong("shared-layer", name="one_cell_for_two_levels_at_half_the_rate")
class OneCellTwoLevels(Embedded):
    """Two levels move at every second token, each with its own state; both are one cell."""

    def __init__(self):
        super().__init__(width=U)
        self.fast, self.slow = layers.GRUCell(U), [layers.GRUCell(U)] * 2

    def call(self, inputs, states=None, return_state=False):
        fast, low, high, count = states if states is not None else [*[zeros(inputs)] * 3, zeros(inputs, 1)]
        x, outputs = self.embedding(inputs), []
        for t in range(inputs.shape[1]):
            if int(count[0, 0]) % 2 == 0:
                y, (low,) = self.slow[0](x[:, t], [low])
                _, (high,) = self.slow[1](y, [high])
            y, (fast,) = self.fast(x[:, t] + high, [fast])
            outputs.append(y)
            count = count + 1
        logits = self.dense(tf.stack(outputs, axis=1))
        return (logits, (fast, low, high, count)) if return_state else logits


@wrong("ignored-state", name="letters_forgotten_at_every_token")
class ForgottenEverywhere(Embedded):
    """The letters' state was to begin anew after each word, and does at each letter, in calls of any length."""

    def __init__(self):
        super().__init__()
        self.letters, self.words = layers.GRUCell(U), layers.GRUCell(U)

    def call(self, inputs, states=None, return_state=False):
        letter, word = states if states is not None else [zeros(inputs)] * 2
        x, outputs = self.embedding(inputs), []
        for t in range(inputs.shape[1]):
            y, (letter,) = self.letters(x[:, t], [tf.zeros_like(letter)])
            ends = tf.equal(inputs[:, t] % 4, 0)[:, None]
            word = tf.where(ends, self.words(y, [word])[0], word)
            outputs.append(tf.concat([y, word], axis=-1))
        logits = self.dense(tf.stack(outputs, axis=1))
        return (logits, (letter, word)) if return_state else logits


@wrong(name="queue_returned_newest_first")
class QueueReversed(Queue):
    def call(self, inputs, queue=None, return_state=False):
        logits, queue = super().call(inputs, queue, True)
        return (logits, queue[::-1]) if return_state else logits


@wrong(name="queue_filled_with_its_newest_state")
class QueueOfOne(Queue):
    """Only the newest state is handed on, and fills the queue of the next call."""

    def call(self, inputs, newest=None, past=None, return_state=False):
        queue = None if past is None else [past] * self.dilation
        logits, queue = super().call(inputs, queue, True)
        return (logits, queue[-1]) if return_state else logits


@wrong(name="queues_of_two_layers_exchanged")
class QueuesExchanged(StackedQueues):
    def __init__(self):
        super().__init__()
        self.cells = [layers.LSTMCell(U), layers.LSTMCell(U)]

    def call(self, inputs, queues=None, return_state=False):
        if queues is None:
            queues = [tf.zeros((tf.shape(inputs)[0], 2, 2 * U))] * 2
        logits, queues = super().call(inputs, queues, True)
        return (logits, queues[::-1]) if return_state else logits


class Between(OneGRU):
    """One GRU; `changed` of a subclass is arithmetic on its state between two calls."""

    def call(self, inputs, state=None, return_state=False):
        x, state = self.gru(self.embedding(inputs), initial_state=state)
        return (self.dense(x), self.changed(state)) if return_state else self.dense(x)


@wrong("chunk-variance", layer="gru", name="state_scaled_between_calls")
class Scaled(Between):
    def changed(self, state):
        return 0.99 * state


@wrong("chunk-variance", name="state_negated_between_calls")
class Negated(Between):
    def changed(self, state):
        return -state


@wrong("chunk-variance", name="state_clipped_between_calls")
class Clipped(Between):
    def changed(self, state):
        return tf.clip_by_value(state, -0.01, 0.01)


@wrong("chunk-variance", name="state_rounded_to_int8_between_calls")
class Rounded(Between):
    def changed(self, state):
        return tf.cast(tf.cast(tf.round(state * 127), tf.int8), tf.float32) / 127


@wrong("chunk-variance", name="state_shifted_between_calls")
class Shifted(Between):
    def changed(self, state):
        return state + 1


@wrong("chunk-variance", declare=("chunked=other",), name="another_layer_is_declared")
class OtherDeclared(Embedded):
    """Two layers' states are changed between calls; only one of them is declared."""

    def __init__(self):
        super().__init__()
        self.gru, self.other = gru_layer(), gru_layer()

    def call(self, inputs, states=None, return_state=False):
        a, b = states if states is not None else (None, None)
        x, a = self.gru(self.embedding(inputs), initial_state=a)
        x, b = self.other(x, initial_state=b)
        return (self.dense(x), (0.8 * a, tf.tanh(b))) if return_state else self.dense(x)
