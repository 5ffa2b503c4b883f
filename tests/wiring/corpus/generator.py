"""Models made by rule: kind of layer × depth × container of states × fault.

Each is the source of a module with one class and one builder, as a person would write it, so that files and lines are
real and the static linter can read it too.
"""

import importlib.util
import itertools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.wiring.corpus.case import Case, E, U, V

KINDS = ("GRU", "LSTM", "SimpleRNN")
DEPTHS = (2, 3)
CONTAINERS = ("tuple", "list", "dict", "flat", "concat", "stack")
FAULTS = {
    "": "",
    "shares": "shared-state",
    "exchanges": "crossed-state",
    "takes_top": "crossed-state",
    "averages": "mixed-state",
    "swaps_slots": "swapped-slots",
    "rolls_rows": "misplaced-state",
    "flips_units": "misplaced-state",
    "returns_incoming": "stale-state",
    "ignores": "ignored-state",
    "zeroes": "ignored-state",
    "draws": "random-state",
    "noises": "noisy-state",
    "reuses": "shared-layer",
}
"""Fault → the rule that names it."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What to make."""

    kind: str
    depth: int
    container: str
    fault: str

    @property
    def name(self) -> str:
        """A name for the model, good for a file and a class."""
        return f"{self.kind.lower()}_{self.depth}_{self.container}_{self.fault or 'right'}"

    @property
    def slots(self) -> int:
        """How many parts a layer's state has."""
        return 2 if self.kind == "LSTM" else 1


def recipes() -> Iterator[Recipe]:
    """Every recipe that makes sense."""
    for kind, depth, container, fault in itertools.product(KINDS, DEPTHS, CONTAINERS, FAULTS):
        if fault != "swaps_slots" or kind == "LSTM":
            yield Recipe(kind=kind, depth=depth, container=container, fault=fault)


def source_of(recipe: Recipe) -> str:
    """The module's text."""
    return "\n".join([*_head(recipe), *_init(recipe), *_call(recipe), "", "", "def build():", "    return Model()", ""])


def _head(recipe: Recipe) -> list[str]:
    return [
        f'"""Made: {recipe.kind} × {recipe.depth}, states in a {recipe.container}, {recipe.fault or "right"}."""',
        "",
        "import keras",
        "import tensorflow as tf",
        "",
        "",
        "class Model(keras.Model):",
    ]


def _init(recipe: Recipe) -> list[str]:
    layers = [
        f"        self.rnn{i} = keras.layers.{recipe.kind}({U}, return_sequences=True, return_state=True)"
        for i in range(1, recipe.depth + 1)
    ]
    return [
        "    def __init__(self):",
        "        super().__init__()",
        f"        self.embedding = keras.layers.Embedding({V}, {U if recipe.fault == 'reuses' else E})",
        *layers,
        f"        self.dense = keras.layers.Dense({V})",
        "",
    ]


def _names(recipe: Recipe, prefix: str) -> list[list[str]]:
    letters = ("h", "c") if recipe.slots == 2 else ("s",)
    return [[f"{prefix}{letter}{i}" for letter in letters] for i in range(1, recipe.depth + 1)]


def _call(recipe: Recipe) -> list[str]:
    given, new = _names(recipe, ""), _names(recipe, "n")
    return [
        "    def call(self, inputs, states=None, return_state=False, training=False):",
        "        x = self.embedding(inputs)",
        f"        zeros = tf.zeros((tf.shape(inputs)[0], {U}))",
        "        if states is None:",
        f"            states = {_packed(recipe, [['zeros'] * recipe.slots] * recipe.depth)}",
        *(f"        {line}" for line in _unpacked(recipe, given)),
        *(f"        {line}" for line in _before(recipe, given)),
        *(f"        {_layer(recipe, i, given, new)}" for i in range(recipe.depth)),
        *(f"        {line}" for line in _after(recipe, given, new)),
        "        x = self.dense(x)",
        f"        return (x, {_packed(recipe, _returned(recipe, given, new))}) if return_state else x",
    ]


def _layer(recipe: Recipe, i: int, given: Sequence[Sequence[str]], new: Sequence[Sequence[str]]) -> str:
    number = 1 if recipe.fault == "reuses" else i + 1
    fed = new[i - 1] if recipe.fault == "shares" and i == recipe.depth - 1 else given[i]
    state = fed[0] if recipe.slots == 1 else f"[{', '.join(fed)}]"
    argument = "" if recipe.fault == "ignores" and i == recipe.depth - 1 else f", initial_state={state}"
    return f"x, {', '.join(new[i])} = self.rnn{number}(x{argument}, training=training)"


def _before(recipe: Recipe, given: Sequence[Sequence[str]]) -> list[str]:
    last, first = given[-1], given[0]
    if recipe.fault == "zeroes":
        return [f"{name} = tf.zeros_like({name})" for name in last]
    if recipe.fault == "draws":
        return [f"{name} = tf.random.normal(tf.shape({name}))" for name in first]
    if recipe.fault == "averages":
        return [f"{a} = ({a} + {b}) / 2" for a, b in zip(first, last, strict=True)]
    return []


def _after(recipe: Recipe, given: Sequence[Sequence[str]], new: Sequence[Sequence[str]]) -> list[str]:
    first = new[0]
    if recipe.fault == "rolls_rows":
        return [f"{name} = tf.roll({name}, 1, axis=0)" for name in first]
    if recipe.fault == "flips_units":
        return [f"{name} = tf.reverse({name}, axis=[1])" for name in first]
    if recipe.fault == "noises":
        return [f"{name} = {name} + tf.random.normal(tf.shape({name}), stddev=0.1)" for name in first]
    return []


def _returned(recipe: Recipe, given: Sequence[Sequence[str]], new: Sequence[Sequence[str]]) -> list[list[str]]:
    states = [list(state) for state in new]
    if recipe.fault == "exchanges":
        states[0], states[-1] = states[-1], states[0]
    if recipe.fault == "takes_top":
        states = [states[-1]] * recipe.depth
    if recipe.fault == "returns_incoming":
        states[0] = list(given[0])
    if recipe.fault == "swaps_slots":
        states[0] = states[0][::-1]
    return states


def _packed(recipe: Recipe, states: Sequence[Sequence[str]]) -> str:
    parts = [state[0] if recipe.slots == 1 else f"[{', '.join(state)}]" for state in states]
    flat = ", ".join(name for state in states for name in state)
    return {
        "tuple": f"({', '.join(parts)})",
        "list": f"[{', '.join(parts)}]",
        "dict": "{" + ", ".join(f'"rnn{i}": {part}' for i, part in enumerate(parts, 1)) + "}",
        "flat": f"[{flat}]",
        "concat": f"tf.concat([{flat}], axis=-1)",
        "stack": f"tf.stack([{flat}])",
    }[recipe.container]


def _unpacked(recipe: Recipe, given: Sequence[Sequence[str]]) -> list[str]:
    parts = [state[0] if recipe.slots == 1 else f"({', '.join(state)})" for state in given]
    flat = ", ".join(name for state in given for name in state)
    if recipe.container == "dict":
        return [f'{part} = states["rnn{i}"]' for i, part in enumerate(parts, 1)]
    if recipe.container == "concat":
        return [f"{flat} = tf.split(states, {recipe.slots * recipe.depth}, axis=-1)"]
    if recipe.container == "stack":
        return [f"{flat} = tf.unstack(states)"]
    return [f"{flat if recipe.container == 'flat' else ', '.join(parts)} = states"]


def case_of(recipe: Recipe, folder: Path) -> Case:
    """Write the module into a folder, and give the case that builds its model."""
    path = folder / f"{recipe.name}.py"
    path.write_text(source_of(recipe), encoding="utf-8")

    def build() -> Any:
        spec = importlib.util.spec_from_file_location(f"made_by_rule_{recipe.name}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return module.build()

    return Case(name=recipe.name, build=build, right=not recipe.fault, rule=FAULTS[recipe.fault])
