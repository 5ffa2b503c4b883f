"""Checkpoint or recipe: how often two groups of runs of one recipe are told apart, wrongly.

    python benchmarks/gate_recipe.py --data FOLDER --out recipe.json

Ten seeds of one recipe (gate_models.py) are split into two groups of k, in every way or 400 random ones; there is no
difference between the recipes, so each 95 % interval that leaves out 0 is a miss. By the text's error alone and by the
two-level error of the built code, on the last 10 % of tinyshakespeare and on all of the held-out 60 %. Then the same on
simulated runs with effects of seed, recipe × text and block, 5,000 trials for each k.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
from collections.abc import Sequence
from pathlib import Path

import gate_models
import numpy as np
from gate_series import BLOCK, Floats
from scipy.special import stdtrit

from rnneval.gates.clusters import batches
from rnneval.gates.limits import allowances
from rnneval.gates.noninferiority import Tested, assess
from rnneval.gates.sides import Paired

(PERPLEXITY,) = allowances({"perplexity": "+1%"})
LAST_TENTH = 111_539


def side(blocks: Sequence[Floats]) -> Floats:
    """Runs from their nats in each block; every token is one character and one byte."""
    units = np.full(blocks[0].size, float(BLOCK))
    return np.array([[units, units, units, units / 5, nats] for nats in blocks])


def tested(baseline: Sequence[Floats], candidate: Sequence[Floats]) -> Tested:
    """The built test of two groups of runs."""
    units = np.full(baseline[0].size, float(BLOCK))
    ends = np.arange(1, units.size + 1) * BLOCK
    paired = Paired(
        baseline=side(baseline),
        candidate=side(candidate),
        sum_names=("nats",),
        lossless=True,
        units=units,
        document=np.zeros(units.size, dtype=np.intp),
        start=ends - BLOCK,
        end=ends,
        block_bytes=BLOCK,
        left_out=0.0,
    )
    return assess(PERPLEXITY, paired, batches(units, 8))


def misses(found: Sequence[Tested], truth: float = 0.0) -> dict[str, float]:
    """Share in % of two-sided 95 % intervals that leave out the truth: the text's error alone, and both."""
    away = np.array([abs(each.value - truth) for each in found])
    text = np.array([stdtrit(7.0, 0.975) * each.se_text for each in found])
    both = np.array([stdtrit(each.df, 0.975) * each.se for each in found])
    return {
        "text_only": round(100 * float(np.mean(away > text)), 1),
        "two_levels": round(100 * float(np.mean(away > both)), 1),
        "comparisons": len(found),
    }


def splits(count: int, k: int, rng: np.random.Generator) -> list[tuple[list[int], list[int]]]:
    """Pairs of groups of k of `count` runs: all, or 400 of them."""
    every = [
        (list(a), list(b))
        for a in itertools.combinations(range(count), k)
        for b in itertools.combinations(sorted(set(range(count)) - set(a)), k)
        if a[0] < b[0]
    ]
    return [every[i] for i in rng.permutation(len(every))[:400]]


def real(cache: Path, tokens: int | None) -> dict:
    losses = [np.load(cache / f"char-{seed}.npy") for seed in gate_models.CHARACTER_SEEDS]
    part = [each[-tokens:] if tokens else each for each in losses]
    whole = [each[: each.size // BLOCK * BLOCK].reshape(-1, BLOCK).sum(axis=1) for each in part]
    rng = np.random.default_rng(0)
    table = {
        f"{k} against {k}": misses(
            [tested([whole[i] for i in a], [whole[i] for i in b]) for a, b in splits(len(whole), k, rng)]
        )
        for k in (1, 2, 3, 5)
    }
    spread = float(np.std([each.mean() for each in part], ddof=1))
    return {"sd_of_means": round(spread, 5), **table}


def simulated(trials: int) -> dict:
    """Means move by .0068 nats a seed and by .005 a recipe on this text; block means by .05 besides."""
    rng = np.random.default_rng(1)

    def group(k: int) -> list[Floats]:
        on_this_text = np.repeat(rng.normal(0, 0.005 * np.sqrt(8), 8), 49)  # a recipe's own good and bad passages
        return [BLOCK * (on_this_text + rng.normal(0, 0.0068) + rng.normal(0, 0.05, 392)) for _ in range(k)]

    return {f"{k} against {k}": misses([tested(group(k), group(k)) for _ in range(trials)]) for k in (2, 3, 5, 8)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("RNNEVAL_DATA"), help="default: $RNNEVAL_DATA")
    parser.add_argument("--cache", type=Path, default=gate_models.CACHE)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--trials", type=int, default=5000)
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error("say where the texts are: --data FOLDER or RNNEVAL_DATA")
    gate_models.make(Path(arguments.data), arguments.cache)
    results = {
        "last 10 %": real(arguments.cache, LAST_TENTH),
        "all 60 %": real(arguments.cache, None),
        "simulated": simulated(arguments.trials),
    }
    print(json.dumps(results, indent=1))
    arguments.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
