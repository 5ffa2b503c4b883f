"""Scores of targets under logits, by hand and against a stable sort."""

import numpy as np

from rnneval.models.scoring import score_logits


def test_scoring_by_hand():
    logits = np.log([[[1.0, 2.0, 5.0], [4.0, 4.0, 2.0]]]).astype(np.float32)
    scored = score_logits(logits, np.array([[0, 1]], np.int32))
    assert np.allclose(scored.nats, [[np.log(8), np.log(2.5)]])
    assert np.allclose(scored.confidence, [[5 / 8, 0.4]])
    assert scored.rank.tolist() == [[2, 1]]  # of equal logits the lower id comes first
    assert scored.nats.dtype == np.float32
    assert score_logits(logits.astype(np.float64), np.array([[0, 1]])).nats.dtype == np.float64


def test_the_rank_is_that_of_a_stable_sort_and_slices_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    logits = rng.integers(-3, 4, (7, 9, 13)).astype(np.float32)
    targets = rng.integers(0, 13, (7, 9), dtype=np.int32)
    order = np.argsort(-logits, axis=-1, kind="stable")
    whole = score_logits(logits, targets)
    assert (np.take_along_axis(order, whole.rank[..., None], axis=-1)[..., 0] == targets).all()
    monkeypatch.setattr("rnneval.models.scoring._SLICE", 40)
    for a, b in zip(whole, score_logits(logits, targets), strict=True):
        assert np.array_equal(a, b)


def test_a_large_logit_does_not_overflow_and_nan_stays():
    scored = score_logits(np.array([[[1e4, 0.0], [np.nan, 0.0]]], np.float32), np.array([[1, 1]]))
    assert scored.nats[0, 0] == 1e4
    assert np.isnan(scored.nats[0, 1])
