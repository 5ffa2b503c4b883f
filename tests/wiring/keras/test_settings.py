"""Settings other than the evaluation of a batch: training, one row, a second document; and where a fault comes in."""

import inspect
import linecache
import re

import keras
import pytest

import rnneval
from rnneval.evaluate.check import check
from rnneval.text import Vocabulary
from rnneval.wiring.keras.snapshot import Snapshot
from rnneval.wiring.keras.subject import reset_of
from tests.wiring.corpus import (
    right_caches,
    right_elsewhere,
    right_training,
    wrong_caches,
    wrong_elsewhere,
    wrong_noise,
    wrong_parts,
    wrong_training,
)

layers = keras.layers
pytestmark = pytest.mark.filterwarnings("ignore:.*was called on layer")  # one of training is built late


def error_of(build, rule):
    wiring = check(build())
    (finding,) = (f for f in wiring.findings if f.rule == rule and f.severity == "error")
    line = linecache.getline(finding.file, finding.line) if finding.file else ""
    assert finding.file in (None, inspect.getsourcefile(build))
    return finding, line


@pytest.mark.sampled(9)
@pytest.mark.parametrize(
    ("build", "rule", "layer", "code"),
    [
        (wrong_noise.Noise, "always-random", "noise", "self.noise("),
        (wrong_noise.Functional, "always-random", None, "tf.nn.dropout("),
        (wrong_caches.Last, "leftover-state", "lower", "self.lower("),
        (wrong_caches.states_kept_in_a_closure, "leftover-state", "lstm", "lstm(embedding"),
        (wrong_caches.tail_of_the_last_document_kept, "leftover-state", None, "tf.concat("),
        (wrong_elsewhere.Convolved, "future-leak", "conv", "self.conv("),
        (wrong_elsewhere.Backwards, "future-leak", "gru", "self.gru("),
        (wrong_elsewhere.MeanOverTime, "future-leak", None, "tf.reduce_mean(x, axis=1"),
        (wrong_elsewhere.TimeMajorSlip, "batch-leak", None, "tf.transpose(x"),
        (wrong_training.training_reads_ahead, "future-leak", "helper", "self.helper("),
        (wrong_parts.upper_layer_reset_for_one_row, "ignored-state", "gru2", "self.gru2("),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_fault_is_named_with_layer_and_line(build, rule, layer, code):
    finding, line = error_of(build, rule)
    automatic = re.compile(r"_\d+$")  # a layer that only a closure holds has Keras' own name
    assert (finding.layer and automatic.sub("", finding.layer)) == layer
    assert code in line


def test_a_graph_names_the_layer_that_draws():
    finding, _ = error_of(wrong_noise.graph_with_dropout_on_the_embedding, "always-random")
    assert finding.layer.startswith("dropout")


def test_why_no_layer_is_named_where_the_recurrence_is_written_by_hand():
    finding, _ = error_of(wrong_elsewhere.ByHandExchanged, "chunk-variance")
    assert finding.layer is None
    assert "the recurrence is written by hand" in finding.message


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    "build",
    [
        right_caches.memory_in_a_weight_on_purpose,
        right_training.zoneout_in_training,
        right_training.Normalised,
        right_elsewhere.one_row_padded_to_two,
    ],
    ids=lambda build: build.__name__,
)
def test_no_alarm_where_training_rows_and_memories_are_meant(build):
    assert check(build()).verdict == "pass"


class OneStateInADict(keras.Model):
    def __init__(self):
        super().__init__()
        self.embedding, self.dense = layers.Embedding(11, 6), layers.Dense(11)
        self.gru = layers.GRU(8, return_sequences=True, return_state=True)

    def call(self, ids, state=None):
        x, state = self.gru(self.embedding(ids), initial_state=state)
        return {"logits": self.dense(x), "state": state}


def test_a_dict_may_hold_the_state_as_one_array():
    assert check(OneStateInADict()).verdict == "pass"


class Kept:
    """The cache is cleared by its author's own method, or (partly) is not."""

    def __init__(self, *, wholly):
        self.embedding, self.dense = layers.Embedding(11, 6), layers.Dense(11)
        self.gru = layers.GRU(8, return_sequences=True, return_state=True)
        self.gru2 = layers.GRU(8, return_sequences=True, return_state=True)
        self.last, self.wholly = (None, None), wholly

    def reset_states(self):
        self.last = (None, None if self.wholly else self.last[1])

    def __call__(self, ids, states=None):
        first, second = self.last if states is None else states
        x, first = self.gru(self.embedding(ids), initial_state=first)
        x, second = self.gru2(x, initial_state=second)
        self.last = (first, second)
        return self.dense(x), self.last


def test_a_model_with_a_reset_is_stateful_on_purpose_and_its_reset_must_clear_everything():
    assert check(Kept(wholly=True)).verdict == "pass"
    (finding,) = check(Kept(wholly=False)).findings
    assert (finding.rule, finding.layer) == ("leftover-state", "gru2")


def test_only_a_method_that_needs_nothing_and_clears_a_state_is_a_reset():
    class Model:
        def reset_metrics(self): ...
        def reset_weights(self): ...
        def reset_state(self, batch): ...

    assert reset_of(Model()) is None
    assert reset_of(Kept(wholly=True)).__name__ == "reset_states"


KEPT = None


def test_what_functions_and_classes_keep_is_put_back():
    class Model:
        shared = {"a": 1}  # noqa: RUF012 - the place of the state
        last = None

        def __call__(self, given=[]):  # noqa: B006 - the place of the state
            global KEPT  # noqa: PLW0603 - the place of the state
            KEPT = type(self).last = counted["calls"]
            self.shared["a"] = 2
            given.append(1)
            counted["calls"] += 1
            return given

    counted = {"calls": 0}
    model = Model()
    snapshot = Snapshot(model)
    assert model() == [1]
    snapshot.restore()
    assert (KEPT, Model.last, Model.shared, counted) == (None, None, {"a": 1}, {"calls": 0})
    assert model() == [1]


def test_a_training_loop_that_cannot_be_followed_is_said_and_no_alarm():
    class Needs(right_training.TwoGRU):
        def call(self, inputs, states=None, return_state=False, training=False):
            if training:
                raise ValueError("labels are needed")
            x, state = self.gru1(self.embedding(inputs), initial_state=states)
            return (self.dense(x), state) if return_state else self.dense(x)

    wiring = check(Needs())
    assert wiring.verdict == "pass"
    assert wiring.oracles["training"].verdict == "inconclusive"
    assert "labels are needed" in wiring.oracles["training"].detail


def test_open_says_that_dropout_is_always_on():
    lm = rnneval.wrap(wrong_noise.graph_with_dropout_on_the_embedding())
    assert not lm.repeatable
    assert "no run can be repeated" in lm.assumptions[-1]
    assert rnneval.wrap(wrong_noise.sequential_with_the_mc_dropout_recipe()).repeatable is False
    right = rnneval.wrap(keras.Sequential([
        layers.Embedding(11, 6), layers.GRU(8, return_sequences=True), layers.Dropout(0.5), layers.Dense(11),
    ]))  # fmt: skip
    assert right.repeatable
    assert not any("repeated" in said for said in right.assumptions)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("looked_at", [True, False])
@pytest.mark.parametrize("build", [wrong_noise.graph_with_dropout_on_the_embedding, wrong_noise.Functional])
def test_a_run_of_a_model_that_draws_is_not_valid(tmp_path, build, looked_at):
    text = tmp_path / "text.txt"
    text.write_text("abcdefghij" * 6, encoding="utf-8")
    lm = rnneval.wrap(build(), vocabulary=Vocabulary.from_tokens(list("abcdefghijk")))
    run = rnneval.evaluate(lm, text, check=looked_at, states=False)
    assert not run.valid
    assert "not-repeatable" in {warning.code for warning in run.warnings}
    assert (run.wiring is not None) == looked_at
