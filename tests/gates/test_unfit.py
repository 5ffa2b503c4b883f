"""Runs that decide nothing: not valid, not finite, diverged, of no common recipe. And what single runs cannot tell."""

import math

import numpy as np
import pytest

from rnneval.gates import compare, gate
from rnneval.gates.sides import slim
from rnneval.gates.unfit import limit
from tests.gates.synthetic import ar_losses, make_run

BLOCKS = 128
BASE = ar_losses(BLOCKS, seed=1)
NO_WIRING = {"wiring": {"verdict": "fail", "reason": "gru_2 gets gru's state", "findings": []}}
LIMIT = 4.17 + math.log(100)  # by hand, for the records' uniform guessing among 65 characters
LOSS, ACCURACY, BOTH = {"perplexity": "+1%"}, {"accuracy": "0.01"}, {"perplexity": "+1%", "accuracy": "0.01"}


def runs(count, name, seed=0, **changes):
    """Trainings of one recipe, as real seeds spread."""
    rng = np.random.default_rng(seed)
    return [
        make_run(BASE + 0.0096 * rng.normal() + 0.02 * rng.normal(size=BLOCKS), checkpoint=f"{name}{i}", **changes)
        for i in range(count)
    ]


def exploded(share, nats, name="bad"):
    """A run whose loss is so many nats a token in the last share of the text."""
    losses = BASE.copy()
    losses[BLOCKS - round(share * BLOCKS) :] = nats
    return make_run(losses, checkpoint=name)


@pytest.mark.parametrize("allow", [LOSS, BOTH])
@pytest.mark.parametrize(("share", "nats"), [(0.1, 20), (1, 1e300)])
def test_a_candidate_that_diverged_fails_whatever_is_allowed(share, nats, allow):
    found = gate(exploded(share, nats), baseline=make_run(BASE, checkpoint="base"), allow=allow)
    assert [each.verdict for each in found.comparisons] == ["fail"] * len(allow)
    assert "bad diverged: " in found.reason
    assert ("in bytes" in found.reason) == (share < 1)
    assert "nan" not in found.reason


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(("nats", "allow"), [(3.0, LOSS), (1000.0, ACCURACY), (math.nan, LOSS)])
def test_one_diverged_run_of_a_side_is_named_and_decides(count, nats, allow):
    """Before: p was 0.2 whatever its size, since it made the spread between the runs as large as the difference."""
    good, bad = runs(count, "good"), [*runs(count - 1, "fine", seed=1), exploded(1, nats)]
    assert gate(good, baseline=runs(count, "base", seed=2), allow={"perplexity": "+10%"}).verdict == "pass"
    if count > 1 or not nats < 4.17:  # one run at 3 nats is better than guessing: the test judges it
        for candidate, baseline, verdict in ((bad, good, "fail"), (good, bad, "not comparable")):
            found = gate(candidate, baseline=baseline, allow=allow)
            assert found.verdict == verdict
            assert "bad " in found.comparisons[0].reason


@pytest.mark.parametrize(("above", "verdict"), [(0.005, "fail"), (-0.005, "pass")])
def test_the_limit_is_a_hundred_times_uniform_guessing_or_its_square(above, verdict):
    assert limit(math.log(50_000)) == pytest.approx(math.log(50_000**2))
    poor, base = (make_run(np.full(BLOCKS, LIMIT + nats), checkpoint=f"{nats}") for nats in (above, -0.008))
    assert gate(poor, baseline=base, allow=ACCURACY).verdict == verdict


def test_a_little_worse_than_guessing_is_compared_and_warned_of():
    untrained, again = (make_run(np.full(BLOCKS, nats), checkpoint=f"{nats}") for nats in (4.19, 4.18))
    found = gate(again, baseline=untrained)
    assert found.verdict == "pass"
    assert "4.18: 4.18 nats a token is worse than uniform guessing (4.17)" in found.warnings
    assert gate(make_run(BASE + 3, checkpoint="c"), baseline=make_run(BASE, checkpoint="b")).verdict == "fail"


def test_a_document_that_diverged_is_named_by_its_place():
    document = np.repeat(np.arange(16), 8)
    bad = make_run(np.where(document == 3, 50, BASE), document=document, checkpoint="bad")
    found = gate(bad, baseline=make_run(BASE, document=document, checkpoint="base"))
    assert found.reason.startswith("perplexity: bad diverged: 50 nats a token in bytes 6,144 to 8,192, far beyond")


@pytest.mark.parametrize("changes", [{"valid": False}, {"valid": False, **NO_WIRING}])
def test_a_run_that_is_not_valid_fails_is_no_baseline_and_is_never_best(changes):
    wrong, right = make_run(BASE - 1, checkpoint="wrong", **changes), make_run(BASE, checkpoint="right")
    reason = "wrong is not valid: gru_2 gets gru's state" if "wiring" in changes else "wrong is not valid"
    for found in (gate(wrong, baseline=right), gate(wrong, require=["perplexity<=100"])):
        assert found.verdict == "fail"
        assert reason in found.reason
    found = gate(right, baseline=wrong)
    assert found.verdict == "not comparable"
    assert f"baseline: {reason}" in found.reason
    for order in ([wrong, right], [right, wrong]):
        ranking = compare(order)
        assert ranking.best.name == "right"
        assert (ranking.baseline, ranking.candidate) == ("right", "wrong")
        assert ranking.rows[1].value is None
        assert ranking.rows[1].marks == (reason.removeprefix("wrong is "),)
    assert compare([wrong, make_run(BASE - 2, checkpoint="other", **changes)]).best is None


@pytest.mark.parametrize(("shift", "verdict"), [(0.1, "fail"), (0.00995, "inconclusive")])
def test_single_runs_name_the_seeds_and_how_to_give_several(shift, verdict):
    noise = 0.02 * np.random.default_rng(0).normal(size=BLOCKS)
    found = gate(make_run(BASE + shift + noise, checkpoint="new"), baseline=make_run(BASE, checkpoint="base"))
    assert found.verdict == verdict
    assert "Two trainings of one recipe with other seeds" in found.reason
    assert "three or more trainings a side: rnneval gate new-*.json --baseline base-*.json" in found.reason
    several = gate(runs(3, "new", 1), baseline=runs(3, "base"))
    assert "seeds" not in several.reason
    assert not several.warnings
    for few, said in ((2, "two runs of the baseline"), (1, "one run of the baseline")):
        assert any(said in warning for warning in gate(runs(3, "new", 1), baseline=runs(few, "base")).warnings)
    short = gate(make_run(BASE[:50] + shift, checkpoint="new"), baseline=make_run(BASE[:50], checkpoint="base"))
    assert "give three or more trainings a side" in short.reason
    passed = gate(make_run(BASE + noise, checkpoint="new"), baseline=make_run(BASE, checkpoint="base"))
    assert "give three" not in passed.reason


def test_a_slim_baseline_gives_the_verdict_of_the_record_and_lacks_what_it_says():
    old, new = make_run(BASE, checkpoint="base"), make_run(BASE + 0.02, checkpoint="new")
    small = slim(old)
    assert (set(small.blocks.sums), small.states) == ({"nats", "newlines", "top1", "top5"}, None)
    assert (small.scores, small.text, small.total_nats) == (old.scores, old.text, old.total_nats)
    assert gate(new, baseline=small) == gate(new, baseline=old)
    found = gate(new, baseline=small, allow={"calibration_error": 0.01})
    assert found.verdict == "not comparable"
    assert "scores.calibration_error" in found.reason
    assert "commit a copy of the record" in found.reason
