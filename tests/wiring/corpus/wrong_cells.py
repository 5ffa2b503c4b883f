"""Wrong: cells that cross their states inside one step."""

import keras
import tensorflow as tf

from tests.wiring.corpus.case import U, V, wrong
from tests.wiring.corpus.parts import Embedded, zeros
from tests.wiring.corpus.right_cells import GatedSums

layers = keras.layers


@wrong("shared-state", name="cells_share_a_state_in_a_loop")
class CellsShareInLoop(Embedded):
    def __init__(self):
        super().__init__(width=U)
        self.c1, self.c2 = layers.GRUCell(U), layers.GRUCell(U)

    def call(self, inputs, state=None, return_state=False):
        x = self.embedding(inputs)
        if state is None:
            state = [zeros(inputs)]
        outputs = []
        for t in range(inputs.shape[1]):
            y, state = self.c1(x[:, t], state)
            y, state = self.c2(y, state)
            outputs.append(y)
        logits = self.dense(tf.stack(outputs, axis=1))
        return (logits, state) if return_state else logits


@wrong("crossed-state", name="cells_crossed_in_scan")
class CrossedInScan(tf.Module):
    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(V, U)
        self.c1, self.c2 = layers.GRUCell(U), layers.GRUCell(U)
        self.dense = layers.Dense(V)

    def step(self, states, x):
        s1, s2 = states
        y, (n1,) = self.c1(x, [s2])
        y, (n2,) = self.c2(y, [s1])
        return n1, n2

    def __call__(self, ids, states=None):
        x = tf.transpose(self.embedding(ids), [1, 0, 2])
        if states is None:
            states = (zeros(ids), zeros(ids))
        s1, s2 = tf.scan(self.step, x, initializer=states)
        return self.dense(tf.transpose(s2, [1, 0, 2])), (s1[-1], s2[-1])


@wrong("crossed-state")
class StackedCellsSwapped(Embedded):
    def __init__(self):
        super().__init__()
        self.rnn = layers.RNN([layers.GRUCell(U), layers.GRUCell(U)], return_sequences=True, return_state=True)

    def call(self, inputs, states=None, return_state=False):
        x, first, second = self.rnn(self.embedding(inputs), initial_state=states)
        return (self.dense(x), [second, first]) if return_state else self.dense(x)


@wrong("crossed-state", layer="lower", name="layers_that_begin_by_themselves_crossed")
class GatedSumsCrossed(GatedSums):
    def call(self, inputs, states=None, return_state=False):
        return super().call(inputs, states if states is None else states[::-1], return_state)
