"""Which kernel, how many parts, rows and tokens a step? What the table in rnneval/models/keras/hoisted.py rests on.

    PYTHONPATH=. python benchmarks/speed_kernels.py --models MODELS --data DATA --out speed_kernels.json

One process; the arrangements of a case take turns in each round, and each is a whole exact evaluation without start-up
(the longer text less 300 characters). Seconds of the clock and of the processor are kept: a busy machine changes the
latter less. A case that stands in the file is not run again.
"""

import argparse
import itertools
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from speed_models import CASES

import rnneval
from rnneval.models.keras import hoisted
from rnneval.text import Vocabulary

ARRANGEMENTS = {
    "layers, 1 part": {"kernel": "layers", "parts": 1},
    "hoisted, 1 part": {"kernel": "hoisted", "parts": 1},
    "hoisted, 2 parts": {"kernel": "hoisted", "parts": 2},
    "hoisted, 4 parts": {"kernel": "hoisted", "parts": 4},
}


def measured(lm: Any, text: Path, part: str, unknown: str, how: dict[str, Any]) -> dict[str, float]:
    """Evaluate once with so many parts."""
    hoisted.os.cpu_count = lambda: how["parts"]
    hoisted._ROWS_A_PART = (1, 1)
    options = {key: how[key] for key in ("kernel", "streams", "segment") if key in how}
    wall, cpu = time.perf_counter(), time.process_time()
    run = rnneval.evaluate(lm, text, part=part, unknown=unknown, states=False, check=False, **options)
    found = {"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    return found | {
        "tokens": run.tokens.scored,
        "mean": run.total_nats / run.tokens.scored,
        "device": run.timing.device,
    }


def case(name: str, given: argparse.Namespace) -> dict[str, Any]:
    tokens = CASES[name].tokens
    lm = rnneval.open(
        given.models / f"{name}.keras",
        vocabulary=Vocabulary.from_file(given.models / f"{tokens}.json", kind=tokens),
    )
    text = given.data / ("tinyshakespeare.txt" if tokens == "char" else "wikitext2.test.txt")
    unknown = "error" if tokens == "char" else "<unk>"
    shapes = itertools.product(given.streams, given.segments)
    choices = {
        f"{label}, {streams} × {segment}": how | {"streams": streams, "segment": segment}
        for streams, segment in shapes
        for label, how in ARRANGEMENTS.items()
        if (streams, segment) == (given.streams[-1], 64) or label == "hoisted, 2 parts"
    }
    starts = {label: measured(lm, text, ":300", unknown, how)["seconds"] for label, how in choices.items()}
    rounds = []
    for turn in range(given.rounds):
        order = list(choices)[turn % len(choices) :] + list(choices)[: turn % len(choices)]
        rounds.append({key: measured(lm, text, f":{given.characters}", unknown, choices[key]) for key in order})
    return {
        label: {
            "rate": statistics.median(r[label]["tokens"] / (r[label]["seconds"] - starts[label]) for r in rounds),
            "cpu_us_a_token": statistics.median(1e6 * r[label]["cpu"] / r[label]["tokens"] for r in rounds),
            "mean": rounds[0][label]["mean"],
            "device": rounds[0][label]["device"],
        }
        for label in choices
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAMES")
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("RNNEVAL_DATA", ".")))
    parser.add_argument("--characters", type=int, default=300_000)
    parser.add_argument("--streams", type=int, nargs="*", default=[64, 128, 256])
    parser.add_argument("--segments", type=int, nargs="*", default=[32, 64, 128])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    done = json.loads(given.out.read_text()) if given.out.exists() else {}
    for name in given.names or [name for name in CASES if (given.models / f"{name}.keras").exists()]:
        if name not in done:
            done[name] = case(name, given)
            given.out.write_text(json.dumps(done, indent=1, ensure_ascii=False) + "\n")
            for label, found in done[name].items():
                print(
                    f"{name:20} {label:32} {found['rate']:12,.0f} tokens/s {found['cpu_us_a_token']:8.1f} µs",
                    flush=True,
                )


if __name__ == "__main__":
    main()
