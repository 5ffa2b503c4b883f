import math

import pytest

from rnneval.metrics import UnavailableError
from rnneval.metrics.cross_entropy import METRIC


def test_by_hand(totals):
    assert METRIC.finish(totals(tokens=4, nats=10.0)) == 2.5


def test_every_token_weighs_alike_however_batches_are_cut(scored, added_up):
    # A batch of three tokens at 1 nat and a batch of one at 5: (3 + 5) / 4 = 2.
    assert METRIC.finish(added_up(scored([1, 1, 1, 5]))) == 2.0
    mean_of_batch_means = ((1 + 1 + 1) / 3 + 5 / 1) / 2
    assert mean_of_batch_means == 3.0


def test_sums_in_float64(scored):
    # 16,777,217 = 2^24 + 1 is not a float32.
    assert METRIC.tally(scored([16_777_217.0]))["nats"].sum() == 16_777_217.0


def test_a_uniform_model_costs_log_v(scored, added_up):
    assert METRIC.finish(added_up(scored([math.log(65)] * 1000))) == pytest.approx(math.log(65), rel=1e-13)


def test_units_other_than_tokens_do_not_matter(totals):
    assert METRIC.finish(totals(tokens=2, nats=3.0, characters=0, bytes=0, words=0, lossless=False)) == 1.5


@pytest.mark.parametrize("nats", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_has_no_value(totals, nats):
    with pytest.raises(UnavailableError, match="not finite"):
        METRIC.finish(totals(nats=nats))


def test_nothing_scored_raises(totals):
    with pytest.raises(UnavailableError, match="no token was scored"):
        METRIC.finish(totals(tokens=0, nats=0.0))


def test_a_sum_that_was_not_recorded_raises(totals):
    with pytest.raises(UnavailableError, match="'nats' was not recorded"):
        METRIC.finish(totals())
