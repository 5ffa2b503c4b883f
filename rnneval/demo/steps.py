"""Steps of the demo for one model: each reads the files of earlier steps and writes its own, as its command would.

So any step can be repeated by hand: its record holds the command.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from msgspec import structs
from numpy.typing import NDArray

from rnneval.callbacks import GradientNorms
from rnneval.checkpoints.usercode import Builder
from rnneval.demo import models
from rnneval.demo.files import BUILDERS, RIGHT, DemoRecipe, Files
from rnneval.evaluate.check import check
from rnneval.evaluate.diagnostics.gradients import gradients
from rnneval.evaluate.diagnostics.trace import trace
from rnneval.evaluate.opening import open as open_checkpoint
from rnneval.evaluate.run import ReaderOptions, evaluated
from rnneval.models.keras import RecurrentLM
from rnneval.models.keras.lm import eagerly
from rnneval.records import Wiring, read, write


def run_steps(files: Files, recipe: DemoRecipe, name: str) -> None:
    """Run all steps of a model in this process."""
    with suppress(RuntimeError):  # TensorFlow has begun to run
        tf.config.set_visible_devices([], "GPU")  # each process would take all of its memory
    steps = Steps(files, recipe, name)
    for step in (steps.train, steps.check, steps.measure):
        keras.utils.clear_session()  # layers are named and weights drawn as in a new process
        keras.utils.set_random_seed(recipe.seed)
        step()


def train(
    make: Callable[..., Any], ids: NDArray[np.int32], vocab_size: int, recipe: DemoRecipe, *, history: Path
) -> Any:
    """Train on random segments of the ids `(tokens,)`, each from the state None, as TensorFlow's tutorial does.

    The same recipe draws the same segments for every model. `history` is the folder of the gradient history.
    """
    keras.utils.set_random_seed(recipe.seed)
    model = make(**recipe.builder_arguments(vocab_size))
    model(ids[None, :1])  # what has its weights before it is traced is traced once only
    schedule = keras.optimizers.schedules.CosineDecay(recipe.learning_rate, recipe.steps, alpha=0.05)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(schedule, clipnorm=1.0), loss)
    model.optimizer.build(model.trainable_variables)
    starts = np.random.default_rng(recipe.seed).integers(0, len(ids) - recipe.segment - 1, (recipe.steps, recipe.rows))
    drawn = ids[starts[..., None] + np.arange(recipe.segment + 1)]  # (steps, rows, segment + 1)
    model.fit(
        tf.data.Dataset.from_tensor_slices((drawn[..., :-1], drawn[..., 1:])),
        steps_per_epoch=recipe.steps,
        epochs=1,
        verbose=0,
        shuffle=False,
        callbacks=[GradientNorms(history, existing="replace")],
    )
    return model


class Steps:
    """Steps of one model."""

    def __init__(self, files: Files, recipe: DemoRecipe, name: str) -> None:
        self._files, self._recipe, self._name, self._part = files, recipe, name, f"{recipe.trained}%:"
        self._own = files.of(name)
        self._characters: list[str] = json.loads(files.vocabulary.read_text(encoding="utf-8"))
        self._arguments = recipe.builder_arguments(len(self._characters))

    def train(self) -> None:
        """Train on the first part of the text, and save the weights."""
        text = self._files.text.read_text(encoding="utf-8")
        number = {character: index for index, character in enumerate(self._characters)}
        ids = np.array([number[character] for character in text[: len(text) * self._recipe.trained // 100]], np.int32)
        make = getattr(models, BUILDERS[self._name])
        model = train(make, ids, len(self._characters), self._recipe, history=self._own.history)
        model.save_weights(self._own.weights)

    def check(self) -> None:
        """Check that each layer's state goes back to the same layer; this needs no training."""
        own = self._own
        model = Builder(spec=own.builder, arguments=self._arguments).build(None, around=eagerly)
        command = ["rnneval", "check", own.builder, *_options_of(self._arguments), "--out", str(own.wiring)]
        write(structs.replace(check(model), command=tuple(command)), own.wiring)

    def measure(self) -> None:
        """Evaluate the saved weights; of the right stack, trace the states and follow the gradients as well."""
        own, recipe, right = self._own, self._recipe, self._name == RIGHT
        wiring = read(own.wiring)
        assert isinstance(wiring, Wiring)  # noqa: S101 - `check` has just written it
        options: dict[str, Any] = {"beside_reset": recipe.segment if right else None}
        command = self._command("evaluate", options, "--out", own.run)
        given = ReaderOptions(part=self._part, command=command, **options)
        run = evaluated(self._opened, self._files.text, given, wiring)
        write(run, own.run)
        if not right:
            return
        options = {"check": False, "context": recipe.context, "truncation": recipe.segment}
        command = self._command("trace", options, "--out", own.states, "--record", own.inside)
        run = trace(self._opened, self._files.text, part=self._part, out=own.states, command=command, **options)
        write(run, own.inside)
        options = {"truncation": recipe.segment, "lags": recipe.lags, "anchors": recipe.anchors}
        options |= {"segments": recipe.segments, "check": False}
        command = self._command("gradients", options, "--out", own.gradients)
        found = gradients(self._opened, self._files.text, part=self._part, command=command, **options)
        write(found, own.gradients)

    @cached_property
    def _opened(self) -> RecurrentLM:
        """The saved file, opened as a user would, with the code in the folder."""
        opened: RecurrentLM = open_checkpoint(
            self._own.weights, builder=self._own.builder, builder_arguments=self._arguments, backend="keras"
        )
        return opened

    def _command(self, verb: str, options: Mapping[str, Any], *outputs: object) -> list[str]:
        """Return the command that does the same as a function of this name with these options."""
        arguments = {key: value for key, value in self._arguments.items() if key != "vocab_size"}
        words = [*map(str, (self._own.weights, self._files.text)), "--part", self._part, "--builder", self._own.builder]
        words += _options_of(arguments)
        for name, value in options.items():
            if name == "check":
                words.append("--no-check")
            elif value is True:
                words.append(f"--{name}")
            elif value:
                words += [f"--{name.replace('_', '-')}", str(value)]
        return ["rnneval", verb, *words, *map(str, outputs)]


def _options_of(arguments: Mapping[str, object]) -> list[str]:
    """Return arguments of a builder as options of a command."""
    return [word for key, value in arguments.items() for word in ("--builder-arg", f"{key}={value}")]
