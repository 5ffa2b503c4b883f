"""Do more layers help? Train GRU and LSTM stacks of equal size on tinyshakespeare, several seeds each.

    nice python benchmarks/layers.py --data tinyshakespeare.txt --out RUNS

Each run is a process of its own and becomes a folder of --out: `model.keras` (`model.weights.h5` for the wrong stack),
`run.json` (the record of `rnneval.evaluate` on the held-out text), `training.json` (the history) and `timing.json`. The
folder appears when the run is complete; the same command after a kill starts the runs that are missing. A run depends
on its seed alone. benchmarks/layers_records.py makes the records of docs/layers.md of these folders.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
Ids = NDArray[np.int32]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Every choice of the training that all arms share."""

    train_share: float = 0.9
    """Share of the text that is not held out."""
    validation_share: float = 0.05
    """Share at the end of the training part, for early stopping."""
    rows: int = 32
    """Parallel streams; each is a contiguous part of the training text, and carries its state."""
    segment: int = 64
    """Tokens between truncations of backpropagation."""
    epochs: int = 4
    patience: int = 2
    """Epochs without a better validation loss after which the training ends."""
    learning_rate: float = 4e-3
    """Peak, after the warm-up; then half a cosine to 0 at the end of the last epoch."""
    warmup_steps: int = 100
    clipnorm: float = 1.0
    """Limit of the global gradient norm."""
    characters: int | None = None
    """Length of the text that is used; None is the whole."""


QUICK = Recipe(rows=8, segment=16, epochs=2, warmup_steps=5, characters=60_000)
"""A recipe of seconds, to test that the program resumes."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One training."""

    arm: str
    size: int
    seed: int

    @property
    def name(self) -> str:
        """Name of the folder."""
        return f"{self.arm}-{self.size}-seed{self.seed}"


def order(arms: Sequence[str], sizes: Sequence[int], seeds: int) -> list[Job]:
    """Return all jobs: size by size and seed by seed, the arms of a seed shuffled.

    If the study has to end early, all arms have the same seeds, up to the one that was in work.
    """
    rng = np.random.default_rng(0)
    return [
        Job(arm=arms[i], size=size, seed=seed)
        for size in sizes
        for seed in range(seeds)
        for i in rng.permutation(len(arms))
    ]


def parts(text: str, recipe: Recipe) -> tuple[str, str, str]:
    """Return the text to train on, the text for early stopping, and the held-out text."""
    text = text[: recipe.characters]
    held_out = int(len(text) * recipe.train_share)
    validation = int(held_out * (1 - recipe.validation_share))
    return text[:validation], text[validation:held_out], text[held_out:]


def encode(text: str, vocabulary: Sequence[str]) -> Ids:
    index = {character: i for i, character in enumerate(vocabulary)}
    return np.array([index[character] for character in text], np.int32)


def segments(ids: Ids, rows: int, length: int) -> Iterator[tuple[Ids, Ids]]:
    """Yield inputs and targets `(rows, length)`: each row goes on where it ended in the segment before."""
    span = (len(ids) - 1) // rows
    inputs, targets = (part[: rows * span].reshape(rows, span) for part in (ids[:-1], ids[1:]))
    for start in range(0, span - length + 1, length):
        yield inputs[:, start : start + length], targets[:, start : start + length]


class Trainer:
    """One model in training: its optimizer, and the two functions that run it over a segment."""

    def __init__(self, job: Job, recipe: Recipe, vocab_size: int, steps_an_epoch: int) -> None:
        import keras
        import layers_models as models
        import tensorflow as tf

        keras.utils.set_random_seed(job.seed)
        self.arm, self.recipe = models.BY_NAME[job.arm], recipe
        self.units = models.units_for(self.arm, job.size, vocab_size)
        self.model = models.build(self.arm, self.units, vocab_size)
        total = steps_an_epoch * recipe.epochs
        self.optimizer = keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(
                0.0,
                decay_steps=max(total - recipe.warmup_steps, 1),
                warmup_target=recipe.learning_rate,
                warmup_steps=recipe.warmup_steps,
            ),
            global_clipnorm=recipe.clipnorm,
        )
        self.optimizer.build(self.model.trainable_variables)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits

        @tf.function
        def train(inputs: Any, targets: Any, states: Any) -> Any:
            with tf.GradientTape() as tape:
                logits, states = self.model(inputs, states=states, return_state=True, training=True)
                loss = tf.reduce_mean(losses(targets, logits))
            variables = self.model.trainable_variables
            self.optimizer.apply(tape.gradient(loss, variables), variables)
            return loss, states

        @tf.function
        def look(inputs: Any, targets: Any, states: Any) -> Any:
            logits, states = self.model(inputs, states=states, return_state=True, training=False)
            return tf.reduce_mean(losses(targets, logits)), states

        self._train, self._look = train, look
        self._zeros = models.zero_states(self.arm, self.units, recipe.rows)

    def epoch(self, ids: Ids, after_step: Any, shift: int) -> float:
        """Train on the text once, from its character `shift` on; return the mean loss of its segments."""
        return self._over(self._train, ids[shift:], after_step)

    def validate(self, ids: Ids) -> float:
        """Return the mean loss on a text, without dropout, the state carried."""
        return self._over(self._look, ids, lambda: None)

    def _over(self, function: Any, ids: Ids, after_step: Any) -> float:
        import tensorflow as tf

        states, total = self._zeros, []
        for inputs, targets in segments(ids, self.recipe.rows, self.recipe.segment):
            loss, states = function(tf.constant(inputs), tf.constant(targets), states)
            total.append(loss)
            after_step()
        return float(np.mean([float(loss) for loss in total], dtype=np.float64))


def train(job: Job, recipe: Recipe, text: str, folder: Path) -> dict[str, Any]:
    """Train one model, and save its best epoch; return the history."""
    import keras

    import rnneval

    vocabulary = sorted(set(text))
    training, validation, _ = (encode(part, vocabulary) for part in parts(text, recipe))
    steps = ((len(training) - recipe.segment - 1) // recipe.rows) // recipe.segment
    trainer = Trainer(job, recipe, len(vocabulary), steps)
    rng = np.random.default_rng(job.seed)
    epochs, best, weights, parent = [], np.inf, None, os.getppid()
    with rnneval.GradientNorms(folder / "gradients", steps_per_part=10**9).watching(
        trainer.model, trainer.optimizer
    ) as norms:
        waiting = 0

        def after_step() -> None:
            nonlocal waiting
            waiting = (waiting + 1) % 200
            if not waiting:
                norms.collect()
                if os.getppid() != parent:  # the study was killed: another process will train this model
                    raise SystemExit(1)

        for number in range(recipe.epochs):
            loss = trainer.epoch(training, after_step, int(rng.integers(recipe.segment)))
            seen = trainer.validate(validation)
            epochs.append({"epoch": number + 1, "training_nats": loss, "validation_nats": seen})
            print(f"{job.name} {epochs[-1]}", flush=True)
            if seen < best:
                best, weights = seen, trainer.model.get_weights()
            if number + 1 - (1 + int(np.argmin([e["validation_nats"] for e in epochs]))) >= recipe.patience:
                break
    trainer.model.set_weights(weights)
    _save(trainer, folder)
    return {
        "job": dataclasses.asdict(job),
        "recipe": dataclasses.asdict(recipe),
        "units": trainer.units,
        "parameters": trainer.model.count_params(),
        "steps_an_epoch": steps,
        "epochs": epochs,
        "lost_steps": norms.lost,
        "keras": keras.__version__,
    }


def _save(trainer: Trainer, folder: Path) -> None:
    """Save the model whole where it is a chain of layers, and prove that the copy has the same losses."""
    import layers_models as models
    import tensorflow as tf

    if trainer.arm.shared:
        trainer.model.save_weights(folder / "model.weights.h5")
        return
    copy = models.sequential(trainer.model)
    ids = tf.constant(np.arange(40, dtype=np.int32).reshape(2, 20) % 60)
    difference = float(tf.reduce_max(tf.abs(copy(ids) - trainer.model(ids))))
    if not difference < 1e-4:
        raise ValueError(f"the saved copy has other logits than the model: {difference}")
    copy.save(folder / "model.keras")


def opened(folder: Path, vocabulary: Sequence[str]) -> Any:
    """Open the checkpoint of a run with rnneval."""
    import rnneval

    tokens = list(vocabulary)
    if (folder / "model.keras").exists():
        return rnneval.open(folder / "model.keras", vocabulary=tokens, backend="numpy")
    units = json.loads((folder / "training.json").read_text())["units"]
    return rnneval.open(
        folder / "model.weights.h5",
        builder=f"{HERE / 'layers_models.py'}:SharedStack",
        builder_arguments={"vocab_size": len(vocabulary), "units": units},
        vocabulary=tokens,
    )


def one_run(job: Job, recipe: Recipe, data: Path, out: Path) -> None:
    """Train and evaluate one model in this process; its folder appears when it is complete."""
    import tensorflow as tf

    import rnneval

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.experimental.enable_op_determinism()
    began = time.perf_counter()
    text = data.read_text(encoding="utf-8")[: recipe.characters]
    working = out / f".{job.name}.{os.getpid()}"
    working.mkdir(parents=True)
    history = train(job, recipe, text, working)
    trained = time.perf_counter()
    _write(working / "training.json", history)
    run = rnneval.evaluate(opened(working, sorted(set(text))), string=parts(text, recipe)[2])
    run.save(working / "run.json")
    timing = {
        "training_seconds": round(trained - began, 1),
        "evaluation_seconds": round(time.perf_counter() - trained, 1),
        "processor_seconds": round(sum(resource.getrusage(resource.RUSAGE_SELF)[:2]), 1),
    }
    _write(working / "timing.json", timing)
    working.rename(out / job.name)
    print(f"{job.name}: {run.scores['perplexity'].value:.4f} perplexity, {timing}", flush=True)


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def check_arms(names: Sequence[str], size: int, vocab_size: int, out: Path) -> None:
    """Check the wiring of each arm before training; write what was found, and refuse a fault that is not intended.

    Raises:
        ValueError: a stack is not what its arm says it is.
    """
    import layers_models as models

    import rnneval

    found = {}
    for name in names:
        arm = models.BY_NAME[name]
        wiring = rnneval.check(models.build(arm, models.units_for(arm, size, vocab_size), vocab_size))
        rules = sorted({finding.rule for finding in wiring.findings})
        found[name] = {"verdict": wiring.verdict, "rules": rules, "reason": wiring.reason}
        print(f"{name}: {found[name]}", flush=True)
        if (wiring.verdict == "fail") != arm.shared:
            raise ValueError(f"{name}: the wiring check says {wiring.verdict}: {wiring.reason}")
    _write(out / "wiring.json", found)


def study(jobs: Sequence[Job], arguments: argparse.Namespace) -> None:
    """Start the runs that are missing, some at a time; a run that fails is an error at the end."""
    out: Path = arguments.out
    for left in out.glob(".*-seed*"):  # of runs that were killed
        shutil.rmtree(left)
    waiting = [job for job in jobs if not (out / job.name).exists()]
    print(f"{len(waiting)} of {len(jobs)} runs to do", flush=True)
    running: dict[subprocess.Popen[bytes], Job] = {}
    failed: list[str] = []
    while waiting or running:
        while waiting and len(running) < arguments.jobs:
            job = waiting.pop(0)
            command = [sys.executable, __file__, "--data", str(arguments.data), "--out", str(out), "--run"]
            command += [job.arm, str(job.size), str(job.seed), *(["--quick"] if arguments.quick else [])]
            running[subprocess.Popen(command)] = job
        time.sleep(0.2)
        for process in [each for each in running if each.poll() is not None]:
            job = running.pop(process)
            if process.returncode:
                failed.append(job.name)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="tinyshakespeare.txt")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000], help="parameters (default: 100000)")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each arm (default: 5)")
    parser.add_argument("--arms", nargs="+", help="default: all")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each (default: 2)")
    parser.add_argument("--quick", action="store_true", help="a study of seconds, to test the program")
    parser.add_argument("--run", nargs=3, metavar=("ARM", "SIZE", "SEED"), help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    arguments = options()
    recipe = QUICK if arguments.quick else Recipe()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.run:
        arm, size, seed = arguments.run
        one_run(Job(arm=arm, size=int(size), seed=int(seed)), recipe, arguments.data, arguments.out)
        return
    names = arguments.arms or ["gru-1", "gru-2", "gru-3", "lstm-1", "lstm-2", "gru-2-shared"]
    if not (arguments.out / "wiring.json").exists():
        text = arguments.data.read_text(encoding="utf-8")[: recipe.characters]
        check_arms(names, arguments.sizes[0], len(set(text)), arguments.out)
    study(order(names, arguments.sizes, arguments.seeds), arguments)


if __name__ == "__main__":
    main()
