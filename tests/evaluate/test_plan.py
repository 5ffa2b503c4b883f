"""Spans: every prediction once, chained within documents, cut at the ends of segments."""

from dataclasses import dataclass

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rnneval.evaluate.plan import Shape, Spans, Streaming, divided, shape_for


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


@given(documents, st.integers(1, 50))
def test_every_prediction_is_made_once_whatever_the_state(text, length):
    assert sorted(predicted(Streaming().spans(text))) == all_but_first(text)
    assert sorted(predicted(Streaming(state="reset", segment=length).spans(text))) == all_but_first(text)


@given(documents, st.integers(1, 40), st.integers(1, 30), st.integers(0, 5))
def test_stitched_spans(text, rows, segment, seed):
    whole = Streaming().spans(text)
    if not len(whole):
        return
    spans, audited = divided(whole, Shape(rows=rows, segment=segment), seed=seed)
    assert predicted(spans) == all_but_first(text)
    begins = set(whole.starts.tolist())
    for index, (start, continues) in enumerate(zip(spans.starts.tolist(), spans.continues.tolist(), strict=True)):
        assert continues == (start not in begins)
        if continues:
            assert spans.stops[index - 1] == start
            assert (start - max(b for b in begins if b <= start)) % segment == 0
    if audited is None:
        assert not spans.continues.any()
    else:
        assert spans.continues[audited]


def test_one_step_holds_at_most_128_mb_of_logits():
    spans = Streaming().spans(Texts((10**6,)))
    shape = shape_for(spans, 50_000, rows=256)
    assert shape.rows * shape.segment * 50_000 <= 2**25
    assert shape.rows == 256
