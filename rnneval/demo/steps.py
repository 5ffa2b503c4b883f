"""Steps of the demo for one model: each reads the files of earlier steps and writes its own, as its command would.

So any step can be repeated by hand: its record holds the command.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from msgspec import structs

from rnneval.callbacks import GradientNorms
from rnneval.checkpoints.usercode import Builder
from rnneval.demo import models
from rnneval.demo.files import BUILDERS, RIGHT, DemoRecipe, Files
from rnneval.evaluate.check import check
from rnneval.evaluate.diagnostics.gradients import gradients
from rnneval.evaluate.diagnostics.trace import trace
from rnneval.evaluate.opening import open as open_checkpoint
from rnneval.evaluate.run import ReaderOptions, evaluated
from rnneval.models.keras.lm import eagerly
from rnneval.records import write

_SEGMENT = 64  # tokens
_LEARNING_RATE = 4e-3


def run_steps(files: Files, recipe: DemoRecipe, name: str) -> None:
    """Run all steps of a model in this process."""
    with suppress(RuntimeError):  # TensorFlow has begun to run
        tf.config.set_visible_devices([], "GPU")  # each process would take all of its memory
    steps = _Steps(files, recipe, name)
    for step in (steps.train, steps.check, steps.measure):
        keras.utils.clear_session()  # layers are named and weights drawn as in a new process
        keras.utils.set_random_seed(recipe.seed)
        step()


class _Steps:
    def __init__(self, files: Files, recipe: DemoRecipe, name: str) -> None:
        self.files, self.recipe, self.name, self.part = files, recipe, name, f"{recipe.trained}%:"
        self.builder = f"{files.source}:{BUILDERS[name]}"  # the code that makes the model, as `--builder` takes it
        self.path = partial(files.of, name)
        self.weights = self.path("weights.h5")  # all that can be saved of a subclassed model
        self.characters: list[str] = json.loads(files.vocabulary.read_text(encoding="utf-8"))

    def train(self) -> None:
        """Train on random segments of the first part of the text, each from the state None; save the weights.

        This is how TensorFlow's tutorial trains. The same recipe draws the same segments for every model.
        """
        recipe, text = self.recipe, self.files.text.read_text(encoding="utf-8")
        number = {character: index for index, character in enumerate(self.characters)}
        ids = np.array([number[character] for character in text[: len(text) * recipe.trained // 100]], np.int32)
        model = getattr(models, BUILDERS[self.name])(len(self.characters))
        model(ids[None, :1])  # what has its weights before it is traced is traced once only
        schedule = keras.optimizers.schedules.CosineDecay(_LEARNING_RATE, recipe.steps, alpha=0.05)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(schedule, clipnorm=1.0), loss)
        model.optimizer.build(model.trainable_variables)
        starts = np.random.default_rng(recipe.seed).integers(0, len(ids) - _SEGMENT - 1, (recipe.steps, recipe.rows))
        drawn = ids[starts[..., None] + np.arange(_SEGMENT + 1)]  # (steps, rows, segment + 1)
        model.fit(
            tf.data.Dataset.from_tensor_slices((drawn[..., :-1], drawn[..., 1:])),
            steps_per_epoch=recipe.steps,
            verbose=0,
            shuffle=False,
            callbacks=[GradientNorms(self.path("training.parquet"), existing="replace")],
        )
        model.save_weights(self.weights)

    def check(self) -> None:
        """Check that each layer's state goes back to the same layer; this needs no training."""
        size, out = len(self.characters), self.path("wiring.json")
        model = Builder(spec=self.builder, arguments={"vocab_size": size}).build(None, around=eagerly)
        command = ("rnneval", "check", self.builder, "--builder-arg", f"vocab_size={size}", "--out", str(out))
        self.wiring = structs.replace(check(model), command=command)
        write(self.wiring, out)

    def measure(self) -> None:
        """Evaluate the saved weights; of the right stack, trace the states and follow the gradients as well."""
        recipe, text, right = self.recipe, self.files.text, self.name == RIGHT
        run, inside, states, record = map(self.path, ("run.json", "inside.json", "states.parquet", "gradients.json"))
        opened = open_checkpoint(  # as a user would, with the code in the folder
            self.weights, builder=self.builder, builder_arguments={"vocab_size": len(self.characters)}, backend="keras"
        )
        options: dict[str, Any] = {"beside_reset": _SEGMENT if right else None}
        command = self._command("evaluate", options, "--out", run)
        write(evaluated(opened, text, ReaderOptions(part=self.part, command=command, **options), self.wiring), run)
        if not right:
            return
        options = {"check": False, "context": recipe.context, "truncation": _SEGMENT}
        command = self._command("trace", options, "--out", states, "--record", inside)
        write(trace(opened, text, part=self.part, out=states, command=command, **options), inside)
        options = {"truncation": _SEGMENT, "lags": recipe.lags, "anchors": recipe.anchors}
        options |= {"segments": recipe.segments, "check": False}
        command = self._command("gradients", options, "--out", record)
        write(gradients(opened, text, part=self.part, command=command, **options), record)

    def _command(self, verb: str, options: Mapping[str, Any], *outputs: object) -> list[str]:
        """Return the command that does the same as a function of this name with these options."""
        words = [self.weights, self.files.text, "--part", self.part, "--builder", self.builder]
        for name, value in options.items():
            if name == "check":
                words.append("--no-check")
            elif value is True:
                words.append(f"--{name}")
            elif value:
                words += [f"--{name.replace('_', '-')}", value]
        return ["rnneval", verb, *map(str, (*words, *outputs))]
