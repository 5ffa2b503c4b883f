"""Do more layers help? Train GRU and LSTM stacks of equal size on tinyshakespeare, several seeds each.

    nice python benchmarks/layers.py --data tinyshakespeare.txt --out RUNS

Each run becomes a folder of --out: `model.keras` (`model.weights.h5` for the wrong stack),
`run.json` (the record of `rnneval.evaluate` on the held-out text), `training.json` (the history) and `timing.json`. The
folder appears when the run is complete; the same command after a kill starts the runs that are missing. A run depends
on its seed alone. benchmarks/layers_records.py makes the records of docs/layers.md of these folders.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
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
    rows: int = 64
    """Parallel streams; each is a contiguous part of the training text, and carries its state."""
    segment: int = 40
    """Tokens between truncations of backpropagation."""
    epochs: int = 8
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
    """Training of one arm: its functions are traced once, and every run begins with `reset`."""

    def __init__(self, arm: str, size: int, recipe: Recipe, vocab_size: int, steps_an_epoch: int) -> None:
        import keras
        import layers_models as models
        import tensorflow as tf

        self.arm, self.recipe, self.vocab_size = models.BY_NAME[arm], recipe, vocab_size
        self.units = models.units_for(self.arm, size, vocab_size)
        self.model = models.build(self.arm, self.units, vocab_size, unroll=True)
        self.variables = self.model.trainable_variables
        schedule = keras.optimizers.schedules.CosineDecay(
            0.0,
            decay_steps=max(steps_an_epoch * recipe.epochs - recipe.warmup_steps, 1),
            warmup_target=recipe.learning_rate,
            warmup_steps=recipe.warmup_steps,
        )
        self.optimizer = keras.optimizers.Adam(schedule, global_clipnorm=recipe.clipnorm)
        self.optimizer.build(self.variables)
        self._zeros = models.zero_states(self.arm, self.units, recipe.rows)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits

        @tf.function
        def train(inputs: Any, targets: Any, states: Any) -> Any:
            with tf.GradientTape() as tape:
                logits, states = self.model(inputs, states=states, return_state=True, training=True)
                loss = tf.reduce_mean(losses(targets, logits))
            gradients = [tf.convert_to_tensor(each) for each in tape.gradient(loss, self.variables)]
            self.optimizer.apply(gradients, self.variables)
            return loss, states, gradients

        @tf.function
        def look(inputs: Any, targets: Any, states: Any) -> Any:
            logits, states = self.model(inputs, states=states, return_state=True, training=False)
            return tf.reduce_mean(losses(targets, logits)), states

        self._train, self._look = train, look

    def reset(self, seed: int) -> None:
        """Make the weights, the optimizer and the random numbers those of a new process with this seed."""
        import keras
        import layers_models as models

        keras.utils.set_random_seed(seed)
        fresh = models.build(self.arm, self.units, self.vocab_size)
        for variable, value in zip(self.model.variables, fresh.variables, strict=True):
            variable.assign(value)
        for variable in self.optimizer.variables:
            variable.assign(0 * variable)

    def epoch(self, ids: Ids, after_step: Callable[[Any], None]) -> float:
        """Train on a text once; return the mean loss of its segments."""
        import tensorflow as tf

        states, total = self._zeros, []
        for inputs, targets in segments(ids, self.recipe.rows, self.recipe.segment):
            loss, states, gradients = self._train(tf.constant(inputs), tf.constant(targets), states)
            total.append(float(loss))
            after_step(gradients)
        return float(np.mean(total))

    def validate(self, ids: Ids) -> float:
        """Return the mean loss on a text, without dropout, the state carried."""
        import tensorflow as tf

        states, total = self._zeros, []
        for inputs, targets in segments(ids, self.recipe.rows, self.recipe.segment):
            loss, states = self._look(tf.constant(inputs), tf.constant(targets), states)
            total.append(float(loss))
        return float(np.mean(total))


class GradientLog:
    """Norms of the gradients before clipping, of the whole model and of each layer, every few steps."""

    def __init__(self, model: Any, every: int = 5) -> None:
        self._names = [f"{owner.name}.{variable.name}" for owner, variable in _owned(model)]
        self._every, self._seen = every, 0
        self.steps: list[int] = []
        self.total: list[float] = []
        self.layers: dict[str, list[float]] = {}

    def add(self, gradients: Sequence[Any]) -> None:
        """Note the gradients of a step."""
        from rnneval.metrics import gradient_norms

        self._seen += 1
        if self._seen % self._every:
            return
        arrays = [gradient.numpy() for gradient in gradients]
        norms = gradient_norms(dict(zip(self._names, arrays, strict=True)))
        self.steps.append(self._seen)
        self.total.append(round(norms.total, 6))
        for layer, norm in norms.layers.items():
            self.layers.setdefault(layer, []).append(round(norm, 6))


def _owned(model: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the layer of each trainable variable, in the order of `model.trainable_variables`."""
    owners = {
        id(variable): layer
        for layer in model._flatten_layers(include_self=False)
        if not layer.name.endswith("_cell")
        for variable in layer.trainable_variables
    }
    for variable in model.trainable_variables:
        yield owners[id(variable)], variable


def train(trainer: Trainer, job: Job, text: str, folder: Path) -> dict[str, Any]:
    """Train one model, and save its best epoch; return the history."""
    recipe, vocabulary, parent = trainer.recipe, sorted(set(text)), os.getppid()
    training, validation, _ = (encode(part, vocabulary) for part in parts(text, recipe))
    trainer.reset(job.seed)
    rng = np.random.default_rng(job.seed)
    log = GradientLog(trainer.model)

    def after_step(gradients: Any) -> None:
        log.add(gradients)
        if os.getppid() != parent:  # the study was killed: it will start this run again
            raise SystemExit(1)

    epochs: list[dict[str, float]] = []
    best, kept = np.inf, 0
    weights = trainer.model.get_weights()
    for number in range(1, recipe.epochs + 1):
        loss = trainer.epoch(training[int(rng.integers(recipe.segment)) :], after_step)
        seen = trainer.validate(validation)
        epochs.append({"epoch": number, "training_nats": loss, "validation_nats": seen})
        print(f"{job.name} {epochs[-1]}", flush=True)
        if seen < best:
            best, kept, weights = seen, number, trainer.model.get_weights()
        if number - kept >= recipe.patience:
            break
    trainer.model.set_weights(weights)
    _save(trainer, folder)
    return {
        "job": dataclasses.asdict(job),
        "recipe": dataclasses.asdict(recipe),
        "units": trainer.units,
        "parameters": sum(int(np.prod(variable.shape)) for variable in trainer.variables),
        "kept_epoch": kept,
        "epochs": epochs,
        "gradients": {"steps": log.steps, "total": log.total, "layers": log.layers},
    }


def _save(trainer: Trainer, folder: Path) -> None:
    """Save the model whole where it is a chain of layers, and prove that the copy has the same losses."""
    import layers_models as models
    import tensorflow as tf

    if trainer.arm.shared:
        trainer.model.save_weights(folder / "model.weights.h5")
        return
    copy = models.sequential(trainer.model)
    ids = tf.constant(np.arange(40, dtype=np.int32).reshape(2, 20) % trainer.vocab_size)
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


def steps_an_epoch(text: str, recipe: Recipe) -> int:
    return (len(parts(text, recipe)[0]) - 1) // recipe.rows // recipe.segment


def one_run(trainer: Trainer, job: Job, text: str, out: Path) -> None:
    """Train and evaluate one model; its folder appears when it is complete."""
    import rnneval

    began, processor = time.perf_counter(), time.process_time()
    working = out / f".{job.name}.{os.getpid()}"
    working.mkdir(parents=True)
    history = train(trainer, job, text, working)
    trained = time.perf_counter()
    write(working / "training.json", history)
    run = rnneval.evaluate(opened(working, sorted(set(text))), string=parts(text, trainer.recipe)[2])
    run.save(working / "run.json")
    timing = {
        "training_seconds": round(trained - began, 1),
        "evaluation_seconds": round(time.perf_counter() - trained, 1),
        "processor_seconds": round(time.process_time() - processor, 1),
    }
    write(working / "timing.json", timing)
    if (out / job.name).exists():  # of a worker that outlived its study
        shutil.rmtree(working)
    else:
        working.rename(out / job.name)
    (out / f".{job.name}.taken").unlink(missing_ok=True)
    print(f"{job.name}: {run.scores['perplexity'].value:.4f} perplexity, {timing}", flush=True)


def work(jobs: Sequence[Job], recipe: Recipe, data: Path, out: Path) -> None:
    """Run jobs that no other worker has taken, until there are none; arms that are traced already come first."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.experimental.enable_op_determinism()
    text = data.read_text(encoding="utf-8")[: recipe.characters]
    trainers: dict[tuple[str, int], Trainer] = {}
    while job := _taken(jobs, trainers, out):
        kind = (job.arm, job.size)
        if kind not in trainers:
            trainers[kind] = Trainer(*kind, recipe, len(set(text)), steps_an_epoch(text, recipe))
        one_run(trainers[kind], job, text, out)


def _taken(jobs: Sequence[Job], trainers: Container[tuple[str, int]], out: Path) -> Job | None:
    """Take a job of the lowest seed that has any left; None if all are taken."""
    left = [job for job in jobs if not (out / job.name).exists() and not (out / f".{job.name}.taken").exists()]
    for job in sorted(left, key=lambda job: (job.size, job.seed, (job.arm, job.size) not in trainers)):
        try:
            (out / f".{job.name}.taken").touch(exist_ok=False)
        except FileExistsError:
            continue
        if not (out / job.name).exists():  # else another worker has just completed it
            return job
    return None


def write(path: Path, value: Any) -> None:
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
    write(out / "wiring.json", found)


def study(jobs: Sequence[Job], arguments: argparse.Namespace) -> None:
    """Start workers for the runs that are missing, and wait for them.

    Raises:
        SystemExit: a worker failed.
    """
    out: Path = arguments.out
    for left in out.glob(".*-seed*"):  # of a study that was killed
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    complete = sum((out / job.name).exists() for job in jobs)
    with (out / "starts.jsonl").open("a", encoding="utf-8") as starts:
        print(json.dumps({"at": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", "complete": complete}), file=starts)
    print(f"{len(jobs) - complete} of {len(jobs)} runs to do", flush=True)
    command = [sys.executable, *sys.argv, "--work"]
    workers = [subprocess.Popen(command) for _ in range(min(arguments.jobs, len(jobs) - complete))]
    codes = [worker.wait() for worker in workers]
    if any(codes):
        raise SystemExit("a worker failed")


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="tinyshakespeare.txt")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000], help="parameters (default: 100000)")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each arm (default: 5)")
    parser.add_argument("--arms", nargs="+", help="default: all")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each (default: 2)")
    parser.add_argument("--quick", action="store_true", help="a study of seconds, to test the program")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    arguments = options()
    recipe = QUICK if arguments.quick else Recipe()
    arguments.out.mkdir(parents=True, exist_ok=True)
    names = arguments.arms or ["gru-1", "gru-2", "gru-3", "lstm-1", "lstm-2", "gru-2-shared"]
    jobs = order(names, arguments.sizes, arguments.seeds)
    if arguments.work:
        work(jobs, recipe, arguments.data, arguments.out)
        return
    if not (arguments.out / "wiring.json").exists():
        text = arguments.data.read_text(encoding="utf-8")[: recipe.characters]
        check_arms(names, arguments.sizes[0], len(set(text)), arguments.out)
    study(jobs, arguments)


if __name__ == "__main__":
    main()
