"""Whole models: of Keras 3 as Keras loads them; of Keras 2 by rewriting the configuration. No code of the file runs."""

import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras

from rnneval.errors import CheckpointError
from rnneval.files.config import is_keras2, keras_version, read_config
from rnneval.files.hdf5 import shapes_of
from rnneval.files.identify import Artefact
from rnneval.files.keras2 import rewrite
from rnneval.files.keras2_layers import HARD_SIGMOID
from rnneval.models.keras2_weights import load_keras2_weights
from rnneval.models.lm import eagerly
from rnneval.models.weights import load_hdf5
from rnneval.models.wrap import brief, call_once
from rnneval.text import Vocabulary

_SIZES = ("units", "input_dim", "output_dim", "filters")
_HARMLESS_SIZE = 4096  # a square of this side has 64 MB


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
        artefact: A `.keras` or `.h5` file.
        custom: Classes and functions of the user's own, by the names that the file may ask for.

    Raises:
        CheckpointError: it asks for more than Keras' own layers and these, is damaged, or is no graph of layers.
    """
    config = read_config(artefact, custom=tuple(custom))
    version = keras_version(artefact)
    _require_sizes(artefact, config)
    try:
        with eagerly():
            if is_keras2(version):
                return _keras2(artefact, config, version, custom)
            model = keras.models.load_model(artefact.path, custom_objects=dict(custom), compile=False, safe_mode=True)
            return Whole(model=model)
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(
            f"{artefact.path}: Keras could not load it: {type(error).__name__}: {brief(error)}"
        ) from error


def _keras2(artefact: Artefact, config: dict[str, Any], version: str, custom: Mapping[str, Any]) -> Whole:
    rewritten = rewrite(config, path=str(artefact.path), version=version, custom=tuple(custom))
    with TemporaryDirectory() as folder:
        weights = _weights_file(artefact, Path(folder))
        known = {**custom, HARD_SIGMOID: keras2_hard_sigmoid}
        model = keras.saving.deserialize_keras_object(rewritten.config, custom_objects=known, safe_mode=True)
        if not model.built:
            call_once(model)
        if artefact.format == "keras-h5":
            said = load_keras2_weights(model, weights)
        else:
            load_hdf5(model, weights, shown=artefact.path)
            said = ()
    return Whole(model=model, notes=(*rewritten.notes, *said))


def keras2_hard_sigmoid(x: Any) -> Any:
    """Give 0.2 x + 0.5, at least 0 and at most 1: the default of recurrent layers in Keras before TensorFlow 2."""
    return keras.ops.clip(0.2 * x + 0.5, 0.0, 1.0)


def _weights_file(artefact: Artefact, folder: Path) -> Path:
    if artefact.format == "keras-h5":
        return artefact.path
    with zipfile.ZipFile(artefact.path) as archive:
        return Path(archive.extract("model.weights.h5", folder))


def _require_sizes(artefact: Artefact, config: Any) -> None:
    """A size that no stored weight has would be allocated before anything is compared."""
    key, size = max(_sizes(config), key=lambda found: found[1], default=("", 0))
    if size <= _HARMLESS_SIZE:
        return
    with TemporaryDirectory() as folder:
        shapes = shapes_of(_weights_file(artefact, Path(folder))).values()
    largest = max((int(width) for shape in shapes for width in shape), default=0)
    if size > largest:
        raise CheckpointError(
            f"{artefact.path}: its configuration asks for {key}={size:,}, but its largest weight has {largest:,} rows: "
            "the file is damaged, or holds no weights"
        )


def _sizes(config: Any) -> Iterator[tuple[str, int]]:
    """Every size of a weight that a configuration asks for, however deep."""
    stack = [config]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            yield from ((key, item[key]) for key in _SIZES if isinstance(item.get(key), int))
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
