import math

import pytest

from rnneval.metrics import UnavailableError
from rnneval.metrics.perplexity import METRIC


def test_by_hand(totals):
    # Probabilities 1/2, 1/8: the geometric mean of 2 and 8 is 4.
    assert METRIC.finish(totals(tokens=2, nats=math.log(2) + math.log(8))) == pytest.approx(4, rel=1e-14)


def test_certain_and_right_is_one(totals):
    assert METRIC.finish(totals(nats=0.0)) == 1.0


def test_the_mean_of_batch_perplexities_is_another_number(scored, added_up):
    # Two batches of two tokens, all 1/2 and all 1/8: the text has 4, the mean of 2 and 8 is 5.
    text = scored([math.log(2)] * 2 + [math.log(8)] * 2)
    assert METRIC.finish(added_up(text)) == pytest.approx(4, rel=1e-14)
    mean_of_batches = (
        METRIC.finish(added_up(scored([math.log(2)] * 2))) + METRIC.finish(added_up(scored([math.log(8)] * 2)))
    ) / 2
    assert mean_of_batches == pytest.approx(5, rel=1e-14)


def test_one_per_cent_is_the_same_step_at_any_level(totals):
    step = math.log(1.01)
    for nats in (0.5, 4.0, 300.0):
        ratio = METRIC.finish(totals(tokens=1, nats=nats + step)) / METRIC.finish(totals(tokens=1, nats=nats))
        assert ratio == pytest.approx(1.01, rel=1e-12)


def test_larger_than_any_float_has_no_value_and_is_never_inf(totals):
    # ln of the largest float is 709.78…
    assert math.isfinite(METRIC.finish(totals(tokens=1, nats=709.7)))
    with pytest.raises(UnavailableError, match="larger than any float"):
        METRIC.finish(totals(tokens=1, nats=709.8))


@pytest.mark.parametrize(("tokens", "nats"), [(0, 0.0), (4, math.nan), (4, math.inf)])
def test_no_value(totals, tokens, nats):
    with pytest.raises(UnavailableError):
        METRIC.finish(totals(tokens=tokens, nats=nats))
