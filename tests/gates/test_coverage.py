"""Simulations: does the stated 5 % hold where it is claimed? Fixed seeds; each trial is a known truth."""

import math

import numpy as np
import pytest
import scipy.stats
from scipy.special import stdtrit

from rnneval import gate
from rnneval.gates.clusters import Estimate, bounds_of, clusters_of, jackknife, ratio
from rnneval.gates.noninferiority import _satterthwaite, _variances_of_runs
from rnneval.metrics import by_name
from tests.gates.synthetic import ar_losses, make_run

BASE = ar_losses(256, seed=1)


def rate(missed):
    return 100 * float(np.mean(missed))


# Several runs a side


def recipes(baselines, candidates, *, sd, text_sd, trials=4_000, seed=0):
    """Misses in % of the lower bound, the upper bound and the two-sided interval; the truth is 0."""
    rng = np.random.default_rng(seed)
    runs = [rng.normal(0, s, (trials, k)) for s, k in zip(sd, (baselines, candidates), strict=True)]
    text = rng.normal(0, text_sd, trials)
    text_variance = text_sd**2 * rng.chisquare(7, trials) / 7
    found = []
    for one, other, moved, variance in zip(*runs, text, text_variance, strict=True):
        terms = _variances_of_runs((one, other), 1.0)
        terms = [(variance, 7.0), *terms]
        se = math.sqrt(sum(variance for variance, _ in terms))
        found.append(((other.mean() - one.mean() + moved) / se, _satterthwaite(terms)))
    t, df = np.array(found).T
    return rate(t > stdtrit(df, 0.95)), rate(t < -stdtrit(df, 0.95)), rate(np.abs(t) > stdtrit(df, 0.975))


@pytest.mark.parametrize(("baselines", "candidates", "sd"), [(3, 10, (0.014, 0.0035)), (5, 5, (0.0096, 0.0096))])
def test_sides_that_spread_differently_keep_the_stated_error(baselines, candidates, sd):
    # A spread pooled over both sides misses 16.7 / 16.3 / 24 % in the first case.
    below, above, both = recipes(baselines, candidates, sd=sd, text_sd=0.005)
    assert 3.8 < below < 6.2
    assert 3.8 < above < 6.2
    assert 3.8 < both < 6.7  # 3 against 10 is a little above, as docs/evidence/statistics.md says


@pytest.mark.parametrize(("baselines", "candidates"), [(3, 10), (2, 2)])
def test_without_an_error_of_the_text_it_is_welchs_test(baselines, candidates):
    rng = np.random.default_rng(baselines)
    means = [rng.normal(0, sd, k) for sd, k in ((0.014, baselines), (0.0035, candidates))]
    # The same shift in every block: all clusters agree, so the text adds nothing.
    runs = [[make_run(BASE + m, checkpoint=f"{side}{m}") for m in some] for side, some in zip("bc", means, strict=True)]
    (found,) = gate(runs[1], baseline=runs[0], allow={"cross_entropy": "0"}).comparisons
    welch = scipy.stats.ttest_ind(means[1], means[0], equal_var=False)
    interval = welch.confidence_interval(0.90)
    assert found.df == pytest.approx(welch.df, rel=1e-6)
    assert (found.low, found.high) == (pytest.approx(interval.low, rel=1e-6), pytest.approx(interval.high, rel=1e-6))


# Documents


def document_misses(units, draw, trials=3000):
    """Two-sided misses in % of the built code; documents' means are drawn, the truth is 0."""
    units = np.asarray(units, dtype=float)
    clusters = clusters_of(np.arange(units.size), units)
    found = [jackknife(ratio, np.array([row * units, units]), clusters) for row in draw((trials, units.size))]
    return rate([each.bound(0.025) > 0 or each.bound(0.975) < 0 for each in found])


@pytest.mark.parametrize("units", [[2500, 4000, 3000, 3600, 2800, 4200, 3300, 3900], [25, *[10] * 9]])
def test_seven_effective_documents_keep_the_stated_error(units):
    assert 3.8 < document_misses(units, np.random.default_rng(5).standard_normal) < 6.3


# The calibration error


@pytest.mark.parametrize(("truth", "most"), [(0.0, 0.5), (0.01, 6.0)])
def test_the_upper_bound_of_a_calibration_error_holds(truth, most):
    # The two-sided interval misses a true 0 in 90 % of texts and 0.002 in 32 %.
    rng = np.random.default_rng(4)
    share = rng.dirichlet(np.ones(15) * 2)
    confidence = (np.arange(15) + 0.5) / 15
    signs = np.where(np.arange(15) % 2, 1, -1)
    right = np.clip(confidence + truth * signs, 0, 1)
    assert np.abs(right - confidence) @ share == pytest.approx(truth)
    metric, trials = by_name()["calibration_error"], 1000
    counts = np.round(12_000 * share).astype(int)
    truth = np.abs(right - confidence) @ counts / counts.sum()
    gaps = rng.binomial(counts, right, size=(trials, 8, 15)) - counts * confidence
    total = gaps.sum(axis=1, keepdims=True)
    values = np.abs(np.concatenate([total, total - gaps], axis=1)).sum(axis=2)
    values /= counts.sum() * np.array([8, *[7] * 8])
    without = values[:, 1:]
    se = np.sqrt(7 / 8 * np.square(without - without.mean(axis=1, keepdims=True)).sum(axis=1))
    found = [
        bounds_of(metric, Estimate(value=value, se=error, df=7.0))
        for value, error in zip(values[:, 0], se, strict=True)
    ]
    assert all(each[0] == 0 for each in found)
    assert rate([each[1] < truth for each in found]) <= most
