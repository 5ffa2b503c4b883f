"""Simulations: does the stated 5 % hold where it is claimed? Fixed seeds; each trial is a known truth."""

import math

import numpy as np
import pytest
import scipy.stats
from scipy.special import stdtrit

from rnneval.gates import compare, gate
from rnneval.gates.clusters import Estimate, TooLittleTextError, bounds_of, clusters_of, jackknife, ratio
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


def test_runs_with_equal_means_are_not_the_same_model():
    def side(name, spread):
        return [make_run(BASE + s, checkpoint=f"{name}{s}") for s in (-spread, spread)]

    found = gate(side("c", 0.2), baseline=side("b", 0.3)).comparisons[0]
    assert found.verdict == "inconclusive"
    assert found.se == pytest.approx(math.sqrt(0.3**2 + 0.2**2))  # s² is 2·0.3² and 2·0.2², over two runs each
    again = gate(side("c", 0.3)[::-1], baseline=side("b", 0.3)).comparisons[0]
    assert (again.verdict, again.difference, again.high) == ("pass", 0.0, 0.0)


# Documents


def document_misses(units, draw, trials=3000):
    """Two-sided misses in % of the built code; documents' means are drawn, the truth is 0."""
    units = np.asarray(units, dtype=float)
    clusters = clusters_of(np.arange(units.size), units)
    found = [jackknife(ratio, np.array([row * units, units]), clusters) for row in draw((trials, units.size))]
    return rate([each.bound(0.025) > 0 or each.bound(0.975) < 0 for each in found])


@pytest.mark.parametrize(
    "units",
    [
        [2500, 4000, 3000, 3600, 2800, 4200, 3300, 3900],
        [25, *[10] * 9],
    ],
)
def test_seven_effective_documents_keep_the_stated_error(units):
    assert 3.8 < document_misses(units, np.random.default_rng(5).standard_normal) < 6.3


@pytest.mark.parametrize("sizes", [[400, 400, 400], [900, *[10] * 30], [100] * 6])
def test_too_few_documents_are_never_cut(sizes):
    document = np.repeat(np.arange(len(sizes)), sizes)
    with pytest.raises(TooLittleTextError, match="needed is a worth of 7"):
        clusters_of(document, np.ones(document.size))


# Blocks that are rare and large


def rare(blocks, count, seed=0):
    losses = 0.05 * np.random.default_rng(seed).standard_normal(blocks)
    losses[np.random.default_rng(seed).choice(blocks, count, replace=False)] += 20
    return ar_losses(blocks, seed=9) + losses


def test_rare_catastrophic_blocks_are_warned_of():
    found = gate(make_run(rare(1024, 3)), baseline=make_run(ar_losses(1024, seed=9)))
    (warning,) = [each for each in found.warnings if "dominate" in each]
    assert "3 of 1024 blocks dominate" in warning
    assert "where such blocks are rare the stated 5 % does not hold" in warning


# The best of several


def test_compare_uses_these_intervals_and_says_so():
    document = np.repeat(np.arange(8), 16)
    rng = np.random.default_rng(0)
    runs = [
        make_run(ar_losses(128) + 0.05 * i + 0.02 * rng.normal(size=128), document=document, checkpoint=str(i))
        for i in range(4)
    ]
    rows = compare(runs).rows
    tokens = np.array(runs[0].blocks.tokens)
    for row, run in zip(rows[1:], runs[1:], strict=True):
        nats = np.array(run.blocks.sums["nats"]) - np.array(runs[0].blocks.sums["nats"])
        means = [nats[document == d].sum() / tokens[document == d].sum() for d in range(8)]
        expected = scipy.stats.ttest_1samp(means, 0).confidence_interval(1 - 0.05 / 6)
        assert (row.low, row.high) == (pytest.approx(expected.low), pytest.approx(expected.high))
        assert row.method == "t, 8 documents, 95 % for all 6 pairs together (Bonferroni)"


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
