"""Vocabularies in a model and around it: layers that make ids of text, tables of a SavedModel, and sizes that disagree.

A layer that converts text to ids inside the model holds the vocabulary, and is left out when the model is called. The
strings of a SavedModel's graph are read as data: no graph is loaded or run.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeAlias, Union

import keras
import tensorflow as tf

from rnneval.checkpoints import Artefact
from rnneval.checkpoints.usercode import Builder
from rnneval.errors import CheckpointError, RnnevalError, VocabularyError, WeightShapeError
from rnneval.models.keras.layers import is_graph, sublayers
from rnneval.models.keras.weights import checkpoint_reader
from rnneval.text import Paths, Vocabulary, given_vocabulary

# The docs are built without Keras, whose stand-in is no type: hence the name in quotes, which `|` does not take.
AnyVocabulary: TypeAlias = Union[
    Vocabulary, str, os.PathLike[str], Sequence[str], Mapping[str, int], "keras.layers.Layer"
]


_UNKNOWN = "[UNK]"
_LARGEST = 1 << 31


_SPECIAL = {
    1: "one id more than it has tokens, most likely [UNK] (StringLookup puts it first) or the padding id 0",
    2: "two ids more than it has tokens, most likely the padding id 0 and [UNK] (TextVectorization puts them first)",
    -1: "one id less than it has tokens: most likely it was trained without [UNK] or padding",
    -2: "two ids less than it has tokens: most likely it was trained without [UNK] and padding",
}
_FILE = {
    1: "\"[UNK]\" first, as json.dump(lookup.get_vocabulary(), open('vocab.json', 'w')) of the StringLookup writes it",
    2: "\"\" and \"[UNK]\" first, as json.dump(layer.get_vocabulary(), open('vocab.json', 'w')) writes it",
    -1: "the tokens alone, without the special one",
    -2: "the tokens alone, without the special ones",
}


def from_ids(model: Any) -> tuple[Any, Vocabulary | None, tuple[str, ...]]:
    """Return a graph without its lookup layer, so that it takes ids, the vocabulary of that layer, and notes."""
    inputs = getattr(model, "inputs", None) if is_graph(model) else None
    if not inputs or len(inputs) != 1 or str(inputs[0].dtype) != "string":
        return model, None, ()
    lookup = next((layer for layer in model.layers if is_lookup(layer)), None)
    if lookup is None:
        return model, None, ()
    notes = [f"the layer {lookup.name}, which makes ids of text, is left out: ids go in after it"]
    standardize = getattr(lookup, "_standardize", None)
    if standardize is not None:
        notes.append(f"it standardizes its text ({standardize}), which is not done here: give text in that form")
    if isinstance(model, keras.Sequential):
        rest = model.layers[model.layers.index(lookup) + 1 :]
        after = keras.Sequential([keras.Input(lookup.output.shape[1:], dtype="int32"), *rest])
    else:
        after = keras.Model(lookup.output, model.outputs[0])
    return after, vocabulary_of(lookup), tuple(notes)


def is_lookup(layer: Any) -> bool:
    """Return whether a layer maps strings to ids, or back."""
    return isinstance(layer, (keras.layers.StringLookup, keras.layers.TextVectorization))


def vocabulary_inside(model: Any, width: int) -> Vocabulary | None:
    """Return the vocabulary of a lookup layer in the model that is as long as its output is wide."""
    fitting = [layer for layer in sublayers(model) if is_lookup(layer) and len(layer.get_vocabulary()) == width]
    fitting.sort(key=lambda layer: bool(getattr(layer, "invert", False)))  # one that makes ids, rather than text
    return vocabulary_of(fitting[0]) if fitting else None


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


def stored_vocabulary(artefact: Artefact) -> Vocabulary | None:
    """Find the one table of tokens that is as long as some weight is wide; None if there is no such table.

    StringLookup keeps id 0 for [UNK] and stores only the other tokens, so that a table of one token less fits, too.
    """
    try:
        sizes = {
            int(size) for shape in checkpoint_reader(artefact).get_variable_to_shape_map().values() for size in shape
        }
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{artefact.path}: its variables are damaged: {' '.join(str(error).split())[:200]}"
        ) from error
    fitting: dict[str, Vocabulary] = {}
    for tokens in _tables(artefact):
        known = tokens if len(tokens) in sizes else [_UNKNOWN, *tokens] if len(tokens) + 1 in sizes else None
        if known is not None and len(set(known)) == len(known):
            found = Vocabulary.from_tokens(known, source=f"a lookup table of the SavedModel {artefact.path}")
            fitting.setdefault(found.sha256, found)
    if len(fitting) > 1:
        raise VocabularyError(
            f"{artefact.path}: {len(fitting)} tables of tokens fit and differ: say which by --vocab FILE"
        )
    return next(iter(fitting.values()), None)


def _tables(artefact: Artefact) -> list[list[str]]:
    """Return the rows of strings among the constants of the graph; its functions have only names of weights."""
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped, unused-ignore]
    from tensorflow.core.protobuf import saved_model_pb2

    path, program = artefact.path / "saved_model.pb", artefact.place / "saved_model.pb"
    if program.stat().st_size > _LARGEST:
        raise CheckpointError(f"{path}: larger than {_LARGEST:,} bytes: refused")
    model = saved_model_pb2.SavedModel()
    try:
        model.ParseFromString(program.read_bytes())
    except DecodeError as error:
        raise CheckpointError(f"{path}: damaged or truncated ({error}): copy or save it again") from error
    nodes = [node for graph in model.meta_graphs for node in graph.graph_def.node if node.op == "Const"]
    found = []
    for tensor in (node.attr["value"].tensor for node in nodes):
        row = len(tensor.tensor_shape.dim) == 1 and tensor.dtype == tf.string.as_datatype_enum
        if row and len(tensor.string_val) == tensor.tensor_shape.dim[0].size > 1:
            found.append([bytes(value).decode("utf-8", errors="replace") for value in tensor.string_val])
    return found


def explained(
    error: WeightShapeError, builder: Builder, vocabulary: Vocabulary | None, load: Callable[[Builder], Any]
) -> WeightShapeError:
    """Return the error with its likely cause: special tokens, where the size of a vocabulary is off by one or two.

    With it come options under which every weight fits, if there are such: `load` raises an error if they do not. The
    builder was offered the size of the vocabulary.
    """
    # All shapes differ in one size alone, by 1 or 2; the model has one, and the file has the other.
    if any(len(held) != len(wanted) for _, held, wanted in error.pairs):
        return error
    differing = {(w, h) for _, held, wanted in error.pairs for h, w in zip(held, wanted, strict=True) if h != w}
    if len(differing) != 1:
        return error
    seen, needed = differing.pop()
    more = needed - seen
    if more not in _SPECIAL:
        return error
    options: tuple[str, ...] = ()
    for other, given in _candidates(builder, seen, needed):
        with suppress(RnnevalError):
            load(other)
            options = given
            break
    what = f"give the builder {needed} in place of {seen}"
    if options:
        what = f"with {' '.join(options)} every weight of the file fits"
    about = f"; as vocabulary give --vocab FILE with {needed} tokens, {_FILE[more]}"
    if vocabulary is not None and vocabulary.first_id + vocabulary.size == needed:
        about = ""
    elif vocabulary is not None and more == 1:
        about = f"; the ids of its tokens then begin at 1, or give --vocab FILE with {needed} tokens, {_FILE[more]}"
    cause = f"the model has {seen} ids and the file {needed}, {_SPECIAL[more]}"
    message = f"{str(error).rpartition(': ')[0]}: {cause}: {what}{about}"
    return WeightShapeError(message, pairs=error.pairs)


def _candidates(builder: Builder, seen: int, needed: int) -> list[tuple[Builder, tuple[str, ...]]]:
    """Return the builders that may make a model of the needed size, each with the options that ask for it."""
    sized = {"vocab_size", *(name for name, value in builder.arguments.items() if value == seen)}
    found: list[tuple[Builder, tuple[str, ...]]] = [
        (replace(builder, arguments={**builder.arguments, name: needed}), ("--builder-arg", f"{name}={needed}"))
        for name in builder.parameters()
        if name in sized
    ]
    if not builder.run_module:
        found += [
            (replace(builder, values={**builder.values, name: needed}), ("--builder-global", f"{name}={needed}"))
            for name, value in builder.numbers().items()
            if value == seen
        ]
    return found
