"""Spans: every prediction once, chained within documents, cut at the ends of segments."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnneval.evaluate.plan import Shape, Spans, StateOptions, automatic_rows, shape_for, stitch_of


@dataclass(frozen=True)
class Texts:
    """Documents of given lengths, end to end."""

    lengths: tuple[int, ...]

    @property
    def document_starts(self):
        return np.cumsum([0, *self.lengths[:-1]], dtype=np.int64)

    @property
    def document_stops(self):
        return np.cumsum(self.lengths, dtype=np.int64)


documents = st.lists(st.integers(1, 400), min_size=1, max_size=12).map(lambda lengths: Texts(tuple(lengths)))


def predicted(spans: Spans) -> list[int]:
    """The positions that the spans predict."""
    return [p for a, b in zip(spans.starts.tolist(), spans.stops.tolist(), strict=True) for p in range(a + 1, b + 1)]


def all_but_first(text: Texts) -> list[int]:
    starts = set(text.document_starts.tolist())
    return [p for p in range(sum(text.lengths)) if p not in starts]


def test_carried_spans_by_hand():
    spans = StateOptions().spans(Texts((5, 1, 3)))
    assert spans.starts.tolist() == [0, 6]
    assert spans.stops.tolist() == [4, 8]
    assert spans.continues.tolist() == [False, False]


def test_reset_spans_by_hand():
    spans = StateOptions(state="reset", segment=2).spans(Texts((6, 2)))
    assert list(zip(spans.starts.tolist(), spans.stops.tolist(), strict=True)) == [(0, 2), (2, 4), (4, 5), (6, 7)]
    assert spans.continues.tolist() == [False] * 4


@given(documents, st.integers(1, 50))
def test_every_prediction_is_made_once_whatever_the_state(text, length):
    assert sorted(predicted(StateOptions().spans(text))) == all_but_first(text)
    assert sorted(predicted(StateOptions(state="reset", segment=length).spans(text))) == all_but_first(text)


@given(documents, st.integers(1, 40), st.integers(1, 30), st.integers(0, 5))
def test_stitched_spans(text, rows, segment, seed):
    whole = StateOptions().spans(text)
    if not len(whole):
        return
    stitch = stitch_of(whole, Shape(rows=rows, segment=segment), seed=seed)
    spans = stitch.spans
    assert predicted(spans) == all_but_first(text)
    begins = set(whole.starts.tolist())
    for index, (start, continues) in enumerate(zip(spans.starts.tolist(), spans.continues.tolist(), strict=True)):
        assert continues == (start not in begins)
        if continues:
            assert spans.stops[index - 1] == start
            assert (start - max(b for b in begins if b <= start)) % segment == 0
    if stitch.audited is None:
        assert not spans.continues.any()
    else:
        assert spans.continues[stitch.audited]


@pytest.mark.parametrize("length", [20_000, 99_999, 10**6])
def test_all_spans_of_one_document_have_a_row_from_the_start(length):
    """Else the halves that are audited would be read after the others, and the second reading alone after them."""
    shape = Shape(rows=32, segment=64)
    stitch = stitch_of(StateOptions().spans(Texts((length,))), shape, seed=0)
    assert stitch.audited is not None
    assert shape.rows - 3 <= len(stitch.spans) <= shape.rows


def test_models_with_memory_cells_are_read_in_fewer_rows():
    assert automatic_rows(10**6, memory_cells=True) == 128


@pytest.mark.parametrize(
    ("predictions", "rows"), [(1, 1), (255, 1), (1_000, 3), (111_539, 64), (10**6, 256), (10**8, 256)]
)
def test_rows_grow_with_the_text(predictions, rows):
    assert automatic_rows(predictions) == rows


def test_one_step_holds_at_most_128_mb_of_logits():
    spans = StateOptions().spans(Texts((10**6,)))
    shape = shape_for(spans, 50_000, rows=256)
    assert shape.rows * shape.segment * 50_000 <= 2**25
    assert shape.rows == 256


def test_short_documents_get_short_segments():
    spans = StateOptions().spans(Texts((20,) * 500))
    assert shape_for(spans, 65, rows=64) == Shape(rows=64, segment=19)
