"""Checkpoints on disk: their format, decided by their bytes, the rules on their content, and private copies of them.

Of a full model, Keras never opens the file itself: it could be replaced between the check and the load, and the
training's leftovers in it need not be read. It gets a copy with nothing but weights and a checked configuration.
"""

import errno
import glob
import hashlib
import json
import math
import os
import re
import shlex
import shutil
import tempfile
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

import h5py

from rnneval.errors import CheckpointError, FolderError, UsageError
from rnneval.files.bundle import read_bundle
from rnneval.files.config import checked_config, is_keras2
from rnneval.files.hdf5 import BROKEN, Hdf5, checked_hdf5
from rnneval.files.path_facts import Head, SavedModelGraph, failure_of, parts_of, read_head, state_of
from rnneval.files.rules import refused, require_allowed
from rnneval.files.zips import damaged_members, read_zip
from rnneval.records.paths import open_regular

FULL_MODELS = ("keras", "keras-h5")
"""The formats that hold a model and not only weights."""
_FORMATS = "a .keras or .h5 file, or with --builder a .weights.h5 file or a TensorFlow checkpoint"
_ZIP = b"PK\x03\x04"
_WEIGHTS = "model.weights.h5"
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL}


@dataclass(frozen=True, kw_only=True)
class Artefact:
    """A checkpoint on disk whose format is known."""

    path: Path
    """The path as given; for a TensorFlow checkpoint its prefix, without `.index`. Records and messages show it."""
    format: str
    """`keras`, `keras-h5`, `weights-h5`, `keras2-weights-h5`, `tf-checkpoint` or `saved-model`."""
    files: tuple[Path, ...]
    """Every file with a part of it, where it is read."""
    copied: Path | None = None
    """The path of the private copy; None if the checkpoint is read at `path`."""

    @property
    def place(self) -> Path:
        """The path to read: of the private copy if there is one."""
        return self.copied or self.path

    @property
    def weights(self) -> Path:
        """The path of the weights to read: the prefix of a SavedModel's checkpoint, else `place`."""
        return self.place / "variables" / "variables" if self.format == "saved-model" else self.place

    @property
    def sha256(self) -> str:
        """Hash of the file; of several files, of the names and contents in the order of the names."""
        if len(self.files) == 1:
            return _sha256(self.files[0])
        names = hashlib.sha256()
        for file in sorted(self.files):
            names.update(f"{file.name}\0{_sha256(file)}\n".encode())
        return names.hexdigest()


def identify(path: Path, custom: Collection[str] | None = None) -> Artefact:
    """Return the format and the files of a checkpoint (a file, a folder, a prefix of TensorFlow) that breaks no rule.

    `custom` has the names of classes and functions that the user's own code brings; None if it is not imported yet, and
    the rules on names are checked later.
    """
    return _examined(_located(path), custom)


@contextmanager
def private_copy(path: Path) -> Iterator[Artefact]:
    """Copy a checkpoint into a folder of this user's own and identify the copy, which is removed after the block.

    The bytes that are hashed, checked and loaded are then the same, even if another process replaces or overwrites the
    checkpoint in the meantime.
    """
    found = _located(path)
    root = found.path if found.format == "saved-model" else found.path.parent
    with _private_folder(path) as folder:
        files = tuple(_copy(file, folder / file.relative_to(root), found.path) for file in found.files)
        copied = folder if found.format == "saved-model" else folder / found.path.name
        yield _examined(replace(found, files=files, copied=copied), None)


def require_not_replaced(artefact: Artefact, code: str) -> None:
    """Refuse a checkpoint that the user's code has replaced while it ran; keep what was there in a folder beside it.

    `artefact` is the private copy, and `code` the name of the code in the message.
    """
    whole = artefact.format == "saved-model"
    root, copies = (artefact.path, artefact.place) if whole else (artefact.path.parent, artefact.place.parent)
    pairs = [(root / file.relative_to(copies), file) for file in artefact.files]
    if all(given.is_file() and _sha256(given) == _sha256(copy) for given, copy in pairs):
        return
    number = 1
    while (kept := artefact.path.with_name(f"{artefact.path.name}.before{number}")).exists():
        number += 1
    for file in artefact.files:
        _copy(file, kept / file.relative_to(copies), artefact.path)
    raise CheckpointError(
        f"{artefact.path}: it was replaced while {code} ran, which trains or saves a model: what was there before is "
        f"in the folder {kept}: name code that only makes the model"
    )


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
    """Copy a `.keras` or `.h5` model and check the copy against the rules; it is removed after the block."""
    shown = artefact.path
    with _private_folder(shown) as folder:
        if artefact.format == "keras":
            copy, weights = folder / "model.keras", folder / _WEIGHTS
            with artefact.place.open("rb") as file, _checked_keras(shown, file) as (archive, unpacked, facts):
                version, config = _keras_config(shown, archive, facts, custom)
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
            facts = checked_hdf5(copy, shown=shown)
            version, config = _hdf5_config(copy, facts, custom, shown)
            with h5py.File(copy, "r+") as model:
                model.attrs["model_config"] = json.dumps(config)
                if "training_config" in model.attrs:
                    del model.attrs["training_config"]
        stored = sum(math.prod(shape) for shape in facts.shapes.values())
        yield FullModel(path=copy, weights=weights, config=config, version=version, stored_numbers=stored)


def preflight(path: str | os.PathLike[str], *, has_builder: bool, expect_sha256: str | None = None) -> Artefact:
    """Check a checkpoint against all rules that need neither TensorFlow nor the user's own code."""
    artefact = identify(Path(path), custom=None if has_builder else ())
    require_builder(artefact, has_builder=has_builder)
    require_sha256(artefact, expect_sha256)
    return artefact


def require_builder(artefact: Artefact, *, has_builder: bool) -> None:
    """Refuse weights without the code of their model."""
    if artefact.format == "saved-model":
        size = (artefact.place / "saved_model.pb").stat().st_size
        require_allowed("graph", SavedModelGraph(size=size, has_builder=has_builder), artefact.path)
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
        of = ""
        if len(artefact.files) > 1:
            names = ", ".join(sorted(file.name for file in artefact.files))
            of = f" (of the lines NAME, a zero byte, SHA-256, line feed, for {names})"
        raise CheckpointError(
            f"{artefact.path}: its SHA-256{of} is {sha256}, not {expected}: another file, or a damaged one"
        )
    return sha256


def _located(path: Path) -> Artefact:
    """Find the files of a checkpoint by names and first bytes; the format of a single file is not decided yet ("")."""
    require_allowed("head", Head(path=path, exists=path.exists(), size=1, start=_ZIP), path)
    try:
        if path.is_dir():
            return _folder(path)
        if path.is_file() and path.suffix == ".index":
            return _tensorflow(path.with_suffix(""))
        if path.is_file() and ".data-" in path.name and "-of-" in path.name:
            return _tensorflow(path.with_name(path.name.rpartition(".data-")[0]))
        if path.is_file():
            require_allowed("head", read_head(path), path)
            return Artefact(path=path, format="", files=(path,))
    except OSError as error:
        require_allowed("failure", failure_of(error, "file"), path)
        raise
    if Path(f"{path}.index").is_file():
        return _tensorflow(path)
    if path.is_symlink():
        what = "a link that leads nowhere"
    else:
        what = "neither a file nor a folder" if path.exists() else "no such file or folder"
    raise CheckpointError(f"{path}: {what}; a checkpoint is {_FORMATS}")


def _folder(path: Path) -> Artefact:
    children = sorted(path.iterdir())
    program, variables = path / "saved_model.pb", path / "variables"
    if program.is_file():
        require_allowed("folder", parts_of(path, [program, variables]), path)
        if not (variables / "variables.index").is_file():
            seen = "a SavedModel without variables/variables.index: the folder is not whole"
            raise refused("damaged-file", path, seen)
        files = (program, *_tensorflow(variables / "variables").files)
        return Artefact(path=path, format="saved-model", files=files)
    require_allowed("folder", parts_of(path, [path / "checkpoint"], named=state_of(path)), path)
    require_allowed("folder", parts_of(path, [child for child in children if child.suffix in {".json", ".h5"}]), path)
    prefixes = sorted(index.with_suffix("") for index in path.glob("*.index"))
    if prefixes:
        return _tensorflow(_latest(path, prefixes))
    names = [child.name for child in children]
    if any(".tempstate" in name or name.endswith("_temp") for name in names):
        raise refused("interrupted-save", path, f"temporary files of a checkpoint alone ({', '.join(names[:3])})")
    checkpoints = [child for child in children if child.suffix in {".keras", ".h5", ".hdf5"} and child.is_file()]
    if checkpoints:
        raise _several(path, checkpoints)
    held = ", ".join(names[:5]) or "nothing"
    raise CheckpointError(f"{path}: a folder without a checkpoint (it holds {held}); a checkpoint is {_FORMATS}")


def _latest(folder: Path, prefixes: list[Path]) -> Path:
    """Return the checkpoint that the folder's `checkpoint` file names; without such a file, the only one there is."""
    named, names = Path(state_of(folder)).name, ", ".join(prefix.name for prefix in prefixes)
    if folder / named in prefixes:
        return folder / named
    if named:
        seen = f"its file checkpoint names {named[:80]}, which is not there ({names} is): to take another, name it"
        raise refused("damaged-file", folder, seen)
    if len(prefixes) == 1:
        return prefixes[0]
    raise _several(folder, prefixes)


def _several(folder: Path, checkpoints: list[Path]) -> FolderError:
    """Return the error that a folder is no checkpoint, with the newest in it and the commands for one and for all.

    TensorFlow checkpoints are given by their prefixes. Of several of one time, the last by number is the newest.
    """

    def age(path: Path) -> tuple[float, list[tuple[int, str]]]:
        file = path if path.is_file() else Path(f"{path}.index")
        numbers = [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.name)]
        return file.stat().st_mtime, numbers

    newest = max(checkpoints, key=age)
    count = f"{len(checkpoints)} checkpoints, the newest is" if len(checkpoints) > 1 else "one checkpoint,"
    needs = "" if newest.suffix == ".keras" else " (weights need --builder FILE.py:NAME too)"
    one = f"rnneval evaluate {shlex.quote(str(newest))} TEXT"
    every = f"; for all: rnneval sweep {shlex.quote(str(folder))} TEXT --out results" if len(checkpoints) > 1 else ""
    seen = f"{folder}: a folder with {count} {newest.name}"
    return FolderError(seen, newest=str(newest), one=one, every=every, needs=needs)


def _tensorflow(prefix: Path) -> Artefact:
    index = Path(f"{prefix}.index")
    data = sorted(prefix.parent.glob(f"{glob.escape(prefix.name)}.data-*-of-*"))
    count = data[0].name.rpartition("-of-")[2] if data else ""
    missing = ""
    if not index.is_file():
        missing = f"{index.name} is missing beside its data"
    elif not data:
        missing = f"{prefix.name}.data-… is missing beside {index.name}"
    elif not count.isdecimal() or len(data) != int(count):
        missing = f"{len(data)} of {count.lstrip('0') or 0} data files are there"
    if missing:
        raise refused("damaged-file", prefix, f"{missing}: the checkpoint is not whole")
    require_allowed("folder", parts_of(prefix.parent, [index, *data]), prefix)
    return Artefact(path=prefix, format="tf-checkpoint", files=(index, *data))


def _examined(found: Artefact, custom: Collection[str] | None) -> Artefact:
    """Check the content of a located checkpoint against the rules, and return it with its format."""
    try:
        if found.format:
            index, *data = found.files[found.format == "saved-model" :]
            require_allowed("bundle", read_bundle(index, tuple(data)), found.path)
            return found
        with found.place.open("rb") as file:
            if file.read(len(_ZIP)) != _ZIP:
                return replace(found, format=_hdf5(found, custom))
            with _checked_keras(found.path, file) as (archive, _, facts):
                _keras_config(found.path, archive, facts, custom)
            return replace(found, format="keras")
    except OSError as error:
        require_allowed("failure", failure_of(error, "TensorFlow checkpoint" if found.format else "file"), found.path)
        raise


def _hdf5(found: Artefact, custom: Collection[str] | None) -> str:
    facts = checked_hdf5(found.place, shown=found.path)
    if "model_config" in facts.root_attributes:
        _hdf5_config(found.place, facts, custom, found.path)
        return "keras-h5"
    if not facts.objects:
        said = "an HDF5 file that holds nothing: Keras leaves one where saving failed"
        raise refused("interrupted-save", found.path, said)
    return "keras2-weights-h5" if facts.root_attributes & {"layer_names", "layer_names0"} else "weights-h5"


@contextmanager
def _checked_keras(path: Path, file: BinaryIO) -> Iterator[tuple[zipfile.ZipFile, Path, Hdf5]]:
    """Check an open `.keras` file against the rules, and yield it with its weights, unpacked, and their structure."""
    with _private_folder(path) as folder:
        weights = folder / _WEIGHTS
        try:
            require_allowed("zip", read_zip(file), path)
            archive = zipfile.ZipFile(file)
            with weights.open("wb") as unpacked:
                damaged = damaged_members(archive, {_WEIGHTS: unpacked})
        except (zipfile.BadZipFile, EOFError, NotImplementedError, ValueError, OSError) as error:
            if not (isinstance(error, OSError) and error.errno in _DISK_FULL):
                require_allowed("failure", failure_of(error, ".keras file"), path)
            raise
        require_allowed("zip-content", damaged, path)
        with archive:
            yield archive, weights, checked_hdf5(weights, shown=path)


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


def _hdf5_config(path: Path, facts: Hdf5, custom: Collection[str] | None, shown: Path) -> tuple[str, dict[str, Any]]:
    """Return the version of Keras and the configuration of an `.h5` file, which is checked against the rules."""
    try:
        with h5py.File(path, "r") as file:
            version, text = file.attrs.get("keras_version", ""), file.attrs["model_config"]
            text = text if isinstance(text, bytes) else str(text).encode("utf-8", errors="surrogatepass")
    except BROKEN as error:
        require_allowed("failure", failure_of(error, "HDF5 file"), shown)
        raise
    version = version.decode(errors="replace") if isinstance(version, bytes) else str(version)
    return version, checked_config(shown, text, version=version, shapes=facts.shapes.values(), custom=custom)


@contextmanager
def _private_folder(path: Path) -> Iterator[Path]:
    """Make a folder that only this user may enter, for parts of the checkpoint `path`; remove it after the block."""
    try:
        with TemporaryDirectory(prefix="rnneval-") as name:
            yield Path(name)
    except OSError as error:
        if error.errno not in _DISK_FULL:
            raise
        raise CheckpointError(
            f"{path}: no room for a private copy in {tempfile.gettempdir()} ({os.strerror(error.errno)}): free space "
            "there, up to three times the size of the checkpoint, or name another folder in TMPDIR"
        ) from error


def _copy(source: Path, copy: Path, shown: Path) -> Path:
    """Copy the bytes that a regular file has now, by one descriptor, unless another process has locked it."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open_regular(source) as file, copy.open("xb") as made:
            left = os.fstat(file.fileno()).st_size  # bytes that another process appends from now on are not copied
            _require_unlocked(file)
            while left and (piece := file.read(min(left, 1 << 20))):
                made.write(piece)
                left -= len(piece)
    except OSError as error:
        if error.errno in {errno.EINVAL, errno.EISDIR}:
            why = f"{source.name} is not a regular file ({error.strerror})"
            raise CheckpointError(f"{shown}: {why}; a checkpoint is {_FORMATS}") from error
        if error.errno not in _DISK_FULL:
            require_allowed("failure", failure_of(error, "file"), shown)
        raise
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


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
