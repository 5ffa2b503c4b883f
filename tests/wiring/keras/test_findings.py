"""What a finding names: the rule, the layer, the layer whose state came, and the author's line."""

import importlib.util
import inspect
import linecache
import re

import keras
import pytest
import tensorflow as tf

from rnneval.evaluate.check import check
from rnneval.models.keras.lm import eagerly
from rnneval.wiring.evidence import evidence
from rnneval.wiring.facts import parse_declarations
from rnneval.wiring.judging import findings
from rnneval.wiring.keras.probe import provenance
from rnneval.wiring.keras.subject import make_ready
from tests.wiring.corpus import wrong_caches, wrong_elsewhere, wrong_noise, wrong_parts, wrong_training

layers = keras.layers
V, U = 11, 6


def found_in_flow(model, *declare):
    """What is found in the flow of states alone, without the tests of behaviour."""
    with eagerly():
        return findings(evidence(provenance(make_ready(model, None), parse_declarations(declare), 0)))


def seen_in_flow(model, *declare):
    return [(f.rule, f.layer, f.message.partition(". ")[0]) for f in found_in_flow(model, *declare)]


@pytest.mark.filterwarnings("ignore:.*was called on layer")  # one of training is built late
@pytest.mark.sampled(5)
@pytest.mark.parametrize(
    ("build", "rule", "layer", "code"),
    [
        (wrong_elsewhere.Convolved, "future-leak", "conv", "self.conv("),
        (wrong_noise.Functional, "always-random", None, "tf.nn.dropout("),
        (wrong_noise.Noise, "always-random", "noise", "self.noise("),
        (wrong_caches.Last, "leftover-state", "lower", "self.lower("),
        (wrong_caches.states_kept_in_a_closure, "leftover-state", "lstm", "lstm(embedding"),
        (wrong_caches.ContextKept, "leftover-state", None, "tf.concat("),
        (wrong_elsewhere.Backwards, "future-leak", "gru", "self.gru("),
        (wrong_elsewhere.MeanOverTime, "future-leak", None, "tf.reduce_mean(x, axis=1"),
        (wrong_elsewhere.TimeMajorSlip, "batch-leak", None, "tf.transpose(x"),
        (wrong_training.LooksAhead, "future-leak", "helper", "self.helper("),
        (wrong_parts.upper_layer_reset_for_one_row, "ignored-state", "gru2", "self.gru2("),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_fault_is_named_with_layer_and_line(build, rule, layer, code):
    (finding,) = (f for f in check(build()).findings if f.rule == rule and f.severity == "error")
    automatic = re.compile(r"_\d+$")  # a layer that only a closure holds has Keras' own name
    assert (finding.layer and automatic.sub("", finding.layer)) == layer
    assert finding.file == inspect.getsourcefile(build)
    assert code in linecache.getline(finding.file, finding.line)


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


def test_one_cell_object_in_a_stack_is_found_and_two_are_not():
    ((rule, layer, seen),) = seen_in_flow(graph([layers.GRUCell(U)] * 2))
    assert (rule, layer) == ("shared-layer", "rnn")
    assert seen.startswith("cells[0] and cells[1] of rnn are one object")
    assert seen_in_flow(graph([layers.GRUCell(U), layers.GRUCell(U)])) == []
    assert seen_in_flow(graph([layers.LSTMCell(U)] * 2), "shared=rnn") == []


def test_one_cell_object_in_two_layers_is_found_only_where_one_reads_the_other():
    cell = layers.GRUCell(U)
    ((rule, layer, seen),) = seen_in_flow(TwoLayers(cell, cell))
    assert (rule, layer) == ("shared-layer", "two")
    assert seen.startswith("two has the cell of one, whose outputs it reads")
    assert seen_in_flow(TwoLayers(cell, cell, side_by_side=True)) == []


class DroppedOut(TwoLayers):
    """Both states are one tensor; that of `two` is dropped out before."""

    def pack(self, first, second):
        return tf.stack([first, self.drop(second, training=True)])


class DrawnBeside(TwoLayers):
    def pack(self, first, second):
        return tf.concat([first[None], tf.random.normal((1, *second.shape))], axis=0)


def test_random_numbers_are_those_of_the_layer_whose_state_they_meet():
    two = [layers.GRUCell(U) for _ in range(2)]
    assert [(rule, layer) for rule, layer, _ in seen_in_flow(DroppedOut(*two))] == [("noisy-state", "two")]
    assert [(rule, layer) for rule, layer, _ in seen_in_flow(DrawnBeside(*two))] == [("random-state", "two")]


CHAINED = """\
import keras


class Chained(keras.Model):
    def __init__(self):
        super().__init__()
        self.embedding = keras.layers.Embedding(11, 6)
        self.below = keras.layers.GRU(6, return_sequences=True, return_state=True)
        self.above = keras.layers.GRU(6, return_sequences=True, return_state=True)
        self.dense = keras.layers.Dense(11)

    def call(self, ids, states=None, return_state=False):
        x, state = self.below(self.embedding(ids), initial_state=states)
        x, state = self.above(x, initial_state=state)
        return (self.dense(x), state) if return_state else self.dense(x)
"""


@pytest.mark.parametrize(
    "place",
    ["myfunctools.py", "contextlib.py", "keras-course/site-packages/models.py", "site-packages/keras_course/models.py"],
)
def test_a_file_of_the_authors_is_not_taken_for_a_library(tmp_path, place):
    file = tmp_path / place
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(CHAINED)
    spec = importlib.util.spec_from_file_location("models_of_the_author", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (finding,) = (f for f in found_in_flow(module.Chained()) if f.rule == "shared-state")
    assert (finding.file, finding.line) == (str(file), 14)
