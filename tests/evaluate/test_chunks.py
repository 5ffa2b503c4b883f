"""One text over workers: the one-stream number, to the last digit the same however many there are.

The oracle is the evaluation by one row in one process, whose own oracle is a float64 loop (tests/evaluate).
"""

import json

import numpy as np
import pytest

import rnneval
from rnneval.evaluate.chunks import chunks_of, reader_over
from rnneval.evaluate.plan import Spans
from rnneval.options import OpeningGroup
from tests.evaluate.pools import Shuffled
from tests.evaluate.small import LETTERS, codes, counter, counter_losses, evaluated, letters, stacked


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Checkpoints of a model that forgets, and of one that counts its tokens and never forgets."""
    folder = tmp_path_factory.mktemp("saved")
    (folder / "vocab.json").write_text(json.dumps(list(LETTERS)))
    stacked("LSTM", (8, 5), scale=3.0).lm.model.save(folder / "forgets.keras")
    counter().lm.model.save(folder / "counts.keras")
    return folder


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return letters(tmp_path_factory.mktemp("text"), 4_000)


def distributed(checkpoint, text, *, workers=2, seed=0, chunk=700, **options):
    """Evaluate over a pool; give the run, the losses and the chunks that were read."""
    pool = Shuffled(workers, seed)
    reader = reader_over(pool, str(checkpoint), OpeningGroup(), chunk=chunk)
    seen = evaluated(rnneval.open(checkpoint, backend="numpy"), text, reader=reader, **options)
    return seen.run, seen.nats, pool.ran


def alone(checkpoint, text, **options):
    seen = evaluated(rnneval.open(checkpoint, backend="numpy"), text, states=False, streams=1, **options)
    return seen.run, seen.nats


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
        assert len(ran) == 8  # the last chunk, of 159, is too short: of the others the first row is enough
        assert other.streams.forgetting_length.max < 640
    assert [other.streams.workers for other, *_ in seen] == [1, 2, 4]


def test_a_model_that_never_forgets_is_read_chunk_after_chunk(saved, text):
    """The state is the number of tokens read, exact in float32: the loss is known in closed form."""
    run, nats, ran = distributed(saved / "counts.keras", text, workers=3, seed=5, streams=2, segment=50)
    np.testing.assert_allclose(nats, counter_losses(counter(), text), atol=2e-6)
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
