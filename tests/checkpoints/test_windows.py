"""Contract 5: N tokens in, one prediction out. What each token gets is a float64 loop over its own window."""

import numpy as np
import pytest

import rnneval
from rnneval.errors import CheckpointError, UsageError
from tests.checkpoints.by_hand import dense, embedding, recurrent, sequential, weights_of, write
from tests.checkpoints.test_keras2_by_hand import stack
from tests.oracles import Stack, nats

N, LETTERS = 6, "abcdef g"[:7]
TEXT = "".join(np.random.default_rng(2).choice(list(LETTERS), 150))


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


def scaled_stack(config, weights):
    """Ids divided by 7: as an embedding, one column."""
    written = stack(config, weights)
    return Stack(embedding=np.arange(7)[:, None] / 7, layers=written.layers, kernel=written.kernel, bias=written.bias)


def saved(tmp_path, kind="ids", length=N):
    last = recurrent("LSTM", "lstm", 4, return_sequences=False)
    if kind == "ids":
        config = sequential(embedding(batch_input_shape=(None, length)), last, dense(activation="softmax"))
    else:
        last["config"]["batch_input_shape"] = (None, length, 7 if kind == "one-hot" else 1)
        config = sequential(last, dense(activation="softmax"))
    weights = weights_of(config)
    if kind == "scaled":
        weights[0][1][0] = (weights[0][1][0][0], weights[0][1][0][1][:1])
    oracle = scaled_stack(config, weights) if kind == "scaled" else stack(config, weights)
    return write(tmp_path / "window.h5", config, weights), oracle


def loss(oracle, past, token):
    """Of one token after its own window, padded with ids 0 where the document has not so many tokens before it."""
    window = [0] * (N - len(past)) + past[-N:]
    return nats(oracle.logits(window)[-1:], [token])[0]


def ids_of(text):
    return [LETTERS.index(letter) for letter in text]


@pytest.mark.sampled(4)
@pytest.mark.parametrize("kind", ["ids", "one-hot", "scaled"])
@pytest.mark.parametrize("streams", [1, 4])
def test_every_token_after_the_first_n_is_scored_from_its_own_window(tmp_path, text, kind, streams):
    path, oracle = saved(tmp_path, kind)
    lm = rnneval.open(path, vocabulary=list(LETTERS))
    run = rnneval.evaluate(lm, text, streams=streams)
    ids = ids_of(TEXT)
    expected = sum(loss(oracle, ids[:at], ids[at]) for at in range(N, len(ids)))
    assert (lm.contract, lm.window, lm.input_kind) == (5, N, kind)
    assert run.total_nats == pytest.approx(expected, rel=1e-6)
    assert (run.tokens.scored, run.tokens.unscored) == (len(ids) - N, N)
    assert run.text.scored_characters == len(ids) - N
    assert f"|state:window-{N}|" in run.signature
    assert run.states is None


def test_options_that_mean_nothing_here_are_refused(tmp_path, text):
    path, _ = saved(tmp_path)
    lm = rnneval.open(path, vocabulary=list(LETTERS))
    with pytest.raises(UsageError, match=f"state='reset': a window model knows nothing but the last {N} tokens"):
        rnneval.evaluate(lm, text, state="reset", segment=10)
    carried = sequential(embedding(), recurrent("GRU", "gru", 4), dense())
    other = rnneval.open(write(tmp_path / "gru.h5", carried, weights_of(carried)), vocabulary=list(LETTERS))
    with pytest.raises(UsageError, match="pad=True is for window models"):
        rnneval.evaluate(other, text, pad=True)


def test_pad_scores_the_first_tokens_after_ids_0(tmp_path, text):
    path, oracle = saved(tmp_path)
    run = rnneval.evaluate(rnneval.open(path, vocabulary=list(LETTERS)), text, pad=True)
    ids = ids_of(TEXT)
    assert run.total_nats == pytest.approx(sum(loss(oracle, ids[:at], ids[at]) for at in range(1, len(ids))), rel=1e-6)
    assert (run.tokens.scored, run.tokens.unscored) == (len(ids) - 1, 1)
    assert f"|state:window-{N}+pad|" in run.signature


def test_a_window_whose_length_the_file_does_not_say(tmp_path, text):
    path, _ = saved(tmp_path, length=None)
    with pytest.raises(CheckpointError, match=r"lstm has return_sequences=False: a window model .*: give window=N"):
        rnneval.open(path)
    lm = rnneval.open(path, window=N, vocabulary=list(LETTERS))
    fixed, _ = saved(tmp_path)
    same = rnneval.evaluate(rnneval.open(fixed, vocabulary=list(LETTERS)), text)
    assert rnneval.evaluate(lm, text).total_nats == pytest.approx(same.total_nats, rel=1e-9)
