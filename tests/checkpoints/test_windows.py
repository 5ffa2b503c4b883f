"""Contract 5: N tokens in, one prediction out. What each token gets is a float64 loop over its own window."""

import numpy as np
import pytest

import rnneval
from rnneval.errors import CheckpointError, UsageError
from tests.checkpoints import by_hand
from tests.checkpoints.by_hand import dense, embedding, recurrent, sequential, weights_of, write
from tests.checkpoints.test_keras2_by_hand import scaled_stack, stack
from tests.oracles import nats

N, LETTERS = 6, "abcdef g"[:7]
TEXT = "".join(np.random.default_rng(2).choice(list(LETTERS), 150))


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


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


@pytest.mark.sampled(2)
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


def test_pad_scores_the_first_tokens_after_ids_0(tmp_path, text):
    path, oracle = saved(tmp_path)
    run = rnneval.evaluate(rnneval.open(path, vocabulary=list(LETTERS)), text, pad=True)
    ids = ids_of(TEXT)
    assert run.total_nats == pytest.approx(sum(loss(oracle, ids[:at], ids[at]) for at in range(1, len(ids))), rel=1e-6)
    assert (run.tokens.scored, run.tokens.unscored) == (len(ids) - 1, 1)
    assert f"|state:window-{N}+pad|" in run.signature


def test_each_document_has_its_own_first_tokens(tmp_path):
    path, oracle = saved(tmp_path)
    parts = [TEXT[:40], TEXT[40:44], TEXT[44:]]  # the second is shorter than a window
    files = []
    for number, part in enumerate(parts):
        files.append(tmp_path / f"{number}.txt")
        files[-1].write_text(part)
    run = rnneval.evaluate(rnneval.open(path, vocabulary=list(LETTERS)), files, documents="file")
    expected = sum(loss(oracle, ids[:at], ids[at]) for ids in map(ids_of, parts) for at in range(N, len(ids)))
    assert run.total_nats == pytest.approx(expected, rel=1e-6)
    assert (run.tokens.scored, run.tokens.unscored) == (len(TEXT) - 2 * N - 4, 2 * N + 4)


def test_a_window_whose_length_the_file_does_not_say(tmp_path, text):
    path, _ = saved(tmp_path, length=None)
    with pytest.raises(CheckpointError, match=r"lstm has return_sequences=False: a window model .*: give window=N"):
        rnneval.open(path)
    lm = rnneval.open(path, window=N, vocabulary=list(LETTERS))
    fixed, _ = saved(tmp_path)
    same = rnneval.evaluate(rnneval.open(fixed, vocabulary=list(LETTERS)), text)
    assert rnneval.evaluate(lm, text).total_nats == pytest.approx(same.total_nats, rel=1e-9)


def test_options_that_mean_nothing_here_are_refused(tmp_path, text):
    path, _ = saved(tmp_path)
    lm = rnneval.open(path, vocabulary=list(LETTERS))
    with pytest.raises(UsageError, match=f"state='reset': a window model knows nothing but the last {N} tokens"):
        rnneval.evaluate(lm, text, state="reset", segment=10)
    carried = sequential(embedding(), recurrent("GRU", "gru", 4), dense())
    other = rnneval.open(write(tmp_path / "gru.h5", carried, weights_of(carried)), vocabulary=list(LETTERS))
    with pytest.raises(UsageError, match="pad=True is for window models"):
        rnneval.evaluate(other, text, pad=True)


def test_a_window_may_look_both_ways_within_itself(tmp_path):
    """Every window holds the past alone, so that attention, pooling and Bidirectional are no leaks there."""
    inner = {"class_name": "GRU", "config": recurrent("GRU", "gru", 4, return_sequences=False)["config"]}
    both = by_hand.layer("Bidirectional", "both", layer=inner, merge_mode="concat")
    config = sequential(embedding(batch_input_shape=(None, N)), both, dense())
    arrays = by_hand.drawn((7, 5), (5, 12), (4, 12), (2, 12), (5, 12), (4, 12), (2, 12), (8, 7), (7,))
    names = ["kernel", "recurrent_kernel", "bias"]
    forward = [(f"both/forward_gru/{name}:0", value) for name, value in zip(names, arrays[1:4], strict=True)]
    backward = [(f"both/backward_gru/{name}:0", value) for name, value in zip(names, arrays[4:7], strict=True)]
    weights = [
        ("embedding", [("embedding/embeddings:0", arrays[0])]),
        ("both", [*forward, *backward]),
        ("dense", [("dense/kernel:0", arrays[7]), ("dense/bias:0", arrays[8])]),
    ]
    lm = rnneval.open(write(tmp_path / "both.h5", config, weights))
    chains = [sequential(embedding(), recurrent("GRU", "gru", 4), dense()) for _ in range(2)]
    ids = np.random.default_rng(0).integers(0, 7, N)
    halves = []
    for chain, part, order in zip(chains, (forward, backward), (ids, ids[::-1]), strict=True):
        loop = stack(chain, [weights[0], ("gru", part), ("dense", [("k", np.eye(4)), ("b", np.zeros(4))])])
        halves.append(loop.logits(order)[-1])
    expected = np.concatenate(halves) @ arrays[7] + arrays[8]
    got = np.asarray(lm.step(ids[None], lm.initial_state(1)).logits)[0, -1]
    np.testing.assert_allclose(got, expected, atol=1e-6)
