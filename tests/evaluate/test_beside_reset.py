"""`--beside-reset N`: the second number is that of `--state reset --segment N`, its interval that of `compare`."""

import math
from dataclasses import replace

import numpy as np
import pytest

import rnneval
from rnneval.errors import UsageError
from rnneval.evaluate.plan import Streaming
from rnneval.gates.clusters import BATCHES
from rnneval.text import Vocabulary
from tests.models.numpy.made import stack_file

LETTERS = "abcdef\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path, oracle = stack_file(tmp_path_factory.mktemp("model") / "model.h5", "LSTM")
    return rnneval.open(path, backend="numpy", vocabulary=Vocabulary.from_tokens(list(LETTERS))), oracle


@pytest.fixture(scope="module")
def text():
    """Long enough for an interval: 128 blocks of 256 bytes, and a few more."""
    return "".join(np.random.default_rng(0).choice(list(LETTERS), 34_000))


@pytest.fixture(scope="module")
def run(made, text):
    return rnneval.evaluate(made[0], string=text, beside_reset=20)


def with_resets(oracle, text, segment):
    """The total loss by a float64 loop that starts every segment from zero."""
    ids = np.array([LETTERS.index(letter) for letter in text])
    return sum(oracle.losses(ids[at : at + segment + 1]).sum() for at in range(0, len(ids) - 1, segment))


def test_the_second_total_is_that_of_a_reset_run_to_the_bit(made, text, run):
    alone = rnneval.evaluate(made[0], string=text, state="reset", segment=20)
    assert run.beside_reset.total_nats == alone.total_nats
    assert run.beside_reset.scores == alone.scores
    assert run.beside_reset.signature == alone.signature
    assert run.tokens.scored == alone.tokens.scored
    assert (run.beside_reset.segment, alone.beside_reset) == (20, None)


def test_the_second_total_is_that_of_a_float64_loop(made):
    lm, oracle = made
    short = "".join(np.random.default_rng(1).choice(list(LETTERS), 700))
    beside = rnneval.evaluate(lm, string=short, beside_reset=20).beside_reset
    assert beside.total_nats == pytest.approx(with_resets(oracle, short, 20), rel=1e-6)
    assert beside.total_nats != pytest.approx(with_resets(oracle, short, 21), rel=1e-6)
    assert beside.change.low is beside.perplexity_change.low is None  # too little text


def test_the_change_is_the_difference_of_the_totals(run):
    beside, scored = run.beside_reset, run.tokens.scored
    assert beside.change.value == pytest.approx((run.total_nats - beside.total_nats) / scored, abs=1e-12)
    ratio = run.scores["perplexity"].value / beside.scores["perplexity"].value
    assert beside.perplexity_change.value == pytest.approx(100 * (ratio - 1), rel=1e-9)
    assert beside.change.low < beside.change.value < beside.change.high


def test_the_interval_by_hand(made, text, run):
    """Eight batches of neighbouring blocks: a jackknife of the mean change, t with 7 degrees of freedom."""
    from scipy.stats import t

    alone = rnneval.evaluate(made[0], string=text, state="reset", segment=20)
    difference = np.array(run.blocks.sums["nats"]) - np.array(alone.blocks.sums["nats"])
    batches = np.array_split(np.arange(len(difference)), BATCHES)
    nats = np.array([difference[part].sum() for part in batches])
    tokens = np.array([np.array(run.blocks.tokens)[part].sum() for part in batches])
    without = (nats.sum() - nats) / (tokens.sum() - tokens)
    error = math.sqrt((BATCHES - 1) / BATCHES * np.square(without - without.mean()).sum())
    df = tokens.sum() ** 2 / np.square(tokens).sum() - 1
    assert run.beside_reset.change.high == pytest.approx(nats.sum() / tokens.sum() + t.ppf(0.975, df) * error, rel=1e-6)


def test_a_reset_at_another_length_is_noticed(made, text, run, monkeypatch):
    """Mutant: the second reading resets one token later than it says."""
    real = Streaming.spans

    def later(self, encoded):
        segment = None if self.segment is None else self.segment + 1
        return real(Streaming(state=self.state, segment=segment), encoded)

    monkeypatch.setattr(Streaming, "spans", later)
    assert (
        rnneval.evaluate(made[0], string=text, beside_reset=20).beside_reset.total_nats != run.beside_reset.total_nats
    )


def test_what_is_refused(made):
    with pytest.raises(UsageError, match="beside_reset=20 compares with the carried state"):
        rnneval.evaluate(made[0], string="abcabc", state="reset", segment=20, beside_reset=20)
    with pytest.raises(UsageError, match="beside_reset=0 is not allowed: give at least 1"):
        rnneval.evaluate(made[0], string="abcabc", beside_reset=0)
    with pytest.raises(UsageError, match="beside_reset: a window model knows nothing but the last 4 tokens"):
        rnneval.evaluate(replace(made[0], window=4), string="abcabc", beside_reset=20)
