"""Hoisted loops against a float64 loop of single steps, and against Keras' own loop where the oracle has no formula."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import rnneval
from rnneval.models.keras import hoisted
from rnneval.models.keras.hoisted import Hoisting
from tests.oracles import layer_of, stack_of

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


@pytest.mark.grid
@pytest.mark.parametrize("point", POINTS, ids=named)
def test_it_is_the_float64_loop_on_the_whole_grid(point):
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


class Doubled(keras.layers.GRU):
    """A layer of the author's own."""

    def inner_loop(self, *given, **options):
        last, outputs, new = super().inner_loop(*given, **options)
        return last, 2 * outputs, new


OWN = {
    "a mask": (lambda: sequential(keras.layers.GRU(4, return_sequences=True, name="g"), mask=True), "a mask"),
    "a class of the author's": (lambda: sequential(Doubled(4, return_sequences=True, name="g")), "Doubled of GRUCell"),
    "stacked cells": (
        lambda: sequential(
            keras.layers.RNN([keras.layers.GRUCell(4), keras.layers.GRUCell(3)], return_sequences=True, name="g")
        ),
        "RNN of StackedRNNCells",
    ),
}


@pytest.mark.parametrize("name", OWN)
def test_what_has_no_formula_here_runs_its_own_loop_and_says_why(name):
    make, why = OWN[name]
    lm = make()
    ids = np.random.default_rng(1).integers(1, WIDTH, (2, 6)).astype(np.int32)
    ids[0, 2] = 0
    (logits, _), hoisting = run_hoisted(lm, ids)
    np.testing.assert_allclose(logits, lm.step(ids, lm.initial_state(2)).logits, atol=1e-6)
    assert why in hoisting.own["g"]
    assert not hoisting.ran


def test_behind_an_embedding_products_are_looked_up(monkeypatch):
    lm = sequential(*layers_of("GRU", (4, 3)))
    ids = np.random.default_rng(1).integers(0, WIDTH, (2, 6)).astype(np.int32)
    (logits, _), hoisting = run_hoisted(lm, ids)
    (table,) = hoisting._tables.values()
    assert [tuple(part.shape) for part in table] == [(WIDTH, 4)] * 3
    first = layer_of(lm.model.layers[1])
    by_hand = np.asarray(lm.model.layers[0].get_weights()[0], np.float64) @ first.kernel + first.bias[0]
    np.testing.assert_allclose(table[2], by_hand[:, 8:], atol=1e-5)
    monkeypatch.setattr(hoisted, "_TABLE", WIDTH * 4 * 3 - 1)
    (without, _), hoisting = run_hoisted(lm, ids)
    assert hoisting._tables == {}
    np.testing.assert_allclose(logits, without, atol=1e-5)


def test_the_model_is_as_before():
    lm = sequential(*layers_of("LSTM", (4,)))
    before = [dict(vars(layer)) for layer in lm.model.layers]
    run_hoisted(lm, np.ones((1, 3), np.int32))
    assert [dict(vars(layer)) for layer in lm.model.layers] == before


def test_new_weights_are_read_by_the_next_run():
    """A table belongs to one run: the callbacks evaluate a model that goes on training."""
    model, _ = model_of(4, "GRU", (4,))
    lm = rnneval.wrap(model)
    ids = np.ones((1, 4), np.int32)
    run_hoisted(lm, ids)
    model.set_weights([w * 0.5 for w in model.get_weights()])
    (logits, _), _ = run_hoisted(lm, ids)
    np.testing.assert_allclose(logits, lm.step(ids, lm.initial_state(1)).logits, atol=1e-5)
