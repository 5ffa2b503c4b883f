"""Sums and covariances against NumPy's own, on random arrays."""

import numpy as np
import pytest

from rnneval.metrics.diagnostics.summary import participation_ratio
from rnneval.metrics.diagnostics.sums import PEAKS, SCALARS, Where, row_sums, shift_of


@pytest.mark.parametrize(
    ("units", "every", "time"),
    [(1, 1, 13), (5, 3, 13), (5, 16, 13), (700, 1, 13), (700, 4, 13), (5, 1, 1), (5, 3, 1), (700, 4, 2)],
)
def test_row_sums_are_those_of_each_row_alone(units, every, time):
    rng = np.random.default_rng(0)
    states = rng.normal(0.3, 0.8, (9, time, units)).astype("f4")
    before, counts = rng.normal(size=(9, units)).astype("f4"), rng.integers(0, time + 1, 9)
    counts[3:7] = time  # rows that are summed as one block, where their places are the same
    first, since = rng.integers(0, 10**6, 9), rng.integers(0, 10**6, 9)
    first[4:6] = first[3] + every * np.arange(1, 3)
    shift = shift_of(states)
    sums = row_sums(states, before, Where(first=first, counts=counts, since=since, every=every), shift, 0.97)
    for row, n in enumerate(counts):
        h = states[row, :n].astype(float)
        some = (first[row] + np.arange(n)) % every == 0
        norm, t = np.linalg.norm(h, axis=1), since[row] + np.arange(n)
        speed = np.linalg.norm(np.diff(np.vstack([before[row], h]), axis=0), axis=1)
        expected = [n, norm.sum(), (norm**2).sum(), t.sum(), (t.astype(float) ** 2).sum(), (t * norm).sum()]
        expected += [some.sum(), speed[some].sum(), (np.abs(h[some]) > np.float32(0.97)).sum()]
        np.testing.assert_allclose(sums.additive[row, : len(SCALARS)], expected, rtol=1e-6)
        of_units = sums.additive[row, len(SCALARS) :]
        np.testing.assert_allclose(of_units[:units], (h - shift)[some].sum(0), atol=1e-4)
        np.testing.assert_allclose(of_units[units:], ((h - shift)[some] ** 2).sum(0), rtol=1e-5)
        if n:
            np.testing.assert_allclose(sums.peaks[row], [norm.max(), -h.min(), h.max()], rtol=1e-6)
    assert sums.peaks.shape == (9, len(PEAKS))


def test_the_variance_of_a_unit_that_hardly_moves_is_not_lost():
    rng = np.random.default_rng(1)
    states = (0.9 + rng.normal(0, 1e-4, (1, 64, 3))).astype("f4")
    nothing = np.zeros(1, np.int64)
    where = Where(first=nothing, counts=np.array([64]), since=nothing)
    sums = row_sums(states, states[:, 0], where, shift_of(states), None)
    first, second = sums.additive[0, len(SCALARS) :].reshape(2, 3)
    np.testing.assert_allclose(second / 64 - (first / 64) ** 2, states[0].astype(float).var(0), rtol=1e-4)


def test_participation_ratio_of_known_spectra():
    spectrum = np.array([4.0, 2.0, 1.0, 0.0])
    q, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))
    assert participation_ratio(q @ np.diag(spectrum) @ q.T) == pytest.approx(49 / 21)
    assert participation_ratio(np.zeros((3, 3))) == 0.0
