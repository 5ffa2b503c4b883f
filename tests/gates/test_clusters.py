"""Clusters of a text, the jackknife over them, and the intervals of scores."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import lfilter

from rnneval.gates.clusters import (
    Estimate,
    TooLittleTextError,
    batches,
    bounds_of,
    clusters_of,
    effective_number,
    jackknife,
    ratio,
    score_intervals,
)
from rnneval.metrics import by_name
from tests.gates.synthetic import ar_losses, make_run


def test_documents_are_clusters_where_eight_weigh_enough():
    document = np.repeat(np.arange(8), 3)
    clusters = clusters_of(document, np.ones(24))
    assert (clusters.kind, clusters.count, clusters.effective) == ("documents", 8, 8.0)
    assert clusters.labels.tolist() == document.tolist()
    assert clusters.method == "t, 8 documents"
    assert clusters.claim == "text like these documents"


def test_one_giant_document_among_many_does_not_count_as_many():
    document = np.arange(200)
    units = np.ones(200)
    units[0] = 10_000.0  # effective number (10199)² / (10⁸ + 199) = 1.04
    with pytest.raises(TooLittleTextError, match=r"in 200 documents, the largest with 98 % of the text, worth 1\.0"):
        clusters_of(document, units)
    assert effective_number(units) == pytest.approx(10_199**2 / (10_000**2 + 199))


def test_the_floor_says_what_there_is_and_what_is_needed():
    with pytest.raises(TooLittleTextError, match=r"127 blocks of 256 bytes in 1 document: .* 128 blocks \(32 kB\)"):
        clusters_of(np.zeros(127, dtype=int), np.ones(127))


def estimate(differences, units, clusters):
    return jackknife(ratio, np.array([differences, units]), clusters)


def test_three_clusters_by_hand():
    # Differences 2, 4, 12 over 10 units each: δ = 18/30; without each in turn 16/20, 14/20, 6/20, mean 0.6;
    # squared distances 0.04 + 0.01 + 0.09 = 0.14; SE² = 2/3 · 0.14.
    three = estimate(np.array([2.0, 4.0, 12.0]), np.full(3, 10.0), batches(np.full(3, 10.0), 3))
    assert three.value == pytest.approx(0.6)
    assert three.se**2 == pytest.approx(2 / 3 * 0.14)
    assert three.df == pytest.approx(2)
    assert three.bound(0.95) == pytest.approx(0.6 + 2.919986 * (2 / 3 * 0.14) ** 0.5)


def test_unequal_clusters_by_an_independent_loop():
    rng = np.random.default_rng(1)
    document = np.repeat(np.arange(12), rng.integers(1, 9, 12))
    units = rng.integers(50, 200, document.size).astype(float)
    differences = rng.normal(size=document.size)
    deltas = [
        sum(d for d, c in zip(differences, document, strict=True) if c != left)
        / sum(n for n, c in zip(units, document, strict=True) if c != left)
        for left in range(12)
    ]
    se2 = 11 / 12 * sum((delta - sum(deltas) / 12) ** 2 for delta in deltas)
    assert estimate(differences, units, clusters_of(document, units)).se ** 2 == pytest.approx(se2)


@given(
    st.lists(st.floats(-10, 10), min_size=2, max_size=12).filter(lambda means: np.std(means) > 1e-3), st.floats(-3, 3)
)
def test_equal_clusters_are_the_t_test_on_their_means(means, margin):
    units = np.full(4 * len(means), 5.0)
    differences = np.repeat(means, 4) * 5.0
    ours = estimate(differences, units, batches(units, len(means)))
    theirs = scipy.stats.ttest_1samp(means, margin, alternative="greater")
    interval = theirs.confidence_interval(0.95)
    assert ours.df == pytest.approx(theirs.df)
    assert ours.bound(0.05) == pytest.approx(interval.low, abs=1e-9)
    t = (ours.value - margin) / ours.se
    assert t == pytest.approx(theirs.statistic, rel=1e-6, abs=1e-9)
    assert 1 - scipy.stats.t.cdf(t, ours.df) == pytest.approx(theirs.pvalue, abs=1e-9)


def test_an_ar1_at_the_margin_is_missed_at_the_nominal_rate_and_its_error_has_the_closed_form():
    # 5,000 trials have a standard error of 0.3 points; the t-test on blocks misses 11 % here.
    units = np.ones(256)
    clusters = batches(units, 8)
    found = [estimate(row, units, clusters) for row in ar1(0.3, (5_000, 256), seed=8)]
    assert 4.2 < 100 * np.mean([each.bound(0.05) > 0 for each in found]) < 6.2
    assert 4.2 < 100 * np.mean([each.bound(0.95) < 0 for each in found]) < 6.2
    # Var of a mean of n values of an AR(1) is V(n); E[SE²] = (V(32) − V(256)) / 7.
    expected = (variance(32, 0.3) - variance(256, 0.3)) / 7
    assert expected == pytest.approx(0.007787, abs=1e-6)
    assert np.mean([each.se**2 for each in found]) == pytest.approx(expected, rel=0.03)


def ar1(phi, shape, seed):
    noise = np.random.default_rng(seed).normal(size=(shape[0], shape[1] + 60))
    return lfilter([1.0], [1.0, -phi], noise, axis=1)[:, 60:]


def variance(n, phi):
    gamma = 1 / (1 - phi**2)
    return gamma / n * ((1 + phi) / (1 - phi) - 2 * phi * (1 - phi**n) / (n * (1 - phi) ** 2))


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
