"""Rows and segments change no result: the oracles are the one-stream run, and a float64 loop of single steps.

NumPy runs the models; Keras is held to the same loop in test_arrangement and test_places.
"""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

import rnneval
from rnneval.evaluate.stitch import Stitching
from tests.evaluate.small import (
    LETTERS,
    codes,
    counter,
    counter_losses,
    evaluated,
    ids_of,
    letters,
    linear,
    on_numpy,
    sentences,
    stacked,
)  # fmt: skip

TEXT = 1_500
SAMPLE = [("GRU 7-5", False, 7, 5), ("LSTM 8", True, 64, 100), ("SimpleRNN 6-4-9", False, "auto", 1)]


@pytest.fixture(scope="module")
def one_stream(numpy_of, tmp_path_factory):
    """The losses of one stream, once a model and text."""
    folder = tmp_path_factory.mktemp("texts")
    known = {}

    def of(name, words):
        if (name, words) not in known:
            text = sentences(folder, TEXT // 4) if words else letters(folder, TEXT)
            known[name, words] = (text, evaluated(numpy_of(name, words=words), text, streams=1, segment=100))
        return known[name, words]

    return of


@pytest.mark.parametrize("point", SAMPLE)
def test_rows_and_segments_change_nothing(numpy_of, one_stream, point):
    name, words, streams, segment = point
    text, alone = one_stream(name, words)
    rows = evaluated(numpy_of(name, words=words), text, streams=streams, segment=segment)
    assert len(rows.nats) == rows.run.tokens.scored == alone.run.tokens.scored
    assert abs(rows.nats.mean() - alone.nats.mean()) < 1e-6
    assert np.abs(rows.nats - alone.nats).max() < 1e-4
    assert rows.run.total_nats == pytest.approx(rows.nats.sum(), rel=1e-12)
    assert not codes(rows.run) & {"ill-conditioned", "does-not-forget"} or len(rows.nats) < 100 * rows.run.streams.count


@pytest.mark.parametrize("name", ["GRU reset before 8", "LSTM 6-4-9"])
def test_one_stream_is_the_float64_loop(numpy_of, tmp_path, name):
    small = numpy_of(name)
    text = letters(tmp_path, 400)
    seen = evaluated(small, text, streams=1)
    expected = small.oracle.losses(ids_of(text))
    np.testing.assert_allclose(seen.nats, expected, atol=2e-6)
    assert seen.losses["token"].tolist() == list(range(1, 400))


def test_a_run_repeats_to_the_last_digit(numpy_of, tmp_path):
    text = letters(tmp_path, 2_500)
    first, second = (evaluated(numpy_of("GRU 7-5"), text) for _ in range(2))
    assert first.nats.tolist() == second.nats.tolist()
    assert first.run.streams == second.run.streams


def test_what_is_told_of_the_streams(numpy_of, tmp_path):
    text = letters(tmp_path, 4_000)
    streams = evaluated(numpy_of("GRU 7-5"), text, streams=8, segment=20).run.streams
    assert (streams.count, streams.segment, streams.tolerance) == (8, 20, 1e-5)
    assert 0 < streams.tokens_rerun < 4_000
    assert streams.largest_state_difference <= streams.tolerance
    assert streams.audited_loss_difference < 1e-5
    forgetting = streams.forgetting_length
    assert 0 < forgetting.median <= forgetting.p95 <= forgetting.max < 500


@pytest.mark.parametrize("segment", [16])
def test_forgetting_lengths_are_less_than_a_segment_above_the_float64_loop(numpy_of, tmp_path, monkeypatch, segment):
    small, text = numpy_of("GRU 7-5"), letters(tmp_path, 4_000)
    found = []
    run = Stitching.run
    monkeypatch.setattr(Stitching, "run", lambda self, **how: found.append((self, run(self, **how))) or found[-1][1])
    shown = evaluated(small, text, streams=8, segment=segment).run.streams.forgetting_length
    (stitching, result) = found[0]
    ids = ids_of(text)
    truth = {}
    for span in result.forgetting:
        start = int(stitching._spans.starts[span])
        carried, fresh = small.oracle.run(ids[:start])[1], small.oracle.start()
        for count, token in enumerate(ids[start : start + 300], 1):
            carried, fresh = (small.oracle.run([token], states)[1] for states in (carried, fresh))
            pairs = [(c, f) for a, b in zip(carried, fresh, strict=True) for c, f in zip(a, b, strict=True)]
            if max(float(np.max(np.abs(c - f) / (1 + np.abs(f)))) for c, f in pairs) > 1e-5:
                truth[span] = count + 1  # the first count of tokens after which they agree for good
    assert len(truth) >= 7
    assert all(truth[span] - 1 <= tokens < truth[span] + segment for span, tokens in result.forgetting.items())
    assert shown.max == max(result.forgetting.values())


@pytest.mark.parametrize("length", [2, 63])
def test_a_text_shorter_than_the_rows(numpy_of, tmp_path, length):
    text = letters(tmp_path, length)
    many, one = (evaluated(numpy_of("GRU 7-5"), text, streams=streams) for streams in (64, 1))
    np.testing.assert_allclose(many.nats, one.nats, atol=1e-5)
    assert many.run.tokens.scored == length - 1


def test_large_logits_do_not_make_rounding_look_like_memory(tmp_path):
    """A head forty times as large has losses, and their rounding, forty times as large, and the same states."""
    text, rng = letters(tmp_path, 12_000), np.random.default_rng(0)
    embedding, head = (rng.normal(size=shape).astype(np.float32) for shape in ((len(LETTERS), 32), (32, len(LETTERS))))
    recurrent = (0.15 * rng.normal(size=(32, 32))).astype(np.float32)
    runs = []
    for factor in (1, 40):

        def step(ids, state, factor=factor):
            logits = []
            for column in ids.T:
                state = np.tanh(embedding[column] + state @ recurrent)
                logits.append(state @ head * np.float32(factor))
            return np.stack(logits, axis=1), state

        lm = rnneval.from_step(step, lambda rows: np.zeros((rows, 32), np.float32), vocabulary=list(LETTERS))
        runs.append(rnneval.evaluate(lm, text, check=False, states=False))
        assert not {"does-not-forget", "ill-conditioned"} & codes(runs[-1])
        state, nats = np.zeros((1, 32)), 0.0
        ids = [LETTERS.index(letter) for letter in text.read_text()]
        for id_, following in pairwise(ids):
            state = np.tanh(embedding[id_] + state @ recurrent)
            logits = (state @ head * factor)[0]
            nats += np.logaddexp.reduce(logits) - logits[following]
        assert runs[-1].total_nats / 11_999 == pytest.approx(nats / 11_999, rel=1e-6)
    assert runs[0].streams.tokens_rerun == runs[1].streams.tokens_rerun


def test_an_identity_recurrence_never_forgets_and_is_right_all_the_same(tmp_path):
    small, text = on_numpy(linear(np.eye(4), scale=0.02)), letters(tmp_path, 2_000)
    rows, one = (evaluated(small, text, streams=streams) for streams in (8, 1))
    assert "does-not-forget" in codes(rows.run)
    assert "ill-conditioned" not in codes(rows.run)
    assert abs(rows.nats.mean() - one.nats.mean()) < 1e-6
    assert rows.run.streams.passes > 2


def test_what_does_not_forget_is_read_again_once_and_not_once_a_pass(tmp_path):
    """The audit says so, and no pass over all spans is tried; the test for chaos reads 8 of 32 spans twice."""
    small, text = on_numpy(linear(np.eye(4), scale=0.02)), letters(tmp_path, 20_000)
    run = evaluated(small, text, streams=32).run
    assert run.streams.passes > 28
    assert run.streams.tokens_rerun < 1.6 * run.tokens.scored


def test_a_counter_in_exact_arithmetic(tmp_path):
    """Each token adds one: the state is the position, exact in float32, and every row starts wrong by thousands."""
    small, text = counter(), letters(tmp_path, 1_200)
    rows = evaluated(on_numpy(small), text, streams=6, segment=50)
    np.testing.assert_allclose(rows.nats, counter_losses(small, text), atol=2e-6)
    assert "does-not-forget" in codes(rows.run)


@pytest.mark.parametrize("seed", [8, 10, 11])
def test_a_bit_that_is_never_forgotten_reaches_every_row(seed):
    """Each `q` turns the bit, and only after an `x` does a prediction show it: readings agree and part again."""

    def step(ids, bit):
        bits = (bit + np.cumsum(ids == 0, axis=1)) % 2
        logits = np.zeros((*ids.shape, 4), np.float32)
        logits[..., 2] = np.where(ids == 1, 3 * (2 * bits - 1), 0)
        return logits, bits[:, -1:].astype(np.float32)

    text = np.random.default_rng(seed).choice(list("qx.a"), 3_000, p=[0.004, 0.01, 0.486, 0.5])
    lm = rnneval.from_step(step, lambda rows: np.zeros((rows, 1), np.float32), vocabulary=list("qx.a"))
    bits = np.cumsum(text == "q")[:-1] % 2
    logits = np.where(text[:-1] == "x", 3.0 * (2 * bits - 1), 0.0)
    nats = np.log(3 + np.exp(logits)) - np.where(text[1:] == ".", logits, 0.0)
    run = rnneval.evaluate(lm, string="".join(text), streams=6, segment=16, check=False)
    assert run.total_nats == pytest.approx(nats.sum(), rel=1e-7)


def test_a_chaotic_model_is_called_ill_conditioned(tmp_path):
    small, text = on_numpy(stacked("SimpleRNN", (40,), scale=8.0)), letters(tmp_path, 3_000)
    rows = evaluated(small, text, streams=8)
    assert {"does-not-forget", "ill-conditioned"} <= codes(rows.run)
    assert rows.run.valid


def test_documents_and_rows_mix_freely(numpy_of, tmp_path):
    """Documents of many lengths, some cut over rows: each is read from the start, as if it were alone."""
    small = numpy_of("GRU 7-5")
    rng = np.random.default_rng(2)
    lengths = [1, 2, 3, 1_500, *rng.integers(1, 60, 40).tolist(), 700]
    paths = [letters(tmp_path, int(length), seed) for seed, length in enumerate(lengths)]
    parquet = tmp_path / "all.parquet"
    run = rnneval.evaluate(small.lm, paths, documents="file", streams=6, losses=parquet, check=False)
    losses = pd.read_parquet(parquet)
    assert run.tokens.unscored == len(lengths)
    assert run.tokens.total == sum(lengths)
    for document, path in enumerate(paths):
        ids = ids_of(path)
        mine = losses[losses["document"] == document]["nats"].to_numpy()
        expected = small.oracle.losses(ids) if len(ids) > 1 else np.zeros(0)
        np.testing.assert_allclose(mine, expected, atol=1e-4)


def test_tolerance_zero_asks_for_equality(numpy_of, tmp_path):
    text = letters(tmp_path, 1_500)
    exact = evaluated(numpy_of("GRU 7-5"), text, streams=4, tolerance=0)
    one = evaluated(numpy_of("GRU 7-5"), text, streams=1)
    assert exact.run.streams.tolerance == 0
    assert exact.run.streams.largest_state_difference in (None, 0)
    assert np.abs(exact.nats - one.nats).max() < 1e-5
