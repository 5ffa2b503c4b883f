"""What looking inside costs: the state summary in an evaluation, and GradientNorms in a step of training.

    python benchmarks/inside_cost.py --out inside_cost.json [--text TEXT] [--rounds 5] [--only "GRU 128"]

Both are measured in pairs, with and without in turn in one process, and given as the median over rounds of the ratio of
CPU seconds (a busy machine changes these less than it does the clock) and of the clock. An evaluation is measured as it
is by default, the checkpoint opened and the wiring checked, and the reading alone, of a model that is open.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

import rnneval
from rnneval.callbacks import GradientNorms
from rnneval.text import Vocabulary

WIDTH = 65


def model_of(kind: str, units: tuple[int, ...]) -> keras.Model:
    keras.utils.set_random_seed(0)
    layers = [getattr(keras.layers, kind)(n, return_sequences=True) for n in units]
    model = keras.Sequential([keras.layers.Embedding(WIDTH, 256), *layers, keras.layers.Dense(WIDTH)])
    model(tf.ones((1, 1), tf.int32))
    return model


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def paired(plain: Callable[[], object], watched: Callable[[], object], rounds: int) -> dict[str, float]:
    plain(), watched()  # what is compiled once is not what a step costs
    cpu, wall = [], []
    for turn in range(rounds):
        first, second = (plain, watched) if turn % 2 else (watched, plain)
        a, b = seconds(first), seconds(second)
        without, with_it = (a, b) if turn % 2 else (b, a)
        cpu.append(with_it[0] / without[0] - 1)
        wall.append(with_it[1] / without[1] - 1)
    return {"cpu": statistics.median(cpu), "clock": statistics.median(wall), "rounds": rounds}


def states(kind: str, units: tuple[int, ...], text: Path, part: str, rounds: int) -> dict[str, dict[str, float]]:
    """The share that the summary adds to an evaluation, and to the reading of an open model alone."""
    vocabulary = Vocabulary.from_tokens(sorted(set(text.read_text(encoding="utf-8"))))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model_of(kind, units).save(path)
        lm = rnneval.open(path, vocabulary=vocabulary)

        def reading(*, watched: bool) -> object:
            return rnneval.evaluate(lm, text, part=part, check=False, states=watched)

        def evaluation(*, watched: bool) -> object:
            return rnneval.evaluate(rnneval.open(path, vocabulary=vocabulary), text, part=part, states=watched)

        return {
            name: paired(partial(run, watched=False), partial(run, watched=True), rounds)
            for name, run in (("evaluation", evaluation), ("reading alone", reading))
        }


def gradients(units: int, rounds: int, steps: int = 4) -> dict[str, float]:
    """The share that GradientNorms adds to a step of 64 × 100 at so many units."""
    rng = np.random.default_rng(0)
    x, y = (rng.integers(0, WIDTH, (64 * steps, 100)) for _ in range(2))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    models = [model_of("GRU", (units,)) for _ in range(2)]
    for model in models:
        model.compile(loss=loss, optimizer=keras.optimizers.Adam(1e-3, global_clipnorm=1.0))
    with TemporaryDirectory() as folder:
        norms = GradientNorms(Path(folder) / "h")

        class Rounds(keras.callbacks.Callback):
            """Times epochs, the first of which compiles."""

            def __init__(self) -> None:
                super().__init__()
                self.cpu: list[float] = []
                self.wall: list[float] = []

            def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
                self._at = (time.process_time(), time.perf_counter())

            def on_epoch_end(self, epoch: int, logs: object = None) -> None:
                self.cpu.append(time.process_time() - self._at[0])
                self.wall.append(time.perf_counter() - self._at[1])

        clocks = [Rounds(), Rounds()]
        # Turn and turn about, each training going on where it was: what is compiled at the start of `fit` is epoch 0.
        for _ in range(rounds):
            for model, clock, watch in zip(models, clocks, ([], [norms]), strict=True):
                model.fit(x, y, batch_size=64, epochs=2, shuffle=False, verbose=0, callbacks=[*watch, clock])
    pairs = zip(clocks[0].cpu[1::2], clocks[1].cpu[1::2], clocks[0].wall[1::2], clocks[1].wall[1::2], strict=True)
    ratios = [(b / a - 1, d / c - 1) for a, b, c, d in pairs]
    return {
        "cpu": statistics.median(r for r, _ in ratios),
        "clock": statistics.median(r for _, r in ratios),
        "rounds": rounds,
        "cpu_seconds_a_step": statistics.median(clocks[0].cpu[1::2]) / steps,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--text", type=Path, default=Path(os.environ.get("RNNEVAL_DATA", ".")) / "tinyshakespeare.txt")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="measure what has this in its name")
    given = parser.parse_args()
    found: dict[str, object] = {}
    for kind, units, part in (
        ("GRU", (1024,), "97%:"),
        ("GRU", (256, 256), "90%:"),
        ("LSTM", (256, 256), "90%:"),
        ("GRU", (128,), "90%:"),
    ):
        name = f"states, {kind} {' × '.join(map(str, units))}"
        if given.only in name:
            found[name] = states(kind, units, given.text, part, given.rounds)
            print(name, found[name], flush=True)
    if given.only in (name := "GradientNorms, GRU 1024"):
        found[name] = gradients(1024, given.rounds)
        print(name, found[name])
    given.out.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
