"""Against `arch` 8.0.0, whose numbers are written down here: it is no dependency of these tests."""

import numpy as np
import pytest

from rnneval.gates import gate
from rnneval.gates.clusters import block_length, circular_error, ratio_error
from tests.gates.synthetic import ar_losses, make_run

# (n, φ, seed of the generator below): optimal_block_length(x).circular and the SD of the means of 20,000 resamples
# of CircularBlockBootstrap(round(length), x, seed=0).
ARCH = {
    (100, 0.0, 1): (1.4555642062175214, 0.028123806772939554),
    (256, 0.3, 1): (5.611566201382969, 0.025185986707554193),
    (436, 0.6, 2): (9.878411995378338, 0.028792538865545166),
    (1000, 0.9, 3): (43.40787127123348, 0.07674586112480722),
    (4096, -0.4, 4): (19.730763751042932, 0.0032431250622482937),
    (436, 0.99, 5): (39.84669969415475, 0.833866196481547),
}


def series(n, phi, seed):
    """AR(1) of a linear congruential generator: the same numbers in every version of everything."""
    state, value, made = seed, 0.0, []
    for _ in range(n + 50):
        state = (1103515245 * state + 12345) % 2**31
        value = phi * value + state / 2**31 - 0.5
        made.append(value)
    return np.array(made[50:])


@pytest.mark.parametrize("case", ARCH)
def test_the_block_length_is_that_of_arch(case):
    assert block_length(series(*case)) == pytest.approx(ARCH[case][0], rel=1e-12)


@pytest.mark.parametrize("case", ARCH)
def test_the_closed_form_is_what_resampling_tends_to(case):
    x = series(*case)
    # The SD of 20,000 means has a relative standard error of 0.5 %.
    assert circular_error(x, round(ARCH[case][0])) == pytest.approx(ARCH[case][1], rel=0.02)


def test_the_circular_error_by_an_independent_loop():
    x = series(30, 0.5, 7)
    means = [np.mean([x[(start + i) % 30] for i in range(7)]) for start in range(30)]
    assert circular_error(x, 7) == pytest.approx(np.sqrt(7 / 30 * np.mean((np.array(means) - x.mean()) ** 2)))


def test_independent_values_have_the_plain_standard_error():
    x = series(2000, 0.0, 3)
    assert circular_error(x, 1) == pytest.approx(x.std() / np.sqrt(2000))


def test_a_ratio_with_equal_units_is_a_mean():
    x = series(300, 0.3, 2)
    assert ratio_error(np.array([x * 50, np.full(300, 50.0)])) == pytest.approx(
        circular_error(x, round(block_length(x)))
    )


@pytest.mark.parametrize("x", [np.ones(100), np.ones(1), np.array([1.0, 2.0])])
def test_nothing_to_see_is_a_length_of_one(x):
    assert block_length(x) == 1.0


def test_the_record_holds_it_beside_the_error_by_clusters():
    base = ar_losses(256, seed=1)
    noisy = make_run(base + 0.02 * np.random.default_rng(0).normal(size=256))
    found = gate(noisy, baseline=make_run(base)).comparisons[0]
    assert found.se_bootstrap == pytest.approx(0.02 / 16, rel=0.15)
    documents = {"document": np.repeat(np.arange(16), 16)}
    found = gate(make_run(base + 0.1, **documents), baseline=make_run(base, **documents)).comparisons[0]
    assert found.se_bootstrap is None  # documents have no order
