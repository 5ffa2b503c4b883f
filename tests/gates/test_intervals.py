import math

import numpy as np
import pytest
import scipy.stats

from rnneval.gates.clusters import Estimate, bounds_of, score_intervals
from rnneval.metrics import by_name
from tests.gates.synthetic import ar_losses, make_run


def test_perplexity_has_the_t_interval_of_its_logarithm():
    losses = ar_losses(256, seed=1)
    document = np.repeat(np.arange(8), 32)
    run = make_run(losses, document=document)
    found = score_intervals(run.blocks, lossless=True)
    nats, tokens = np.array(run.blocks.sums["nats"]), np.array(run.blocks.tokens)
    means = [nats[document == d].sum() / tokens[document == d].sum() for d in range(8)]
    expected = scipy.stats.ttest_1samp(means, 0).confidence_interval(0.95)
    assert found.bounds["cross_entropy"][0] == pytest.approx(expected.low)
    assert found.bounds["cross_entropy"][1] == pytest.approx(expected.high)
    assert found.bounds["perplexity"][0] == pytest.approx(math.exp(expected.low))
    assert found.bounds["bits_per_char"][1] == pytest.approx(expected.high / math.log(2))


def test_the_interval_of_a_share_stays_between_0_and_1():
    """One right prediction in a thousand, all in one batch: the t interval alone would begin below 0."""
    measured = by_name()["accuracy"]
    for value, ends in ((0.001, (0.0, 0.001 + 2.365 * 0.001)), (0.999, (0.999 - 2.365 * 0.001, 1.0))):
        bounds = bounds_of(measured, Estimate(value=value, se=0.001, df=7.0))
        assert bounds == pytest.approx(ends, abs=1e-5)
