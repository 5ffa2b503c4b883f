"""Traces, gates and time constants against a float64 loop; the tidy table; what cannot be had is said."""

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import rnneval
from rnneval.evaluate.diagnostics.trace import trace
from rnneval.text import Vocabulary
from tests.evaluate.diagnostics.oracle import courses
from tests.evaluate.small import LETTERS, ids_of, letters
from tests.evaluate.test_validity import step_function
from tests.oracles import sigmoid

LENGTH = 700


def gates_of(small, ids):
    """Each gate of each layer in float64, from its definition; `(positions, units)` by (layer, gate)."""
    oracle, state, found = small.oracle, small.oracle.start(), {}
    for token in ids[:-1]:
        x = oracle.embedding[token]
        for k, layer in enumerate(oracle.layers):
            into, back = layer._biases()
            given = x @ layer.kernel + into
            pre = given + state[k][0] @ layer.recurrent + back
            parts = np.split(pre, pre.size // layer.units)
            places = {"GRU": {"update": 0, "reset": 1}, "LSTM": {"input": 0, "forget": 1, "output": 3}}[layer.kind]
            for gate, place in places.items():
                found.setdefault((small.lm.layers[k].name, gate), []).append(sigmoid(parts[place]))
            x, state[k] = layer.step(x, state[k])
    return {key: np.array(values) for key, values in found.items()}


@pytest.mark.parametrize("name", ["LSTM 7-5", "GRU reset before 7-5"])
def test_the_table_agrees_with_a_float64_loop(keras_of, tmp_path, name):
    small, text, stride = keras_of(name), letters(tmp_path, LENGTH), 3
    run = trace(small.lm, text, out=tmp_path / "t.parquet", stride=stride, streams=3, check=False)
    table = pd.read_parquet(tmp_path / "t.parquet")
    series = table[table.position.notna()].set_index(["layer", "slot", "statistic", "position"])["value"].sort_index()
    ids = ids_of(text)
    at = np.arange(0, LENGTH - 1, stride)
    for key, course in courses(small, ids).items():
        layer, _, slot = key.rpartition(".")
        h, before = course["h"][at], course["before"][at]
        bound = np.abs(np.tanh(h)) if slot == "c" else np.abs(h)
        expected = {
            "norm": np.linalg.norm(h, axis=1),
            "rms": np.sqrt((h**2).mean(axis=1)),
            "mean": h.mean(axis=1),
            "lowest": h.min(axis=1),
            "highest": h.max(axis=1),
            "saturated": (bound > 0.97).mean(axis=1),
            "speed": np.linalg.norm(h - before, axis=1),
        }
        for statistic, values in expected.items():
            np.testing.assert_allclose(series[layer, slot, statistic], values, atol=1e-5, err_msg=f"{key} {statistic}")
    nats = small.oracle.losses(ids)[at]
    np.testing.assert_allclose(series["", "", "nats"], nats, atol=1e-5)
    assert_gates(run, table, {key: gate[at] for key, gate in gates_of(small, ids).items()})


def assert_gates(run, table, gates):
    for (layer, gate), values in gates.items():
        seen, of_gate = run.gates[f"{layer}.{gate}"], table[(table.layer == layer) & (table.slot == gate)]
        assert seen.mean == pytest.approx(values.mean(), rel=1e-5)
        assert seen.saturated_low == pytest.approx((values < 0.03).mean(), abs=1e-5)
        assert seen.saturated_high == pytest.approx((values > 0.97).mean(), abs=1e-5)
        if gate in {"update", "forget"}:
            constants = -1 / np.log(values).mean(axis=0)
            np.testing.assert_allclose(of_gate[of_gate.statistic == "time_constant"]["value"], constants, rtol=1e-5)
            assert seen.time_constant == pytest.approx(np.median(constants), rel=1e-5)


class Leaky(keras.layers.Layer):
    """A cell of the author's own: two states, the output is neither of them."""

    def __init__(self, units, **options):
        super().__init__(**options)
        self.state_size, self.output_size = [units, units], units
        self.dense = keras.layers.Dense(units, activation="tanh")

    def build(self, shape):
        self.dense.build((shape[0], shape[1] + self.state_size[0]))
        self.built = True

    def call(self, inputs, states, training=False):
        slow, fast = states
        new = self.dense(tf.concat([inputs, fast], axis=-1))
        slow = 0.9 * slow + 0.1 * new
        return new + slow, [slow, new]


def test_a_custom_cell_gives_what_can_be_had_and_says_what_cannot(tmp_path):
    keras.utils.set_random_seed(0)
    width = len(LETTERS)
    layer = keras.layers.RNN(Leaky(5), return_sequences=True, name="leaky")
    model = keras.Sequential([keras.layers.Embedding(width, 4), layer, keras.layers.Dense(width)])
    model(tf.ones((1, 1), tf.int32))
    lm = rnneval.wrap(model, vocabulary=Vocabulary.from_tokens(list(LETTERS)))
    text = letters(tmp_path, 300)
    run = trace(lm, text, check=False)
    x = model.layers[0](ids_of(text)[None, :-1]).numpy()[0].astype(float)
    kernel, bias = (part.numpy().astype(float) for part in layer.cell.dense.weights)
    slow, fast, seen = np.zeros(5), np.zeros(5), []
    for step in x:
        fast = np.tanh(np.concatenate([step, fast]) @ kernel + bias)
        slow = 0.9 * slow + 0.1 * fast
        seen.append(np.concatenate([slow, fast]))
    for slot, h in zip(("s0", "s1"), np.split(np.array(seen), 2, axis=1), strict=True):
        assert run.states[f"leaky.{slot}"].norm_mean == pytest.approx(np.linalg.norm(h, axis=1).mean(), rel=1e-5)
        assert run.states[f"leaky.{slot}"].saturated is None
    assert not run.gates
    assert any("Leaky is a cell of the author's own" in warning.message for warning in run.warnings)


def test_the_context_curve_is_the_loss_of_tokens_after_so_much_context(numpy_of, tmp_path):
    small, text = numpy_of("GRU 8"), letters(tmp_path, 300)
    curve = trace(small.lm, text, context=True, out=tmp_path / "t.parquet", check=False).context
    ids = ids_of(text)
    assert curve.lengths == (1, 2, 5, 10, 20, 50, 100, 200)
    tokens = np.arange(200, 300)  # fewer places than anchors: all of them
    assert curve.anchors == len(tokens)
    for length, nats in zip(curve.lengths, curve.nats, strict=True):
        expected = [small.oracle.losses(ids[t - length : t + 1])[-1] for t in tokens]
        assert nats == pytest.approx(np.mean(expected), abs=1e-5)
    assert curve.whole == pytest.approx(small.oracle.losses(ids)[199:].mean(), abs=1e-5)
    table = pd.read_parquet(tmp_path / "t.parquet")
    written = table[table.statistic == "context"]
    assert written["lag"].tolist() == list(curve.lengths)
    assert written["value"].tolist() == list(curve.nats)
    np.testing.assert_allclose(written["high"] - written["value"], 2 * np.array(curve.extra_error), atol=1e-12)
    assert table[table.statistic == "context_whole"]["value"].tolist() == [curve.whole]


def test_a_wrong_model_is_traced_as_it_is_evaluated(tmp_path):
    """Both say that the wiring is wrong; only an evaluation measures what two cuts of the text give."""
    lm = rnneval.from_step(*step_function("exchanged"), vocabulary=list(LETTERS))
    text = letters(tmp_path, 400)
    found = trace(lm, text)
    evaluated = rnneval.evaluate(lm, text, segment=found.streams.segment)
    assert (found.wiring.verdict, found.valid) == ("fail", False)
    assert found.total_nats == evaluated.total_nats
    for record in (evaluated, found):
        assert "wrong-wiring" in {warning.code for warning in record.warnings}
        assert (record.token_by_token is None) == (record is found)
