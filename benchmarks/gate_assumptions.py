"""Where does the stated 5 % of gate and compare hold, and where not? Simulations with a known truth; NumPy alone.

    python benchmarks/gate_assumptions.py

Prints the tables of "Where the 5 % does not hold" in docs/statistics.md: misses in % of the lower bound, the upper
bound and the two-sided 95 % interval. The formulas are written out here once more, independently of rnneval.gates, so
that 100,000 trials take seconds (a standard error of 0.07 points at 5 %); tests/gates/test_coverage.py holds the built
code to the same figures.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.special import stdtrit

Floats = NDArray[np.float64]
BATCHES = 8


def misses(t: Floats, df: Floats | float) -> str:
    one, two = stdtrit(df, 0.95), stdtrit(df, 0.975)
    return " / ".join(f"{100 * float(np.mean(miss)):.1f}" for miss in (t > one, t < -one, np.abs(t) > two))


def of_means(means: Floats, truth: float = 0.0) -> str:
    """A t-test on the means of equal clusters, `(trials, clusters)`."""
    count = means.shape[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (means.mean(axis=1) - truth) / (means.std(axis=1, ddof=1) / np.sqrt(count))
    return misses(t, count - 1)


def recipes(
    rng: np.random.Generator, trials: int, counts: tuple[int, int], sd: tuple[float, float], text: float
) -> str:
    """Welch's variances and that of the text, with Satterthwaite's degrees of freedom; one run borrows a spread."""
    runs = [rng.normal(0, s, (trials, k)) for s, k in zip(sd, counts, strict=True)]
    difference = runs[1].mean(axis=1) - runs[0].mean(axis=1) + rng.normal(0, text, trials)
    terms = [(text**2 * rng.chisquare(BATCHES - 1, trials) / (BATCHES - 1), BATCHES - 1)]
    spreads = [side.var(axis=1, ddof=1) if k > 1 else None for side, k in zip(runs, counts, strict=True)]
    if None in [None if spread is None else 0 for spread in spreads]:
        spread, k = next((s, k) for s, k in zip(spreads, counts, strict=True) if s is not None)
        terms.append((spread * (1 + 1 / k), k - 1))
    else:
        terms += [(spread / k, k - 1) for spread, k in zip(spreads, counts, strict=True) if spread is not None]
    variance = np.sum([term for term, _ in terms], axis=0)
    df = variance**2 / np.sum([term**2 / f for term, f in terms], axis=0)
    return misses(difference / np.sqrt(variance), df)


def documents(means: Floats, units: Floats) -> str:
    """The jackknife over documents of `units`, their means drawn `(trials, documents)`."""
    total, count = units.sum(), units.size
    sums = means * units
    whole = sums.sum(axis=1, keepdims=True)
    without = (whole - sums) / (total - units)
    spread = np.square(without - without.mean(axis=1, keepdims=True)).sum(axis=1)
    effective = total**2 / np.square(units).sum()
    found = misses(whole[:, 0] / total / np.sqrt((count - 1) / count * spread), effective - 1)
    return f"{effective:.1f} | {100 * units.max() / total:.0f} % | {found}"


def drift(rng: np.random.Generator, trials: int, lengths: int) -> str:
    """Eight batches of 48 blocks over a level that changes `lengths` times a batch, and noise of the same size."""
    stretch = 48 // lengths
    places = (np.arange(BATCHES * 48) + rng.integers(0, stretch, size=(trials, 1))) // stretch
    level = np.take_along_axis(rng.standard_normal((trials, BATCHES * lengths + 1)), places, axis=1)
    blocks = level + rng.standard_normal(level.shape)
    return of_means(blocks.reshape(trials, BATCHES, 48).mean(axis=2))


def exponential_drift(rng: np.random.Generator, trials: int, lengths: int) -> str:
    """The same for an AR(1) of blocks whose time constant is a batch / `lengths`."""
    phi = np.exp(-lengths / 48)
    noise = rng.standard_normal((trials, BATCHES * 48 + 500))
    blocks = lfilter([1.0], [1.0, -phi], noise, axis=1)[:, 500:]
    return of_means(blocks.reshape(trials, BATCHES, 48).mean(axis=2))


def rare(rng: np.random.Generator, trials: int, blocks: int) -> str:
    """0.2 % of the blocks at +20 nats: misses of all texts, and of those that hold one at least."""
    hits = rng.binomial(blocks // BATCHES, 0.002, size=(trials, BATCHES))
    means = (20 * hits + rng.normal(0, 0.05 * np.sqrt(blocks / BATCHES), hits.shape)) / (blocks // BATCHES)
    warned = hits.any(axis=1)
    return f"{of_means(means, 0.04)} | {of_means(means[warned], 0.04)} | {100 * float(np.mean(~warned)):.0f} %"


def tables_that_leave_out_zero(rng: np.random.Generator, trials: int, models: int) -> str:
    """Equal models: how often some interval to the best leaves out 0, one pair at a time and for all pairs."""
    means = rng.standard_normal((trials, models, BATCHES))
    best = np.take_along_axis(means, means.mean(axis=2).argmin(axis=1)[:, None, None], axis=1)
    away = means - best
    spread = away.std(axis=2, ddof=1)
    t = np.max(away.mean(axis=2) * np.sqrt(BATCHES) / np.where(spread > 0, spread, np.inf), axis=1)
    pairs = models * (models - 1) / 2
    alone, together = (100 * float(np.mean(t > stdtrit(BATCHES - 1, 1 - 0.025 / n))) for n in (1, pairs))
    return f"{alone:.1f} | {together:.1f}"


def calibration(rng: np.random.Generator, trials: int, tokens: int, truth: float) -> str:
    """The true calibration error outside the two-sided interval, and above the upper bound that is shown."""
    share, confidence = rng.dirichlet(np.full(15, 2.0)), (np.arange(15) + 0.5) / 15
    right = confidence + truth * np.where(np.arange(15) % 2, 1, -1)
    counts = np.round(tokens / BATCHES * share).astype(int)
    gaps = rng.binomial(counts, right, size=(trials, BATCHES, 15)) - counts * confidence
    total = gaps.sum(axis=1, keepdims=True)
    values = np.abs(np.concatenate([total, total - gaps], axis=1)).sum(axis=2) / counts.sum()
    value, without = values[:, 0] / BATCHES, values[:, 1:] / (BATCHES - 1)
    se = np.sqrt((1 - 1 / BATCHES) * np.square(without - without.mean(axis=1, keepdims=True)).sum(axis=1))
    t, (one, two) = (value - truth) / se, stdtrit(BATCHES - 1, [0.95, 0.975])
    return f"{100 * float(np.mean(np.abs(t) > two)):.1f} | {100 * float(np.mean(t < -one)):.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng, few = np.random.default_rng(given.seed), given.trials // 5
    print("runs a side, SD of each, SD of the text | misses")
    for counts, sd in (
        ((3, 10), (0.014, 0.0035)), ((10, 3), (0.014, 0.0035)), ((5, 10), (0.014, 0.0035)), ((3, 3), (0.0096, 0.0096)),
        ((5, 5), (0.0096, 0.0096)), ((2, 2), (0.0096, 0.0096)), ((2, 2), (0.014, 0.0035)), ((2, 10), (0.014, 0.0035)),
        ((1, 3), (0.0096, 0.0096)), ((1, 3), (0.014, 0.0035)), ((1, 3), (0.0035, 0.014)),
    ):  # fmt: skip
        cells = " | ".join(recipes(rng, given.trials, counts, sd, text) for text in (0.0025, 0.005, 0.01))
        print(f"| {counts[0]} against {counts[1]} | {sd[0]}, {sd[1]} | {cells} |")
    print("\ndocuments | effective number, largest share, misses")
    for units in (
        *([1.0] * count for count in (5, 6, 7, 8)), [6, 10, 7.5, 9, 7, 10.5, 8, 9.5], [25, *[10] * 9],
        [15.5, *[1] * 30], [20, *[1] * 30], [50, *[1] * 99],
    ):  # fmt: skip
        of = np.array(units, dtype=float)
        print(f"| {of.size} | {documents(rng.standard_normal((given.trials, of.size)), of)} |")
    print("\nexponential means of documents | misses")
    for count in (7, 8, 12, 24, 48):
        print(f"| {count} | {of_means(rng.standard_exponential((given.trials, count)) - 1)} |")
    print("\nlengths of the drift in a batch | misses: stretches, exponential")
    for lengths in (1, 2, 4, 8):
        print(f"| {lengths} | {drift(rng, few, lengths)} | {exponential_drift(rng, few, lengths)} |")
    print("\nblocks, 0.2 % of them at +20 nats | misses | where there is one | texts without")
    for blocks in (400, 1000, 4096):
        print(f"| {blocks} | {rare(rng, given.trials, blocks)} |")
    print("\nequal models | tables that leave out 0, one pair at a time | all pairs")
    for models in (2, 3, 5, 10, 20):
        print(f"| {models} | {tables_that_leave_out_zero(rng, few, models)} |")
    print("\ntokens, calibration error | two-sided misses | above the upper bound")
    for tokens in (32_000, 96_000, 480_000):
        for truth in (0.0, 0.002, 0.01, 0.03):
            print(f"| {tokens:,} | {truth} | {calibration(rng, few, tokens, truth)} |")


if __name__ == "__main__":
    main()
