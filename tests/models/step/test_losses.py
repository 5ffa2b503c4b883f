"""Losses of step functions equal loops in float64 over one row that know nothing of batches, calls or packing."""

import numpy as np
import pytest

import rnneval
from rnneval.models.step import from_step
from tests.models.step.models import LinearAttention, SelectiveSSM, V, gru_stack, gru_weights, nats_of
from tests.models.step.reading import read
from tests.oracles import Layer, Stack

IDS = np.random.default_rng(5).integers(0, V, (4, 91), dtype=np.int32)


WEIGHTS = gru_weights()
LAYERS = tuple(Layer(kind="GRU", kernel=k, recurrent=r, bias=b) for k, r, b in WEIGHTS["layers"])
STACK = Stack(embedding=WEIGHTS["embedding"], layers=LAYERS, kernel=WEIGHTS["out"][0], bias=WEIGHTS["out"][1])
NAMES = ("gru", "linear attention", "selective state space")


def made(name, dtype=np.float32):
    """The model of this name, and its loop."""
    if name == "gru":
        return from_step(*gru_stack(WEIGHTS, dtype), vocab_size=V), STACK.logits
    model = {"linear attention": LinearAttention, "selective state space": SelectiveSSM}[name](dtype=dtype)
    return from_step(model.step, model.initial_state, vocab_size=V), model.loop


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("segment", [1, 7])
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


# A whole text

VOCABULARY = list("abcdefghij\n")
TEXT = np.random.default_rng(0).integers(0, V, 6001)


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "held_out.txt"
    path.write_text("".join(VOCABULARY[i] for i in TEXT), encoding="utf-8", newline="")
    return path


def model(kind, **changes):
    made = kind()
    for name, value in changes.items():
        setattr(made, name, value)
    return made


SLOW = model(LinearAttention, decay=0.9999, o=LinearAttention().o / 50, dtype=np.float64)
"""A model that has not forgotten its start when a row ends, so that rows are read one after the other."""


@pytest.mark.parametrize("made", [model(LinearAttention), model(SelectiveSSM), SLOW])
def test_the_loss_is_that_of_one_carried_stream(text, made):
    lm = from_step(made.step, made.initial_state, vocabulary=VOCABULARY)
    run = rnneval.evaluate(lm, text)
    wanted = nats_of(made.loop(TEXT[:-1]), TEXT[1:]).sum()
    assert abs(run.total_nats - wanted) < 1e-6 * 6000
    assert run.streams.count > 1
    assert (run.valid, run.wiring.verdict, run.streams.kernel) == (True, "pass", "step")
    assert (run.checkpoint.format, run.checkpoint.layers) == ("step", ())
    assert {state.call for state in run.states.values()} == {run.streams.segment}


def test_rows_change_nothing_with_counters_of_either_kind(text):
    gru, begin = gru_stack(gru_weights())

    def counting(ids, state):
        logits, h = gru(ids, state["h"])
        return logits, {"h": h, "n": state["n"] + ids.shape[1]}

    plain = rnneval.evaluate(from_step(gru, begin, vocabulary=VOCABULARY), text, check=False)
    for zero in (lambda batch: np.zeros(batch, np.int64), lambda _: 0):
        lm = from_step(counting, lambda batch, zero=zero: {"h": begin(batch), "n": zero(batch)}, vocabulary=VOCABULARY)
        run = rnneval.evaluate(lm, text, check=False)
        assert run.total_nats == plain.total_nats
        assert run.streams.forgetting_length == plain.streams.forgetting_length  # the counters are not compared
    assert plain.streams.forgetting_length is not None
