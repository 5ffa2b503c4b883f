"""Whole models: of Keras 3 as Keras loads them; of Keras 2 by rewriting the configuration. No code of the file runs."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import keras

from rnneval import without_current_folder
from rnneval.errors import CheckpointError
from rnneval.files import Artefact
from rnneval.files.keras2 import rewrite
from rnneval.files.keras2_layers import HARD_SIGMOID
from rnneval.files.keras2_operations import OPERATION
from rnneval.files.whole import Model, private_model
from rnneval.models.allocation import allocation_limited
from rnneval.models.keras2_operations import Keras2Operation
from rnneval.models.keras2_weights import load_keras2_weights
from rnneval.models.lm import eagerly
from rnneval.models.weights import load_hdf5
from rnneval.models.wrap import brief, call_once
from rnneval.text import Vocabulary


@dataclass(frozen=True, kw_only=True)
class Whole:
    """A model, and what is to be said of how it was read."""

    model: Any
    vocabulary: Vocabulary | None = None
    """Where a layer of its own held it that is left out."""
    notes: tuple[str, ...] = ()


def load_whole(artefact: Artefact, custom: Mapping[str, Any]) -> Whole:
    """Load a whole model once its configuration is known to be harmless; no trace is made before its weights are in.

    Args:
        artefact: A `.keras` or `.h5` file; what Keras opens is a private copy of it.
        custom: Classes and functions of the user's own, by the names that the file may ask for.

    Raises:
        CheckpointError: it asks for more than Keras' own layers and these, is damaged, or is no graph of layers.
    """
    with private_model(artefact, tuple(custom)) as model:
        try:
            with eagerly(), allocation_limited(artefact.path, model.stored_numbers), nothing_beside(custom):
                if model.keras2:
                    return _keras2(artefact, model, custom)
                read = keras.models.load_model(model.path, custom_objects=dict(custom), compile=False, safe_mode=True)
                return Whole(model=read)
        except CheckpointError:
            raise
        except Exception as error:
            raise CheckpointError(
                f"{artefact.path}: Keras could not load it: {type(error).__name__}: {brief(error)}"
            ) from error


def nothing_beside(own_code: object) -> AbstractContextManager[None]:
    """Keep the current folder from being imported, unless the user's own code takes part, which may need it."""
    return nullcontext() if own_code else without_current_folder()


def _keras2(artefact: Artefact, stored: Model, custom: Mapping[str, Any]) -> Whole:
    rewritten = rewrite(stored.config, path=str(artefact.path), version=stored.version, custom=tuple(custom))
    known = {**custom, HARD_SIGMOID: keras2_hard_sigmoid, OPERATION: Keras2Operation}
    model = keras.saving.deserialize_keras_object(rewritten.config, custom_objects=known, safe_mode=True)
    if not model.built:
        call_once(model)
    said: tuple[str, ...] = ()
    if artefact.format == "keras-h5":
        said = load_keras2_weights(model, stored.weights, shown=artefact.path)
    else:
        load_hdf5(model, stored.weights, shown=artefact.path)
    return Whole(model=model, notes=(*rewritten.notes, *said))


def keras2_hard_sigmoid(x: Any) -> Any:
    """Give 0.2 x + 0.5, at least 0 and at most 1: the default of recurrent layers in Keras before TensorFlow 2."""
    return keras.ops.clip(0.2 * x + 0.5, 0.0, 1.0)
