"""The place of a fault: one cell in two layers, the layer that draws, and what lies outside of the recurrent layers."""

import linecache

import keras
import pytest
import tensorflow as tf

from rnneval.evaluate.check import check
from rnneval.models.keras.lm import eagerly
from rnneval.records.wiring import Oracle
from rnneval.wiring.evidence import evidence
from rnneval.wiring.facts import parse_declarations
from rnneval.wiring.judging import findings
from rnneval.wiring.keras.locating import locate
from rnneval.wiring.keras.probe import provenance
from rnneval.wiring.keras.subject import make_ready

layers = keras.layers
V, U = 11, 6


def seen_in_flow(model, *declare):
    """What is found in the flow of states alone, without the tests of behaviour."""
    with eagerly():
        facts = provenance(make_ready(model, None), parse_declarations(declare), 0)
    return [(f.rule, f.layer, f.message.partition(". ")[0]) for f in findings(evidence(facts))]


def graph(cells):
    recurrent = layers.RNN(cells, return_sequences=True, name="rnn")
    return keras.Sequential([layers.Embedding(V, U), recurrent, layers.Dense(V)])


class TwoLayers(keras.Model):
    """Two layers in a stack, or side by side; by default each has a cell of its own."""

    def __init__(self, one, two, *, side_by_side=False):
        super().__init__()
        self.embedding, self.dense, self.drop = layers.Embedding(V, U), layers.Dense(V), layers.Dropout(0.5)
        self.one = layers.RNN(one, return_sequences=True, return_state=True)
        self.two = layers.RNN(two, return_sequences=True, return_state=True)
        self.side_by_side = side_by_side

    def pack(self, first, second):
        return (first, second)

    def call(self, ids, states=None):
        first, second = states if states is not None else (None, None)
        e = self.embedding(ids)
        x, first = self.one(e, initial_state=first)
        y, second = self.two(e[..., ::-1] if self.side_by_side else x, initial_state=second)
        return self.dense(x + y), self.pack(first, second)


class Continued(keras.Model):
    """A layer reads the text, and its own cell goes on from its state with what it predicts."""

    def __init__(self):
        super().__init__()
        self.embedding, self.dense, self.back = layers.Embedding(V, U), layers.Dense(V), layers.Dense(U)
        self.cell = layers.LSTMCell(U)
        self.rnn = layers.RNN(self.cell, return_sequences=True, return_state=True)

    def call(self, ids, states=None):
        x, *states = self.rnn(self.embedding(ids), initial_state=states)
        ahead, _ = self.cell(self.back(x[:, -1]), states)
        return self.dense(x + 0.0 * ahead[:, None]), states


def test_one_cell_object_in_a_stack_is_found_and_two_are_not():
    cell, other = layers.GRUCell(U), layers.GRUCell(U)
    ((rule, layer, seen),) = seen_in_flow(graph([cell] * 2))
    assert (rule, layer) == ("shared-layer", "rnn")
    assert seen.startswith("cells[0] and cells[1] of rnn are one object")
    nested = layers.StackedRNNCells([layers.StackedRNNCells([other, layers.GRUCell(U)]), other])
    ((_, _, seen),) = seen_in_flow(graph(nested))
    assert seen.startswith("cells[0].cells[0] and cells[1] of rnn are one object")
    assert seen_in_flow(graph([layers.GRUCell(U), layers.GRUCell(U)])) == []
    assert seen_in_flow(graph([layers.LSTMCell(U)] * 2), "shared=rnn") == []


def test_one_cell_object_in_two_layers_is_found_only_where_one_reads_the_other():
    cell = layers.GRUCell(U)
    ((rule, layer, seen),) = seen_in_flow(TwoLayers(cell, cell))
    assert (rule, layer) == ("shared-layer", "two")
    assert seen.startswith("two has the cell of one, whose outputs it reads")
    assert seen_in_flow(TwoLayers(cell, cell), "shared=one") == []
    assert seen_in_flow(TwoLayers(layers.GRUCell(U), layers.GRUCell(U))) == []
    assert seen_in_flow(TwoLayers(cell, cell, side_by_side=True)) == []
    assert "shared-layer" not in {rule for rule, *_ in seen_in_flow(Continued())}


class Stacked(TwoLayers):
    """Both states are one tensor; that of `two` is dropped out before, or everything is."""

    everything = False

    def pack(self, first, second):
        if self.everything:
            return self.drop(tf.stack([first, second]), training=True)
        return tf.stack([first, self.drop(second, training=True)])


class AllDropped(Stacked):
    everything = True


class DrawnBeside(TwoLayers):
    def pack(self, first, second):
        return tf.concat([first[None], tf.random.normal((1, *second.shape))], axis=0)


def test_random_numbers_are_those_of_the_layer_whose_state_they_meet():
    two = [layers.GRUCell(U) for _ in range(2)]
    assert [(rule, layer) for rule, layer, _ in seen_in_flow(Stacked(*two))] == [("noisy-state", "two")]
    assert [(rule, layer) for rule, layer, _ in seen_in_flow(DrawnBeside(*two))] == [("random-state", "two")]
    assert {layer for _, layer, _ in seen_in_flow(AllDropped(*two))} == {"one", "two"}


class GuardedRoot(TwoLayers):
    """A NaN that is never used comes before the layers, and is the same in each call."""

    def call(self, ids, states=None):
        first, second = states if states is not None else (None, None)
        e = self.embedding(ids)
        x, first = self.one(tf.where(e > 0, tf.sqrt(e), e), initial_state=first)
        x, second = self.two(self.drop(x, training=True), initial_state=second)
        return self.dense(x), (first, second)


def test_a_nan_is_no_draw():
    with eagerly():
        ready = make_ready(GuardedRoot(layers.GRUCell(U), layers.GRUCell(U)), None)
        spots = locate(ready, {"repeat": Oracle(verdict="fail", tolerance=1e-4, detail="differ")}, 0)
    assert spots["repeat"].layer == "drop"


class Beside(keras.Model):
    """One GRU, and beside it what each case keeps of past tokens."""

    def __init__(self, *, cut):
        super().__init__()
        self.embedding, self.dense, self.mix = layers.Embedding(V, U), layers.Dense(V), layers.Dense(U)
        self.gru = layers.GRU(U, return_sequences=True, return_state=True)
        self.cut = cut


class Attention(Beside):
    """Attention over the last four outputs; where it is cut, two of them are lost between calls."""

    def call(self, ids, states=None):
        state, memory = states if states is not None else (None, tf.zeros((tf.shape(ids)[0], 4, U)))
        x, state = self.gru(self.embedding(ids), initial_state=state)
        past = tf.concat([memory, x], axis=1)
        windows = tf.stack([past[:, k : k + ids.shape[1]] for k in range(5)], axis=2)  # (batch, time, 5, U)
        weights = tf.nn.softmax(tf.reduce_sum(windows * self.mix(x)[:, :, None], axis=-1, keepdims=True), axis=2)
        memory = past[:, -4:] * tf.constant([0.0, 0.0, 1.0, 1.0])[:, None] if self.cut else past[:, -4:]
        return self.dense(x + tf.reduce_sum(weights * windows, axis=2)), (state, memory)


class Shift(Beside):
    """Each token is mixed with the one before; where it is cut, the last of a call is lost."""

    def call(self, ids, states=None):
        x = self.embedding(ids)
        state, last = states if states is not None else (None, tf.zeros_like(x[:, :1]))
        before = tf.concat([0.0 * last if self.cut else last, x[:, :-1]], axis=1)
        y, state = self.gru(x + self.mix(before), initial_state=state)
        return self.dense(y), (state, x[:, -1:])


class Convolution(Beside):
    def __init__(self, *, cut):
        super().__init__(cut=cut)
        self.conv = layers.Conv1D(U, 3, padding="causal")

    def call(self, ids, state=None):
        x, state = self.gru(self.conv(self.embedding(ids)), initial_state=state)
        return self.dense(self.mix(x)), state


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("build", "layer", "code"),
    [
        (Attention, None, "tf.stack([past"),
        (Shift, None, "before = tf.concat("),
        (Convolution, "conv", "self.conv("),
    ],
)
def test_a_fault_outside_of_the_recurrent_layers_says_so(build, layer, code):
    (finding,) = check(build(cut=True)).findings
    assert (finding.rule, finding.layer) == ("chunk-variance", layer)
    assert "so the fault is outside of the recurrent layers; the difference begins at" in finding.message
    assert code in linecache.getline(finding.file, finding.line)


@pytest.mark.parametrize("build", [Attention, Shift], ids=lambda build: build.__name__)
def test_what_is_kept_of_past_tokens_may_be_right(build):
    assert check(build(cut=False)).verdict == "pass"


class Forgets(layers.GRUCell):
    def call(self, inputs, states, training=False):
        return super().call(inputs, [tf.zeros_like(state) for state in states], training=training)


def test_a_cell_of_the_authors_own_is_not_declared_innocent():
    (finding,) = (f for f in check(TwoLayers(Forgets(U), Forgets(U))).findings if f.rule == "unused-state")
    assert "so the fault is inside of one, two, or outside of the recurrent layers" in finding.message
