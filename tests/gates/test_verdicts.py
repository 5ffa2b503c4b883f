"""Every verdict, from records whose answer is known."""

import json
import math

import numpy as np
import pytest
import scipy.stats

from rnneval import gate
from rnneval.errors import UsageError
from tests.gates.synthetic import ar_losses, make_run

BASE = ar_losses(256, seed=1)
BASELINE = make_run(BASE, checkpoint="base")


def noisy(shift, seed=0, scale=0.02):
    return BASE + shift + scale * np.random.default_rng(seed).normal(size=BASE.size)


def one(candidate, baseline=BASELINE, **options):
    verdict = gate(candidate, baseline=baseline, **options)
    assert len(verdict.comparisons) == 1
    return verdict.comparisons[0]


@pytest.mark.parametrize(
    ("shift", "verdict"), [(-0.05, "pass"), (0.0, "pass"), (0.00995, "inconclusive"), (0.05, "fail")]
)
def test_verdicts_at_one_per_cent(shift, verdict):
    found = gate(make_run(noisy(shift)), baseline=BASELINE)
    assert found.verdict == verdict
    assert found.comparisons[0].allowed == pytest.approx(math.log(1.01))


def test_improved_is_said_where_both_bounds_lie_on_the_better_side(tmp_path):
    """Of a loss the better side is below 0, of an accuracy above; a pass that is not sure of it stays a pass."""
    noise = 0.01 * np.random.default_rng(3).normal(size=BASE.size)
    for shift, word in ((-0.05, "improved"), (-0.0005, "pass"), (0.005, "pass"), (0.2, "fail")):
        verdict = gate(make_run(noisy(shift)), baseline=BASELINE, allow={"perplexity": "+3%"})
        assert (verdict.word, bool(verdict.improved), bool(verdict)) == (word, word == "improved", word != "fail")
        assert verdict.verdict == ("fail" if word == "fail" else "pass")
        assert str(verdict).splitlines()[-1].strip() == word
        verdict.save(tmp_path / "gate.json")
        assert json.loads((tmp_path / "gate.json").read_text()).get("improved", False) is (word == "improved")
    for shift, word in ((0.05, "improved"), (-0.05, "pass")):
        candidate = make_run(BASE, checkpoint="new", accuracy=0.5 + shift + noise)
        baseline = make_run(noisy(0.1), accuracy=0.5 + noise[::-1])
        assert gate(candidate, baseline=baseline, allow={"accuracy": "+0.2"}).word == word
        # Of two metrics one alone is better, and of limits none can be.
        both = gate(
            candidate, baseline=baseline, allow={"perplexity": "+1%", "accuracy": "+0.2"}, require="perplexity<=9"
        )
        assert both.word == word
        assert [each.word for each in both.comparisons] == ["improved", word, "pass"]


def test_other_seeds_are_named_only_where_they_may_explain_a_difference():
    for shift, margin, said in [(0.03, "+1%", True), (0.1, "+1%", False), (0.03, "+0.1%", True), (0.1, "+3%", True)]:
        found = one(make_run(noisy(shift)), allow={"perplexity": margin})
        assert (found.verdict, "other seeds" in found.reason) == ("fail", said)


def test_numbers_agree_with_a_t_test_on_cluster_means():
    document = np.repeat(np.arange(8), 32)
    baseline, candidate = make_run(BASE, document=document), make_run(noisy(0.004), document=document)
    found = one(candidate, baseline)
    nats = [np.array(run.blocks.sums["nats"]) for run in (baseline, candidate)]
    tokens = np.array(baseline.blocks.tokens)
    means = [(nats[1] - nats[0])[document == d].sum() / tokens[document == d].sum() for d in range(8)]
    theirs = scipy.stats.ttest_1samp(means, math.log(1.01), alternative="greater")
    assert found.p_worse == pytest.approx(theirs.pvalue, abs=1e-12)
    assert found.low == pytest.approx(theirs.confidence_interval(0.95).low)
    assert found.difference == pytest.approx(np.mean(means))
    assert found.df == pytest.approx(7)
    assert (found.method, found.claim) == ("t, 8 documents", "text like these documents")


def test_the_same_checkpoint_twice_is_no_difference_at_all():
    found = one(BASELINE)
    assert (found.difference, found.low, found.high, found.verdict) == (0.0, 0.0, 0.0, "pass")
    assert one(BASELINE, allow={"perplexity": "+0%"}).verdict == "pass"
    assert one(BASELINE, allow={"bits_per_char": "+1%"}).verdict == "pass"


def test_float_noise_is_no_difference():
    # Other batch sizes alone give 6e-10 nats in the mean and 4e-6 in single losses.
    noise = np.random.default_rng(0).choice([-1e-6, 1e-6], size=BASE.size) * 0.9 + 6e-10
    found = one(make_run(BASE + noise), allow={"perplexity": "+0%"})
    assert (found.verdict, found.difference, found.high) == ("pass", 0.0, 0.0)
    assert "float rounding" in found.reason
    assert one(make_run(BASE + 2e-6), allow={"perplexity": "+0%"}).verdict == "fail"


def test_below_the_floor_says_how_much_is_needed():
    found = one(make_run(noisy(0.5)[:100]), make_run(BASE[:100]))
    assert found.verdict == "inconclusive"
    assert "100 blocks" in found.reason
    assert "128 blocks (32 kB)" in found.reason
    assert found.low is None
    assert found.difference is not None
    assert found.allowed == pytest.approx(math.log(1.01))


def test_a_candidate_that_is_not_finite_fails_and_such_a_baseline_does_not_compare():
    broken = make_run([*BASE[:-1], np.nan])
    assert one(broken).verdict == "fail"
    assert "not finite" in one(broken).reason
    assert one(BASELINE, broken).verdict == "not comparable"
    assert "baseline: model.keras is not finite" in one(BASELINE, broken).reason


def test_a_fail_on_its_own_is_inconclusive_among_several():
    # p between 0.025 and 0.05 for the loss, and an accuracy that is no worse: Holm asks for 0.025.
    for shift in np.linspace(0.010, 0.020, 60):
        alone = one(make_run(noisy(shift, scale=0.05)))
        if 0.026 < alone.p_worse < 0.049:
            break
    assert alone.verdict == "fail"
    candidate = make_run(noisy(shift, scale=0.05))
    of_one_loss = gate(candidate, baseline=BASELINE, allow={"perplexity": "+1%", "bits_per_char": "+0.0143"})
    assert {each.level for each in of_one_loss.comparisons} == {0.05}
    both = gate(candidate, baseline=BASELINE, allow={"perplexity": "+1%", "accuracy": "0.01"})
    assert both.comparisons[0].verdict == "inconclusive"
    assert "not at the level 0.025 of several metrics" in both.comparisons[0].reason


def test_several_runs_a_side_add_the_spread_between_runs():
    baselines = [make_run(noisy(s, i), checkpoint=f"b{i}") for i, s in enumerate((0.0, 0.02, -0.02))]
    candidates = [make_run(noisy(s, i + 9), checkpoint=f"c{i}") for i, s in enumerate((0.01, 0.03, -0.01))]
    found = one(candidates, baselines)
    text_alone = one(candidates[0], baselines[0])
    assert found.about == "this recipe"
    assert found.difference == pytest.approx(0.01, abs=0.004)
    # Run means 0, .02, −.02 and .01, .03, −.01: s² = .0004 pooled; SE² = s²(1/3 + 1/3) + SE² of the text.
    assert found.se == pytest.approx(math.sqrt(0.0004 * 2 / 3), rel=0.1)
    assert found.se > 3 * text_alone.se
    assert 4 < found.df < 5
    assert "3 + 3 runs" in found.method
    odd = one([*candidates[:2], make_run(noisy(0.4), checkpoint="odd")], baselines)
    assert (odd.verdict, "odd lies apart: " in odd.reason) == ("inconclusive", True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "nothing to judge"),
        ({"allow": {"perplexity": "+1%"}}, "nothing to judge"),
        ({"baseline": BASELINE, "allow": {"perplexty": "+1%"}}, "did you mean perplexity"),
        ({"baseline": BASELINE, "allow": {"perplexity": "0.01"}}, "takes per cent"),
        ({"baseline": BASELINE, "allow": {"accuracy": "lots"}}, "a number or per cent"),
        ({"baseline": BASELINE, "allow": {"perplexity": "-100%"}}, "100 per cent or more"),
        ({"baseline": BASELINE, "allow": {"bits_per_char": "nan"}}, "a number or per cent"),
        ({"baseline": BASELINE, "allow": {"bits_per_char": float("inf")}}, "a number or per cent"),
        ({"baseline": BASELINE, "require": ["perplexity"]}, "written as FIGURE<=NUMBER"),
        ({"baseline": BASELINE, "require": ["perplexity<=nan"]}, "NaN"),
        ({"baseline": BASELINE, "require": ["perplexity<=low"]}, "is not a number"),
    ],
)
def test_what_cannot_be_read_is_refused(options, message):
    with pytest.raises(UsageError, match=message):
        gate(BASELINE, **options)
