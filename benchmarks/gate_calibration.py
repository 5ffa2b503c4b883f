"""Is the gate's stated error its real error? Miss rates and verdict rates of the built code, on real differences.

    python benchmarks/gate_calibration.py --data FOLDER --out calibration.json

Trains and judges its own models first (gate_models.py; cached). Then, with the code of rnneval.gates: how often the
one-sided 95 % bounds and the two-sided 95 % interval miss a true difference that is known (the *false-fail rate at the
edge of the margin* is the rate at which the lower bound lies above it), beside a t-test on single tokens; and how often
the verdict is pass or fail at true differences from −1 to 3 times what is allowed. 20,000 trials have a standard error
of 0.15 points at 5 %.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import gate_models
import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.special import stdtrit

from rnneval.gates.clusters import Clusters, Estimate, TooLittleTextError, batches, clusters_of, jackknife, ratio
from rnneval.gates.noninferiority import LEVEL, Tested

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


ALLOWED = float(np.log(1.01))
DISTANCES = (-1.0, -0.5, 0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0)
SHORT, LONG = 39, 391  # blocks: 10k and 100k tokens


def estimates(sample: Sample) -> tuple[list[Estimate], bool]:
    """The built code on every trial, and whether the gate itself would refuse so short a text."""
    units = np.full(sample.blocks.shape[1], float(BLOCK))
    clusters, refused = clusters_or_batches(sample.document, units)
    return [jackknife(ratio, np.array([row, units]), clusters) for row in sample.blocks], refused


def clusters_or_batches(document, units: Floats) -> tuple[Clusters, bool]:
    try:
        return clusters_of(document, units), False
    except TooLittleTextError:
        return batches(units, 8), True


def missed(found: list[Estimate], truth: float) -> dict[str, float]:
    """Miss rates in %: lower bound above the truth, upper bound below it, two-sided."""
    low, high = (np.array([each.bound(p) for each in found]) for p in (LEVEL, 1 - LEVEL))
    low2, high2 = (np.array([each.bound(p) for each in found]) for p in (0.025, 0.975))
    return _rates(low > truth, high < truth, (low2 > truth) | (high2 < truth))


def missed_by_tokens(sample: Sample) -> dict[str, float]:
    """The same for a t-test on single tokens."""
    t = (sample.token_mean - sample.truth) / sample.token_se
    one, two = (stdtrit(sample.tokens - 1, p) for p in (0.95, 0.975))
    return _rates(t > one, t < -one, np.abs(t) > two)


def _rates(above, below, both) -> dict[str, float]:
    return {
        "false_fail": round(100 * float(np.mean(above)), 2),
        "false_pass": round(100 * float(np.mean(below)), 2),
        "two_sided": round(100 * float(np.mean(both)), 2),
        "trials": int(above.size),
    }


def calibration(sample: Sample) -> dict:
    found, refused = estimates(sample)
    return {
        "gate": missed(found, sample.truth),
        "tokens": missed_by_tokens(sample),
        "below_the_floor": refused,
        "blocks": sample.blocks.shape[1],
    }


def verdicts(sample: Sample) -> dict:
    """Shares of fail and pass in %, the truth placed at multiples of what is allowed."""
    found, refused = estimates(sample)
    rates = {str(distance): _verdict_rates(found, distance * ALLOWED - sample.truth) for distance in DISTANCES}
    spread = float(np.std([each.value for each in found]))
    df = found[0].df
    reach = (stdtrit(df, 0.95) + stdtrit(df, 0.80)) * spread
    worse, better = (_verdict_rates(found, ALLOWED + away - sample.truth) for away in (reach, -reach))
    return {
        "se_over_allowed": round(spread / ALLOWED, 2),
        "rates": rates,
        "power_at_the_mdd": {"fail": worse["fail"], "pass": better["pass"]},
        "below_the_floor": refused,
    }


def _verdict_rates(found: list[Estimate], shift: float) -> dict[str, float]:
    tested = [
        Tested(worse=1, value=each.value + shift, allowed=ALLOWED, se=each.se, df=each.df, se_text=each.se, se_runs=0.0)
        for each in found
    ]
    return {
        "fail": round(100 * float(np.mean([not each.passes and each.p_worse <= LEVEL for each in tested])), 2),
        "pass": round(100 * float(np.mean([each.passes for each in tested])), 2),
    }


def real_differences(cache: Path) -> dict[str, Floats]:
    """Paired differences of the trained models' losses, token by token."""
    pairs = {
        "seed 1 - 0": ("char-1", "char-0"),
        "seed 3 - 2": ("char-3", "char-2"),
        "half - full": ("char-0-half", "char-0"),
        "1 % noise": ("char-0-noise", "char-0"),
        "wikitext 1 - 0": ("byte-1", "byte-0"),
        "wikitext 2 - 0": ("byte-2", "byte-0"),
        "wikitext half - full": ("byte-0-half", "byte-0"),
    }
    return {name: np.load(cache / f"{a}.npy") - np.load(cache / f"{b}.npy") for name, (a, b) in pairs.items()}


@dataclass(frozen=True, kw_only=True)
class Material:
    """What every table is made from."""

    differences: Mapping[str, Floats]
    articles: list[slice]
    trials: int


def one_pair(given: Material) -> dict:
    """One pair of models, several kinds of text."""
    pair, half, trials = given.differences["seed 1 - 0"], given.differences["half - full"], given.trials
    made = {
        "AR(20), 10k": autoregressive(pair, 20, SHORT, trials, 1),
        "AR(20), 100k": autoregressive(pair, 20, LONG, trials, 2),
        "pieces 2k joined, 10k": pieces(pair, 2048, SHORT, trials, 4),
        "pieces 2k joined, 100k": pieces(pair, 2048, LONG, trials, 5),
        "pieces 8k joined, 100k": pieces(pair, 8192, LONG, trials, 6),
        "windows, 10k": windows(pair, SHORT, trials, 7),
        "windows, 100k": windows(pair, LONG, trials, 8),
        "half - full, pieces 2k joined, 100k": pieces(half, 2048, LONG, trials, 12),
    }
    return {name: calibration(sample) for name, sample in made.items()}


def scattered(given: Material) -> dict:
    """Pieces from random places, one cluster a piece."""
    return {
        f"{name}, {count} pieces of {length}": calibration(
            pieces(given.differences[name], length, count * length // BLOCK, given.trials, 20, apart=True)
        )
        for name in ("seed 1 - 0", "half - full", "1 % noise", "wikitext 1 - 0")
        for length in (2048, 8192)
        for count in (8, 12, 48)
    }


def lengths(given: Material) -> dict:
    """One passage, 8 batches, by its length and that of the drift."""
    return {
        f"{name}, pieces {length} joined, {blocks * BLOCK // 1024} kB": calibration(
            pieces(given.differences[name], length, blocks, given.trials, 30)
        )
        for name in ("seed 1 - 0", "seed 3 - 2", "half - full")
        for length in (2048, 8192)
        for blocks in (64, 128, 256, LONG)
    }


def verdict_rates(given: Material) -> dict:
    """How often the verdict is pass or fail."""
    pair, trials = given.differences["seed 1 - 0"], given.trials
    made = {
        "10k, AR(20), 8 batches": autoregressive(pair, 20, SHORT, trials, 40),
        "10k, pieces 2k joined, 8 batches": pieces(pair, 2048, SHORT, trials, 41),
        "100k, AR(20), 8 batches": autoregressive(pair, 20, LONG, trials, 42),
        "100k, pieces 2k joined, 8 batches": pieces(pair, 2048, LONG, trials, 43),
        "12 pieces of 2,048": pieces(pair, 2048, 96, trials, 44, apart=True),
        "48 pieces of 2,048": pieces(pair, 2048, 384, trials, 45, apart=True),
    }
    return {name: verdicts(sample) for name, sample in made.items()}


def documents(given: Material) -> dict:
    """Whole articles, equal excerpts, and articles wrongly cut into parts."""
    return {
        f"{name}, {count} articles, {how}": drawn_articles(
            given.differences[name], given.articles, count, how, given.trials
        )
        for name in ("wikitext 1 - 0", "wikitext 2 - 0", "wikitext half - full")
        for count in (12, 24, 48)
        for how in ("whole", "excerpts", "cut at 8 kB")
    }


TABLES = {
    "one pair": one_pair,
    "scattered pieces": scattered,
    "length": lengths,
    "verdicts": verdict_rates,
    "documents": documents,
}


def articles_of(data: Path) -> list[slice]:
    """Where each article of the wikitext validation text lies among the scored bytes."""
    raw = (data / "wikitext2.valid.txt").read_bytes()
    starts = [match.start() for match in re.finditer(rb"(?m)^ = (?!=)[^\n]* = \n", raw)]
    return [slice(a, b) for a, b in zip(starts, [*starts[1:], len(raw) - 1], strict=True)]


def drawn_articles(values: Floats, articles: list[slice], count: int, how: str, trials: int) -> dict:
    """Articles drawn with replacement: whole, an equal excerpt of each, or (wrongly) cut in parts, each a cluster."""
    rng = np.random.default_rng(50)
    step = {"whole": BLOCK, "excerpts": 3900, "cut at 8 kB": 8192}[how]
    if how == "excerpts":
        articles = [slice(each.start, each.start + 3900) for each in articles]
    sums = [_parts(values[each], step) for each in articles]
    total = np.concatenate(sums, axis=1).sum(axis=1)
    found, as_documents = [], 0
    for drawn in rng.integers(0, len(articles), size=(trials, count)):
        columns = np.concatenate([sums[i] for i in drawn], axis=1)
        document = np.repeat(np.arange(count), [sums[i].shape[1] for i in drawn])
        labels = np.arange(columns.shape[1]) if how == "cut at 8 kB" else document
        clusters, _ = clusters_or_batches(labels, columns[1])
        as_documents += clusters.kind == "documents"
        found.append(jackknife(ratio, columns, clusters))
    share = round(as_documents / trials, 3)
    return {"gate": missed(found, float(total[0] / total[1])), "share_judged_by_documents": share}


def _parts(values: Floats, step: int) -> Floats:
    """Sums and sizes of consecutive parts: `(2, parts)`."""
    edges = np.append(np.arange(0, len(values), step), len(values))
    return np.array([np.add.reduceat(values, edges[:-1]), np.diff(edges)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("RNNEVAL_DATA"), help="default: $RNNEVAL_DATA")
    parser.add_argument("--cache", type=Path, default=gate_models.CACHE)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--trials", type=int, default=20_000)
    parser.add_argument("--only", choices=TABLES, help="make one table, keep the others")
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error("say where the texts are: --data FOLDER or RNNEVAL_DATA")
    data = Path(arguments.data)
    gate_models.make(data, arguments.cache)
    given = Material(differences=real_differences(arguments.cache), articles=articles_of(data), trials=arguments.trials)
    results = json.loads(arguments.out.read_text()) if arguments.only and arguments.out.exists() else {}
    for name, make in TABLES.items():
        if arguments.only in (None, name):
            began = time.perf_counter()
            results[name] = make(given)
            print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)
            arguments.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
