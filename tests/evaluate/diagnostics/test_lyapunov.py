"""Lyapunov exponents: the log of the spectral radius of a linear layer, and a map that is known to be chaotic."""

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import rnneval
from rnneval.evaluate.diagnostics.probes import Place, exponents
from rnneval.evaluate.diagnostics.trace import trace
from rnneval.metrics.diagnostics.findings import find
from tests.evaluate.diagnostics.test_backwards import linear
from tests.evaluate.small import LETTERS, Ids, letters

STEPS = 1_000


class Random:
    def ids(self, start, stop):
        return np.random.default_rng(start).integers(0, len(LETTERS), stop - start).astype("i4")


def places(size, rows=2):
    rng = np.random.default_rng(1)
    return [Place(at=1_000 * k, state=rng.normal(0, 0.1, size).astype("f4")) for k in range(rows)]


def test_a_linear_layer_tends_to_the_log_of_its_spectral_radius():
    w = np.random.default_rng(3).normal(0, 0.3, (6, 6))
    w[:2, :2] = np.diag([0.93, 0.2])
    w[2:, :2] = w[:2, 2:] = 0  # one real eigenvalue is the largest, so that the limit is reached fast
    w[2:, 2:] *= 0.5 / max(abs(np.linalg.eigvals(w[2:, 2:])))
    lm, _ = linear(w)
    found, warnings = exponents(lm, Random(), places(6), STEPS)
    assert not warnings
    (name,) = set(found) - {"stack"}
    assert found[name].value == pytest.approx(np.log(0.93), abs=1e-4)
    assert found["stack"] == found[name]


class Henon(keras.layers.Layer):
    """The Hénon map as a cell: (x, y) → (1 − 1.4 x² + y, 0.3 x), whatever the input is."""

    state_size, output_size = 2, 2

    def call(self, inputs, states, training=False):
        x, y = states[0][:, :1], states[0][:, 1:]
        new = tf.concat([1 - 1.4 * x**2 + y, 0.3 * x], axis=1) + 0 * inputs[:, :1]
        return new, [new]


def test_the_henon_map_is_chaotic_by_0_419():
    width = len(LETTERS)
    layer = keras.layers.RNN(Henon(), return_sequences=True, name="henon")
    model = keras.Sequential([keras.layers.Embedding(width, 2), layer, keras.layers.Dense(width)])
    model(tf.ones((1, 1), tf.int32))
    lm = rnneval.wrap(model)
    found, _ = exponents(lm, Random(), places(2, rows=8), 2_000)
    assert found["henon"].value == pytest.approx(0.4192, abs=4 * found["henon"].standard_error + 1e-4)
    assert found["henon"].standard_error < 0.01


def test_each_layer_agrees_with_a_float64_loop(keras_of):
    small, ids = keras_of("LSTM 7-5"), Random().ids(0, STEPS)
    oracle = small.oracle
    size = sum(int(np.prod(leaf.shape)) for leaf in small.lm.initial_state(1))
    found, _ = exponents(small.lm, Ids(ids), [Place(at=0, state=np.zeros(size, "f4"))], STEPS)
    state, v, logs = oracle.start(), [None] * len(oracle.layers), [[] for _ in oracle.layers]
    for token in ids:
        x = oracle.embedding[token]
        for k, layer in enumerate(oracle.layers):
            flat = np.concatenate(state[k])
            step = lambda s, x=x, layer=layer: np.concatenate(layer.step(x, np.split(s, layer.parts))[1])  # noqa: E731
            v[k] = np.ones(len(flat)) / np.sqrt(len(flat)) if v[k] is None else v[k]
            turned = (step(flat + 1e-6 * v[k]) - step(flat - 1e-6 * v[k])) / 2e-6
            logs[k].append(np.log(np.linalg.norm(turned)))
            v[k] = turned / np.linalg.norm(turned)
            x, state[k] = layer.step(x, state[k])
    for layer, log in zip(small.lm.layers, logs, strict=True):
        assert found[layer.name].settling == 100
        assert found[layer.name].value == pytest.approx(np.mean(log[100:]), rel=1e-4)
        blocks = np.reshape(log[104:], (8, -1)).mean(axis=1)  # one row is cut into eight equal blocks
        assert found[layer.name].standard_error == pytest.approx(blocks.std(ddof=1) / np.sqrt(8), rel=1e-2)
    assert found["stack"].value == max(found[layer.name].value for layer in small.lm.layers)


def test_a_positive_exponent_is_a_finding(keras_of, tmp_path):
    small = keras_of("GRU 8")
    run = trace(small.lm, letters(tmp_path, 700), lyapunov=True, out=tmp_path / "t.parquet", check=False)
    table = pd.read_parquet(tmp_path / "t.parquet")
    written = table[table.statistic == "lyapunov"].set_index("layer")
    assert {layer: exponent.value for layer, exponent in run.lyapunov.items()} == written["value"].to_dict()
    for layer, exponent in run.lyapunov.items():
        assert written["high"][layer] - written["low"][layer] == pytest.approx(4 * exponent.standard_error)
    assert "unstable-state" not in {f.rule for f in find({}, run=run)}
    assert "unstable-state" in {f.rule for f in find({"unstable-state": -9.0}, run=run)}
