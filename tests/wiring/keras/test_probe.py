"""The parts below the verdict: the hook of TensorFlow, the fallback, and what is left behind."""

import keras
import numpy as np
import tensorflow as tf

from rnneval.evaluate.check import check
from rnneval.models.keras.lm import eagerly
from rnneval.wiring.evidence import evidence
from rnneval.wiring.facts import Declarations
from rnneval.wiring.keras.probe import hook_fires, provenance
from rnneval.wiring.keras.subject import make_ready
from tests.wiring.corpus import origin, right_stateful, right_transforms, wrong_between_layers

layers = keras.layers


def kinds(build, *, listen):
    with eagerly():
        facts = provenance(make_ready(build(), None), Declarations(), 0, listen=listen)
    return facts, [arrival.kind for arrival in evidence(facts).arrivals]


def test_the_private_hook_of_tensorflow_fires():
    assert hook_fires()


def test_without_the_hook_values_and_intervention_find_what_is_right_and_what_is_crossed():
    _, found = kinds(right_transforms.Zoneout, listen=False)
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
