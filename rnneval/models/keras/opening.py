"""Opening a checkpoint: nothing in the file is run, and every assumption is noted.

Full models of Keras 3 are loaded by Keras, those of Keras 2 by rewriting the configuration. A layer that converts text
to ids inside the model holds the vocabulary, and is left out when the model is called.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from rnneval.checkpoints import Artefact
from rnneval.checkpoints.checked import private_model
from rnneval.checkpoints.keras2 import HARD_SIGMOID, rewrite
from rnneval.checkpoints.places import FULL_MODELS
from rnneval.checkpoints.rules import refused
from rnneval.checkpoints.usercode import Builder, builder_of
from rnneval.errors import (
    CheckpointError,
    UsageError,
    VocabularyError,
    WeightShapeError,
    in_one_line,
    type_and_message,
)
from rnneval.models.keras.layers import is_graph, model_variables, overridden, sublayers
from rnneval.models.keras.lm import (
    RecurrentLM,
    call_once,
    eagerly,
    is_lookup,
    vocabulary_inside,
    wrap,
)
from rnneval.models.keras.weights import (
    changed_functions,
    checkpoint_reader,
    keras2_hard_sigmoid,
    load_hdf5,
    load_keras2_weights,
    load_weights,
)
from rnneval.options import OpenOptions
from rnneval.paths import read_regular
from rnneval.processes import without_current_folder
from rnneval.records.run import (
    Checkpoint,
    Warning,  # noqa: A004 - the record's own word
)
from rnneval.text import (
    Vocabulary,
    find_vocabulary,
    given_vocabulary,
    only_vocabulary_beside,
    vocabulary_of_lookup,
)

_MOST_MAP_BYTES = 1 << 24
_HARMLESS = 1 << 22  # numbers that no file stores, 16 MB: random generators, states
_HALVES = ("float16", "bfloat16")
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
    lookups: tuple[Vocabulary, ...] = ()  # vocabularies of lookup layers that the builder's code made beside the model
    texts: tuple[tuple[str, str], ...] = ()  # path and hash of the training text that the builder's code read


def open_keras(artefact: Artefact, options: OpenOptions) -> RecurrentLM:
    """Open a private copy of a checkpoint with Keras, as `rnneval.open`."""
    with _nothing_beside(options.builder):
        read = _loaded(artefact, options)
        path, sha256, form = str(artefact.path), artefact.sha256, artefact.format
        origin = Checkpoint(path=path, sha256=sha256, format=form, contract=1, parameters=0, dtype="", layers=())
        try:
            lm = wrap(
                read.model, vocabulary=read.vocabulary, checkpoint=origin, window=options.window, notes=read.notes
            )
        except CheckpointError as error:
            raise CheckpointError(f"{artefact.path}: {error}") from error
        lm = replace(lm, warnings=tuple(Warning(code="gate-function", message=message) for message in read.warnings))
        if lm.vocabulary is not None:
            return replace(lm, vocabulary=replace(lm.vocabulary, texts=lm.vocabulary.texts or read.texts))
        try:  # inside the model, in the builder's code, then beside the checkpoint
            among = {found.sha256: found for found in read.lookups if found.size == lm.width}
            found = vocabulary_inside(lm.model, lm.width) or (among.popitem()[1] if len(among) == 1 else None)
            if found is None and artefact.format == "saved-model":
                found = _stored_vocabulary(artefact)
            found = found or find_vocabulary(artefact.outside, lm.width)
            return replace(lm, vocabulary=replace(found.fit(lm.width), texts=read.texts))
        except VocabularyError as error:
            return replace(lm, why_no_vocabulary=str(error))


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
    full, read, changed = _full_model(artefact, {} if brings is None else _custom_objects(brings))
    half = _in_float32(full)
    model, inside, left_out = from_ids(full)
    notes = (*(() if brings is None else brings.notes()), *read, *half, *left_out)
    return Loaded(model=model, vocabulary=inside if given is None else given, notes=notes, warnings=changed)


def _built(artefact: Artefact, builder: Builder, given: Vocabulary | None, options: OpenOptions) -> Loaded:
    """Load weights into the model that the builder makes."""
    vocabulary = given
    if given is None and "vocab_size" not in builder.arguments and builder.takes_vocabulary():
        stored = _stored_vocabulary(artefact) if artefact.format == "saved-model" else None
        vocabulary = stored or only_vocabulary_beside(artefact.outside)
    made = vars(builder.run())  # what the builder's code made, by name
    model = builder.build(vocabulary, around=eagerly)
    with eagerly():
        call_once(model, vocabulary_width=None if vocabulary is None else vocabulary.size, window=options.window)
        try:
            notes, changed = load_weights(model, artefact, _map(options.weight_map))
        except WeightShapeError as error:
            raise explained(error, builder, vocabulary) from error
    return Loaded(
        model=model,
        vocabulary=given,
        notes=(*builder.notes(), *notes, *_in_float32(model)),
        warnings=changed,
        lookups=tuple(
            replace(vocabulary_of_lookup(lookup), source=f"{type(lookup).__name__} {name} of the builder's code")
            for name, lookup in made.items()
            if is_lookup(lookup)
        ),
        texts=builder.text_read(made),
    )


def _map(given: str | os.PathLike[str] | Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    if given is None or isinstance(given, Mapping):
        return given
    try:
        read = json.loads(read_regular(given, _MOST_MAP_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"--weight-map {given}: cannot be read: {error}: a JSON map of names is needed") from error
    if not isinstance(read, dict):
        raise UsageError(f"--weight-map {given}: holds a {type(read).__name__}: a JSON map of names is needed")
    return read


def _full_model(artefact: Artefact, custom: Mapping[str, Any]) -> tuple[Any, tuple[str, ...], tuple[str, ...]]:
    """Load a full model once its configuration is known to be harmless; `custom` has the user's own classes by name."""
    with private_model(artefact, tuple(custom)) as stored:
        try:
            with eagerly(), _allocation_limited(artefact.path, stored.stored_numbers):
                if not stored.keras2:
                    named = dict(custom)
                    loaded = keras.models.load_model(stored.path, custom_objects=named, compile=False, safe_mode=True)
                    return loaded, (), ()
                config, notes = rewrite(
                    stored.config, path=str(artefact.path), version=stored.version, custom=tuple(custom)
                )
                known = {**custom, HARD_SIGMOID: keras2_hard_sigmoid}
                model = keras.saving.deserialize_keras_object(config, custom_objects=known, safe_mode=True)
                if not model.built:
                    call_once(model)
                if artefact.format == "keras-h5":
                    notes = (*notes, *load_keras2_weights(model, stored.weights, shown=artefact.path))
                else:
                    load_hdf5(model, stored.weights, shown=artefact.path)
                return model, notes, changed_functions(model, f"Keras {stored.version or '2'}")
        except CheckpointError:
            raise
        except Exception as error:
            raise CheckpointError(f"{artefact.path}: Keras could not load it: {type_and_message(error)}") from error


def _custom_objects(builder: Builder) -> dict[str, Any]:
    """Return the layers, models and functions of the user's code that a full model may ask for, by all their names."""
    module = builder.run()
    found: dict[str, Any] = {}
    for name, value in vars(module).items():
        if isinstance(value, type):
            of_keras = value.__module__.startswith(("keras.", "tensorflow."))
            may_be_saved = not of_keras and issubclass(value, keras.layers.Layer)
        else:
            of_module = getattr(value, "__module__", None) == module.__name__
            may_be_saved = callable(value) and of_module and hasattr(value, "__code__")
        if may_be_saved:
            found[name] = value
            found[keras.saving.get_registered_name(value)] = value
    return found


def _nothing_beside(own_code: object) -> AbstractContextManager[None]:
    """Keep the current folder from being imported, unless the user's own code takes part, which may need it."""
    return nullcontext() if own_code else without_current_folder()


@contextmanager
def _allocation_limited(path: Path, stored: int) -> Iterator[None]:
    """Refuse the weight with which all layers that are made in the block would outgrow the stored numbers.

    The rule config-allocation checks the sizes in a configuration one by one. Only Keras knows their sum, and it tells
    `Layer.add_weight` before it allocates.
    """
    original, asked = keras.layers.Layer.add_weight, 0

    def add_weight(self: Any, shape: Any = None, *arguments: Any, **named: Any) -> Any:
        nonlocal asked
        asked += math.prod(shape or ())
        if asked > stored + _HARMLESS:
            seen = f"its layers have {asked:,} numbers, and the file holds {stored:,}"
            raise refused("config-allocation", path, seen)
        return original(self, shape, *arguments, **named)

    with overridden(keras.layers.Layer, "add_weight", add_weight):
        yield


def _in_float32(model: Any) -> tuple[str, ...]:
    """Let every layer of half precision compute in float32, and say so: products are not rounded to 3 digits."""
    layers = [layer for layer in (model, *sublayers(model)) if isinstance(layer, keras.layers.Layer)]
    named = {layer.dtype_policy.name for layer in layers if layer.compute_dtype in _HALVES}
    if not named:
        return ()
    for layer in layers:
        if layer.compute_dtype in _HALVES:
            layer.dtype_policy = "float32"
    for variable in model_variables(model):
        # Keras does not cast a float16 weight beside float32 inputs: it is an error.
        if isinstance(variable, keras.Variable) and variable.dtype in _HALVES:
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


def _stored_vocabulary(artefact: Artefact) -> Vocabulary | None:
    """Find the one table of tokens in a SavedModel that is as long as some weight is wide; None if there is none.

    The tables are among the constants of the graph, which is read as data and never run. StringLookup keeps id 0 for
    [UNK] and stores only the other tokens, so that a table of one token less fits, too.
    """
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped, unused-ignore]
    from tensorflow.core.protobuf import saved_model_pb2

    program, graphs = artefact.place / "saved_model.pb", saved_model_pb2.SavedModel()
    try:
        shapes = checkpoint_reader(artefact).get_variable_to_shape_map().values()
        graphs.ParseFromString(program.read_bytes())
    except (tf.errors.OpError, ValueError, RuntimeError, DecodeError) as error:
        raise CheckpointError(
            f"{artefact.path / program.name}: damaged or truncated: {in_one_line(error)}: save it again"
        ) from error
    sizes, fitting = {int(size) for shape in shapes for size in shape}, {}
    nodes = (node for graph in graphs.meta_graphs for node in graph.graph_def.node if node.op == "Const")
    for tensor in (node.attr["value"].tensor for node in nodes):
        row = len(tensor.tensor_shape.dim) == 1 and tensor.dtype == tf.string.as_datatype_enum
        if not row or not len(tensor.string_val) == tensor.tensor_shape.dim[0].size > 1:
            continue
        tokens = [bytes(value).decode("utf-8", errors="replace") for value in tensor.string_val]
        known = tokens if len(tokens) in sizes else ["[UNK]", *tokens] if len(tokens) + 1 in sizes else None
        if known is not None and len(set(known)) == len(known):
            found = Vocabulary.from_tokens(known, source=f"a lookup table of the SavedModel {artefact.path}")
            fitting[found.sha256] = found
    if len(fitting) > 1:
        raise VocabularyError(
            f"{artefact.path}: {len(fitting)} tables of tokens fit and differ: say which by --vocab FILE"
        )
    return next(iter(fitting.values()), None)


def explained(error: WeightShapeError, builder: Builder, vocabulary: Vocabulary | None) -> WeightShapeError:
    """Return the error with its likely cause: special tokens, where the size of a vocabulary is off by one or two."""
    # All shapes differ in one size alone, by 1 or 2; the model has one, and the file has the other.
    if any(len(held) != len(wanted) for _, held, wanted in error.pairs):
        return error
    differing = {(w, h) for _, held, wanted in error.pairs for h, w in zip(held, wanted, strict=True) if h != w}
    if len(differing) != 1 or (more := (sizes := differing.pop())[1] - sizes[0]) not in _SPECIAL:
        return error
    (seen, needed), likely = sizes, _SPECIAL[more]
    sized = {"vocab_size", *(name for name, value in builder.arguments.items() if value == seen)}
    options = [f"--builder-arg {name}={needed}" for name in builder.parameters() if name in sized]
    if not builder.run_module:
        options += [f"--builder-global {name}={needed}" for name, value in builder.numbers().items() if value == seen]
    what = f"give the builder {needed} in place of {seen}" + (f", {options[0]}" if len(options) == 1 else "")
    about = (
        f"--vocab FILE with {needed} tokens, as json.dump(layer.get_vocabulary(), open('vocab.json', 'w')) writes it"
    )
    if vocabulary is None or (vocabulary.first_id + vocabulary.size != needed and more != 1):
        what += f"; as vocabulary give {about}"
    elif vocabulary.first_id + vocabulary.size != needed:
        what += f"; the ids of its tokens then begin at 1, or give {about}"
    if vocabulary is not None and vocabulary.texts:
        likely = f"the text lacks a character of the training text; or the file has {likely}"
        what = f"give all of the training text; or, if id 0 is [UNK], {what}"
    message = f"{str(error).partition(': ')[0]}: the model has {seen} ids and the file {needed}"
    return WeightShapeError(message, pairs=error.pairs, cause=likely, advice=what)
