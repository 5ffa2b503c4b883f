"""Answers of benchmarks/layers.py from its records: differences between depths, and how often such answers are wrong.

    PYTHONPATH=. python benchmarks/layers_answer.py benchmarks/layers.json

prints the answers and writes the simulated studies into the record, under `calibration`. TensorFlow is not needed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from rnneval.gates.clusters import Clusters, clusters_of, drift, ratio
from rnneval.gates.limits import allowances
from rnneval.gates.noninferiority import Tested, assess, holm_levels, loss_differences
from rnneval.gates.sides import Paired

Floats = NDArray[np.float64]
(PERPLEXITY,) = allowances({"perplexity": "0%"})
"""A perplexity is compared by its logarithm, so that differences are in nats per character."""
COMPARISONS = (("gru-1", "gru-2"), ("gru-2", "gru-3"), ("lstm-1", "lstm-2"))
"""Neighbouring depths: the family of Holm's correction."""
ARMS = tuple(dict.fromkeys(arm for pair in COMPARISONS for arm in pair))
"""The arms that are compared, the shallowest of each kind first."""
LEVEL = 0.05
POWER = 0.80
MATTERS = 0.02
"""Nats per character, 2 % of the perplexity: a smaller difference counts as none. Chosen before the training."""
CLUSTERS = 8
STUDIES = 4000
SEEDS = (3, 5, 10)
EFFECTS = (0.01, 0.02, 0.05)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The comparison of two neighbouring depths: deeper − shallower, in nats per character."""

    shallow: str
    deep: str
    size: int
    seeds: tuple[int, int]
    losses: tuple[float, float]
    """Mean held-out loss of both arms."""
    difference: float
    low: float
    """Lower bound of the 95 % interval of this comparison alone."""
    high: float
    together: tuple[float, float]
    """Interval that holds together with those of the other comparisons (Bonferroni)."""
    se_seeds: float
    se_text: float
    df: float
    p: float
    level: float
    """Level of Holm's procedure against which `p` is held."""
    verdict: str
    """`helps`, `hurts`, `no difference` or `cannot tell`."""
    more_seeds: int | None
    """Further seeds of each arm with which a difference of 0.02 nats would be found; None if no number suffices."""
    drift: float
    """Ratio of standard errors, 16 batches of text to blocks: above 1.5 the interval holds for this passage only."""


def of_arm(record: Mapping[str, Any], arm: str, size: int) -> list[Mapping[str, Any]]:
    """Return the runs of an arm, by seed."""
    runs = [run for run in record["runs"].values() if (run["arm"], run["size"]) == (arm, size)]
    return sorted(runs, key=lambda run: run["seed"])


def paired(record: Mapping[str, Any], shallow: Sequence[Any], deep: Sequence[Any]) -> tuple[Paired, Clusters]:
    """Return the block sums of two groups of runs, and the clusters of the text, as `rnneval gate` makes them."""
    units = np.array(record["blocks"]["tokens"], dtype=np.float64)
    ends = np.array(record["blocks"]["bytes"], dtype=np.int64)
    document = np.zeros(units.size, dtype=np.intp)

    def side(runs: Sequence[Any]) -> Floats:
        return np.array([[units, units, units, units, run["nats"]] for run in runs], dtype=np.float64)

    found = Paired(
        baseline=side(shallow),
        candidate=side(deep),
        sum_names=("nats",),
        lossless=True,
        units=units,
        document=document,
        start=np.concatenate([[0], ends[:-1]]),
        end=ends,
        block_bytes=256,
        left_out=0.0,
    )
    return found, clusters_of(document, units)


def two_sided(tested: Tested) -> float:
    """Return the p-value of no difference."""
    return float(2 * stdtr(tested.df, -abs(tested.value) / tested.se))


def answers(record: Mapping[str, Any], size: int) -> list[Answer]:
    """Answer the family of comparisons at one size; pairs with an arm of fewer than two runs are left out."""
    groups = {
        pair: (of_arm(record, pair[0], size), of_arm(record, pair[1], size))
        for pair in COMPARISONS
        if min(len(of_arm(record, arm, size)) for arm in pair) > 1
    }
    sides = {pair: paired(record, *both) for pair, both in groups.items()}
    tested = {pair: assess(PERPLEXITY, *both) for pair, both in sides.items()}
    claims = {deep: (deep, two_sided(tested[shallow, deep])) for shallow, deep in tested}
    levels = holm_levels(claims, LEVEL)
    return [
        _answer(groups[pair], found, level=levels[pair[1]], family=len(tested), drifted=_drift(sides[pair][0]))
        for pair, found in tested.items()
    ]


def _drift(sides: Paired) -> float:
    return drift(ratio, loss_differences(sides), sides.units)


def loss(run: Mapping[str, Any]) -> float:
    """Return the held-out loss of a run, in nats per character."""
    return float(run["total_nats"] / run["tokens"])


def _answer(
    groups: tuple[Sequence[Any], Sequence[Any]], tested: Tested, *, level: float, family: int, drifted: float
) -> Answer:
    together = (tested.bound(LEVEL / 2 / family), tested.bound(1 - LEVEL / 2 / family))
    p = two_sided(tested)
    shallow, deep = groups
    counts = (len(shallow), len(deep))
    return Answer(
        shallow=shallow[0]["arm"],
        deep=deep[0]["arm"],
        size=shallow[0]["size"],
        seeds=counts,
        losses=(float(np.mean([loss(run) for run in shallow])), float(np.mean([loss(run) for run in deep]))),
        difference=tested.value,
        low=tested.bound(LEVEL / 2),
        high=tested.bound(1 - LEVEL / 2),
        together=together,
        se_seeds=tested.se_runs,
        se_text=tested.se_text,
        df=tested.df,
        p=p,
        level=level,
        verdict=verdict(tested.value, p, level, together),
        more_seeds=more_seeds(tested.se_runs, tested.se_text, min(counts), LEVEL / family),
        drift=drifted,
    )


def verdict(difference: float, p: float, level: float, together: tuple[float, float]) -> str:
    """Return what a comparison answers.

    >>> verdict(-0.03, 0.01, 0.05 / 3, (-0.05, -0.01)), verdict(0.001, 0.8, 0.05, (-0.01, 0.012))
    ('helps', 'no difference')
    >>> verdict(0.01, 0.3, 0.05, (-0.02, 0.04))
    'cannot tell'
    """
    if p <= level:
        return "helps" if difference < 0 else "hurts"
    return "no difference" if max(-together[0], together[1]) <= MATTERS else "cannot tell"


def more_seeds(se_seeds: float, se_text: float, seeds: int, level: float) -> int | None:
    """Return how many more seeds an arm find a difference of `MATTERS` with 80 % power, the text error as it is.

    >>> more_seeds(0.002, 0.002, 5, 0.05), more_seeds(0.001, 0.02, 5, 0.05)
    (0, None)
    """
    for count in range(seeds, 1000):
        runs, text = se_seeds**2 * seeds / count, se_text**2
        df = (runs + text) ** 2 / (runs**2 / (2 * (count - 1)) + text**2 / (CLUSTERS - 1))
        if (stdtrit(df, 1 - level / 2) + stdtrit(df, POWER)) * math.sqrt(runs + text) <= MATTERS:
            return count - seeds
    return None


@dataclass(frozen=True, kw_only=True)
class Spreads:
    """Standard deviations of losses, in nats per character."""

    seed: float
    """Of a run's mean over the text, between seeds of one arm."""
    seed_text: float
    """Of the part of a run on a cluster that neither the seed nor the cluster explains."""
    arm_text: float
    """Of the part of an arm on a cluster that neither the arm nor the cluster explains."""


def of_clusters(record: Mapping[str, Any], runs: Sequence[Any]) -> Floats:
    """Return the mean loss of each run on each cluster of the text, `(runs, clusters)`."""
    sides, clusters = paired(record, runs, runs)
    nats = [np.bincount(clusters.labels, weights=columns[4]) for columns in sides.baseline.columns]
    return np.asarray(nats / clusters.units)


def spreads(record: Mapping[str, Any], size: int) -> Spreads:
    """Estimate the spreads from the runs of the arms that are compared."""
    arms = [of_clusters(record, of_arm(record, arm, size)) for arm in ARMS]
    left = [losses - losses.mean(0) - losses.mean(1, keepdims=True) + losses.mean() for losses in arms]
    free = sum((len(losses) - 1) * (losses.shape[1] - 1) for losses in arms)
    seed_text = sum(float(np.square(rest).sum()) for rest in left) / free
    of_runs = np.mean([losses.mean(1).var(ddof=1) for losses in arms])
    means = {arm: losses.mean(0) for arm, losses in zip(ARMS, arms, strict=True)}
    between = np.mean([(means[deep] - means[shallow]).var(ddof=1) / 2 for shallow, deep in COMPARISONS])
    return Spreads(
        seed=math.sqrt(max(of_runs - seed_text / CLUSTERS, 0.0)),
        seed_text=math.sqrt(seed_text),
        arm_text=math.sqrt(max(between - seed_text / np.mean([len(losses) for losses in arms]), 0.0)),
    )


def simulate(
    rng: np.random.Generator, of: Spreads, seeds: int, effects: Mapping[str, float], correlation: float = 0.0
) -> dict[str, Floats]:
    """Return simulated losses of each arm, `(studies, seeds, clusters)`: deviations from what is common to all."""
    found = {}
    for arm in ARMS:
        of_text = rng.normal(0, of.arm_text, (STUDIES, 1, CLUSTERS))
        for cluster in range(1, CLUSTERS):
            of_text[..., cluster] *= math.sqrt(1 - correlation**2)
            of_text[..., cluster] += correlation * of_text[..., cluster - 1]
        of_seed = rng.normal(0, of.seed, (STUDIES, seeds, 1))
        found[arm] = effects.get(arm, 0.0) + of_text + of_seed + rng.normal(0, of.seed_text, (STUDIES, seeds, CLUSTERS))
    return found


def compared(shallow: Floats, deep: Floats) -> tuple[Floats, Floats, Floats]:
    """Return differences, standard errors and degrees of freedom of studies: `assess` for clusters of equal size."""
    difference = deep.mean(1) - shallow.mean(1)
    terms = [(difference.var(1, ddof=1) / CLUSTERS, CLUSTERS - 1)]
    terms += [(side.mean(2).var(1, ddof=1) / side.shape[1], side.shape[1] - 1) for side in (shallow, deep)]
    total = sum(variance for variance, _ in terms)
    df = total**2 / sum(variance**2 / free for variance, free in terms)
    return difference.mean(1), np.sqrt(total), np.asarray(df)


def verdicts(losses: Mapping[str, Floats]) -> list[list[str]]:
    """Return the answers of simulated studies, a list for each."""
    found = [compared(losses[shallow], losses[deep]) for shallow, deep in COMPARISONS]
    difference, se, df = (np.stack(part, axis=1) for part in zip(*found, strict=True))
    p = 2 * stdtr(df, -np.abs(difference) / se)
    reach = stdtrit(df, 1 - LEVEL / 2 / len(COMPARISONS)) * se
    names = [deep for _, deep in COMPARISONS]
    said = []
    for row in range(STUDIES):
        claims = {name: (name, float(p[row, i])) for i, name in enumerate(names)}
        levels = holm_levels(claims, LEVEL)
        said.append(
            [
                verdict(value, float(p[row, i]), levels[name], (value - reach[row, i], value + reach[row, i]))
                for i, (name, value) in enumerate(zip(names, difference[row].tolist(), strict=True))
            ]
        )
    return said


def share(said: Sequence[Sequence[str]], words: set[str], place: int | None = None) -> float:
    """Return the per cent of studies with one of these answers, in any comparison or in one of them."""
    hits = [bool(words & set(study if place is None else [study[place]])) for study in said]
    return round(100 * float(np.mean(hits)), 1)


def calibrated(of: Spreads) -> Iterator[dict[str, Any]]:
    """Yield a row for each number of seeds and each kind of text error: false answers and power, in per cent."""
    claims = {"helps", "hurts"}
    rng = np.random.default_rng(26)
    same = replace(of, arm_text=0.0)
    for seeds in SEEDS:
        for name, spread, correlation in (
            ("same recipe", same, 0.0),
            ("arms differ by passage", of, 0.0),
            ("the same, neighbouring passages correlated by 0.3", of, 0.3),
            ("arm × passage 0.02, correlated by 0.3", replace(of, arm_text=0.02), 0.3),
        ):
            equal = verdicts(simulate(rng, spread, seeds, {}, correlation))
            limit = verdicts(simulate(rng, spread, seeds, {"lstm-2": MATTERS}, correlation))
            yield {
                "seeds": seeds,
                "text": name,
                "false_answers": share(equal, claims),
                "equal_no_difference": share(equal, {"no difference"}, 2),
                "false_no_difference": share(limit, {"no difference"}, 2),
                "power": {
                    str(effect): share(
                        verdicts(simulate(rng, spread, seeds, {"lstm-2": -effect}, correlation)), {"helps"}, 2
                    )
                    for effect in EFFECTS
                },
            }


def splits(record: Mapping[str, Any], size: int) -> dict[str, Any]:
    """Compare the runs of each arm with one another: two against the rest, which are of the same recipe.

    Count the comparisons, which share their runs and text and are far from independent, and the 95 % intervals that
    leave out 0.
    """
    outside = total = 0
    for arm in ARMS:
        runs = of_arm(record, arm, size)
        for two in itertools.combinations(runs, 2):
            rest = [run for run in runs if run not in two]
            if len(rest) < 2:
                continue
            found = assess(PERPLEXITY, *paired(record, two, rest))
            total += 1
            outside += two_sided(found) <= LEVEL
    return {"comparisons": total, "outside": int(outside)}


def calibration(record: Mapping[str, Any], size: int) -> dict[str, Any]:
    """Return the measured spreads and the results of the simulated studies."""
    of = spreads(record, size)
    return {
        "studies": STUDIES,
        "spreads": {name: round(value, 5) for name, value in vars(of).items()},
        "rows": list(calibrated(of)),
        "splits": splits(record, size),
    }


def compact(record: Any) -> str:
    """Return JSON with lists of numbers on one line each."""
    text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
    return re.sub(r"\[[^][{}]*\]", lambda found: " ".join(found[0].split()), text) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("record", type=Path)
    path = parser.parse_args().record
    record = json.loads(path.read_text(encoding="utf-8"))
    for size in record["sizes"]:
        for answer in answers(record, size):
            print(answer)
    record["calibration"] = calibration(record, record["sizes"][0])
    print(json.dumps(record["calibration"], indent=1))
    path.write_text(compact(record), encoding="utf-8")


if __name__ == "__main__":
    main()
