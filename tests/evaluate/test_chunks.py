"""One text over workers: the one-stream number, to the last digit the same however many there are.

The oracle is the evaluation by one row in one process, whose own oracle is a float64 loop (tests/evaluate).
"""

import json

import keras
import msgspec
import numpy as np
import pandas as pd
import pytest

import rnneval
from rnneval.evaluate.chunks import chunk_ends, chunks_of, reader_over
from rnneval.evaluate.plan import Spans
from rnneval.evaluate.reopening import Opening
from tests.evaluate.pools import Shuffled
from tests.evaluate.small import LETTERS, codes, letters, stacked
from tests.evaluate.test_streams import linear


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Checkpoints of a model that forgets, and of one that counts its tokens and never forgets."""
    folder = tmp_path_factory.mktemp("saved")
    (folder / "vocab.json").write_text(json.dumps(list(LETTERS)))
    stacked("LSTM", (8, 5), scale=3.0).lm.model.save(folder / "forgets.keras")
    counter = linear(np.eye(1), scale=1e-4).lm.model
    counter.layers[0].set_weights([np.ones((len(LETTERS), 1), "f4")])
    counter.save(folder / "counts.keras")
    return folder


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return letters(tmp_path_factory.mktemp("text"), 4_000)


def distributed(checkpoint, text, *, workers=2, seed=0, chunk=700, **options):
    """Evaluate over a pool; give the run, the losses and the names of the tasks."""
    pool = Shuffled(workers, seed)
    reader = reader_over(pool, str(checkpoint), Opening(), chunk=chunk)
    losses = text.with_suffix(f".{workers}.{seed}.parquet")
    run = rnneval.evaluate(rnneval.open(checkpoint), text, check=False, reader=reader, losses=losses, **options)
    return run, pd.read_parquet(losses)["nats"].to_numpy(), pool.ran


def alone(checkpoint, text, **options):
    losses = text.with_suffix(".alone.parquet")
    options = {"streams": 1, **options}
    run = rnneval.evaluate(rnneval.open(checkpoint), text, check=False, states=False, losses=losses, **options)
    return run, pd.read_parquet(losses)["nats"].to_numpy()


def test_any_number_of_workers_gives_the_one_stream_number(saved, text):
    checkpoint = saved / "forgets.keras"
    run, expected = alone(checkpoint, text)
    seen = [distributed(checkpoint, text, workers=workers, seed=workers, streams=3) for workers in (1, 2, 4)]
    for other, nats, ran in seen:
        assert (nats == seen[0][1]).all()  # to the last digit
        assert other.blocks == seen[0][0].blocks
        assert abs(nats.mean() - expected.mean()) < 1e-6
        np.testing.assert_allclose(nats, expected, atol=1e-4)
        assert (other.tokens, other.signature, other.text) == (run.tokens, run.signature, run.text)
        assert other.streams.chunks == 7  # of 640: ten segments of 64
        assert ran == ["read_chunk"] * 8  # the last chunk, of 159, is too short: of the others the first row is enough
        assert other.streams.forgetting_length.max < 640
    assert [other.streams.workers for other, *_ in seen] == [1, 2, 4]


def test_a_model_that_never_forgets_is_read_chunk_after_chunk(saved, text):
    """The state is the number of tokens read, exact in float32: the loss is known in closed form."""
    run, nats, ran = distributed(saved / "counts.keras", text, workers=3, seed=5, streams=2, segment=50)
    kernel, bias = (
        np.asarray(w, np.float64) for w in rnneval.open(saved / "counts.keras").model.layers[2].get_weights()
    )
    logits = np.arange(1, 4_000)[:, None] * kernel + bias
    ids = np.array([LETTERS.index(c) for c in text.read_text()])[1:]
    np.testing.assert_allclose(nats, np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(3_999), ids], atol=2e-6)
    assert "does-not-forget" in codes(run)
    assert run.streams.passes >= run.streams.chunks == 6  # of 700
    assert len(ran) >= 11  # each but the first at least twice


def test_documents_and_short_texts(saved, tmp_path):
    text = tmp_path / "documents.txt"
    rng = np.random.default_rng(5)
    parts = ["".join(rng.choice(list("abcdefg "), n)) for n in (1, 2_500, 3, 40, 40, 900, 1_400, 2)]
    text.write_text("\n\n".join(parts))
    run, expected = alone(saved / "forgets.keras", text, documents="blank-line")
    other, nats, _ = distributed(saved / "forgets.keras", text, documents="blank-line", streams=3)
    assert len(nats) == len(expected)
    np.testing.assert_allclose(nats, expected, atol=1e-5)
    assert other.tokens == run.tokens
    tiny = letters(tmp_path, 2)
    assert distributed(saved / "forgets.keras", tiny)[0].tokens.scored == 1


def test_a_state_that_is_reset(saved, text):
    """Spans of 900 tokens: longer than a chunk, so that some of them are read by two."""
    run, expected = alone(saved / "counts.keras", text, state="reset", segment=900)
    other, nats, _ = distributed(saved / "counts.keras", text, state="reset", segment=900)
    np.testing.assert_allclose(nats, expected, atol=1e-5)
    assert other.signature == run.signature
    assert "state:reset-900" in run.signature


def test_a_window_model(text, tmp_path):
    """Its state is the last five ids: first rows are re-evaluated from these; first tokens have no score."""
    keras.utils.set_random_seed(3)
    layers = [keras.layers.Embedding(len(LETTERS), 4), keras.layers.GRU(3), keras.layers.Dense(len(LETTERS))]
    keras.Sequential([keras.Input((6,)), *layers]).save(tmp_path / "window.keras")
    (tmp_path / "vocab.json").write_text(json.dumps(list(LETTERS)))
    run, expected = alone(tmp_path / "window.keras", text)
    other, nats, ran = distributed(tmp_path / "window.keras", text, streams=3)
    assert "state:window-6" in other.signature
    assert (other.signature, other.tokens) == (run.signature, run.tokens)
    np.testing.assert_allclose(nats, expected, atol=1e-5)
    assert len(ran) == other.streams.chunks + 1 == 8  # the last is too short to agree in its first row


def test_states_are_those_of_one_process(saved, text):
    run = rnneval.evaluate(rnneval.open(saved / "forgets.keras"), text, check=False, streams=1)
    spread = distributed(saved / "forgets.keras", text, streams=3)[0]
    assert spread.states.keys() == run.states.keys()
    for key, summary in run.states.items():
        assert msgspec.to_builtins(spread.states[key]) == pytest.approx(
            msgspec.to_builtins(summary), rel=1e-4, abs=1e-5
        )


def test_another_file_under_the_same_name_is_refused(saved, text, tmp_path):
    path = tmp_path / "model.keras"
    (tmp_path / "vocab.json").write_bytes((saved / "vocab.json").read_bytes())
    path.write_bytes((saved / "forgets.keras").read_bytes())
    lm = rnneval.open(path)
    path.write_bytes((saved / "counts.keras").read_bytes())
    with pytest.raises(rnneval.errors.CheckpointError, match="another file, or a damaged one"):
        rnneval.evaluate(lm, text, check=False, reader=reader_over(Shuffled(1, 0), str(path), Opening()))


def test_chunks_hold_every_span_once():
    """By an independent walk: the predictions of all chunks, in order, are those of all spans."""
    rng = np.random.default_rng(2)
    for _ in range(50):
        lengths = rng.integers(1, 90, rng.integers(1, 12))
        stops = np.cumsum(lengths + 1) - 1
        spans = Spans(starts=stops - lengths, stops=stops, continues=np.zeros(len(lengths), bool))
        total = spans.predictions
        ends = [*np.unique(rng.integers(1, total, 3)).tolist(), total] if total > 1 else [total]
        wanted = [at for start, stop in zip(spans.starts, spans.stops, strict=True) for at in range(start, stop)]
        chunks = chunks_of(spans, ends, int(rng.integers(1, 9)))
        held = [at for c in chunks for start, stop in zip(c.starts, c.stops, strict=True) for at in range(start, stop)]
        assert held == wanted
        assert 0 < len(chunks) <= len(ends)
        begins = set(spans.starts.tolist())
        assert all(chunk.continues[0] == (int(chunk.starts[0]) not in begins) for chunk in chunks)
        assert not any(chunk.continues[1:].any() for chunk in chunks)
        assert all(start in begins for chunk in chunks for start in chunk.starts[1:].tolist())


def test_the_length_of_a_chunk_follows_from_sizes():
    small, large = 100_000, 4_000_000
    assert chunk_ends(100_000, small) == [100_000]
    assert len(chunk_ends(100_000, large)) == 2
    for predictions, count in ((10**6, 2), (10**7, 10), (10**9, 954)):
        ends = chunk_ends(predictions, small)
        sizes = np.diff([0, *ends])
        assert (len(ends), ends[-1], int(sizes.argmax())) == (count, predictions, 0)
        assert np.ptp(sizes[1:]) <= 1
