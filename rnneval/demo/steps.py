"""Steps of the demo for one model: each reads the files of earlier steps and writes its own, as its command would.

So any step can be repeated by hand: its record holds the command.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property

import keras
import numpy as np
import tensorflow as tf
from msgspec import structs

from rnneval.demo import models
from rnneval.demo.files import BUILDERS, RIGHT, Files
from rnneval.demo.recipe import Recipe
from rnneval.demo.training import train
from rnneval.engine import evaluate
from rnneval.engine.check import check
from rnneval.engine.diagnostics.gradients import gradients
from rnneval.engine.diagnostics.trace import trace
from rnneval.models import RecurrentLM
from rnneval.models import open as open_checkpoint
from rnneval.models.lm import eagerly
from rnneval.records import Wiring, read, write
from rnneval.usercode import Builder


def run_step(step: str, files: Files, recipe: Recipe, name: str) -> None:
    """Run a step, called as the method of `Steps`, in this process."""
    with suppress(RuntimeError):  # TensorFlow has begun to run
        tf.config.set_visible_devices([], "GPU")  # each process would take all of its memory
    keras.utils.clear_session()  # layers are named and weights drawn as in a new process
    keras.utils.set_random_seed(recipe.seed)
    getattr(Steps(files, recipe, name), step)()


class Steps:
    """Steps of one model."""

    def __init__(self, files: Files, recipe: Recipe, name: str) -> None:
        """Take the demo's files and recipe, and the model's name."""
        self._files, self._recipe, self._name, self._part = files, recipe, name, f"{recipe.trained}%:"
        self._characters: list[str] = json.loads(files.vocabulary.read_text(encoding="utf-8"))
        self._arguments = recipe.builder_arguments(len(self._characters))

    def train(self) -> None:
        """Train on the first part of the text, and save the weights."""
        text = self._files.text.read_text(encoding="utf-8")
        number = {character: index for index, character in enumerate(self._characters)}
        ids = np.array([number[character] for character in text[: len(text) * self._recipe.trained // 100]], np.int32)
        make = getattr(models, BUILDERS[self._name])
        model = train(make, ids, len(self._characters), self._recipe, history=self._files.history(self._name))
        model.save_weights(self._files.weights(self._name))

    def check(self) -> None:
        """Check that each layer's state goes back to the same layer; this needs no training."""
        spec, out = self._files.builder(self._name), self._files.wiring(self._name)
        model = Builder(spec=spec, arguments=self._arguments).build(None, around=eagerly)
        command = ["rnneval", "check", spec, *_options_of(self._arguments), "--out", str(out)]
        write(structs.replace(check(model), command=tuple(command)), out)

    def measure(self) -> None:
        """Evaluate the saved weights; of the right stack, trace the states and follow the gradients as well."""
        self._evaluate()
        if self._name == RIGHT:
            self._trace()
            self._follow_gradients()

    def _evaluate(self) -> None:
        """Evaluate the saved weights on the rest of the text."""
        out, wiring = self._files.run(self._name), read(self._files.wiring(self._name))
        assert isinstance(wiring, Wiring)  # noqa: S101 - this class has just written it
        beside = self._recipe.segment if self._name == RIGHT else None
        more = ["--beside-reset", str(beside)] if beside else []
        command = self._command("evaluate", *more, "--out", str(out))
        text = self._files.text
        run = evaluate(self._opened, text, part=self._part, wiring=wiring, beside_reset=beside, command=command)
        write(run, out)

    def _trace(self) -> None:
        """Trace the states along the same text, and the loss by length of context."""
        out, record = self._files.states(self._name), self._files.inside(self._name)
        wanted = ["--no-check", *(["--context"] if self._recipe.context else [])]  # it has been checked by now
        command = self._command("trace", *wanted, "--truncation", str(self._recipe.segment))
        command = [*command, "--out", str(out), "--record", str(record)]
        run = trace(
            self._opened,
            self._files.text,
            part=self._part,
            out=out,
            check=False,
            context=self._recipe.context,
            truncation=self._recipe.segment,
            command=command,
        )
        write(run, record)

    def _follow_gradients(self) -> None:
        """Measure the gradients of the loss, by layer and back through time."""
        out = self._files.gradients(self._name)
        recipe = self._recipe
        reach = ["--truncation", str(recipe.segment), "--lags", str(recipe.lags), "--anchors", str(recipe.anchors)]
        reach += ["--segments", str(recipe.segments), "--no-check"]
        found = gradients(
            self._opened,
            self._files.text,
            part=self._part,
            check=False,
            truncation=recipe.segment,
            lags=recipe.lags,
            segments=recipe.segments,
            anchors=recipe.anchors,
            command=self._command("gradients", *reach, "--out", str(out)),
        )
        write(found, out)

    @cached_property
    def _opened(self) -> RecurrentLM:
        """The saved file, opened as a user would, with the code in the folder."""
        builder = self._files.builder(self._name)
        return open_checkpoint(self._files.weights(self._name), builder=builder, builder_arguments=self._arguments)

    def _command(self, verb: str, *options: str) -> list[str]:
        files = self._files
        arguments = _options_of({key: value for key, value in self._arguments.items() if key != "vocab_size"})
        opened = [str(files.weights(self._name)), str(files.text), "--part", self._part]
        return ["rnneval", verb, *opened, "--builder", files.builder(self._name), *arguments, *options]


def _options_of(arguments: Mapping[str, object]) -> list[str]:
    """Return arguments of a builder as options of a command."""
    return [word for key, value in arguments.items() for word in ("--builder-arg", f"{key}={value}")]
