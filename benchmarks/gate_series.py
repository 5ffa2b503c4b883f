"""Series of loss differences whose true mean is known: what gate_calibration.py judges the gate on.

Every function gives a `Sample`: block sums of many trials, with the mean and standard error that a t-test on tokens
would see. Blocks have 256 tokens; random pieces begin anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

Floats = NDArray[np.float64]
BLOCK = 256
_AT_ONCE = 20_000_000


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Many trials of one kind of text."""

    blocks: Floats
    """Sums of differences: `(trials, blocks)`."""
    truth: float
    """The true mean difference, in nats a token."""
    token_mean: Floats
    token_se: Floats
    """What a t-test on single tokens takes them to be: `(trials,)`."""
    document: NDArray[np.intp]
    """The document of each block: `(blocks,)`."""

    @property
    def tokens(self) -> int:
        """Of one trial."""
        return self.blocks.shape[1] * BLOCK


def of_tokens(series: Iterator[Floats], truth: float) -> Sample:
    """Gather trials `(some, tokens)` that were made token by token."""
    blocks, means, errors = [], [], []
    for some in series:
        count = some.shape[1]
        blocks.append(some.reshape(len(some), -1, BLOCK).sum(axis=2))
        means.append(some.mean(axis=1))
        errors.append(some.std(axis=1, ddof=1) / np.sqrt(count))
    together = np.concatenate(blocks)
    return Sample(
        blocks=together,
        truth=truth,
        token_mean=np.concatenate(means),
        token_se=np.concatenate(errors),
        document=np.zeros(together.shape[1], dtype=np.intp),
    )


def autoregressive(real: Floats, order: int, blocks: int, trials: int, seed: int) -> Sample:
    """AR(order) fitted to real differences by least squares, driven by its own residuals, drawn anew."""
    centred = real - real.mean()
    lagged = np.stack([centred[order - lag - 1 : len(centred) - lag - 1] for lag in range(order)], axis=1)
    weights = np.linalg.lstsq(lagged, centred[order:], rcond=None)[0]
    residuals = centred[order:] - lagged @ weights
    rng = np.random.default_rng(seed)
    noise = (rng.choice(residuals - residuals.mean(), size=shape) for shape in _shapes(trials, blocks))
    filtered = (lfilter([1.0], np.concatenate([[1.0], -weights]), some, axis=1)[:, -blocks * BLOCK :] for some in noise)
    return of_tokens(filtered, 0.0)


def ar1(phi: float, blocks: int, trials: int, seed: int, innovations: str = "normal") -> Sample:
    """AR(1) with normal, t(3) or log-normal innovations of mean 0."""
    rng = np.random.default_rng(seed)
    draw = {
        "normal": rng.normal,
        "t3": lambda size: rng.standard_t(3, size),
        "lognormal": lambda size: rng.lognormal(0, 1, size) - np.exp(0.5),
    }[innovations]
    made = (lfilter([1.0], [1.0, -phi], draw(size=s), axis=1)[:, -blocks * BLOCK :] for s in _shapes(trials, blocks))
    return of_tokens(made, 0.0)


def slow(blocks: int, trials: int, seed: int) -> Sample:
    """AR(1) of .03 plus an AR(1) with time constant 700 that holds 5/6 of the long-run variance."""
    rng, phi = np.random.default_rng(seed), np.exp(-1 / 700)
    tokens = blocks * BLOCK

    def made() -> Iterator[Floats]:
        for trials_now, _ in _shapes(trials, blocks):
            size = (trials_now, tokens + 5000)
            fast = lfilter([np.sqrt(1 / 6) * 0.97], [1.0, -0.03], rng.normal(size=size), axis=1)
            drift = lfilter([np.sqrt(5 / 6) * (1 - phi)], [1.0, -phi], rng.normal(size=size), axis=1)
            yield (fast + drift)[:, -tokens:]

    return of_tokens(made(), 0.0)


def pieces(real: Floats, length: int, blocks: int, trials: int, seed: int, *, apart: bool = False) -> Sample:
    """Random stretches of real differences end to end; the method is told where they begin only if `apart`."""
    in_piece = length // BLOCK
    count = -(-blocks // in_piece)
    starts = np.random.default_rng(seed).integers(0, len(real) - length + 1, size=(trials, count))
    offsets = np.arange(in_piece) * BLOCK
    begin = (starts[:, :, None] + offsets).reshape(trials, -1)[:, :blocks]
    document = np.repeat(np.arange(count), in_piece)[:blocks] if apart else np.zeros(blocks, dtype=np.intp)
    # A stretch is as likely to begin at any place, so tokens near both ends of the text are drawn less often.
    summed = np.concatenate([[0.0], np.cumsum(real)])
    truth = float(np.mean(summed[length:] - summed[:-length]) / length)
    return _from_starts(real, begin, truth, document)


def windows(real: Floats, blocks: int, trials: int, seed: int) -> Sample:
    """Contiguous windows at random places, held against the mean of all."""
    starts = np.random.default_rng(seed).integers(0, len(real) - blocks * BLOCK + 1, size=(trials, 1))
    begin = starts + np.arange(blocks) * BLOCK
    return _from_starts(real, begin, float(real.mean()), np.zeros(blocks, dtype=np.intp))


def _from_starts(real: Floats, begin: NDArray[np.int64], truth: float, document: NDArray[np.intp]) -> Sample:
    summed, squared = (np.concatenate([[0.0], np.cumsum(values)]) for values in (real, real**2))
    blocks = summed[begin + BLOCK] - summed[begin]
    tokens = blocks.shape[1] * BLOCK
    mean = blocks.sum(axis=1) / tokens
    second = (squared[begin + BLOCK] - squared[begin]).sum(axis=1) / tokens
    error = np.sqrt((second - mean**2) / (tokens - 1))
    return Sample(blocks=blocks, truth=truth, token_mean=mean, token_se=error, document=document)


def _shapes(trials: int, blocks: int) -> Iterator[tuple[int, int]]:
    """Shapes of trials to be made at once, in bounded memory, with 1,000 tokens to settle in."""
    tokens = blocks * BLOCK + 1000
    at_once = max(1, _AT_ONCE // tokens)
    for start in range(0, trials, at_once):
        yield min(at_once, trials - start), tokens
