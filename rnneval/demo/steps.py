"""Steps of the demo: each reads the files of earlier steps and writes its own, as its command would.

So any step can be repeated by hand: its record holds the command.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from msgspec import structs

from rnneval.demo import models
from rnneval.demo.files import BUILDERS, ONE, RIGHT, Files
from rnneval.demo.training import Recipe, train
from rnneval.engine import evaluate
from rnneval.engine.check import check
from rnneval.engine.diagnostics.gradients import gradients
from rnneval.engine.diagnostics.trace import trace
from rnneval.gates.sides import Named
from rnneval.gates.verdicts import judge
from rnneval.models import RecurrentLM
from rnneval.models import open as open_checkpoint
from rnneval.models.lm import eagerly
from rnneval.options import Progress
from rnneval.records import Run, Wiring, read, write, write_text
from rnneval.render.figures import load
from rnneval.render.report import Given, draw, html_of, page_of
from rnneval.usercode import Builder


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of the demo."""

    doing: str
    unit: str
    run: Callable[[Progress | None], None]


def steps(files: Files, recipe: Recipe) -> Iterator[Step]:
    """Yield the steps in their order."""
    actions = _Actions(files, recipe)
    for name in BUILDERS:
        yield Step(doing=f"training {name}", unit="steps", run=partial(actions.training, name))
    for name in BUILDERS:
        yield Step(doing=f"checking {name}", unit="", run=partial(actions.checking, name))
        yield Step(doing=f"evaluating {name}", unit="tokens", run=partial(actions.evaluating, name))
    yield Step(doing=f"tracing {RIGHT}", unit="tokens", run=partial(actions.tracing, RIGHT))
    yield Step(doing=f"gradients of {RIGHT}", unit="tokens", run=partial(actions.gradients, RIGHT))
    yield Step(doing=f"comparing {RIGHT} with {ONE}", unit="", run=partial(actions.judging, RIGHT, ONE))
    yield Step(doing="writing the page", unit="", run=actions.reporting)


class _Actions:
    def __init__(self, files: Files, recipe: Recipe) -> None:
        self._files, self._recipe, self._part = files, recipe, f"{recipe.trained}%:"
        self._characters: list[str] = json.loads(files.vocabulary.read_text(encoding="utf-8"))
        self._opened: dict[str, RecurrentLM] = {}

    def training(self, name: str, told: Progress | None) -> None:
        """Train on the first part of the text, and save the weights."""
        text = self._files.text.read_text(encoding="utf-8")
        number = {character: index for index, character in enumerate(self._characters)}
        ids = np.array([number[character] for character in text[: len(text) * self._recipe.trained // 100]], np.int32)
        make = getattr(models, BUILDERS[name])
        history = self._files.history(name)
        model = train(make, ids, len(self._characters), self._recipe, history=history, progress=told)
        model.save_weights(self._files.weights(name))

    def checking(self, name: str, _: Progress | None) -> None:
        """Check that each layer's state goes back to the same layer; this needs no training."""
        arguments = self._recipe.builder_arguments(len(self._characters))
        spec, out = self._files.builder(name), self._files.wiring(name)
        model = Builder(spec=spec, arguments=arguments).build(None, around=eagerly)
        command = ["rnneval", "check", spec, *_options_of(arguments), "--out", str(out)]
        write(structs.replace(check(model), command=tuple(command)), out)

    def evaluating(self, name: str, told: Progress | None) -> None:
        """Evaluate the saved weights on the rest of the text."""
        out, wiring = self._files.run(name), read(self._files.wiring(name))
        assert isinstance(wiring, Wiring)  # noqa: S101 - this class has just written it
        beside = self._recipe.segment if name == RIGHT else None
        more = ["--beside-reset", str(beside)] if beside else []
        command = self._command("evaluate", name, *more, "--out", str(out))
        lm, text, part = self._open(name), self._files.text, self._part
        run = evaluate(lm, text, part=part, wiring=wiring, beside_reset=beside, progress=told, command=command)
        write(run, out)

    def tracing(self, name: str, told: Progress | None) -> None:
        """Trace the states along the same text, and the loss by length of context."""
        out, record = self._files.states(name), self._files.inside(name)
        wanted = ["--no-check", *(["--context"] if self._recipe.context else [])]  # it has been checked by now
        command = self._command("trace", name, *wanted, "--truncation", str(self._recipe.segment))
        command = [*command, "--out", str(out), "--record", str(record)]
        run = trace(
            self._open(name),
            self._files.text,
            part=self._part,
            out=out,
            check=False,
            context=self._recipe.context,
            truncation=self._recipe.segment,
            progress=told,
            command=command,
        )
        write(run, record)

    def gradients(self, name: str, told: Progress | None) -> None:
        """Measure the gradients of the loss, by layer and back through time."""
        out = self._files.gradients(name)
        recipe = self._recipe
        reach = ["--truncation", str(recipe.segment), "--lags", str(recipe.lags), "--anchors", str(recipe.anchors)]
        reach += ["--segments", str(recipe.segments), "--no-check"]
        command = self._command("gradients", name, *reach, "--out", str(out))
        found = gradients(
            self._open(name),
            self._files.text,
            part=self._part,
            check=False,
            truncation=recipe.segment,
            lags=recipe.lags,
            segments=recipe.segments,
            anchors=recipe.anchors,
            progress=told,
            command=command,
        )
        write(found, out)

    def judging(self, name: str, baseline: str, _: Progress | None) -> None:
        """Judge whether the second layer helped."""
        candidate, base = (Named(name=each, record=self._measured(each)) for each in (name, baseline))
        write(judge([candidate], [base]), self._files.comparison)

    def reporting(self, _: Progress | None) -> None:
        """Write one page with all records."""
        given = [Given(name=path.name, record=load(path)) for path in self._files.records()]
        page = page_of(given, "One layer, a wrong stack and a right one")
        write_text(html_of(page, draw(page, given)), self._files.page)

    def _measured(self, name: str) -> Run:
        run = read(self._files.run(name))
        assert isinstance(run, Run)  # noqa: S101 - this class has just written it
        return run

    def _open(self, name: str) -> RecurrentLM:
        """Open the saved file as a user would, with the code in the folder."""
        if name not in self._opened:
            arguments = self._recipe.builder_arguments(len(self._characters))
            self._opened[name] = open_checkpoint(
                self._files.weights(name), builder=self._files.builder(name), builder_arguments=arguments
            )
        return self._opened[name]

    def _command(self, verb: str, name: str, *options: str) -> list[str]:
        files, arguments = self._files, self._recipe.builder_arguments(len(self._characters))
        del arguments["vocab_size"]  # the vocabulary says it
        opened = [str(files.weights(name)), str(files.text), "--part", self._part, "--builder", files.builder(name)]
        return ["rnneval", verb, *opened, *_options_of(arguments), *options]


def _options_of(arguments: Mapping[str, object]) -> list[str]:
    """Return arguments of a builder as options of a command."""
    return [word for key, value in arguments.items() for word in ("--builder-arg", f"{key}={value}")]
