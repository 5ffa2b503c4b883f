"""The parts below the verdict: the hook of TensorFlow, the fallback, and what is left behind."""

import keras
import numpy as np
import tensorflow as tf

from rnneval.evaluate.check import check
from rnneval.models.keras.lm import eagerly
from rnneval.wiring.evidence import evidence
from rnneval.wiring.facts import Declarations, StateSource
from rnneval.wiring.keras.probe import hook_fires, provenance, run_stubbed
from rnneval.wiring.keras.subject import make_ready
from tests.wiring.corpus import (
    origin,
    right_containers,
    right_stateful,
    right_structure,
    right_transforms,
    wrong_between_layers,
)

layers = keras.layers


def kinds(build, *, listen):
    with eagerly():
        facts = provenance(make_ready(build(), None), Declarations(), 0, listen=listen)
    return facts, [arrival.kind for arrival in evidence(facts).facts.arrivals]


def test_the_private_hook_of_tensorflow_fires():
    assert hook_fires()


def test_without_the_hook_values_and_intervention_find_what_is_right_and_what_is_crossed():
    facts, found = kinds(right_transforms.Zoneout, listen=False)
    assert facts.provenance == "values and intervention"
    assert set(found) <= {"initial", "carried", "carried-transformed"}
    assert "crossed" in kinds(origin.question, listen=False)[1]


def test_a_state_that_left_tensorflow_and_was_computed_on_is_found_by_intervention():
    class Service:
        def __init__(self):
            self.net = right_transforms.ThroughNumpy()

        def __call__(self, ids, state=None):
            logits, state = self.net(ids, state=None if state is None else tf.constant(0.9 * state), return_state=True)
            return logits, state.numpy()

    _, found = kinds(Service, listen=True)
    assert found == ["initial", "carried-transformed", "carried-transformed", "carried-transformed"]


def test_weights_states_and_classes_are_left_as_they_were():
    model = right_stateful.stateful_sequential()
    model(tf.ones((2, 4), tf.int32))
    carried = [state.numpy() for layer in model.layers[1:3] for state in layer.states]
    weights = model.get_weights()
    hooked = [keras.layers.RNN.inner_loop, keras.layers.GRU.inner_loop, keras.layers.GRUCell.call]
    before = tf.config.functions_run_eagerly()
    assert check(model).verdict == "pass"
    assert hooked == [keras.layers.RNN.inner_loop, keras.layers.GRU.inner_loop, keras.layers.GRUCell.call]
    assert tf.config.functions_run_eagerly() is before
    for old, new in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    for old, new in zip(carried, [s.numpy() for layer in model.layers[1:3] for s in layer.states], strict=True):
        np.testing.assert_array_equal(old, new)


def test_emitted_numbers_are_all_distinct():
    with eagerly():
        found = run_stubbed(make_ready(right_structure.Blocks(), None), 3, listen=False)
    # Those of the last call go into no event.
    values = np.concatenate([np.ravel(state) for event, states in zip(found.events, found.states, strict=True)
                             for state in states if event.call])  # fmt: skip
    assert len(np.unique(values)) == len(values) == 3 * 2 * 2 * 2 * 8  # calls, layers, slots, rows, units


def test_an_intervention_changes_one_state_and_no_other():
    with eagerly():
        ready = make_ready(right_containers.ListLoop(), None)
        plain, altered = (run_stubbed(ready, 0, listen=False, altered=source) for source in (None, StateSource(1, 0)))
    again = 1 + len(plain.units)  # the next event of the same unit
    pairs = zip(plain.states, altered.states, strict=True)
    assert [event for event, (a, b) in enumerate(pairs) if not np.array_equal(a, b)] == [again]
    assert np.abs(plain.states[again][0] - altered.states[again][0]).min() > 0.5


def test_a_model_that_raises_is_inconclusive_and_says_so():
    class Raises(origin.TutorialModel):
        def call(self, inputs, states=None, return_state=False, training=False):
            if states is not None:
                raise ValueError("no second call")
            return super().call(inputs, states, return_state, training)

    wiring = check(Raises(11, 4, 4))
    assert wiring.verdict == "inconclusive"
    assert "no second call" in wiring.reason


def test_a_model_that_generates_inside_is_judged_by_provenance_alone():
    class Generates(wrong_between_layers.Exchanged):
        def call(self, inputs, states=None, return_state=False):
            logits, states = super().call(inputs, states, return_state=True)
            for _ in range(2):
                more, states = super().call(tf.argmax(logits[:, -1:], axis=-1), states, return_state=True)
                logits = tf.concat([logits, more], axis=1)
            return (logits, states) if return_state else logits

    wiring = check(Generates())
    assert wiring.verdict == "fail"
    assert {"shared-state", "crossed-state"} <= {
        finding.rule for finding in wiring.findings
    }  # its steps are in one call
    assert wiring.oracles["causal"].verdict == "inconclusive"


def test_half_precision_is_judged_as_a_copy_in_float32():
    model = right_transforms.HalfPrecision()
    wiring = check(model)
    assert wiring.verdict == "pass"
    assert wiring.oracles["chunk"].largest_difference < wiring.oracles["chunk"].tolerance < 1e-3
    assert {layer.dtype_policy.name for layer in model.layers[:3]} == {"mixed_float16"}


def test_a_wrapped_model_is_judged_as_its_author_wired_it():
    import rnneval

    lm = rnneval.wrap(keras.Sequential([layers.Embedding(7, 4), layers.GRU(5, return_sequences=True), layers.Dense(7)]))
    wiring = check(lm)
    assert (wiring.verdict, wiring.wired_by) == ("pass", "rnneval")


def test_a_part_of_the_state_that_no_argument_takes_is_not_dropped_unseen():
    """Only some keys of the returned state are names of arguments: no argument gets a part, and there is no verdict."""

    class HalfNamed(keras.Model):
        def __init__(self):
            super().__init__()
            self.embedding = keras.layers.Embedding(9, 4)
            self.lstm = keras.layers.LSTM(5, return_sequences=True, return_state=True)
            self.dense = keras.layers.Dense(9)

        def call(self, ids, h=None, c=None):
            state = None if h is None else [h, keras.ops.zeros_like(h) if c is None else c]
            x, new_h, new_c = self.lstm(self.embedding(ids), initial_state=state)
            return self.dense(x), {"h": new_h, "cell": new_c}

    wiring = check(HalfNamed(), vocab_size=9)
    assert wiring.verdict == "inconclusive"
    assert "cannot be called" in wiring.reason
