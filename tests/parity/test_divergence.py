"""KL of two predictions against arithmetic with 60 digits."""

import mpmath
import numpy as np
import pytest

from rnneval.parity.divergence import compare_logits


def _exact(reference: np.ndarray, candidate: np.ndarray) -> float:
    with mpmath.workdps(60):
        p, q = ([mpmath.exp(mpmath.mpf(float(z))) for z in row] for row in (reference, candidate))
        return float(sum(a / sum(p) * mpmath.log((a / sum(p)) / (b / sum(q))) for a, b in zip(p, q, strict=True)))


@pytest.mark.parametrize("size", [1e-8, 1e-7, 1e-5, 1e-3, 0.019, 0.021, 0.1, 1.0, 5.0, 29.0, 50.0])
@pytest.mark.parametrize("shift", [0.0, 3.0])
def test_kl_has_twelve_right_digits(size: float, shift: float) -> None:
    draw = np.random.default_rng(3)
    reference = draw.normal(0, 2, (4, 7))
    candidate = reference + shift + size * draw.choice([-1.0, 1.0, 0.5], (4, 7))
    kl = compare_logits(reference, candidate, np.zeros(4, int)).kl
    tolerance = 1e-12 if shift == 0 else max(1e-12, 1e-15 / size)  # the shift itself rounds the difference
    assert kl == pytest.approx([_exact(*pair) for pair in zip(reference, candidate, strict=True)], rel=tolerance)


def test_kl_is_never_negative_and_zero_of_equal_logits() -> None:
    draw = np.random.default_rng(4)
    reference = draw.normal(0, 5, (500, 33)).astype(np.float32)
    moved = reference * (1 + 2.0**-23 * draw.choice([-1, 1], reference.shape)).astype(np.float32)
    assert (compare_logits(reference, moved, np.zeros(500, int)).kl >= 0).all()
    assert (compare_logits(reference, reference, np.zeros(500, int)).kl == 0).all()


def test_losses_and_margins_by_hand() -> None:
    reference, candidate = np.log([[0.5, 0.3, 0.2]]), np.log([[0.2, 0.3, 0.5]])
    compared = compare_logits(reference, candidate, np.array([1]))
    assert compared.nats[0] == pytest.approx(-np.log(0.3))
    assert compared.change[0] == pytest.approx(0.0, abs=1e-15)
    assert compared.lost[0] == pytest.approx(np.log(0.5 / 0.2))


@pytest.mark.parametrize(
    ("reference", "candidate", "kl"),
    [
        ([0.0, -np.inf, 0.0], [0.0, -np.inf, 0.0], 0.0),  # both rule an id out
        ([0.0, -np.inf], [0.0, 0.0], np.log(2)),  # p = 1 against q = ½
        ([0.0, 0.0], [0.0, -np.inf], np.inf),
        ([0.0, 0.0], [0.0, np.nan], np.nan),
        ([0.0, -1000.0], [0.0, 1000.0], 1000.0),  # q of the only likely id is e⁻¹⁰⁰⁰
    ],
)
def test_logits_that_are_not_finite_or_far(reference: list[float], candidate: list[float], kl: float) -> None:
    found = compare_logits(np.array([reference]), np.array([candidate]), np.zeros(1, int)).kl[0]
    assert found == pytest.approx(kl, nan_ok=True)
