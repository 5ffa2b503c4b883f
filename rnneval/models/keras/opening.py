"""Opening a checkpoint: nothing in the file is run, and every assumption is noted.

Full models of Keras 3 are loaded by Keras, those of Keras 2 by rewriting the configuration. A layer that converts text
to ids inside the model holds the vocabulary, and is left out when the model is called.
"""

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path
from types import FunctionType
from typing import Any

import keras
import msgspec
import tensorflow as tf

from rnneval.checkpoints import Artefact
from rnneval.checkpoints.checked import private_model
from rnneval.checkpoints.keras2 import HARD_SIGMOID, rewrite
from rnneval.checkpoints.places import FULL_MODELS
from rnneval.checkpoints.rules import refused
from rnneval.checkpoints.usercode import Builder, builder_of
from rnneval.errors import CheckpointError, UsageError, VocabularyError, WeightShapeError, type_and_message
from rnneval.models.keras.layers import HALVES, is_graph, model_variables, overridden, sublayers
from rnneval.models.keras.lm import RecurrentLM, call_once, eagerly, is_lookup, wrap
from rnneval.models.keras.weights import (
    changed_functions,
    keras2_hard_sigmoid,
    load_hdf5,
    load_keras2_weights,
    load_weights,
)
from rnneval.options import OpenOptions
from rnneval.paths import read_regular
from rnneval.processes import without_current_folder
from rnneval.records.run import Warning  # noqa: A004 - the record's own word
from rnneval.text import Vocabulary, find_vocabulary, given_vocabulary, only_vocabulary_beside, vocabulary_of_lookup

_MOST_MAP_BYTES = 1 << 24
_HARMLESS = 1 << 22  # numbers that no file stores, 16 MB: random generators, states
_SPECIAL = {
    1: "one id more than it has tokens, most likely [UNK] (StringLookup puts it first) or the padding id 0",
    2: "two ids more than it has tokens, most likely the padding id 0 and [UNK] (TextVectorization puts them first)",
}
"""The likely cause by how many ids a file has more than a model."""


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A model, and how it was read."""

    model: Any
    vocabulary: Vocabulary | None  # the vocabulary that is given, or that of a layer which is left out
    notes: tuple[str, ...]  # assumptions, a sentence each
    warnings: tuple[str, ...]  # where the weights may have been trained with another function
    namespace: Mapping[str, Any] = field(default_factory=dict)  # what the builder's code made beside the model
    texts: tuple[tuple[str, str], ...] = ()  # path and hash of the training text that the builder's code read


def open_keras(artefact: Artefact, options: OpenOptions) -> RecurrentLM:
    """Open a private copy of a checkpoint with Keras, as `rnneval.open`."""
    with _nothing_beside(options.builder):
        read = _loaded(artefact, options)
        try:
            lm = wrap(read.model, vocabulary=read.vocabulary, file=artefact, window=options.window, notes=read.notes)
        except CheckpointError as error:
            raise CheckpointError(f"{artefact.path}: {error}") from error
        lm = replace(lm, warnings=tuple(Warning(code="gate-function", message=message) for message in read.warnings))
        found = lm.vocabulary or _made_beside(read.namespace, lm.width)
        try:
            found = (found or find_vocabulary(artefact.outside, lm.width)).fit(lm.width)
        except VocabularyError as error:
            return replace(lm, why_no_vocabulary=str(error))
        return replace(lm, vocabulary=replace(found, texts=found.texts or read.texts))


def _made_beside(namespace: Mapping[str, Any], width: int) -> Vocabulary | None:
    """Return the one vocabulary of that size among the lookup layers that the builder's code made."""
    vocabularies: dict[str, Vocabulary] = {}
    for name, layer in namespace.items():
        if is_lookup(layer) and (vocabulary := vocabulary_of_lookup(layer)).size == width:
            source = f"{type(layer).__name__} {name} of the builder's code"
            vocabularies[vocabulary.sha256] = replace(vocabulary, source=source)
    return vocabularies.popitem()[1] if len(vocabularies) == 1 else None


def load_model(artefact: Artefact, options: OpenOptions) -> Any:
    """Load a model as its author made it, whether or not it can be evaluated: its wiring can still be judged."""
    with _nothing_beside(options.builder):
        return _loaded(artefact, options).model


def _loaded(artefact: Artefact, options: OpenOptions) -> Loaded:
    """Load a full model, or weights into the model that the builder makes."""
    given, builder = given_vocabulary(options.vocabulary, options.vocabulary_from), builder_of(options)
    if artefact.format not in FULL_MODELS:
        assert builder is not None  # noqa: S101 - `examined` has refused the others
        return _built(artefact, builder, given, options)
    brings = None if builder is None else replace(builder, everything=True)
    full, read, changed = _full_model(artefact, _custom_objects(brings) if brings else {})
    half = () if options.as_saved else _in_float32(full)
    model, inside, left_out = from_ids(full)
    notes = (*(brings.notes() if brings else ()), *read, *half, *left_out)
    return Loaded(model=model, vocabulary=given or inside, notes=notes, warnings=changed)


def _built(artefact: Artefact, builder: Builder, vocabulary: Vocabulary | None, options: OpenOptions) -> Loaded:
    known = vocabulary
    if vocabulary is None and "vocab_size" not in builder.arguments and builder.takes_vocabulary():
        known = only_vocabulary_beside(artefact.outside)
    namespace = vars(builder.run())  # what the builder's code made, by name
    model = builder.build(known, around=eagerly)
    with eagerly():
        call_once(model, vocabulary_width=None if known is None else known.size, window=options.window)
        try:
            notes, changed = load_weights(model, artefact, _map(options.weight_map))
        except WeightShapeError as error:
            raise explained(error, builder) from error
    half = () if options.as_saved else _in_float32(model)
    notes = (*builder.notes(), *notes, *half)
    texts = builder.text_read(namespace)
    return Loaded(model=model, vocabulary=vocabulary, notes=notes, warnings=changed, namespace=namespace, texts=texts)


def _map(weight_map: str | os.PathLike[str] | Mapping[str, Any] | None) -> Mapping[str, Any]:
    if weight_map is None or isinstance(weight_map, Mapping):
        return weight_map or {}
    try:
        return msgspec.json.decode(read_regular(weight_map, _MOST_MAP_BYTES), type=dict[str, str | float])
    except (OSError, msgspec.MsgspecError, RecursionError) as error:
        raise UsageError(f"--weight-map {weight_map}: {error}: a JSON map of names is needed") from error


def _full_model(artefact: Artefact, custom: Mapping[str, Any]) -> tuple[Any, tuple[str, ...], tuple[str, ...]]:
    """Load a full model once its configuration is known to be harmless; `custom` has the user's own classes by name."""
    names = tuple(custom)
    with private_model(artefact, names) as stored:
        try:
            with eagerly(), _allocation_limited(artefact.path, stored.stored_numbers):
                if not stored.keras2:
                    loaded = keras.models.load_model(stored.path, custom_objects=custom, compile=False, safe_mode=True)
                    return loaded, (), ()
                config, notes = rewrite(stored.config, path=str(artefact.path), version=stored.version, custom=names)
                known = {**custom, HARD_SIGMOID: keras2_hard_sigmoid}
                model = keras.saving.deserialize_keras_object(config, custom_objects=known, safe_mode=True)
                if not model.built:
                    call_once(model)
                if artefact.format == "keras-h5":
                    notes = (*notes, *load_keras2_weights(model, stored.weights, label=artefact.path)[0])
                else:
                    load_hdf5(model, stored.weights, label=artefact.path)
                return model, notes, changed_functions(model, f"Keras {stored.version or '2'}")
        except CheckpointError:
            raise
        except Exception as error:
            raise CheckpointError(f"{artefact.path}: Keras could not load it: {type_and_message(error)}") from error


def _custom_objects(builder: Builder) -> dict[str, Any]:
    """Return the layers, models and functions of the user's code that a full model may ask for, by all their names."""
    module = builder.run()

    def may_be_saved(value: Any) -> bool:
        if isinstance(value, type):
            return issubclass(value, keras.layers.Layer) and not value.__module__.startswith(("keras.", "tensorflow."))
        return isinstance(value, FunctionType) and value.__module__ == module.__name__

    found = {name: value for name, value in vars(module).items() if may_be_saved(value)}
    return found | {keras.saving.get_registered_name(value): value for value in found.values()}


def _nothing_beside(own_code: object) -> AbstractContextManager[None]:
    """Keep the current folder from being imported, unless the user's own code takes part, which may need it."""
    return nullcontext() if own_code else without_current_folder()


@contextmanager
def _allocation_limited(path: Path, stored: int) -> Iterator[None]:
    """Refuse the weight with which all layers that are made in the block would outgrow the stored numbers."""
    original, asked = keras.layers.Layer.add_weight, 0

    def add_weight(self: Any, shape: Any = None, *arguments: Any, **named: Any) -> Any:
        nonlocal asked
        asked += math.prod(shape or ())
        if asked > stored + _HARMLESS:
            seen = f"its layers have {asked:,} numbers, and the file holds {stored:,}"
            raise refused("config-allocation", path, seen)
        return original(self, shape, *arguments, **named)

    with overridden(keras.layers.Layer, "add_weight", add_weight):  # Keras calls it before it allocates
        yield


def _in_float32(model: Any) -> tuple[str, ...]:
    """Let every layer of half precision compute in float32, and say so: products are not rounded to 3 digits."""
    halves = [layer for layer in (model, *sublayers(model)) if getattr(layer, "compute_dtype", None) in HALVES]
    named = {layer.dtype_policy.name for layer in halves}
    if not named:
        return ()
    for layer in halves:
        layer.dtype_policy = "float32"
    for variable in model_variables(model):
        # Keras does not cast a float16 weight beside float32 inputs: it is an error.
        if isinstance(variable, keras.Variable) and variable.dtype in HALVES:
            values = tf.cast(variable.value, "float32")
            variable._dtype = "float32"
            variable._initialize(values)
    return (f"saved under the policy {' and '.join(sorted(named))}: evaluated in float32",)


def from_ids(model: Any) -> tuple[Any, Vocabulary | None, tuple[str, ...]]:
    """Return a graph without its lookup layer, so that it takes ids, the vocabulary of that layer, and notes."""
    inputs = getattr(model, "inputs", None) if is_graph(model) else None
    reads_text = inputs and len(inputs) == 1 and str(inputs[0].dtype) == "string"
    lookup = next((layer for layer in model.layers if is_lookup(layer)), None) if reads_text else None
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
    return after, vocabulary_of_lookup(lookup), tuple(notes)


def explained(error: WeightShapeError, builder: Builder) -> WeightShapeError:
    """Return the error with its likely cause: special tokens, where the size of a vocabulary is off by one or two."""
    # All shapes differ in one size alone, by 1 or 2; the model has one, and the file has the other.
    differing = {sizes for _, held, wanted in error.pairs for sizes in zip_longest(wanted, held) if len({*sizes}) > 1}
    if len(differing) != 1 or None in (sizes := differing.pop()) or sizes[1] - sizes[0] not in _SPECIAL:
        return error
    seen, needed = sizes
    sized = {"vocab_size", *(name for name, value in builder.arguments.items() if value == seen)}
    options = [f"--builder-arg {name}={needed}" for name in builder.parameters() if name in sized]
    if not builder.run_module:
        options += [f"--builder-global {name}={needed}" for name, value in builder.numbers().items() if value == seen]
    option = f", {options[0]}" if len(options) == 1 else ""
    vocabulary = (
        f"--vocab FILE with {needed} tokens, as json.dump(layer.get_vocabulary(), open('vocab.json', 'w')) writes it"
    )
    message = f"{str(error).partition(': ')[0]}: the model has {seen} ids and the file {needed}"
    what = f"give the builder {needed} in place of {seen}{option}; as vocabulary give {vocabulary}"
    return WeightShapeError(message, pairs=error.pairs, cause=_SPECIAL[needed - seen], advice=what)
