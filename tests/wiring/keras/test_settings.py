"""Settings other than the evaluation of a batch: documents, training; and that what a model keeps is put back."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import rnneval
from rnneval.evaluate.check import check
from rnneval.models.keras.lm import eagerly
from rnneval.text import Vocabulary
from rnneval.wiring.keras.subject import Snapshot, make_ready
from tests.wiring.corpus import right_training, wrong_noise

layers = keras.layers


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


class KeepsItsMemory:
    """Right: a variable is made in the first call, which leaves its last state there; the reset clears it."""

    def __init__(self):
        self.embedding, self.dense = layers.Embedding(11, 6), layers.Dense(11)
        self.gru = layers.GRU(8, return_sequences=True, return_state=True)
        self.memory = None

    def reset_state(self):
        if self.memory is not None:
            self.memory.assign(tf.zeros((2, 8)))

    def __call__(self, ids):
        x, state = self.gru(self.embedding(ids), initial_state=None if self.memory is None else self.memory + 0.0)
        if self.memory is None:
            self.memory = tf.Variable(state, trainable=False)
        self.memory.assign(state)
        return self.dense(x)


def test_each_reading_begins_where_the_models_own_reset_does():
    with eagerly():
        ready = make_ready(KeepsItsMemory(), None)
        ids = np.full((2, 3), 5, np.int32)
        (first,) = ready.run([ids])
        ready.model.reset_state()
        np.testing.assert_array_equal(first, ready.model(tf.constant(ids)))
    assert check(KeepsItsMemory()).verdict == "pass"


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


@pytest.mark.filterwarnings("ignore:.*was called on layer")  # the second GRU is not used
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


@pytest.mark.parametrize("looked_at", [True, False])
def test_a_run_of_a_model_that_draws_is_not_valid(tmp_path, looked_at):
    text = tmp_path / "text.txt"
    text.write_text("abcdefghij" * 6, encoding="utf-8")
    lm = rnneval.wrap(wrong_noise.Functional(), vocabulary=Vocabulary.from_tokens(list("abcdefghijk")))
    run = rnneval.evaluate(lm, text, check=looked_at, states=False)
    assert not run.valid
    assert "not-repeatable" in {warning.code for warning in run.warnings}
    assert (run.wiring is not None) == looked_at


class BesideTheIds(keras.Model):
    """Its one argument is ids at the start of a text, and then a tuple of ids and states."""

    def __init__(self, *, flat, exchanged):
        super().__init__()
        self.embedding, self.dense, self.flat, self.exchanged = (
            layers.Embedding(11, 6),
            layers.Dense(11),
            flat,
            exchanged,
        )
        self.lstm = layers.LSTM(8, return_sequences=True, return_state=True)

    def call(self, inputs):
        ids, *states = inputs if isinstance(inputs, (tuple, list)) else (inputs,)
        if states:
            states = states if self.flat else states[0]
            states = states[::-1] if self.exchanged else states
        x, *states = self.lstm(self.embedding(ids), initial_state=states or None)
        return (self.dense(x), *states) if self.flat else (self.dense(x), states)


@pytest.mark.parametrize("flat", [True, False], ids=["(ids, h, c)", "(ids, [h, c])"])
def test_states_that_come_in_a_tuple_with_the_ids_are_followed(flat):
    assert check(BesideTheIds(flat=flat, exchanged=False)).verdict == "pass"
    assert "swapped-slots" in [each.rule for each in check(BesideTheIds(flat=flat, exchanged=True)).findings]


class OneRow(keras.Model):
    """Its own variables hold the states of one row. Where it is crossed, the second layer gets that of the first."""

    def __init__(self, *, crossed):
        super().__init__()
        self.embedding, self.dense = layers.Embedding(11, 6), layers.Dense(11)
        self.gru = layers.GRU(8, return_sequences=True, return_state=True)
        self.gru2 = layers.GRU(8, return_sequences=True, return_state=True)
        self.first, self.second = (tf.Variable(tf.zeros((1, 8)), trainable=False) for _ in range(2))
        self.crossed = crossed

    def reset_states(self):
        for state in self.first, self.second:
            state.assign(tf.zeros_like(state))

    def call(self, ids):
        x, first = self.gru(self.embedding(ids), initial_state=self.first.value())
        self.first.assign(first)
        x, second = self.gru2(x, initial_state=(self.first if self.crossed else self.second).value())
        self.second.assign(second)
        return self.dense(x)


def test_a_model_whose_own_variables_hold_one_row_is_checked_with_one_row():
    assert check(OneRow(crossed=False)).verdict == "pass"
    crossed = check(OneRow(crossed=True))
    assert crossed.verdict == "fail"
    assert ("shared-state", "gru2") in {(finding.rule, finding.layer) for finding in crossed.findings}
