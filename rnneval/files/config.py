"""The configuration of a whole saved model: read as JSON, and refused where it asks for more than Keras' own layers."""

import json
import zipfile
from collections.abc import Collection, Iterator
from typing import Any

import h5py

from rnneval.errors import CheckpointError
from rnneval.files.identify import Artefact

# Where Keras 2 and 3 keep their own classes; anything else is somebody's code.
_KERAS = ("keras", "builtins", "tensorflow.keras", "tensorflow.python.keras", "")
_RUNS_CODE = {"Lambda", "LambdaLayer", "__lambda__", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}


def is_keras2(version: str) -> bool:
    """Tell whether this version of Keras wrote it: the name alone says nothing, and very old files have none."""
    return version.startswith(("0.", "1.", "2.")) or not version


def keras_version(artefact: Artefact) -> str:
    """Give the version of Keras that wrote a whole model, as the file has it; empty where it has none."""
    return _stored(artefact)[1]


def read_config(artefact: Artefact, custom: Collection[str] = ()) -> dict[str, Any]:
    """Read the configuration of a `.keras` or `.h5` model, having refused what could run code.

    That of Keras 2 is given as it is: it is rewritten, layer by known layer, before anything is made of it.

    Args:
        artefact: The file.
        custom: Names of classes and functions that the user's own code brings.

    Raises:
        CheckpointError: it is not JSON, or names a class that is not Keras' own or that runs code from the file.
    """
    text, version = _stored(artefact)
    try:
        config = json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise CheckpointError(
            f"{artefact.path}: its configuration is not JSON ({error}): the file is damaged"
        ) from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{artefact.path}: its configuration is a {type(config).__name__}: the file is damaged")
    if is_keras2(version):
        return dict(config)
    for module, name in _classes(config):
        if name not in custom:
            _allow(artefact, module, name)
    return dict(config)


def _stored(artefact: Artefact) -> tuple[str | bytes, str]:
    try:
        if artefact.format == "keras":
            with zipfile.ZipFile(artefact.path) as archive:
                metadata = json.loads(archive.read("metadata.json")) if "metadata.json" in archive.namelist() else {}
                return archive.read("config.json"), str(metadata.get("keras_version", ""))
        with h5py.File(artefact.path, "r") as file:
            version = file.attrs.get("keras_version", "")
            return file.attrs["model_config"], version.decode() if isinstance(version, bytes) else str(version)
    except (OSError, RuntimeError, ValueError, TypeError, AttributeError, LookupError) as error:
        raise CheckpointError(
            f"{artefact.path}: its configuration cannot be read ({error}): the file is damaged, copy or save it again"
        ) from error


def _allow(artefact: Artefact, module: str, name: str) -> None:
    if name in _RUNS_CODE:
        raise CheckpointError(
            f"{artefact.path}: holds a {name} layer, which runs code out of the file: refused. Save the weights alone "
            "(model.save_weights('name.weights.h5')) and give --builder FILE.py:NAME"
        )
    if module.split(".", maxsplit=1)[0] not in _KERAS and module not in _KERAS:
        raise CheckpointError(
            f"{artefact.path}: asks for {module}.{name}, which is not a class of Keras: a file gets no code to run. "
            "Save the weights alone (model.save_weights('name.weights.h5')) and give --builder FILE.py:NAME"
        )


def _classes(config: object) -> Iterator[tuple[str, str]]:
    """Give every `(module, class name)` that a configuration asks for, however deep, without recursion."""
    stack = [config]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            if isinstance(item.get("class_name"), str):
                yield str(item.get("module") or ""), item["class_name"]
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
