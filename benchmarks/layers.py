"""Do more layers help? Train GRU and LSTM stacks of equal size on tinyshakespeare, several seeds each.

    PYTHONPATH=. nice python benchmarks/layers.py --data tinyshakespeare.txt --runs RUNS --out benchmarks/layers.json

Each run becomes a folder of --runs: `model.keras` (`model.weights.h5` for the wrong stack), `run.json` (the record of
`rnneval.evaluate` on the held-out text) and `training.json` (the history). A folder appears when its run is complete;
the same command after a kill trains the runs that are missing. A run depends on its seed alone. From the folders the
record --out is made, which `layers_page.py` shows.
"""
# ruff: noqa: D102

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

import rnneval

HERE = Path(__file__).resolve().parent
Ids = NDArray[np.int32]
EMBEDDING = 32
DROPOUT = 0.1
SIZE = 100_000
"""Parameters of each model, within 2 %."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One kind of model: what differs between the runs besides the seed."""

    kind: str
    """Recurrent layer: `gru` or `lstm`."""
    layers: int
    shared: bool = False
    """True for the wrong stack, whose second layer starts from the state of the first."""

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.layers}{'-shared' if self.shared else ''}"


ARMS = (
    Arm(kind="gru", layers=1),
    Arm(kind="gru", layers=2),
    Arm(kind="gru", layers=3),
    Arm(kind="lstm", layers=1),
    Arm(kind="lstm", layers=2),
    Arm(kind="gru", layers=2, shared=True),
)


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


def parameters(arm: Arm, units: int, vocab_size: int) -> int:
    """Return the number of parameters: an embedding, recurrent layers of equal width, a dense layer with bias.

    >>> parameters(Arm(kind="gru", layers=1), 1, 65), parameters(Arm(kind="lstm", layers=2), 1, 65)
    (2315, 2358)
    """
    gates, biases = (3, 2) if arm.kind == "gru" else (4, 1)
    inputs = [EMBEDDING, *[units] * (arm.layers - 1)]
    recurrent = sum(gates * units * (each + units + biases) for each in inputs)
    return vocab_size * EMBEDDING + recurrent + (units + 1) * vocab_size


def units_for(arm: Arm, vocab_size: int) -> int:
    """Return the width whose number of parameters is nearest to `SIZE`."""
    return min(range(1, 2048), key=lambda width: abs(parameters(arm, width, vocab_size) - SIZE))


class Stack(keras.Model):
    """Recurrent layers that each have a state of their own; with `shared`, one state goes through all of them.

    Unrolled layers take longer to trace and train faster.
    """

    def __init__(
        self,
        vocab_size: int,
        kind: str = "gru",
        layers: int = 1,
        units: int = 128,
        *,
        shared: bool = False,
        unroll: bool = False,
    ) -> None:
        super().__init__()
        kinds = {"gru": keras.layers.GRU, "lstm": keras.layers.LSTM}
        self.shared = shared
        self.embedding = keras.layers.Embedding(vocab_size, EMBEDDING, name="embedding")
        self.recurrent = [
            kinds[kind](units, return_sequences=True, return_state=True, unroll=unroll, name=f"{kind}_{i + 1}")
            for i in range(layers)
        ]
        self.dropouts = [keras.layers.Dropout(DROPOUT) for _ in range(layers)]
        self.dense = keras.layers.Dense(vocab_size, name="logits")

    def call(self, inputs: Any, states: Any = None, return_state: bool = False, training: bool = False) -> Any:
        """Return the logits, and with `return_state` a list with the states of each layer."""
        x = self.embedding(inputs)
        if states is None:
            states = [layer.get_initial_state(tf.shape(inputs)[0]) for layer in self.recurrent]
        last: list[Any] = []
        for layer, dropout, own in zip(self.recurrent, self.dropouts, states, strict=True):
            state = last[-1] if self.shared and last else own
            x, *state_after = layer(x, initial_state=list(state), training=training)
            last.append(state_after)
            x = dropout(x, training=training)
        if self.shared:  # the first layer goes on from the state of the last
            last = [last[-1], *last[1:]]
        x = self.dense(x)
        return (x, last) if return_state else x


def build(arm: Arm, vocab_size: int, *, unroll: bool = False) -> Stack:
    """Return a model with its weights made."""
    model = Stack(vocab_size, arm.kind, arm.layers, units_for(arm, vocab_size), shared=arm.shared, unroll=unroll)
    model(tf.zeros((1, 2), tf.int32))
    return model


def sequential(model: Stack) -> Any:
    """Return the same layers, with the same weights, as a Sequential model, which can be saved whole."""
    layers = [model.embedding]
    for layer, dropout in zip(model.recurrent, model.dropouts, strict=True):
        layers += [layer, dropout]
    layers.append(model.dense)
    left_out = {"return_state", "unroll"}
    copies = [
        type(layer).from_config({key: value for key, value in layer.get_config().items() if key not in left_out})
        for layer in layers
    ]
    made = keras.Sequential([keras.Input((None,), dtype="int32"), *copies])
    made.set_weights([weight for layer in layers for weight in layer.get_weights()])
    return made


def parts(text: str, recipe: Recipe) -> tuple[str, str, str]:
    """Return the text to train on, the text for early stopping, and the held-out text."""
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

    def __init__(self, arm: Arm, recipe: Recipe, vocab_size: int, steps_an_epoch: int) -> None:
        self.arm, self.recipe, self.vocab_size = arm, recipe, vocab_size
        self.model = build(arm, vocab_size, unroll=True)
        self.variables = self.model.trainable_variables
        schedule = keras.optimizers.schedules.CosineDecay(
            0.0,
            decay_steps=max(steps_an_epoch * recipe.epochs - recipe.warmup_steps, 1),
            warmup_target=recipe.learning_rate,
            warmup_steps=recipe.warmup_steps,
        )
        self.optimizer = keras.optimizers.Adam(schedule, global_clipnorm=recipe.clipnorm)
        self.optimizer.build(self.variables)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits

        @tf.function
        def train(inputs: Any, targets: Any, states: Any) -> Any:
            with tf.GradientTape() as tape:
                logits, states = self.model(inputs, states=states, return_state=True, training=True)
                loss = tf.reduce_mean(losses(targets, logits))
            gradients = [tf.convert_to_tensor(each) for each in tape.gradient(loss, self.variables)]
            self.optimizer.apply(gradients, self.variables)
            return loss, states

        @tf.function
        def look(inputs: Any, targets: Any, states: Any) -> Any:
            logits, states = self.model(inputs, states=states, return_state=True, training=False)
            return tf.reduce_mean(losses(targets, logits)), states

        self._train, self._look = train, look

    def reset(self, seed: int) -> None:
        """Make the weights, the optimizer and the random numbers those of a new process with this seed."""
        keras.utils.set_random_seed(seed)
        fresh = build(self.arm, self.vocab_size)
        for variable, value in zip(self.model.variables, fresh.variables, strict=True):
            variable.assign(value)
        for variable in self.optimizer.variables:
            variable.assign(0 * variable)

    def epoch(self, ids: Ids, *, training: bool) -> float:
        """Read a text once, the state carried, and train on it or not; return the mean loss of its segments."""
        step = self._train if training else self._look
        rows, total = self.recipe.rows, []
        states = [layer.get_initial_state(rows) for layer in self.model.recurrent]
        for inputs, targets in segments(ids, rows, self.recipe.segment):
            loss, states = step(tf.constant(inputs), tf.constant(targets), states)
            total.append(float(loss))
        return float(np.mean(total))


def train(trainer: Trainer, seed: int, text: str, folder: Path) -> dict[str, Any]:
    """Train one model, and save its best epoch; return the history."""
    recipe, vocabulary = trainer.recipe, sorted(set(text))
    training, validation, _ = (encode(part, vocabulary) for part in parts(text, recipe))
    trainer.reset(seed)
    rng = np.random.default_rng(seed)
    epochs: list[dict[str, float]] = []
    best, kept = np.inf, 0
    weights = trainer.model.get_weights()
    for number in range(1, recipe.epochs + 1):
        loss = trainer.epoch(training[int(rng.integers(recipe.segment)) :], training=True)
        seen = trainer.epoch(validation, training=False)
        epochs.append({"epoch": number, "training_nats": loss, "validation_nats": seen})
        print(f"{trainer.arm.name} seed {seed} {epochs[-1]}", flush=True)
        if seen < best:
            best, kept, weights = seen, number, trainer.model.get_weights()
        if number - kept >= recipe.patience:
            break
    trainer.model.set_weights(weights)
    if trainer.arm.shared:
        trainer.model.save_weights(folder / "model.weights.h5")
    else:
        sequential(trainer.model).save(folder / "model.keras")
    return {
        "arm": trainer.arm.name,
        "seed": seed,
        "units": trainer.model.recurrent[0].units,
        "parameters": sum(int(np.prod(variable.shape)) for variable in trainer.variables),
        "kept_epoch": kept,
        "epochs": epochs,
    }


def opened(folder: Path, arm: Arm, vocabulary: Sequence[str]) -> Any:
    """Open the checkpoint of a run with rnneval."""
    tokens = list(vocabulary)
    if not arm.shared:
        return rnneval.open(folder / "model.keras", vocabulary=tokens, backend="numpy")
    settings = {"vocab_size": len(tokens), "kind": arm.kind, "layers": arm.layers, "shared": True}
    return rnneval.open(
        folder / "model.weights.h5",
        builder=f"{HERE / 'layers.py'}:Stack",
        builder_arguments={**settings, "units": units_for(arm, len(tokens))},
        vocabulary=tokens,
    )


def study(text: str, runs: Path, seeds: int, recipe: Recipe) -> None:
    """Train and evaluate what is missing: all arms of a seed before the next seed, in a shuffled order."""
    vocabulary, order = sorted(set(text)), np.random.default_rng(0)
    steps_an_epoch = (len(parts(text, recipe)[0]) - 1) // recipe.rows // recipe.segment
    trainers: dict[str, Trainer] = {}
    for seed in range(seeds):
        for place in order.permutation(len(ARMS)):
            arm = ARMS[place]
            folder, working = (runs / f"{dot}{arm.name}-seed{seed}" for dot in ("", "."))
            if folder.exists():
                continue
            shutil.rmtree(working, ignore_errors=True)  # of a study that was killed
            working.mkdir(parents=True)
            if arm.name not in trainers:
                trainers[arm.name] = Trainer(arm, recipe, len(vocabulary), steps_an_epoch)
            write(working / "training.json", train(trainers[arm.name], seed, text, working))
            run = rnneval.evaluate(opened(working, arm, vocabulary), string=parts(text, recipe)[2])
            run.save(working / "run.json")
            working.rename(folder)


def checked(vocab_size: int) -> dict[str, Any]:
    """Check the wiring of each arm before training, and refuse a fault that is not intended.

    Raises:
        ValueError: a stack is not what its arm says it is.
    """
    found = {}
    for arm in ARMS:
        wiring = rnneval.check(build(arm, vocab_size))
        rules = sorted({finding.rule for finding in wiring.findings})
        found[arm.name] = {"verdict": wiring.verdict, "rules": rules}
        if (wiring.verdict == "fail") != arm.shared:
            raise ValueError(f"{arm.name}: the wiring check says {wiring.verdict}: {wiring.reason}")
    return found


def record(runs: Path, recipe: Recipe, wiring: Mapping[str, Any]) -> dict[str, Any]:
    """Gather the runs into one record; all of it follows from the seeds."""
    folders = sorted(path.parent for path in runs.glob("[!.]*/run.json"))
    first = _read(folders[0] / "run.json")
    return {
        "recipe": dataclasses.asdict(recipe),
        "held_out": {key: first["text"][key] for key in ("sha256", "characters")},
        "wiring": wiring,
        "blocks": {key: first["blocks"][key] for key in ("bytes", "tokens")},
        "runs": {folder.name: _run(folder) for folder in folders},
    }


def _run(folder: Path) -> dict[str, Any]:
    run = _read(folder / "run.json")
    return {
        **_read(folder / "training.json"),
        "valid": run["valid"],
        "tokens": run["tokens"]["scored"],
        "total_nats": run["total_nats"],
        "token_by_token_nats": (run.get("token_by_token") or {}).get("total_nats"),
        "nats": [round(nats, 4) for nats in run["blocks"]["sums"]["nats"]],  # 2e-7 nats per character
    }


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def write(path: Path, value: Any) -> None:
    """Write JSON with lists of numbers on one line each."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    path.write_text(re.sub(r"\[[^][{}]*\]", lambda found: " ".join(found[0].split()), text) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="tinyshakespeare.txt")
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5, help="runs of each arm (default: 5)")
    arguments = parser.parse_args()
    tf.config.experimental.enable_op_determinism()
    text, recipe = arguments.data.read_text(encoding="utf-8"), Recipe()
    wiring = checked(len(set(text)))
    study(text, arguments.runs, arguments.seeds, recipe)
    write(arguments.out, record(arguments.runs, recipe, wiring))


if __name__ == "__main__":
    main()
