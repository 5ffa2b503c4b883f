"""Does memory grow with the text? Peak resident memory of `rnneval.evaluate` beyond what it held once it was warm.

    python benchmarks/memory.py --characters 10_000_000 --out memory.json          (10⁸ on demand)

A GRU of 16 units, random text made on the spot. Warm is a run that has read 5 · 10⁵ tokens: the model is compiled and
every buffer of a fixed size is filled. The peak is of all that comes after, the sums and the record included.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import rnneval
from rnneval.text import Vocabulary

LETTERS = "abcdefghijklmnopqrstuvwxyz .,\n"
CHUNK = 1_000_000
WARM = 500_000


def model() -> rnneval.models.RecurrentLM:
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Embedding(len(LETTERS), 8), keras.layers.GRU(16, return_sequences=True)]
    made = keras.Sequential([*layers, keras.layers.Dense(len(LETTERS))])
    made(tf.ones((1, 1), tf.int32))
    return rnneval.wrap(made, vocabulary=Vocabulary.from_tokens(list(LETTERS)))


def write(path: Path, characters: int) -> Path:
    rng = np.random.default_rng(0)
    letters = np.frombuffer(LETTERS.encode(), np.uint8)
    with path.open("wb") as file:
        for start in range(0, characters, CHUNK):
            file.write(rng.choice(letters, min(CHUNK, characters - start)).tobytes())
    return path


class Memory:
    """Resident memory once a run is warm, and its peak from then on (Linux: /proc)."""

    def __init__(self) -> None:
        self.after_warm_up = 0

    def __call__(self, done: int, _total: int) -> None:
        """Take the progress of a run."""
        if not self.after_warm_up and done >= WARM:
            Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
            self.after_warm_up = status("VmRSS")

    def growth(self) -> int:
        """What came on top, in bytes."""
        return status("VmHWM") - self.after_warm_up


def status(name: str) -> int:
    """A line of /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--characters", type=int, default=10_000_000)
    parser.add_argument("--streams", type=int, default=256)
    parser.add_argument("--losses", action="store_true", help="also write one row a token")
    parser.add_argument("--out", type=Path, default=Path("memory.json"))
    given = parser.parse_args()
    lm, memory = model(), Memory()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        losses = folder / "losses.parquet" if given.losses else None
        text = write(folder / "text", given.characters)
        began = time.perf_counter()
        run = rnneval.evaluate(lm, text, streams=given.streams, losses=losses, check=False, progress=memory)
    result = {
        "characters": given.characters,
        "losses": given.losses,
        "after_warm_up_mb": memory.after_warm_up / 2**20,
        "growth_mb": memory.growth() / 2**20,
        "seconds": time.perf_counter() - began,
        "tokens_per_second": run.timing.tokens_per_second,
        "read_again": run.streams.tokens_rerun / run.tokens.scored,
    }
    given.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
