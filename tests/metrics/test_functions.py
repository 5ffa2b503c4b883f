"""Metrics as functions of plain arrays: by hand, and equal to the scores of a run."""

import math

import numpy as np
import pytest

import rnneval.metrics
from rnneval.metrics import UnavailableError, all_metrics, names
from tests.metrics.build import added_up, scored

NATS = [math.log(2), math.log(8), 0.0]
TEXT = {"confidence": [0.5, 0.25, 1.0], "rank": [0, 7, 0], "words": [1, 0, 1], "newlines": [0, 1, 0]}
COUNTS = {"characters": [1, 2, 3], "bytes": [1, 4, 3]}
CALLS = {
    "cross_entropy": {"nats": NATS},
    "perplexity": {"nats": NATS},
    "bits_per_char": {"nats": NATS, "characters": COUNTS["characters"]},
    "bits_per_byte": {"nats": NATS, "bytes": COUNTS["bytes"]},
    "word_perplexity": {"nats": NATS, "words": TEXT["words"]},
    "word_perplexity_eos": {"nats": NATS, "words": TEXT["words"], "newlines": TEXT["newlines"]},
    "accuracy": {"rank": TEXT["rank"]},
    "accuracy_top5": {"rank": TEXT["rank"]},
    "calibration_error": {"confidence": TEXT["confidence"], "rank": TEXT["rank"]},
}
BY_HAND = {
    "cross_entropy": math.log(16) / 3,
    "perplexity": 16 ** (1 / 3),
    "bits_per_char": 4 / 6,
    "bits_per_byte": 4 / 8,
    "word_perplexity": 4.0,
    "word_perplexity_eos": 16 ** (1 / 3),
    "accuracy": 2 / 3,
    "accuracy_top5": 2 / 3,
    "calibration_error": (0.5 + 0.25 + 0.0) / 3,
}


def call(name, **changed):
    return getattr(rnneval.metrics, name)(**{**CALLS[name], **changed})


@pytest.mark.parametrize("name", CALLS)
def test_by_hand(name):
    assert set(CALLS) == set(names())
    assert call(name) == pytest.approx(BY_HAND[name], rel=1e-14)
    columns = {key: np.array(values, np.float64).reshape(3, 1) for key, values in CALLS[name].items()}
    assert call(name, **columns) == call(name)
    with pytest.raises(UnavailableError, match="no token was scored"):
        call(name, **{column: [] for column in CALLS[name]})


@pytest.mark.parametrize("name", CALLS)
def test_a_function_is_the_score_of_a_run(name):
    metric = next(metric for metric in all_metrics() if metric.name == name)
    assert call(name) == metric.finish(added_up(scored(NATS, **TEXT, **COUNTS)))


@pytest.mark.parametrize(("name", "column"), [(name, column) for name in CALLS for column in CALLS[name]])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_raises(name, column, bad):
    broken = [*CALLS[name][column][:2], bad]
    with pytest.raises(ValueError, match=r"not finite|whole numbers"):
        call(name, **{column: broken})
