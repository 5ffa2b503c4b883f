"""Loading full models: of Keras 3 by Keras, of Keras 2 by rewriting the configuration. No code in a file is run."""

import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from rnneval import without_current_folder
from rnneval.errors import CheckpointError, type_and_message
from rnneval.files import Artefact
from rnneval.files.artefact import FullModel, private_model
from rnneval.files.keras2 import HARD_SIGMOID, OPERATION, rewrite
from rnneval.files.rules import refused
from rnneval.models.keras2 import Keras2Operation, keras2_hard_sigmoid, load_keras2_weights
from rnneval.models.layers import sublayers
from rnneval.models.lm import eagerly, model_variables
from rnneval.models.weights import load_hdf5
from rnneval.models.wrap import call_once
from rnneval.text import Vocabulary
from rnneval.usercode import Builder

_HARMLESS = 1 << 22
"""Numbers that no file stores, 16 MB: random generators, states."""
_HALVES = ("float16", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A model, and how it was read."""

    model: Any
    vocabulary: Vocabulary | None = None
    """The vocabulary of a layer that is left out."""
    notes: tuple[str, ...] = ()
    """Assumptions, a sentence each."""
    lookups: Mapping[str, Any] = field(default_factory=dict)
    """Lookup layers that the builder's code made beside the model, by their names there."""


def load_full_model(artefact: Artefact, custom: Mapping[str, Any]) -> Loaded:
    """Load a full model once its configuration is known to be harmless; no trace is made before its weights are in.

    Args:
        artefact: A `.keras` or `.h5` file; Keras opens a private copy of it.
        custom: Classes and functions of the user's own, by the names that the file may ask for.

    Raises:
        CheckpointError: it asks for more than Keras' own layers and these, is damaged, or is no graph of layers.
    """
    with private_model(artefact, tuple(custom)) as model:
        try:
            with eagerly(), _allocation_limited(artefact.path, model.stored_numbers), nothing_beside(custom):
                if model.keras2:
                    return _keras2(artefact, model, custom)
                read = keras.models.load_model(model.path, custom_objects=dict(custom), compile=False, safe_mode=True)
                return Loaded(model=read)
        except CheckpointError:
            raise
        except Exception as error:
            raise CheckpointError(f"{artefact.path}: Keras could not load it: {type_and_message(error)}") from error


def custom_objects(builder: Builder) -> dict[str, Any]:
    """Return the objects of the user's file or module that a full model may ask for.

    These are its layers and models, by their own names and by the names under which they are registered, and its
    functions (an activation, for example). Classes and functions that need a statement which may not be run are left
    out.

    Raises:
        CheckpointError: the code may not be run or cannot be run.
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


def nothing_beside(own_code: object) -> AbstractContextManager[None]:
    """Keep the current folder from being imported, unless the user's own code takes part, which may need it."""
    return nullcontext() if own_code else without_current_folder()


@contextmanager
def _allocation_limited(path: Path, stored: int) -> Iterator[None]:
    """Refuse the weight with which all layers that are made in the block would outgrow the stored numbers.

    The rule config-allocation checks the sizes in a configuration one by one. Only Keras knows their sum, and it tells
    `Layer.add_weight` before it allocates.
    """
    original = keras.layers.Layer.add_weight
    asked = 0

    def add_weight(self: Any, shape: Any = None, *arguments: Any, **named: Any) -> Any:
        nonlocal asked
        asked += math.prod(shape or ())
        if asked > stored + _HARMLESS:
            seen = f"its layers have {asked:,} numbers, and the file holds {stored:,}"
            raise refused("config-allocation", path, seen)
        return original(self, shape, *arguments, **named)

    keras.layers.Layer.add_weight = add_weight
    try:
        yield
    finally:
        keras.layers.Layer.add_weight = original


def _keras2(artefact: Artefact, stored: FullModel, custom: Mapping[str, Any]) -> Loaded:
    rewritten = rewrite(stored.config, path=str(artefact.path), version=stored.version, custom=tuple(custom))
    known = {**custom, HARD_SIGMOID: keras2_hard_sigmoid, OPERATION: Keras2Operation}
    model = keras.saving.deserialize_keras_object(rewritten.config, custom_objects=known, safe_mode=True)
    if not model.built:
        call_once(model)
    notes: tuple[str, ...] = ()
    if artefact.format == "keras-h5":
        notes = load_keras2_weights(model, stored.weights, shown=artefact.path)
    else:
        load_hdf5(model, stored.weights, shown=artefact.path)
    return Loaded(model=model, notes=(*rewritten.notes, *notes))


def in_float32(model: Any) -> tuple[str, ...]:
    """Let every layer of half precision compute in float32: the same weights, without rounding products to 3 digits.

    Returns:
        Nothing, or one sentence that names the policies under which the layers were made.
    """
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
