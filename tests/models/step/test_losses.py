"""Losses of step functions equal loops in float64 over one row that know nothing of batches, calls or packing."""

import numpy as np
import pytest

from rnneval.models.scoring import score_logits
from rnneval.models.step import from_step
from tests.models.step.models import LinearAttention, SelectiveSSM, V, gru_stack, gru_weights, nats_of
from tests.models.step.reading import read
from tests.oracles import Layer

TOKENS = 90
IDS = np.random.default_rng(5).integers(0, V, (4, TOKENS + 1), dtype=np.int32)


def gru_loop(weights, ids):
    layers = [Layer(kind="GRU", kernel=k, recurrent=r, bias=b) for k, r, b in weights["layers"]]
    states, out = [layer.zeros() for layer in layers], []
    for token in ids:
        x = weights["embedding"][token]
        for k, layer in enumerate(layers):
            x, states[k] = layer.step(x, states[k])
        out.append(x @ weights["out"][0] + weights["out"][1])
    return np.array(out)


WEIGHTS = gru_weights()
NAMES = ("gru", "linear attention", "selective state space")


def made(name, dtype=np.float32):
    """The model of this name, and its loop."""
    if name == "gru":
        return from_step(*gru_stack(WEIGHTS, dtype), vocab_size=V), lambda ids: gru_loop(WEIGHTS, ids)
    model = {"linear attention": LinearAttention, "selective state space": SelectiveSSM}[name](dtype=dtype)
    return from_step(model.step, model.initial_state, vocab_size=V), model.loop


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("segment", [1, 7, 64])
def test_losses_are_those_of_the_loop_over_one_row(name, segment):
    lm, loop = made(name)
    wanted = np.stack([nats_of(loop(row[:-1]), row[1:]) for row in IDS])
    nats, _, _ = read(lm, IDS, segment=segment)
    assert nats.dtype == np.float32
    assert np.abs(nats - wanted).max() < 1e-5  # the rounding of float32
    assert abs(nats.mean(dtype=np.float64) - wanted.mean()) < 1e-6
    exact, states, _ = read(made(name, np.float64)[0], IDS, segment=segment)
    assert np.abs(exact - wanted).max() < 1e-11
    assert states.dtype == np.float64
    assert (lm.mixable, lm.repeatable) == (True, True)


@pytest.mark.parametrize("name", NAMES)
def test_rows_that_start_at_different_times_do_not_disturb_one_another(name):
    lm, loop = made(name, np.float64)
    _, states, _ = read(lm, IDS[:2, :31], segment=30)
    mixed = np.stack([states[0], lm.start(), states[1], lm.start()])
    nats, _, _ = read(lm, IDS[[0, 2, 1, 3], 30:61], segment=30, starts=mixed)
    for got, row, begins in zip(nats, [0, 2, 1, 3], [0, 30, 0, 30], strict=True):
        wanted = nats_of(loop(IDS[row, begins:60]), IDS[row, begins + 1 : 61])[-30:]
        assert np.abs(got - wanted).max() < 1e-11


def test_a_gru_stack_is_the_keras_model():
    keras = pytest.importorskip("keras")
    layers = [keras.layers.GRU(units, return_sequences=True) for units in (6, 5)]
    model = keras.Sequential([keras.Input((None,)), keras.layers.Embedding(V, 4), *layers, keras.layers.Dense(V)])
    model.layers[0].set_weights([WEIGHTS["embedding"]])
    for layer, weights in zip(layers, WEIGHTS["layers"], strict=True):
        layer.set_weights(weights)
    model.layers[-1].set_weights(WEIGHTS["out"])
    logits = np.asarray(model(IDS[:, :-1]))
    lm = from_step(*gru_stack(WEIGHTS), vocab_size=V)
    nats, _, _ = read(lm, IDS, segment=16)
    wanted = [nats_of(row.astype(np.float64), ids[1:]) for row, ids in zip(logits, IDS, strict=True)]
    assert abs(nats.mean() - np.mean(wanted)) < 1e-6
    assert np.abs(nats - wanted).max() < 1e-5


def test_scoring_by_hand():
    logits = np.log([[[1.0, 2.0, 5.0], [4.0, 4.0, 2.0]]]).astype(np.float32)
    scored = score_logits(logits, np.array([[0, 1]], np.int32))
    assert np.allclose(scored.nats, [[np.log(8), np.log(2.5)]])
    assert np.allclose(scored.confidence, [[5 / 8, 0.4]])
    assert scored.rank.tolist() == [[2, 1]]  # of equal logits the lower id comes first
    assert scored.nats.dtype == np.float32
    assert score_logits(logits.astype(np.float64), np.array([[0, 1]])).nats.dtype == np.float64


def test_the_rank_is_that_of_a_stable_sort_and_slices_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    logits = rng.integers(-3, 4, (7, 9, 13)).astype(np.float32)
    targets = rng.integers(0, 13, (7, 9), dtype=np.int32)
    order = np.argsort(-logits, axis=-1, kind="stable")
    whole = score_logits(logits, targets)
    assert (np.take_along_axis(order, whole.rank[..., None], axis=-1)[..., 0] == targets).all()
    monkeypatch.setattr("rnneval.models.scoring._SLICE", 40)
    for a, b in zip(whole, score_logits(logits, targets), strict=True):
        assert np.array_equal(a, b)


def test_a_large_logit_does_not_overflow_and_nan_stays():
    scored = score_logits(np.array([[[1e4, 0.0], [np.nan, 0.0]]], np.float32), np.array([[1, 1]]))
    assert scored.nats[0, 0] == 1e4
    assert np.isnan(scored.nats[0, 1])
