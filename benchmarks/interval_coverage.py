"""Do the intervals of a run's scores cover what they say? Miss rates of two-sided 95 % on series with a known mean.

    python benchmarks/interval_coverage.py --data FOLDER --out interval_coverage.json

AR(1) and `slow` series are simulated; AR(20) is fitted to the losses of two models that gate_models.py trains and
keeps. Blocks of 256 tokens, with the code that fills `low` and `high` of the run record. A perfect interval misses 5 %;
20,000 trials have a standard error of 0.15 points.
"""

import argparse
import json
import os
from pathlib import Path

import gate_models
import gate_series as series
import numpy as np
from gate_calibration import estimates
from gate_series import Sample

from rnneval.gates.clusters import bounds_of
from rnneval.metrics import by_name

LONG = 391  # blocks of 256: 100,000 tokens
SHORT = 39


def misses(sample: Sample) -> dict[str, float]:
    """How often the interval of the cross-entropy leaves out the true mean, in per cent."""
    found, _ = estimates(sample)
    bounds = [bounds_of(by_name()["cross_entropy"], each) for each in found]
    out = [bound is None or not bound.low <= sample.truth <= bound.high for bound in bounds]
    return {"missed": round(100 * float(np.mean(out)), 2), "trials": len(out)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, default=os.environ.get("RNNEVAL_DATA"), required="RNNEVAL_DATA" not in os.environ
    )
    parser.add_argument("--cache", type=Path, default=Path("gate-cache"))
    parser.add_argument("--trials", type=int, default=20_000)
    parser.add_argument("--out", type=Path, default=Path("interval_coverage.json"))
    given = parser.parse_args()
    gate_models.make(given.data, given.cache)
    losses = np.load(given.cache / "char-0.npy")
    samples = {
        "AR(1) .3, 100k": lambda: series.ar1(0.3, LONG, given.trials, 101),
        "AR(1) .9, 100k": lambda: series.ar1(0.9, LONG, given.trials, 102),
        "AR(20) of a model's losses, 100k": lambda: series.autoregressive(losses, 20, LONG, given.trials, 103),
        "slow, 10k": lambda: series.slow(SHORT, given.trials, 104),
        "slow, 100k": lambda: series.slow(LONG, given.trials, 105),
    }
    result = {}
    for name, made in samples.items():
        result[name] = misses(made())
        print(f"{name:36} missed {result[name]['missed']:5.2f} % of {result[name]['trials']:,}", flush=True)
    given.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
