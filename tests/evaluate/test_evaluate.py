"""The whole way from text to record: closed forms, accounting, what is not valid."""

import json
import math
import sys
from collections import Counter
from itertools import pairwise
from unittest.mock import Mock

import keras
import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from msgspec import structs

import rnneval
from rnneval.errors import UsageError
from rnneval.records import encode
from rnneval.records.wiring import Finding
from rnneval.text import Vocabulary
from tests.evaluate.small import LETTERS, codes, evaluated, ids_of, letters, stacked


def bigram_model(log_p):
    """A linear SimpleRNN that is a bigram table: recurrent kernel 0, kernel the identity on one-hot ids."""
    width = len(log_p)
    layer = keras.layers.SimpleRNN(width, return_sequences=True, activation="linear", use_bias=False)
    model = keras.Sequential([keras.layers.Embedding(width, width), layer, keras.layers.Dense(width, use_bias=False)])
    model(tf.ones((1, 1), tf.int32))
    model.set_weights([np.eye(width), np.eye(width), np.zeros((width, width)), log_p])
    return rnneval.wrap(model, vocabulary=Vocabulary.from_tokens(list(LETTERS)))


@pytest.mark.parametrize("streams", [1, 5])
def test_a_bigram_table_gives_minus_sum_n_ln_p(tmp_path, streams):
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(len(LETTERS)), len(LETTERS))
    text = letters(tmp_path, 2_000)
    run = rnneval.evaluate(bigram_model(np.log(p)), text, streams=streams, check=False)
    ids = ids_of(text)
    exact = -sum(n * math.log(p[i, j]) for (i, j), n in Counter(pairwise(ids)).items())
    assert run.total_nats == pytest.approx(exact, rel=1e-6)
    assert run.scores["cross_entropy"].value == pytest.approx(exact / 1_999, rel=1e-6)
    assert run.scores["bits_per_char"].value == pytest.approx(exact / 1_999 / math.log(2), rel=1e-6)
    assert run.scores["accuracy"].value == pytest.approx(np.mean([p[i].argmax() == j for i, j in pairwise(ids)]))


def test_every_token_is_accounted_for(numpy_of, tmp_path):
    text = tmp_path / "t.txt"
    text.write_text("abc def\n\ngab a\n" * 30)
    run = rnneval.evaluate(numpy_of("GRU 8").lm, text, documents="blank-line", check=False)
    assert run.tokens.total == run.text.characters == run.text.bytes == len(text.read_text())
    assert run.tokens.unscored == run.text.documents == 31
    assert sum(run.blocks.tokens) == run.tokens.scored == run.text.scored_characters
    assert sum(run.blocks.words) == run.text.scored_words
    assert sum(run.blocks.sums["nats"]) == pytest.approx(run.total_nats)
    assert run.blocks.bytes[-1] == run.text.bytes


def test_reset_is_another_number_with_another_name(numpy_of, tmp_path):
    small, text = numpy_of("GRU 8"), letters(tmp_path, 700)
    seen = evaluated(small, text, state="reset", segment=30)
    ids = ids_of(text)
    expected = np.concatenate([small.oracle.losses(ids[k : k + 31]) for k in range(0, 699, 30)])
    np.testing.assert_allclose(seen.nats, expected, atol=2e-6)
    assert "|state:reset-30|" in seen.run.signature
    assert "|state:carry|" in evaluated(small, text, segment=30).run.signature


def test_the_losses_say_what_they_are(numpy_of, tmp_path):
    text = letters(tmp_path, 500)
    seen = evaluated(numpy_of("GRU 8"), text)
    assert list(seen.losses.columns) == ["token", "document", "byte_start", "byte_end", "id", "nats"]
    first = seen.losses.iloc[0]
    assert (first["token"], first["byte_start"], first["byte_end"]) == (1, 1, 2)
    assert seen.losses["id"].tolist() == [LETTERS.index(c) for c in text.read_text()[1:]]
    metadata = pq.read_schema(text.with_suffix(".parquet")).metadata
    assert metadata[b"rnneval.schema"] == b"rnneval.losses/1"
    assert metadata[b"rnneval.text"].decode() == seen.run.text.sha256


@pytest.mark.parametrize(
    ("part", "fit_part", "said"),
    [(None, None, "characters 0 to 399 are scored too"), ("60%:", ":61%", "characters 240 to 243 are scored too")],
)
def test_a_baseline_is_not_fitted_on_what_is_scored(numpy_of, tmp_path, part, fit_part, said):
    path = letters(tmp_path, 400)
    copy = tmp_path / "copy.txt"
    copy.write_bytes(path.read_bytes())
    with pytest.raises(UsageError, match=rf"fit_on=.*copy.txt': {said}.*fit_part"):
        rnneval.evaluate(numpy_of("GRU 8").lm, path, part=part, fit_on=copy, fit_part=fit_part, check=False)


def test_a_loss_that_is_not_finite(tmp_path):
    """Whatever is not the letter a is infinitely surprising: the first place is named, and no score is made up."""
    small = stacked("SimpleRNN", (4,))
    bias = np.full(9, -3.4e38, np.float32)
    bias[0] = 3.4e38
    small.lm.model.layers[-1].set_weights([np.zeros((4, 9), np.float32), bias])
    text = tmp_path / "t.txt"
    text.write_text("aaaab" * 60)
    run = rnneval.evaluate(small.lm, text, check=False)
    assert not run.valid
    assert run.total_nats is None
    assert run.scores == {}
    (warning,) = [warning for warning in run.warnings if warning.code == "not-finite"]
    assert "token 4 (byte 4 of the text) is inf" in warning.message
    assert json.loads(encode(run))["valid"] is False


def test_worse_than_guessing_is_said(tmp_path):
    small = stacked("GRU", (5,))
    bias = np.linspace(0, 40, 9).astype(np.float32)
    small.lm.model.layers[-1].set_weights([small.lm.model.layers[-1].get_weights()[0], bias])
    assert "worse-than-uniform" in codes(rnneval.evaluate(small.lm, letters(tmp_path, 300), check=False))


def test_what_the_check_finds_is_in_the_record_and_the_run_reads_back_equal(numpy_of, tmp_path, monkeypatch):
    lm, text = numpy_of("GRU 8").lm, letters(tmp_path, 300)
    wiring = rnneval.check(lm)
    run = rnneval.evaluate(lm, text)
    assert (run.wiring.verdict, run.wiring.reason, run.wiring.findings) == ("pass", wiring.reason, wiring.findings)
    run.save(tmp_path / "run.json")
    assert rnneval.read(tmp_path / "run.json") == run
    leaking = structs.replace(
        wiring, verdict="fail", findings=(Finding(rule="future-leak", severity="error", message="…", help="…"),)
    )
    monkeypatch.setattr(sys.modules["rnneval.evaluate.run"], "check", Mock(return_value=leaking))
    run = rnneval.evaluate(lm, text)
    assert (run.valid, run.wiring.verdict, "wrong-wiring" in codes(run)) == (False, "fail", True)


@pytest.mark.parametrize(
    ("holds", "beside", "said"),
    [
        (100, 50, "with the state reset every 50 tokens it is 0.01"),
        (1500, None, "the first 1,000 tokens cost 0.01"),
        (0, None, "the vocabulary is in another order"),
        (0, 50, "the vocabulary is in another order"),
    ],
)
def test_worse_than_guessing_names_the_cause_that_the_losses_show(tmp_path, holds, beside, said):
    """A model of abcabc… knows the next letter until its state has counted so far, and is wrong from there on."""
    text = tmp_path / "abc.txt"
    text.write_text("abc" * 1200)

    def step(ids, count):
        logits = np.zeros((*ids.shape, 3), np.float32)
        for at in range(ids.shape[1]):
            right = np.where(count[:, 0] < holds, 1, 2)
            logits[np.arange(len(ids)), at, (ids[:, at] + right) % 3] = 5.0
            count = count + 1
        return logits, count

    lm = rnneval.from_step(step, lambda rows: np.zeros((rows, 1), np.float32), vocabulary=["a", "b", "c"])
    run = rnneval.evaluate(lm, text, check=False, states=False, beside_reset=beside)
    (message,) = [each.message for each in run.warnings if each.code == "worse-than-uniform"]
    assert f"(1.099): {said}" in message
