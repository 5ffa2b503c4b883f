"""Distance of the model's confidence in its first choice from how often that choice is right; lower is better.

## Formula

    calibration_error = Σ_b (n_b / N) · |acc(b) − conf(b)| = (1 / N) · Σ_b |Σ_{i in b} (correct_i − confidence_i)|

Confidence is the largest probability of a prediction; correct is 1 where the token is that choice, else 0. The 15 bins
are equally wide and closed on the right: (0, 1/15], (1/15, 2/15], …, (14/15, 1] (Guo et al. 2017, section 2,
equation 3). The second form shows that one signed sum a bin is enough; those are the sums `calibration_gap_00` …
`calibration_gap_14` of the record, and they add up over blocks. How many tokens each bin holds stands beside them
(`calibration_count_00` …): the score has no need of it, a reliability diagram has.

**Unit:** share, from 0 to 1 (also named ECE, expected calibration error).

## By hand

Four tokens with confidence 0.75, of which two are right: accuracy 0.5 in their bin, a gap of 0.25. The signed sum of
that bin is 2 − 4 · 0.75 = −1, and 1 / 4 = 0.25:

    >>> from rnneval.metrics import calibration_error
    >>> calibration_error([0.75, 0.75, 0.75, 0.75], rank=[0, 1, 0, 2])
    0.25

## How to read it

0 means that of the tokens held for 70 % probable, 70 % come. A signed sum below 0 is over-confidence in that bin, the
usual fault of a network trained too long. A ResNet-110 on CIFAR-100 had 0.17, and 0.01 after one temperature had
been fitted (Guo et al. 2017, table 1); fitting a temperature does not change `accuracy`.

## Pitfalls

- It is not a proper score: always predicting the token frequencies is well calibrated and useless. Read it beside the
  cross-entropy.
- Few tokens make it too large (noise in a bin does not cancel out), too few bins too small (errors within a bin do).
  Compare on the same text. For the same reason its interval goes from 0 to the upper 95 % bound alone.
- It looks at the first choice only; the probabilities of all others may be wrong.

## References

- M. P. Naeini, G. F. Cooper, M. Hauskrecht: *Obtaining well calibrated probabilities using Bayesian binning*. AAAI
  2015.
- C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger: *On calibration of modern neural networks*. ICML 2017.
- J. Nixon, M. Dusenberry, G. Jerfel, L. Zhang, D. Tran: *Measuring calibration in deep learning*. CVPR workshops 2019.
- A. Kumar, P. Liang, T. Ma: *Verified uncertainty calibration*. NeurIPS 2019.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnneval.metrics._base import Metric, ScoredTokens, Totals, per, score

BINS = 15
NAMES = tuple(f"calibration_gap_{index:02}" for index in range(BINS))
COUNTS = tuple(f"calibration_count_{index:02}" for index in range(BINS))


def calibration_error(confidence: ArrayLike, rank: ArrayLike) -> float:
    """Return the expected calibration error over 15 bins: Σ_b |Σ_{i in b} (correct_i − confidence_i)| / N.

    Args:
        confidence: Largest probability of each prediction; any shape.
        rank: How many tokens were predicted before the right one, in the shape of `confidence`: 0 is correct.

    Raises:
        UnavailableError: the arrays are empty, or a confidence is not finite.
        ValueError: a rank is NaN, below 0 or not a whole number, or the sizes differ.

    Source: Guo and others 2017, equation 3. By hand, a right and a wrong token in two bins, (0.25 + 0.5) / 2:

    >>> calibration_error([0.75, 0.5], rank=[0, 1])
    0.375
    """
    return score(METRIC, confidence=confidence, rank=rank)


def tally(tokens: ScoredTokens) -> dict[str, NDArray[np.float64]]:
    """Return correct − confidence in the token's own bin and 0 in the others, `(n,)` a bin; and counts of 1 and 0."""
    gap = (tokens.rank == 0) - np.asarray(tokens.confidence, dtype=np.float64)
    bins = bin_of(tokens.confidence)
    gaps = {name: np.where(bins == index, gap, 0.0) for index, name in enumerate(NAMES)}
    return gaps | {name: (bins == index).astype(np.float64) for index, name in enumerate(COUNTS)}


def finish(totals: Totals) -> float:
    """Return the weighted mean gap between confidence and accuracy from sums over tokens."""
    return per(sum(abs(totals.total(name)) for name in NAMES), totals.tokens, "token")


def bin_of(confidence: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the bin of each confidence, `(n,)`: b holds (b/15, (b+1)/15].

    Compared with the edges and not multiplied by 15, which would round some of them up. What rounding puts at or below
    0 or above 1 goes to the outer bins.

    >>> bin_of(np.array([0.01, 1 / 15, 0.07, 1.0])).tolist()
    [0, 0, 1, 14]
    """
    inner = np.arange(1, BINS) / BINS
    return np.searchsorted(inner, confidence, side="left").astype(np.int64)


METRIC = Metric(name="calibration_error", unit="share", order=90, tally=tally, finish=finish, biased_upwards=True)
