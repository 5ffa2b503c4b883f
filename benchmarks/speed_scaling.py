"""Time and peak memory of an exact evaluation against the length of the text, rows, vocabulary and depth.

    PYTHONPATH=. python benchmarks/speed_scaling.py --out speed_scaling.json [--longest 10_000_000] [--rounds 3]

Models with random weights that forget, random text made on the spot. Each point is a process of its own, and points
take turns. Memory is what a run holds that has read a hundred thousand tokens, and its peak from there on (Linux). A
point that has all of its rounds in the file is not run again.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

TYPICAL = {"kind": "GRU", "units": 128, "depth": 1, "vocabulary": 65, "tokens": 1_000_000, "streams": "auto"}


def points(longest: int) -> dict[str, dict[str, Any]]:
    """Each differs from what is typical in one thing."""
    lengths = [n for n in (100_000, 1_000_000, 10_000_000, 100_000_000) if n <= longest]
    series = {
        "tokens": lengths,
        "streams": [1, 16, 64, 128, 256, 512],
        "vocabulary": [65, 1_000, 10_000, 50_000, 200_000],
        "depth": [1, 2, 4],
    }
    made = {}
    for what, values in series.items():
        for value in values:
            fewer = {"streams": 20_000 if value == 1 else 300_000, "vocabulary": 65 * 1_000_000 // max(65, value // 4)}
            changed = {what: value} | ({"tokens": max(20_000, min(1_000_000, fewer[what]))} if what in fewer else {})
            made[f"{what} {value:,}"] = TYPICAL | changed
    return made


def run_point(point: dict[str, Any]) -> dict[str, Any]:
    """Evaluate once, in this process."""
    import keras
    import numpy as np
    import tensorflow as tf
    from memory import Memory, status

    import rnneval
    from rnneval.text import Vocabulary

    class Warm(Memory):
        """Takes the memory of a run that has begun."""

        def __call__(self, done: int, total: int) -> None:
            if not self.after_warm_up and done >= min(100_000, total // 2):
                Path("/proc/self/clear_refs").write_text("5")
                self.after_warm_up = status("VmRSS")

    keras.utils.set_random_seed(0)
    width, units = point["vocabulary"], point["units"]
    layers = [getattr(keras.layers, point["kind"])(units, return_sequences=True) for _ in range(point["depth"])]
    model = keras.Sequential([keras.layers.Embedding(width, 64), *layers, keras.layers.Dense(width)])
    model(tf.ones((1, 1), tf.int32))
    # Twice the characters of a vocabulary of words: short names, whatever they are.
    names = [chr(0x4E00 + k) for k in range(width)] if width <= 20_000 else [f"{k:x}" for k in range(width)]
    words = width > 20_000
    lm = rnneval.wrap(model, vocabulary=Vocabulary.from_tokens(names, kind="word" if words else "char"))
    rng, memory = np.random.default_rng(0), Warm()
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "text"
        with text.open("w", encoding="utf-8") as file:
            for start in range(0, point["tokens"], 1 << 20):
                ids = rng.integers(0, width, min(1 << 20, point["tokens"] - start))
                file.write((" " if words else "").join(names[k] for k in ids) + (" " if words else ""))
        run = rnneval.evaluate(lm, text, states=False, check=False, streams=point["streams"], progress=memory)
    return {
        "tokens_per_second": run.timing.tokens_per_second,
        "warm_mb": memory.after_warm_up / 2**20,
        "growth_mb": memory.growth() / 2**20,
        "rows": run.streams.count,
        "segment": run.streams.segment,
        "read_again": run.streams.tokens_rerun / run.tokens.scored,
        "kernel": run.streams.kernel,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--longest", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", help="a series: tokens, streams, vocabulary or depth")
    parser.add_argument("--point", type=json.loads, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.point is not None:
        print(json.dumps(run_point(given.point)))
        return
    done: dict[str, Any] = json.loads(given.out.read_text()) if given.out.exists() else {}
    here = [sys.executable, __file__, "--point"]
    root = str(Path(__file__).parents[1])
    for turn in range(given.rounds):
        for name, point in points(given.longest).items():
            rounds = done.setdefault(name, {"point": point, "rounds": []})["rounds"]
            if len(rounds) > turn or (given.only and not name.startswith(given.only)):
                continue
            ran = subprocess.run(
                [*here, json.dumps(point)], check=True, capture_output=True, text=True, env={"PYTHONPATH": root}
            )
            rounds.append(json.loads(ran.stdout.splitlines()[-1]))
            done[name]["tokens_per_second"] = statistics.median(r["tokens_per_second"] for r in rounds)
            given.out.write_text(json.dumps({k: v for k, v in done.items() if v["rounds"]}, indent=1) + "\n")
            print(name, rounds[-1], flush=True)


if __name__ == "__main__":
    main()
