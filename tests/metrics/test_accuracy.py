import math

import numpy as np
import pytest

from rnneval.metrics import UnavailableError
from rnneval.metrics.accuracy import METRIC
from rnneval.metrics.accuracy_top5 import METRIC as TOP5


def test_by_hand(scored, added_up):
    ranks = added_up(scored([1.0] * 4, rank=[0, 4, 5, 30]))
    assert METRIC.finish(ranks) == 0.25
    assert TOP5.finish(ranks) == 0.5


def test_top5_has_five_choices_and_not_six(scored):
    assert TOP5.tally(scored([1.0] * 7, rank=range(7)))["top5"].tolist() == [1, 1, 1, 1, 1, 0, 0]


def test_batches_of_different_size_do_not_weigh_alike(scored, added_up):
    # Three of three right and none of one: 3/4; the mean of 1 and 0 is 1/2.
    assert METRIC.finish(added_up(scored([1.0] * 4, rank=[0, 0, 0, 1]))) == 0.75


def test_terms_are_float64(scored):
    assert METRIC.tally(scored([1.0]))["top1"].dtype == np.float64


def test_logits_that_are_not_numbers_are_not_right(scored, added_up):
    # Nothing is larger than NaN, so an engine that counts larger logits says rank 0.
    broken = added_up(scored([math.nan, 1.0], rank=[0, 0]))
    for metric in (METRIC, TOP5):
        with pytest.raises(UnavailableError, match="not finite"):
            metric.finish(broken)


def test_an_impossible_token_is_simply_wrong(scored, added_up):
    # p = 0 gives an infinite loss, but its rank is known.
    assert METRIC.finish(added_up(scored([math.inf, 1.0], rank=[9, 0]))) == 0.5


@pytest.mark.parametrize("metric", [METRIC, TOP5])
def test_nothing_scored_raises(totals, metric):
    with pytest.raises(UnavailableError, match="no token was scored"):
        metric.finish(totals(tokens=0, top1=0.0, top5=0.0))
