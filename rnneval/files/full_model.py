"""Full models as data: a private copy with nothing but weights and a configuration that is checked against the rules.

Keras never opens the file itself: it could be replaced between the check and the load, and the training's leftovers in
it need not be read.
"""

import json
import math
import shutil
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from rnneval.files.artefact import WEIGHTS, Artefact, checked_keras, hdf5_config, keras_config, private_folder
from rnneval.files.config import is_keras2
from rnneval.files.hdf5 import Hdf5, checked_hdf5


@dataclass(frozen=True, kw_only=True)
class FullModel:
    """A full model that breaks no rule."""

    path: Path
    """The private copy, which Keras may open."""
    weights: Path
    """The HDF5 file with its weights: the copy itself, or a part of it."""
    config: dict[str, Any]
    version: str
    """The version of Keras that wrote it; "" if the file does not say."""
    stored_numbers: int
    """The count of stored numbers, weights of optimizers included."""

    @property
    def keras2(self) -> bool:
        """True if Keras 2 wrote it."""
        return is_keras2(self.version)


@contextmanager
def private_model(artefact: Artefact, custom: Collection[str] = ()) -> Iterator[FullModel]:
    """Copy a `.keras` or `.h5` model and check the copy against the rules; it is removed after the block.

    Args:
        artefact: The file.
        custom: Names of classes and functions that the user's own code brings.

    Raises:
        CheckpointError: it breaks a rule.
    """
    with private_folder(artefact.path) as folder:
        yield (_keras if artefact.format == "keras" else _hdf5)(artefact, folder, custom)


def _keras(artefact: Artefact, folder: Path, custom: Collection[str]) -> FullModel:
    copy, weights, path = folder / "model.keras", folder / WEIGHTS, artefact.path
    with artefact.place.open("rb") as file, checked_keras(path, file) as (archive, unpacked, facts):
        version, config = keras_config(path, archive, facts, custom)
        shutil.move(unpacked, weights)
        with zipfile.ZipFile(copy, "w") as written:
            written.writestr("metadata.json", json.dumps({"keras_version": version}))
            written.writestr("config.json", json.dumps(config))
            written.write(weights, WEIGHTS)
            for name in archive.namelist():
                if name.startswith("assets/") and not name.endswith("/"):
                    written.writestr(name, archive.read(name))
    return _model(copy, weights, config, version, facts)


def _hdf5(artefact: Artefact, folder: Path, custom: Collection[str]) -> FullModel:
    copy = folder / "model.h5"
    shutil.copyfile(artefact.place, copy)
    facts = checked_hdf5(copy, shown=artefact.path)
    version, config = hdf5_config(copy, facts, custom, shown=artefact.path)
    with h5py.File(copy, "r+") as file:
        file.attrs["model_config"] = json.dumps(config)
        if "training_config" in file.attrs:
            del file.attrs["training_config"]
    return _model(copy, copy, config, version, facts)


def _model(path: Path, weights: Path, config: dict[str, Any], version: str, facts: Hdf5) -> FullModel:
    stored = sum(math.prod(shape) for shape in facts.shapes.values())
    return FullModel(path=path, weights=weights, config=config, version=version, stored_numbers=stored)
