"""Right: recurrences of several rates, whose state moves at some tokens only, and queues of states."""

import keras
import tensorflow as tf

from tests.wiring.corpus.case import E, U, right
from tests.wiring.corpus.parts import Embedded, gru_layer, zeros

layers = keras.layers


class TwoRates(Embedded):
    """A cell for every token, and one whose state moves at some of them; the number of tokens read is carried.

    `moves` of a subclass gives the new state of the slow cell, or the old one.
    """

    period = 2

    def __init__(self):
        super().__init__()
        self.fast, self.slow = layers.GRUCell(U), layers.GRUCell(U)

    def call(self, inputs, states=None, return_state=False):
        fast, slow, count = states if states is not None else (zeros(inputs), zeros(inputs), zeros(inputs, 1))
        x = self.embedding(inputs)
        outputs = []
        for t in range(inputs.shape[1]):
            slow = self.moves(x[:, t], slow, count, inputs[:, t])
            y, (fast,) = self.fast(tf.concat([x[:, t], slow], axis=-1), [fast])
            outputs.append(tf.concat([y, slow], axis=-1))
            count = count + 1
        logits = self.dense(tf.stack(outputs, axis=1))
        return (logits, (fast, slow, count)) if return_state else logits

    def ticks(self, count):
        return tf.equal(tf.math.floormod(count, self.period), 0)


@right(name="slow_cell_by_where")
class ByWhere(TwoRates):
    def moves(self, x, slow, count, ids):
        return tf.where(self.ticks(count), self.slow(x, [slow])[0], slow)


@right(name="slow_cell_by_mask")
class ByMask(TwoRates):
    period = 4

    def moves(self, x, slow, count, ids):
        mask = tf.cast(self.ticks(count), x.dtype)
        return mask * self.slow(x, [slow])[0] + (1 - mask) * slow


@right(name="slow_cell_by_python_if")
class ByIf(TwoRates):
    """The cell is not called where its state does not move."""

    def moves(self, x, slow, count, ids):
        return self.slow(x, [slow])[0] if bool(self.ticks(count)[0, 0]) else slow


@right(name="slow_cell_runs_and_is_not_kept")
class RunsAnyway(TwoRates):
    """The cell runs at every token; its new state is taken at every fourth."""

    period = 4

    def moves(self, x, slow, count, ids):
        new, _ = self.slow(x, [slow])
        return new if bool(self.ticks(count)[0, 0]) else slow


@right(name="slow_cell_at_word_ends")
class AtWordEnds(TwoRates):
    def moves(self, x, slow, count, ids):
        return tf.where(tf.equal(ids % 3, 0)[:, None], self.slow(x, [slow])[0], slow)


@right(name="slow_cell_that_is_called_at_word_ends")
class CalledAtWordEnds(TwoRates):
    def moves(self, x, slow, count, ids):
        ends = tf.equal(ids % 3, 0)[:, None]
        return tf.where(ends, self.slow(x, [slow])[0], slow) if bool(tf.reduce_any(ends)) else slow


@right(name="slow_cell_forgets_every_fourth_token")
class Forgets(TwoRates):
    """The slow state begins anew at every fourth token of the text, wherever the calls are cut."""

    period = 4

    def moves(self, x, slow, count, ids):
        slow = tf.zeros_like(slow) if bool(self.ticks(count)[0, 0]) else slow
        return self.slow(x, [slow])[0]


@right(name="word_layer_reads_the_state_of_the_letters")
class Hierarchy(Embedded):
    """Letters by an LSTM cell that begins anew after each word; words by a GRU cell, from the letters' last state."""

    def __init__(self):
        super().__init__()
        self.letters, self.words = layers.LSTMCell(U), layers.GRUCell(U)

    def call(self, inputs, states=None, return_state=False):
        h, c, word = states if states is not None else [zeros(inputs)] * 3
        x, outputs = self.embedding(inputs), []
        for t in range(inputs.shape[1]):
            y, (h, c) = self.letters(tf.concat([x[:, t], word], axis=-1), [h, c])
            ends = tf.equal(inputs[:, t] % 4, 0)[:, None]
            word = tf.where(ends, self.words(y, [word])[0], word)
            h, c = (tf.where(ends, 0.0, each) for each in (h, c))
            outputs.append(tf.concat([y, word], axis=-1))
        logits = self.dense(tf.stack(outputs, axis=1))
        return (logits, (h, c, word)) if return_state else logits


@right(name="slow_layer_with_a_mask")
class MaskedLayer(Embedded):
    """Keras keeps the state of a layer at masked tokens."""

    def __init__(self):
        super().__init__()
        self.fast, self.slow = gru_layer(), gru_layer(zero_output_for_mask=False)

    def call(self, inputs, states=None, return_state=False):
        fast, slow = states if states is not None else (zeros(inputs), zeros(inputs))
        x = self.embedding(inputs)
        x, fast = self.fast(x, initial_state=fast)
        y, slow = self.slow(x, initial_state=slow, mask=tf.equal(inputs % 3, 0))
        mask = tf.cast(tf.equal(inputs % 3, 0), x.dtype)[..., None]
        logits = self.dense(tf.concat([x, y * mask], axis=-1))
        return (logits, (fast, slow)) if return_state else logits


@right(name="slow_layer_reads_every_second_token")
class EverySecond(Embedded):
    """The slow layer reads the tokens at even places of the text in one run, and none where a call has none."""

    def __init__(self):
        super().__init__()
        self.fast, self.slow = gru_layer(), gru_layer()

    def call(self, inputs, states=None, return_state=False):
        fast, slow, count = states if states is not None else (zeros(inputs), zeros(inputs), zeros(inputs, 1))
        before, length, x = int(count[0, 0]), inputs.shape[1], self.embedding(inputs)
        x, fast = self.fast(x, initial_state=fast)
        steps = tf.zeros((len(x), 0, U))
        old = slow
        if length > before % 2:
            steps, slow = self.slow(x[:, before % 2 :: 2], initial_state=slow)
        every = tf.concat([old[:, None], steps], axis=1)
        y = tf.gather(every, [(before % 2 + t) // 2 + (before % 2 == 0) for t in range(length)], axis=1)
        logits = self.dense(tf.concat([x, y], axis=-1))
        return (logits, (fast, slow, count + length)) if return_state else logits


@keras.saving.register_keras_serializable("corpus")
class ClockworkCell(layers.Layer):
    """Two modules, the second of which moves at every third step."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.first, self.second = layers.SimpleRNNCell(units), layers.SimpleRNNCell(units)
        self.state_size, self.output_size = [units, units, 1], 2 * units

    def call(self, inputs, states):
        a, b, count = states
        _, (new,) = self.second(inputs, [b])
        b = tf.where(tf.equal(tf.math.floormod(count, 3.0), 0.0), new, b)
        _, (a,) = self.first(tf.concat([inputs, b], axis=-1), [a])
        return tf.concat([a, b], axis=-1), [a, b, count + 1]


@right(name="clockwork_cell_in_a_layer")
class Clockwork(Embedded):
    def __init__(self):
        super().__init__()
        self.rnn = layers.RNN(ClockworkCell(U), return_sequences=True, return_state=True)

    def call(self, inputs, states=None, return_state=False):
        x, *states = self.rnn(self.embedding(inputs), initial_state=states)
        return (self.dense(x), states) if return_state else self.dense(x)


class Queue(Embedded):
    """A cell that starts from the state of `dilation` tokens ago, the oldest in a queue."""

    def __init__(self, dilation=2):
        super().__init__()
        self.cell, self.dilation = layers.GRUCell(U), dilation

    def call(self, inputs, queue=None, return_state=False):
        queue = list(queue) if queue is not None else [zeros(inputs)] * self.dilation
        x, outputs = self.embedding(inputs), []
        for t in range(inputs.shape[1]):
            y, new = self.cell(x[:, t], [queue[0]])
            queue = [*queue[1:], *new]
            outputs.append(y)
        logits = self.dense(tf.stack(outputs, axis=1))
        return (logits, queue) if return_state else logits


@right()
def queue_of_two_states():
    return Queue()


@right()
def queue_of_four_states():
    return Queue(4)


@right(name="queues_of_lstm_cells_in_one_tensor")
class StackedQueues(Embedded):
    """Two layers with dilations 1 and 3; a queue is one tensor (batch, dilation, 2 × units)."""

    def __init__(self):
        super().__init__()
        self.cells = [layers.LSTMCell(U), layers.LSTMCell(U)]

    def call(self, inputs, queues=None, return_state=False):
        if queues is None:
            queues = [tf.zeros((tf.shape(inputs)[0], dilation, 2 * U)) for dilation in (1, 3)]
        queues, x, outputs = list(queues), self.embedding(inputs), []
        for t in range(inputs.shape[1]):
            y = x[:, t]
            for k, cell in enumerate(self.cells):
                y, new = cell(y, tf.split(queues[k][:, 0], 2, axis=-1))
                queues[k] = tf.concat([queues[k][:, 1:], tf.concat(new, axis=-1)[:, None]], axis=1)
            outputs.append(y)
        logits = self.dense(tf.stack(outputs, axis=1))
        return (logits, queues) if return_state else logits


@right(name="ring_of_three_states")
class Ring(Embedded):
    """The states stand in a ring; a number tells which is the oldest."""

    def __init__(self):
        super().__init__()
        self.cell = layers.SimpleRNNCell(U)

    def call(self, inputs, states=None, return_state=False):
        ring, at = states if states is not None else ([zeros(inputs)] * 3, tf.constant(0))
        ring, x, outputs = list(ring), self.embedding(inputs), []
        for t in range(inputs.shape[1]):
            place = int(at) % 3
            y, (ring[place],) = self.cell(x[:, t], [ring[place]])
            outputs.append(y)
            at = at + 1
        logits = self.dense(tf.stack(outputs, axis=1))
        return (logits, (ring, at)) if return_state else logits


@right(name="query_norm_and_gate_read_the_state_first")
class ReadFirst(Embedded):
    """An attention over the last inputs asks with the LSTM cell's h, and a gate and a norm read it, before the cell."""

    def __init__(self):
        super().__init__()
        self.query, self.gate, self.norm = layers.Dense(E), layers.Dense(E, "sigmoid"), layers.LayerNormalization()
        self.cell = layers.LSTMCell(U)

    def call(self, inputs, states=None, return_state=False):
        h, c, last = states if states is not None else (zeros(inputs), zeros(inputs), zeros(inputs, 2 * E))
        x, outputs = self.embedding(inputs), []
        for t in range(inputs.shape[1]):
            keys = tf.reshape(last, (-1, 2, E))
            scores = tf.nn.softmax(tf.einsum("be,bke->bk", self.query(self.norm(h)), keys))
            read = tf.einsum("bk,bke->be", scores, keys)
            y, (h, c) = self.cell(tf.concat([x[:, t], self.gate(h) * read], axis=-1), [h, c])
            last = tf.concat([last[:, E:], x[:, t]], axis=-1)
            outputs.append(y)
        logits = self.dense(tf.stack(outputs, axis=1))
        return (logits, (h, c, last)) if return_state else logits
