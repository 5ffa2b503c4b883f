"""A model that keeps its state, and whose vocabulary is large, is read in one row; a sum in float64 is the oracle."""

import string
from dataclasses import dataclass

import numpy as np
import pytest

from rnneval.evaluate import reading
from tests.evaluate.small import LETTERS, codes, evaluated, letters, linear, stacked
from tests.oracles import nats

MANY = tuple(dict.fromkeys(LETTERS + string.printable))
"""More letters than there are units."""


@pytest.fixture(autouse=True)
def short_texts(monkeypatch):
    monkeypatch.setattr(reading, "_WORTH", 1_100)


def ids_in(text):
    return [LETTERS.index(letter) for letter in text.read_text()]


def test_a_model_that_keeps_its_state_is_read_once_in_one_row(tmp_path):
    small, text = linear(np.eye(4), scale=0.02), letters(tmp_path, 3_000)
    found = evaluated(small, text)
    table, (kernel, _) = (small.lm.model.layers[k].get_weights() for k in (0, 2))
    ids = ids_in(text)
    states = np.cumsum(table[0].astype(np.float64)[ids[:-1]], axis=0)
    np.testing.assert_allclose(found.nats, nats(states @ kernel, ids[1:]), rtol=1e-4)
    streams = found.run.streams
    assert (streams.count, streams.passes, streams.tokens_rerun) == (1, 1, 0)
    assert "does-not-forget" in codes(found.run)
    assert "ill-conditioned" not in codes(found.run)


def test_it_is_said_where_rounding_decides(tmp_path):
    found = evaluated(stacked("SimpleRNN", (40,), MANY, scale=8.0), letters(tmp_path, 1_400))
    assert found.run.streams.count == 1
    assert {"does-not-forget", "ill-conditioned"} <= codes(found.run)


def test_a_model_that_forgets_is_read_in_many_rows(tmp_path):
    small, text = stacked("GRU", (8,)), letters(tmp_path, 3_000)
    found = evaluated(small, text)
    np.testing.assert_allclose(found.nats, small.oracle.losses(ids_in(text)), atol=1e-4)
    assert found.run.streams.count > 1
    assert not codes(found.run) & {"does-not-forget", "ill-conditioned"}


@dataclass
class Model:
    width: int

    def start(self):
        return np.zeros(8)


@pytest.mark.parametrize(
    ("width", "lengths", "rows", "worth"),
    [
        (9, [2_000], 8, True),
        (8, [2_000], 8, False),
        (9, [1_023], 8, False),
        (9, [1_099], 8, False),
        (9, [2_000], 1, False),
        (9, [500] * 8, 8, False),
    ],
)
def test_what_is_looked_at(width, lengths, rows, worth):
    stops = np.cumsum(lengths)
    spans = reading.Spans(starts=stops - lengths, stops=stops, continues=np.zeros(len(lengths), bool))
    assert reading.pays_to_look(Model(width), spans, rows) is worth


class Counting(Model):
    def start(self):
        return np.zeros(1, [("numbers", np.float32, (8,)), ("counters", np.int64, (1,))])[0]


@pytest.mark.parametrize(("width", "worth"), [(9, True), (8, False)])
def test_counters_are_no_part_of_the_state_that_is_compared(width, worth):
    spans = reading.Spans(starts=np.array([0]), stops=np.array([2_000]), continues=np.zeros(1, bool))
    assert reading.pays_to_look(Counting(width), spans, 8) is worth


def test_rows_that_are_asked_for_stay(tmp_path):
    assert evaluated(linear(np.eye(4)), letters(tmp_path, 3_000), streams=4).run.streams.count == 4
