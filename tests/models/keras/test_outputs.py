"""Logits or probabilities: wherever the softmax is written, the losses are those of the logits."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import rnneval
from rnneval.errors import UsageError
from tests.models.keras.driving import IDS, assert_driven_as, carried
from tests.models.keras.zoo import SINGLE, WIDTH, Body, oracle_of, oracle_of_sequential, sequential, settled
from tests.oracles import nats

L = keras.layers


def ending(head):
    """The same weights with another end."""
    model = sequential("GRU", (4,))
    ids = keras.Input((None,), dtype="int32")
    x = ids
    for layer in model.layers[:-1]:
        x = layer(x)
    return keras.Model(ids, head(model.layers[-1], x)), oracle_of_sequential(model)


def with_softmax(dense, x):
    soft = L.Dense(WIDTH, activation="softmax", name="soft")
    soft.build(x.shape)
    soft.set_weights(dense.get_weights())
    return soft(x)


def distributed(dense, x):
    wrapped = L.TimeDistributed(L.Dense(WIDTH, activation=keras.activations.softmax, name="inner"))
    wrapped.build(x.shape)
    wrapped.set_weights(dense.get_weights())
    return wrapped(x)


LAYERS = {
    "dense": (with_softmax, "soft"),
    "softmax layer": (lambda dense, x: L.Softmax(name="last")(dense(x)), "last"),
    "activation layer": (lambda dense, x: L.Activation("softmax", name="act")(dense(x)), "act"),
    "time distributed": (distributed, "inner"),
}


@pytest.mark.sampled(4)
@pytest.mark.parametrize("where", LAYERS)
def test_the_softmax_of_a_layer_is_left_out(where):
    head, name = LAYERS[where]
    model, oracle = ending(head)
    before = model(IDS).numpy()
    lm = rnneval.wrap(model)
    assert lm.output_kind == "probabilities-as-logits"
    assert f"outputs are probabilities: the softmax of layer {name} is left out, which gives logits" in lm.assumptions
    assert_driven_as(lm, oracle)
    np.testing.assert_array_equal(model(IDS), before)  # the model itself still gives probabilities


@pytest.mark.parametrize("where", ["in the call", "an operation of the graph"])
def test_a_softmax_that_is_no_layer_gives_log_probabilities_in_float64(where):
    class Spoken(Body):
        def call(self, ids, states=None, return_state=False):
            logits, after = self.body(ids, states)
            return (tf.nn.softmax(logits), self.container.pack(after)) if return_state else tf.nn.softmax(logits)

    if where == "in the call":
        model = settled(Spoken("GRU", (4,), SINGLE))
        oracle = oracle_of(model)
    else:
        model, oracle = ending(lambda dense, x: keras.ops.softmax(dense(x)))
    lm = rnneval.wrap(model)
    assert lm.output_kind == "probabilities"
    log_p = carried(lm, IDS, [0, 2, 5])
    expected = np.array([oracle.logits(row) for row in IDS])
    expected -= np.log(np.exp(expected).sum(-1, keepdims=True))
    np.testing.assert_allclose(log_p, expected, atol=1e-5)
    assert lm.step(IDS, lm.initial_state(2)).logits.dtype == tf.float64
    np.testing.assert_allclose(nats(log_p[0, :-1], IDS[0, 1:]), oracle.losses(IDS[0]), atol=1e-5)


@pytest.fixture(scope="module")
def wrapped():
    return rnneval.wrap(sequential())


@pytest.mark.parametrize(("ids", "said"), [
    ([[1, -1]], r"1 ids that the model does not have, the first -1 at \(0, 1\): its ids run from 0 to 6"),
    ([[0, 6], [7, 8]], r"2 ids that the model does not have, the first 7 at \(1, 0\)"),
])  # fmt: skip
def test_ids_that_the_model_does_not_have_are_refused_before_it_sees_them(wrapped, ids, said):
    """Keras reads the last row for -1, and under XLA the nearest one for V."""
    with pytest.raises(UsageError, match=said):
        wrapped.step(ids, wrapped.initial_state(len(ids)))
    with pytest.raises(UsageError, match=said):
        wrapped.step(np.array(ids), wrapped.initial_state(len(ids)))


def test_a_model_that_rules_an_id_out_gives_the_same_twice():
    model, _ = ending(lambda dense, x: dense(x) + np.array([-np.inf] + [0.0] * (WIDTH - 1), np.float32))
    lm = rnneval.wrap(model)
    assert (lm.repeatable, lm.mixable) == (True, True)
