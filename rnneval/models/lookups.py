"""Layers that convert text to ids inside the model: they hold the vocabulary, and are left out when it is called."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, Union

import keras

from rnneval.models.layers import is_graph, sublayers
from rnneval.text import Paths, Vocabulary, given_vocabulary

# The docs are built without Keras, whose stand-in is no type: hence the name in quotes, which `|` does not take.
AnyVocabulary: TypeAlias = Union[
    Vocabulary, str, os.PathLike[str], Sequence[str], Mapping[str, int], "keras.layers.Layer"
]


@dataclass(frozen=True, kw_only=True)
class FromIds:
    """A model that takes ids."""

    model: Any
    vocabulary: Vocabulary | None = None
    notes: tuple[str, ...] = ()


def from_ids(model: Any) -> FromIds:
    """Return a graph that takes strings as one that takes the ids that its lookup layer makes of them."""
    inputs = getattr(model, "inputs", None) if is_graph(model) else None
    if not inputs or len(inputs) != 1 or str(inputs[0].dtype) != "string":
        return FromIds(model=model)
    lookup = next((layer for layer in model.layers if is_lookup(layer)), None)
    if lookup is None:
        return FromIds(model=model)
    notes = [f"the layer {lookup.name}, which makes ids of text, is left out: ids go in after it"]
    standardize = getattr(lookup, "_standardize", None)
    if standardize is not None:
        notes.append(f"it standardizes its text ({standardize}), which is not done here: give text in that form")
    if isinstance(model, keras.Sequential):
        rest = model.layers[model.layers.index(lookup) + 1 :]
        after = keras.Sequential([keras.Input(lookup.output.shape[1:], dtype="int32"), *rest])
    else:
        after = keras.Model(lookup.output, model.outputs[0])
    return FromIds(model=after, vocabulary=vocabulary_of(lookup), notes=tuple(notes))


def is_lookup(layer: Any) -> bool:
    """Return whether a layer maps strings to ids, or back."""
    return isinstance(layer, (keras.layers.StringLookup, keras.layers.TextVectorization))


def vocabulary_inside(model: Any, width: int) -> Vocabulary | None:
    """Return the vocabulary of a lookup layer in the model that is as long as its output is wide."""
    fitting = [layer for layer in sublayers(model) if is_lookup(layer) and len(layer.get_vocabulary()) == width]
    fitting.sort(key=lambda layer: bool(getattr(layer, "invert", False)))  # one that makes ids, rather than text
    return vocabulary_of(fitting[0]) if fitting else None


def lookups_of(made: Mapping[str, Any]) -> dict[str, Any]:
    """Return the lookup layers among named values."""
    return {name: value for name, value in made.items() if is_lookup(value)}


def vocabulary_among(lookups: Mapping[str, Any], width: int) -> Vocabulary | None:
    """Return the vocabulary of the lookup layers that are as long as a model's output is wide; None if they differ."""
    found: dict[str, Vocabulary] = {}
    for name, lookup in lookups.items():
        vocabulary = vocabulary_of(lookup)
        if vocabulary.size == width:
            source = f"{type(lookup).__name__} {name} of the builder's code"
            found.setdefault(vocabulary.sha256, replace(vocabulary, source=source))
    return next(iter(found.values())) if len(found) == 1 else None


def vocabulary_of(lookup: Any) -> Vocabulary:
    """Return the vocabulary of a StringLookup or TextVectorization layer, whose ids are fixed by the layer."""
    tokens = [str(token) for token in lookup.get_vocabulary()]
    source = f"{type(lookup).__name__} layer {lookup.name}"
    return replace(Vocabulary.from_tokens(tokens, source=source), fixed_ids=True)


def as_vocabulary(given: AnyVocabulary | None, texts: Paths | None = None) -> Vocabulary | None:
    """Return the vocabulary that options give, as `given_vocabulary`; it may be a lookup layer too."""
    return given_vocabulary(vocabulary_of(given) if is_lookup(given) else given, texts)
