"""Opening a checkpoint: nothing in the file is run, and every assumption is noted.

Full models of Keras 3 are loaded by Keras, those of Keras 2 by rewriting the configuration.
"""

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from rnneval import without_current_folder
from rnneval.checkpoints import Artefact, private_copy, require_builder
from rnneval.checkpoints.checked import FullModel, private_model, require_not_replaced, require_sha256
from rnneval.checkpoints.keras2 import HARD_SIGMOID, OPERATION, rewrite
from rnneval.checkpoints.places import FULL_MODELS
from rnneval.checkpoints.rules import refused
from rnneval.checkpoints.usercode import Builder, builder_of
from rnneval.errors import CheckpointError, UsageError, VocabularyError, WeightShapeError, type_and_message
from rnneval.models.keras.layers import sublayers
from rnneval.models.keras.lm import RecurrentLM, eagerly, model_variables
from rnneval.models.keras.state_tap import overridden
from rnneval.models.keras.vocabularies import (
    as_vocabulary,
    explained,
    from_ids,
    is_lookup,
    stored_vocabulary,
    vocabulary_among,
    vocabulary_inside,
)
from rnneval.models.keras.weights import (
    changed_functions,
    keras2_hard_sigmoid,
    load_hdf5,
    load_keras2_weights,
    load_weights,
)
from rnneval.models.keras.wrap import call_once, wrap
from rnneval.options import OpenOptions, by_keyword
from rnneval.records.paths import read_regular
from rnneval.records.run import (
    Checkpoint,
    Warning,  # noqa: A004 - the record's own word
)
from rnneval.text import Vocabulary, find_vocabulary, siblings

_MOST_MAP_BYTES = 1 << 24
_HARMLESS = 1 << 22  # numbers that no file stores, 16 MB: random generators, states
_HALVES = ("float16", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A model, and how it was read."""

    model: Any
    vocabulary: Vocabulary | None = None  # the vocabulary of a layer that is left out
    notes: tuple[str, ...] = ()  # assumptions, a sentence each
    warnings: tuple[str, ...] = ()  # where the weights may have been trained with another function
    lookups: Mapping[str, Any] = field(default_factory=dict)
    """Lookup layers that the builder's code made beside the model, by their names there."""


@by_keyword(OpenOptions)
def open(path: str | os.PathLike[str], options: OpenOptions) -> RecurrentLM:  # noqa: A001 - the name in the contract: rnneval.open
    """Open a saved model with Keras; `rnneval.open` has the same arguments, and opens with other backends too."""
    if options.backend == "numpy":
        raise UsageError("backend 'numpy' is not known here: rnneval.open opens with it")
    with _loaded(path, options) as (artefact, read, chosen, origin):
        given = chosen if chosen is not None else read.vocabulary
        try:
            lm = wrap(read.model, vocabulary=given, checkpoint=origin, window=options.window, notes=read.notes)
        except CheckpointError as error:
            raise CheckpointError(f"{artefact.path}: {error}") from error
        lm = replace(lm, warnings=tuple(Warning(code="gate-function", message=message) for message in read.warnings))
        if given is not None:
            return lm
        try:  # inside the model, in the builder's code, then beside the checkpoint
            found = vocabulary_inside(lm.model, lm.width) or vocabulary_among(read.lookups, lm.width)
            if found is None and artefact.format == "saved-model":
                found = stored_vocabulary(artefact)
            if found is None:
                found = find_vocabulary(_place(artefact), lm.width)
            return replace(lm, vocabulary=found.fit(lm.width))
        except VocabularyError as error:
            return replace(lm, why_no_vocabulary=str(error))


@by_keyword(OpenOptions)
def load_model(path: str | os.PathLike[str], options: OpenOptions) -> Any:
    """Load a saved model as its author made it, whether or not it can be evaluated: its wiring can still be judged."""
    with _loaded(path, options) as (_, read, _, _):
        return read.model


@contextmanager
def _loaded(
    path: str | os.PathLike[str], options: OpenOptions
) -> Iterator[tuple[Artefact, Loaded, Vocabulary | None, Checkpoint]]:
    """Load the model and yield it with its file, the vocabulary that was given, and its origin."""
    # What the model's layers and a tokenizer need is imported when they are made: with nothing from the current folder.
    with _nothing_beside(options.builder), private_copy(Path(path)) as artefact:
        sha256 = require_sha256(artefact, options.expect_sha256)
        origin = Checkpoint(
            path=str(artefact.path),
            sha256=sha256,
            format=artefact.format,
            contract=1,
            parameters=0,
            dtype="",
            layers=(),
        )
        given = as_vocabulary(options.vocabulary, options.vocabulary_from)
        require_builder(artefact, has_builder=options.builder is not None)
        builder = builder_of(options)
        try:
            read = _model(artefact, builder, given, options.window, _map(options.weight_map))
        finally:
            if builder is not None and builder.runs_everything:
                require_not_replaced(artefact, builder.spec)
        yield artefact, read, given, origin


def _model(
    artefact: Artefact,
    builder: Builder | None,
    vocabulary: Vocabulary | None,
    window: int | None,
    mapped: Mapping[str, Any] | None,
) -> Loaded:
    if artefact.format in FULL_MODELS:
        full, read, changed = _full_model(artefact, _custom_objects(builder) if builder is not None else {})
        half = _in_float32(full)
        model, inside, left_out = from_ids(full)
        lines = builder.notes(everything=True) if builder is not None else ()
        return Loaded(model=model, vocabulary=inside, notes=(*lines, *read, *half, *left_out), warnings=changed)
    assert builder is not None  # noqa: S101 - `require_builder` has refused the others
    if vocabulary is None and "vocab_size" not in builder.arguments and builder.takes_vocabulary():
        vocabulary = _beside(artefact)

    lookups: dict[str, Any] = {}

    def note(made: Mapping[str, Any]) -> None:
        lookups.update({name: value for name, value in made.items() if is_lookup(value)})

    def loaded(builder: Builder) -> tuple[Any, tuple[str, ...], tuple[str, ...]]:
        model = builder.build(vocabulary, around=eagerly, seen=note)
        with eagerly():
            call_once(model, vocabulary_width=None if vocabulary is None else vocabulary.size, window=window)
            return model, *load_weights(model, artefact, mapped)

    try:
        model, notes, changed = loaded(builder)
    except WeightShapeError as error:
        raise explained(error, builder, vocabulary, loaded) from error
    notes = (*builder.notes(), *notes, *_in_float32(model))
    return Loaded(model=model, notes=notes, warnings=changed, lookups=lookups)


def _map(given: str | os.PathLike[str] | Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    if given is None or isinstance(given, Mapping):
        return given
    try:
        read = json.loads(read_regular(given, _MOST_MAP_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"--weight-map {given}: cannot be read: {why}: a JSON map of names is needed") from error
    if not isinstance(read, dict):
        raise UsageError(f"--weight-map {given}: holds a {type(read).__name__}: a JSON map of names is needed")
    return read


def _beside(artefact: Artefact) -> Vocabulary | None:
    """Return the only vocabulary in or beside a checkpoint, for a builder that must know its size; None otherwise."""
    if artefact.format == "saved-model" and (stored := stored_vocabulary(artefact)) is not None:
        return stored
    found: dict[str, Vocabulary] = {}
    for candidate in siblings(_place(artefact)):
        try:
            vocabulary = Vocabulary.from_file(candidate)
        except VocabularyError:
            continue
        found.setdefault(vocabulary.sha256, vocabulary)
    return next(iter(found.values())) if len(found) == 1 else None


def _place(artefact: Artefact) -> Path:
    """Return the path beside which vocabularies are searched: of a TensorFlow checkpoint its folder."""
    return artefact.path.absolute().parent if artefact.format == "tf-checkpoint" else artefact.path


def _full_model(artefact: Artefact, custom: Mapping[str, Any]) -> tuple[Any, tuple[str, ...], tuple[str, ...]]:
    """Load a full model, and return it with notes and warnings, once its configuration is known to be harmless.

    `custom` has classes and functions of the user's own, by the names that the file may ask for.
    """
    with private_model(artefact, tuple(custom)) as model:
        try:
            with eagerly(), _allocation_limited(artefact.path, model.stored_numbers), _nothing_beside(custom):
                if model.keras2:
                    loaded, notes = _keras2(artefact, model, custom)
                    return loaded, notes, changed_functions(loaded, f"Keras {model.version or '2'}")
                named = dict(custom)
                return keras.models.load_model(model.path, custom_objects=named, compile=False, safe_mode=True), (), ()
        except CheckpointError:
            raise
        except Exception as error:
            raise CheckpointError(f"{artefact.path}: Keras could not load it: {type_and_message(error)}") from error


def _custom_objects(builder: Builder) -> dict[str, Any]:
    """Return the layers, models and functions of the user's code that a full model may ask for, by all their names.

    Those that need a statement which may not be run are left out.
    """
    module = builder.everything()
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


def _keras2(artefact: Artefact, stored: FullModel, custom: Mapping[str, Any]) -> tuple[Any, tuple[str, ...]]:
    rewritten = rewrite(stored.config, path=str(artefact.path), version=stored.version, custom=tuple(custom))
    known = {**custom, HARD_SIGMOID: keras2_hard_sigmoid, OPERATION: Keras2Operation}
    model = keras.saving.deserialize_keras_object(rewritten.config, custom_objects=known, safe_mode=True)
    if not model.built:
        call_once(model)
    if artefact.format == "keras-h5":
        return model, (*rewritten.notes, *load_keras2_weights(model, stored.weights, shown=artefact.path))
    load_hdf5(model, stored.weights, shown=artefact.path)
    return model, rewritten.notes


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


def _one_hot(
    x: Any, *, depth: int, on_value: float = 1, off_value: float = 0, axis: int = -1, dtype: str = "float32"
) -> Any:
    rows = ops.one_hot(x, depth, axis=axis, dtype=dtype)
    return rows if (on_value, off_value) == (1, 0) else rows * (on_value - off_value) + off_value


# The operations of `rnneval.checkpoints.keras2`.
_COMPUTED: Mapping[str, Callable[..., Any]] = {
    "one_hot": _one_hot,
    "cast": ops.cast,
    "math.add": lambda x, y: x + y,
    "__operators__.add": lambda x, y: x + y,
    "math.subtract": lambda x, y: x - y,
    "math.multiply": lambda x, y: x * y,
    "math.truediv": lambda x, y: x / y,
    "math.divide": lambda x, y: x / y,
    "math.negative": ops.negative,
    "math.tanh": ops.tanh,
    "math.sigmoid": ops.sigmoid,
    "math.exp": ops.exp,
    "math.square": ops.square,
    "nn.relu": ops.relu,
    "nn.softmax": lambda x, axis=-1: ops.softmax(x, axis=axis),
    "nn.log_softmax": lambda x, axis=-1: ops.log_softmax(x, axis=axis),
    "expand_dims": ops.expand_dims,
    "squeeze": lambda x, axis=None: ops.squeeze(x, axis=axis),
    "identity": lambda x: x,
}


class Keras2Operation(keras.layers.Layer):
    """Layer that computes an operation of TensorFlow in a graph of Keras 2, by Keras 3's own; it has no weights."""

    def __init__(self, function: str, **named: Any) -> None:
        super().__init__(autocast=False, **named)
        self.function = function

    def call(self, x: Any, **named: Any) -> Any:
        """Return the result of the operation on a tensor and further arguments."""
        return _COMPUTED[self.function](x, **named)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {**super().get_config(), "function": self.function}
