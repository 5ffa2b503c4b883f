"""Hoisted loops against a float64 loop of single steps, and against Keras' own loop where the oracle has no formula."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import rnneval
from rnneval.models.keras.hoisted import Hoisting
from tests.oracles import stack_of

WIDTH, EMBEDDING = 7, 5
KINDS = {
    "GRU": (keras.layers.GRU, {}),
    "GRU reset before": (keras.layers.GRU, {"reset_after": False}),
    "LSTM": (keras.layers.LSTM, {}),
    "SimpleRNN": (keras.layers.SimpleRNN, {}),
}
STACKS = ((6,), (5, 4), (4, 6, 3))
POINTS = list(itertools.product(KINDS, (True, False), STACKS, (1, 2, 3, 4)))
SAMPLE = [point for k, point in enumerate(POINTS) if k % 11 == 0 or point[2:] == ((6,), 4)]
"""Each kind and bias alone, and some of the rest: each contract, each stack."""


def layers_of(kind, units, *, bias=True, **options):
    layer, own = KINDS[kind]
    return [layer(n, return_sequences=True, use_bias=bias, **own, **options) for n in units]


class Subclassed(keras.Model):
    """Contract 1, as the tutorial writes it, with a list of states."""

    def __init__(self, recurrent):
        super().__init__()
        self.embedding = keras.layers.Embedding(WIDTH, EMBEDDING)
        self.recurrent = recurrent
        self.dense = keras.layers.Dense(WIDTH)
        for layer in recurrent:
            layer.return_state = True

    def call(self, ids, states=None, return_state=False, training=False):
        x, after = self.embedding(ids, training=training), []
        for k, layer in enumerate(self.recurrent):
            x, *state = layer(x, initial_state=None if states is None else states[k], training=training)
            after.append(state)
        x = self.dense(x)
        return (x, after) if return_state else x


def with_state_inputs(recurrent):
    """Contract 2."""
    ids = keras.Input((None,), dtype="int32")
    x, states, after = keras.layers.Embedding(WIDTH, EMBEDDING)(ids), [], []
    for layer in recurrent:
        layer.return_state = True
        parts = 2 if isinstance(layer, keras.layers.LSTM) else 1
        given = [keras.Input((layer.units,)) for _ in range(parts)]
        x, *new = layer(x, initial_state=given)
        states, after = states + given, after + new
    return keras.Model([ids, *states], [keras.layers.Dense(WIDTH)(x), *after])


def model_of(contract, kind, units, *, bias=True):
    """A model, its embedding, recurrent layers and dense layer, with weights far from what they start with."""
    recurrent = layers_of(kind, units, bias=bias, stateful=contract == 3)
    if contract == 1:
        model = Subclassed(recurrent)
        model(tf.ones((1, 2), tf.int32))
    elif contract == 2:
        model = with_state_inputs(recurrent)
    else:
        size = {"batch_shape": (2, None)} if contract == 3 else {"shape": (None,)}
        embedding, dense = keras.layers.Embedding(WIDTH, EMBEDDING), keras.layers.Dense(WIDTH)
        model = keras.Sequential([keras.Input(dtype="int32", **size), embedding, *recurrent, dense])
    rng = np.random.default_rng(len(units))
    model.set_weights([rng.standard_normal(w.shape).astype("f4") * 0.6 for w in model.get_weights()])
    found = model._flatten_layers()
    embedding = next(layer for layer in found if isinstance(layer, keras.layers.Embedding))
    return model, stack_of(embedding, recurrent, next(la for la in found if isinstance(la, keras.layers.Dense)))


def run_hoisted(lm, ids):
    """Logits of a segment from the start, in a graph, and the hoisting that ran it."""
    hoisting = Hoisting(model=lm.model, units=lm.units)

    @tf.function(autograph=False)
    def graph(ids, *state):
        with hoisting.running():
            return lm.step(ids, state)

    return graph(tf.constant(ids), *lm.initial_state(len(ids))), hoisting


def assert_is_the_loop(point):
    kind, bias, units, contract = point
    model, oracle = model_of(contract, kind, units, bias=bias)
    lm = rnneval.wrap(model)
    ids = np.random.default_rng(1).integers(1, WIDTH, (2, 9)).astype(np.int32)
    (logits, after), hoisting = run_hoisted(lm, ids)
    assert lm.contract == contract
    assert len(hoisting.ran) == len(units)
    assert hoisting.own == {}
    for row in range(2):
        expected, states = oracle.run(ids[row])
        np.testing.assert_allclose(logits[row], expected, atol=2e-5, rtol=1e-5)
        found = np.concatenate([leaf[row] for leaf in after])
        np.testing.assert_allclose(found, np.concatenate([part for state in states for part in state]), atol=1e-5)


def named(point):
    return "-".join(map(str, point))


@pytest.mark.sampled(3)
@pytest.mark.parametrize("point", SAMPLE, ids=named)
def test_it_is_the_float64_loop(point):
    assert_is_the_loop(point)


def sequential(*recurrent, mask=False):
    embedding, dense = keras.layers.Embedding(WIDTH, EMBEDDING, mask_zero=mask), keras.layers.Dense(WIDTH)
    model = keras.Sequential([keras.Input((None,), dtype="int32"), embedding, *recurrent, dense])
    rng = np.random.default_rng(3)
    model.set_weights([rng.standard_normal(w.shape).astype("f4") * 0.6 for w in model.get_weights()])
    return rnneval.wrap(model)


ACTIVATIONS = {
    "relu": lambda: keras.layers.SimpleRNN(4, activation="relu", return_sequences=True),
    "linear": lambda: keras.layers.SimpleRNN(4, activation=None, return_sequences=True),
    "softmax gates": lambda: keras.layers.GRU(4, recurrent_activation="softmax", return_sequences=True),
    "hard sigmoid": lambda: keras.layers.LSTM(4, recurrent_activation="hard_sigmoid", return_sequences=True),
    "softsign": lambda: keras.layers.LSTM(4, activation="softsign", return_sequences=True),
    "a function": lambda: keras.layers.GRU(4, activation=tf.sin, return_sequences=True),
    "dropout": lambda: keras.layers.GRU(4, dropout=0.5, recurrent_dropout=0.5, return_sequences=True),
    "a cell in RNN": lambda: keras.layers.RNN(keras.layers.LSTMCell(4), return_sequences=True),
}


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_and_option_is_keras_own_loop(name):
    lm = sequential(ACTIVATIONS[name]())
    ids = np.random.default_rng(1).integers(0, WIDTH, (3, 8)).astype(np.int32)
    (logits, after), hoisting = run_hoisted(lm, ids)
    expected = lm.step(ids, lm.initial_state(3))
    np.testing.assert_allclose(logits, expected.logits, atol=1e-5)
    for found, own in zip(after, expected.state, strict=True):
        np.testing.assert_allclose(found, own, atol=1e-5)
    assert len(hoisting.ran) == 1
