"""Runs that decide nothing: not valid, not finite, diverged, of no common recipe. And what single runs cannot tell."""

import math

import numpy as np
import pytest

from rnneval import compare, gate
from rnneval.gates.sides import limit
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


def test_the_loss_of_the_whole_text_is_named_if_all_of_it_diverged():
    found = gate(make_run(np.linspace(900, 1000, BLOCKS), checkpoint="bad"), require=["perplexity<=9"])
    assert "diverged: 950 nats a token, " in found.reason


@pytest.mark.parametrize(("above", "verdict"), [(0.005, "fail"), (-0.005, "pass")])
def test_the_limit_is_a_hundred_times_uniform_guessing_or_its_square(above, verdict):
    assert limit(math.log(50_000)) == pytest.approx(math.log(50_000**2))
    poor, base = (make_run(np.full(BLOCKS, LIMIT + nats), checkpoint=f"{nats}") for nats in (above, -0.008))
    assert gate(poor, baseline=base, allow=ACCURACY).verdict == verdict


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
