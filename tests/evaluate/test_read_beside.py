"""A long text that NumPy reads in this process and in another: the digits of one process, whatever happens.

The oracle is the evaluation by one row in one process, whose own oracle is a float64 loop.
"""

import json
import os
import signal
import string

import numpy as np
import pandas as pd
import pytest

import rnneval
from rnneval.errors import CheckpointError
from rnneval.evaluate import chunks, executor, plan
from tests.evaluate.small import evaluated, numbers_of
from tests.models.numpy.made import WIDTH, open_numpy, stack_file

TOKENS = 6_000


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A checkpoint of two layers, with its vocabulary and a text."""
    folder = tmp_path_factory.mktemp("model")
    path, _ = stack_file(folder / "model.h5", "LSTM")
    (folder / "vocab.json").write_text(json.dumps(list(string.ascii_lowercase[:WIDTH])))
    text = folder / "text.txt"
    text.write_text("".join(np.random.default_rng(0).choice(list(string.ascii_lowercase[:WIDTH]), TOKENS)))
    return path, text


@pytest.fixture
def split(monkeypatch):
    """Any text is long: it is cut into six chunks, of which this process and one other read several each."""
    monkeypatch.setattr(plan, "_LEAST", 0)
    monkeypatch.setattr(plan, "_START", 1 << 18)
    monkeypatch.setattr(plan, "_LENGTH", 1_000)
    monkeypatch.setattr(chunks, "cores", lambda: 2)


def read(model, **options):
    path, text = model
    seen = evaluated(open_numpy(path), text, **options)
    return seen.run, seen.nats


def assert_same_states(ours, theirs) -> None:
    assert ours.keys() == theirs.keys()
    for key in theirs:
        assert numbers_of(ours[key]) == pytest.approx(numbers_of(theirs[key]), rel=1e-5, abs=1e-6)


def test_digits_and_states_are_those_of_one_process(model, split, monkeypatch) -> None:
    one, expected = read(model, streams=1)
    two, nats = read(model)
    assert (one.streams.workers, two.streams.workers, two.streams.chunks) == (None, 2, 6)
    assert abs(nats.mean() - expected.mean()) < 1e-9
    np.testing.assert_allclose(nats, expected, atol=1e-5)
    assert_same_states(two.states, one.states)
    monkeypatch.setattr(chunks, "cores", lambda: 1)
    alone, others = read(model)
    assert alone.streams.workers == 1
    assert (others == nats).all()  # no digit depends on the number of processes
    assert_same_states(alone.states, two.states)


def test_state_that_is_reset_and_documents(model, split) -> None:
    for options in ({"state": "reset", "segment": 300}, {"documents": "blank-line"}):
        one, expected = read(model, streams=1, **options)
        two, nats = read(model, **options)
        assert (two.streams.workers, two.signature) == (2, one.signature)
        np.testing.assert_allclose(nats, expected, atol=1e-5)


def test_a_short_text_is_read_in_one_piece(model) -> None:
    assert read(model)[0].streams.workers is None


def test_a_trace_is_that_of_one_process(model, tmp_path, split) -> None:
    path, text = model
    runs, tables = [], []
    for name, options in {"one": {"streams": 1}, "two": {}}.items():
        out = tmp_path / f"{name}.parquet"
        runs.append(rnneval.trace(open_numpy(path), text, out=out, check=False, context=True, **options))
        tables.append(pd.read_parquet(out))
    assert [run.streams.workers for run in runs] == [None, 2]
    pd.testing.assert_frame_equal(*tables, rtol=1e-3, atol=1e-5)


def die(setup, chunk):
    """Stand in for a chunk that kills every process that reads it."""
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_chunk_that_kills_its_workers_is_named(model, split, monkeypatch) -> None:
    monkeypatch.setattr(chunks, "read_chunk", die)
    with pytest.raises(CheckpointError, match=r"every worker that was given tokens \d+ to \d+ died"):
        read(model)


def test_no_process_can_be_started(model, split, monkeypatch) -> None:
    _, expected = read(model)

    def refused(*_):
        raise OSError("no more processes")

    monkeypatch.setattr(executor, "ProcessPoolExecutor", refused)
    run, nats = read(model)
    assert run.streams.workers == 1
    assert (nats == expected).all()
