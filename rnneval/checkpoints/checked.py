"""Checkpoints that break no rule, and private copies of them.

Of a full model, Keras never opens the file itself, which could be replaced between the check and the load. It gets a
copy with nothing but weights and a checked configuration.
"""

import errno
import json
import math
import os
import re
import shlex
import shutil
import zipfile
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

import h5py

from rnneval.checkpoints.config import checked_config, is_keras2
from rnneval.checkpoints.hdf5 import BROKEN, Hdf5, checked_hdf5
from rnneval.checkpoints.places import DISK_FULL, FORMATS, FULL_MODELS, ZIP, Artefact, failure, first_bytes, locate
from rnneval.checkpoints.rules import refused, require_none
from rnneval.checkpoints.zips import BROKEN_ZIP, damaged_members, member_faults, open_zip
from rnneval.errors import CheckpointError, UsageError
from rnneval.paths import open_regular

_WEIGHTS = "model.weights.h5"
_MAX_INDEX_BYTES, _MAX_GRAPH_BYTES = 1 << 26, 1 << 27
_SIZE = re.compile(rb"\x12[\x02-\x0b]\x08([\x80-\xff]{0,9}[\0-\x7f])")  # a dimension of a TensorShapeProto
_SHAPE = re.compile(rb"(?:\x12[\x02-\x0b]\x08[\x80-\xff]{0,9}[\0-\x7f])+")
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL}


@contextmanager
def examined(
    path: str | os.PathLike[str], *, has_builder: bool, expect_sha256: str | None = None
) -> Iterator[Artefact]:
    """Yield a private copy of a checkpoint, so that the same bytes are hashed, checked and loaded.

    It is held against all that needs no TensorFlow and no user's code first.
    """
    found = locate(Path(path))
    root = found.path if found.format == "saved-model" else found.path.parent
    with _private_folder(found.path) as folder:
        files = tuple(_copy(file, folder / file.relative_to(root), found.path) for file in found.files)
        copied = folder if found.format == "saved-model" else folder / found.path.name
        artefact = _examined(replace(found, files=files, copied=copied), None if has_builder else ())
        _require_builder(artefact, has_builder=has_builder)
        require_sha256(artefact, expect_sha256)
        yield artefact


@dataclass(frozen=True, kw_only=True)
class FullModel:
    """A full model that breaks no rule."""

    path: Path  # the private copy, which Keras may open
    weights: Path  # the HDF5 file with its weights: the copy itself, or a part of it
    config: dict[str, Any]
    version: str  # the version of Keras that wrote it; "" if the file does not say
    stored_numbers: int  # the count of stored numbers, weights of optimizers included

    @property
    def keras2(self) -> bool:
        """True if Keras 2 wrote it."""
        return is_keras2(self.version)


@contextmanager
def private_model(artefact: Artefact, custom: Collection[str] = ()) -> Iterator[FullModel]:
    """Copy a `.keras` or `.h5` model and check the copy against the rules; it is removed after the block."""
    label = artefact.path
    with _private_folder(label) as folder:
        if artefact.format == "keras":
            copy, weights = folder / "model.keras", folder / _WEIGHTS
            with _checked_keras(label, artefact.place) as (archive, unpacked, facts):
                version, config = _keras_config(label, archive, facts, custom)
                shutil.move(unpacked, weights)
                with zipfile.ZipFile(copy, "w") as written:
                    written.writestr("metadata.json", json.dumps({"keras_version": version}))
                    written.writestr("config.json", json.dumps(config))
                    written.write(weights, _WEIGHTS)
                    for name in archive.namelist():
                        if name.startswith("assets/") and not name.endswith("/"):
                            written.writestr(name, archive.read(name))
        else:
            copy = weights = folder / "model.h5"
            shutil.copyfile(artefact.place, copy)
            facts = checked_hdf5(copy, label=label)
            version, config = _hdf5_config(copy, facts, custom, label)
            with h5py.File(copy, "r+") as model:
                model.attrs["model_config"] = json.dumps(config)
                if "training_config" in model.attrs:
                    del model.attrs["training_config"]
        stored = sum(math.prod(shape) for shape in facts.shapes.values())
        yield FullModel(path=copy, weights=weights, config=config, version=version, stored_numbers=stored)


def _require_builder(artefact: Artefact, *, has_builder: bool) -> None:
    """Refuse weights without the code of their model."""
    if artefact.format == "saved-model":
        size = (artefact.place / "saved_model.pb").stat().st_size
        if not has_builder or size > _MAX_GRAPH_BYTES:
            large = f"saved_model.pb has {size:,} bytes; up to {_MAX_GRAPH_BYTES:,} are read"
            seen = large if has_builder else "a SavedModel, whose graph is never run"
            raise refused("graph-never-run", artefact.path, seen)
    if artefact.format not in FULL_MODELS and not has_builder:
        raise UsageError(
            f"{artefact.path} holds weights and no model: give the code that makes the model, --builder FILE.py:NAME "
            f"or FILE.ipynb:NAME, as in: rnneval evaluate {shlex.quote(str(artefact.path))} TEXT "
            "--builder train.py:MyModel (of train.py only what MyModel needs is run, and no training)"
        )


def require_sha256(artefact: Artefact, expected: str | None) -> str:
    """Return the hash of a checkpoint."""
    sha256 = artefact.sha256
    if expected is not None and sha256 != expected.strip().lower():
        raise CheckpointError(
            f"{artefact.path}: its SHA-256 is {sha256}, not {expected}: another file, or a damaged one"
        )
    return sha256


def _examined(artefact: Artefact, custom: Collection[str] | None) -> Artefact:
    """Check the content of a located checkpoint against the rules, and return it with its format.

    `custom` has the names of classes and functions that the user's own code brings; None if it is not imported yet, and
    the rules on names are checked later.
    """
    try:
        if artefact.format:
            index = artefact.files[artefact.format == "saved-model"]
            if (size := index.stat().st_size) > _MAX_INDEX_BYTES:
                raise refused("bundle-size", artefact.path, f"its index has {size:,} bytes")
            if shape := _impossible_shape(index.read_bytes()):
                raise refused("bundle-size", artefact.path, f"its index declares a tensor of the shape {shape}")
            return artefact
        if not first_bytes(artefact.place).startswith(ZIP):
            return replace(artefact, format=_hdf5(artefact, custom))
        with _checked_keras(artefact.path, artefact.place) as (archive, _, facts):
            _keras_config(artefact.path, archive, facts, custom)
        return replace(artefact, format="keras")
    except OSError as error:
        raise failure(artefact.path, error, "file") from error


def _impossible_shape(index: bytes) -> tuple[int, ...]:
    """Return a shape in an index whose size is beyond 64 bits: TensorFlow ends the process where it meets one."""
    for dimensions in _SHAPE.finditer(index):
        varints = _SIZE.findall(dimensions[0])
        sizes = tuple(sum((byte & 127) << 7 * at for at, byte in enumerate(varint)) for varint in varints)
        if math.prod(sizes) >= 1 << 62:
            return sizes
    return ()


def _hdf5(artefact: Artefact, custom: Collection[str] | None) -> str:
    facts = checked_hdf5(artefact.place, label=artefact.path)
    if "model_config" in facts.root_attributes:
        _hdf5_config(artefact.place, facts, custom, artefact.path)
        return "keras-h5"
    if facts.is_empty:
        said = "an HDF5 file that holds nothing: Keras leaves one where saving failed"
        raise refused("interrupted-save", artefact.path, said)
    return "keras2-weights-h5" if facts.root_attributes & {"layer_names", "layer_names0"} else "weights-h5"


@contextmanager
def _checked_keras(label: Path, path: Path) -> Iterator[tuple[zipfile.ZipFile, Path, Hdf5]]:
    with _private_folder(label) as folder, ExitStack() as stack:
        weights = folder / _WEIGHTS
        try:
            archive = stack.enter_context(open_zip(path))
            require_none(label, member_faults(archive))
            with weights.open("wb") as unpacked:
                require_none(label, damaged_members(archive, unpacked))
        except BROKEN_ZIP as error:
            raise failure(label, error, ".keras file") from error
        yield archive, weights, checked_hdf5(weights, label=label)


def _keras_config(
    path: Path, archive: zipfile.ZipFile, facts: Hdf5, custom: Collection[str] | None
) -> tuple[str, dict[str, Any]]:
    """Return the version of Keras and the configuration of a `.keras` file, which is checked against the rules."""
    metadata = archive.read("metadata.json") if "metadata.json" in archive.namelist() else b"{}"
    try:
        version = str(json.loads(metadata).get("keras_version", ""))
    except (ValueError, AttributeError, RecursionError):
        version = ""
    shapes, text = facts.shapes.values(), archive.read("config.json")
    return version, checked_config(path, text, version=version, shapes=shapes, custom=custom)


def _hdf5_config(path: Path, facts: Hdf5, custom: Collection[str] | None, label: Path) -> tuple[str, dict[str, Any]]:
    """Return the version of Keras and the configuration of an `.h5` file, which is checked against the rules."""
    try:
        with h5py.File(path, "r") as file:
            version, text = (file.attrs.get(name, "") for name in ("keras_version", "model_config"))
    except BROKEN as error:
        raise failure(label, error, "HDF5 file") from error
    text = text if isinstance(text, bytes) else str(text).encode("utf-8", errors="surrogatepass")
    version = version.decode(errors="replace") if isinstance(version, bytes) else str(version)
    return version, checked_config(label, text, version=version, shapes=facts.shapes.values(), custom=custom)


@contextmanager
def _private_folder(path: Path) -> Iterator[Path]:
    try:
        with TemporaryDirectory(prefix="rnneval-") as name:
            yield Path(name)
    except OSError as error:  # of whatever is done with the folder
        if error.errno in DISK_FULL:
            raise failure(path, error, "file") from error
        raise


def _copy(source: Path, copy: Path, label: Path) -> Path:
    """Copy the bytes that a regular file has now, by one descriptor, unless another process has locked it."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open_regular(source) as file, copy.open("xb") as target:
            left = os.fstat(file.fileno()).st_size  # bytes that another process appends from now on are not copied
            _require_unlocked(file)
            while left and (piece := file.read(min(left, 1 << 20))):
                target.write(piece)
                left -= len(piece)
    except OSError as error:
        if error.errno in {errno.EINVAL, errno.EISDIR}:
            why = f"{source.name} is not a regular file ({error.strerror})"
            raise CheckpointError(f"{label}: {why}; a checkpoint is {FORMATS}") from error
        raise failure(label, error, "file") from error
    return copy


def _require_unlocked(file: BinaryIO) -> None:
    """Raise BlockingIOError if another process writes the file: HDF5 locks it, and its copy would not be locked."""
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except ImportError:  # Windows, where a file that is being written cannot be opened in the first place
        return
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
