"""What a checkpoint is, told by its bytes; what it may not be is refused before anything is made of it."""

import hashlib
import json
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

import h5py

from rnneval.errors import CheckpointError
from rnneval.files.bundle import read_bundle
from rnneval.files.config import as_bytes, checked_config
from rnneval.files.folder import parts_of, state_of
from rnneval.files.hdf5 import BROKEN, Hdf5, checked_hdf5
from rnneval.files.head import Head, failure_of, read_head
from rnneval.files.rules import refused, require_allowed
from rnneval.files.zips import damaged_members, read_zip

FORMATS = "a .keras or .h5 file, or with --builder a .weights.h5 file or a TensorFlow checkpoint"
_ZIP = b"PK\x03\x04"
WEIGHTS = "model.weights.h5"


@dataclass(frozen=True, kw_only=True)
class Artefact:
    """A checkpoint on disk whose format is known."""

    path: Path
    """As given; for a TensorFlow checkpoint its prefix, without `.index`."""
    format: str
    """`keras`, `keras-h5`, `weights-h5`, `keras2-weights-h5`, `tf-checkpoint` or `saved-model`."""
    files: tuple[Path, ...]
    """Every file that holds a part of it."""

    @property
    def weights(self) -> Path:
        """Where its weights are: the prefix of a SavedModel's checkpoint, else itself."""
        return self.path / "variables" / "variables" if self.format == "saved-model" else self.path

    @property
    def sha256(self) -> str:
        """Of the file; of several, over their names and contents in the order of their names."""
        if len(self.files) == 1:
            return _sha256(self.files[0])
        whole = hashlib.sha256()
        for file in sorted(self.files):
            whole.update(f"{file.name}\0{_sha256(file)}\n".encode())
        return whole.hexdigest()


def identify(path: Path, custom: Collection[str] | None = None) -> Artefact:
    """Tell what a checkpoint is, and hold it against the rules.

    Args:
        path: A file, a folder, or the prefix of a TensorFlow checkpoint.
        custom: Names of classes and functions that the user's own code brings; None where it is not imported yet, and
            the rules on names are left for later.

    Raises:
        CheckpointError: there is none, it cannot be read, it is damaged, it is something else, or it breaks a rule; the
            message says which, what was seen and what can be done.
    """
    require_allowed("head", Head(path=path, exists=path.exists(), size=1, start=_ZIP), path)
    try:
        if path.is_dir():
            return _folder(path)
        if path.is_file():
            return _file(path, custom)
    except OSError as error:
        require_allowed("failure", failure_of(error, "file"), path)
        raise
    if Path(f"{path}.index").is_file():
        return _tensorflow(path)
    if path.is_symlink():
        what = "a link that leads nowhere"
    else:
        what = "neither a file nor a folder" if path.exists() else "no such file or folder"
    raise CheckpointError(f"{path}: {what}; a checkpoint is {FORMATS}")


def _folder(path: Path) -> Artefact:
    children = sorted(path.iterdir())
    if (path / "saved_model.pb").is_file():
        return _saved_model(path)
    require_allowed("folder", parts_of(path, [path / "checkpoint"], named=state_of(path)), path)
    names = tuple(child.name for child in children)
    require_allowed("folder", parts_of(path, [child for child in children if child.suffix in {".json", ".h5"}]), path)
    prefixes = sorted(index.with_suffix("") for index in path.glob("*.index"))
    if prefixes:
        return _tensorflow(_latest(path, prefixes))
    if any(".tempstate" in name or name.endswith("_temp") for name in names):
        raise refused("interrupted-save", path, f"temporary files of a checkpoint alone ({', '.join(names[:3])})")
    held = ", ".join(names[:5]) or "nothing"
    raise CheckpointError(f"{path}: a folder without a checkpoint (it holds {held}); a checkpoint is {FORMATS}")


def _saved_model(path: Path) -> Artefact:
    program = path / "saved_model.pb"
    require_allowed("folder", parts_of(path, [program, path / "variables"]), path)
    if not (path / "variables" / "variables.index").is_file():
        raise _incomplete(path, "a SavedModel without variables/variables.index: the folder is not whole")
    variables = _tensorflow(path / "variables" / "variables")
    return Artefact(path=path, format="saved-model", files=(program, *variables.files))


def _latest(folder: Path, prefixes: list[Path]) -> Path:
    """The checkpoint that the folder's `checkpoint` file names; without such a file, the only one there is."""
    named, names = Path(state_of(folder)).name, ", ".join(prefix.name for prefix in prefixes)
    if folder / named in prefixes:
        return folder / named
    if named:
        raise _incomplete(
            folder, f"its file checkpoint names {named[:80]}, which is not there ({names} is): to take another, name it"
        )
    if len(prefixes) == 1:
        return prefixes[0]
    raise CheckpointError(f"{folder}: holds {len(prefixes)} checkpoints ({names}): give one, such as {prefixes[-1]}")


def _tensorflow(prefix: Path) -> Artefact:
    index = Path(f"{prefix}.index")
    data = sorted(prefix.parent.glob(f"{_escaped(prefix.name)}.data-*-of-*"))
    if not index.is_file():
        raise _incomplete(prefix, f"{index.name} is missing beside its data: the checkpoint is not whole")
    if not data:
        raise _incomplete(prefix, f"{prefix.name}.data-… is missing beside {index.name}: the checkpoint is not whole")
    count = data[0].name.rpartition("-of-")[2]
    if not count.isdecimal() or len(data) != int(count):
        raise _incomplete(
            prefix, f"{len(data)} of {count.lstrip('0') or 0} data files are there: the checkpoint is not whole"
        )
    require_allowed("folder", parts_of(prefix.parent, [index, *data]), prefix)
    try:
        bundle = read_bundle(index, tuple(data))
    except OSError as error:
        require_allowed("failure", failure_of(error, "TensorFlow checkpoint"), prefix)
        raise
    require_allowed("bundle", bundle, prefix)
    return Artefact(path=prefix, format="tf-checkpoint", files=(index, *data))


def _incomplete(path: Path, said: str) -> CheckpointError:
    return refused("damaged-file", path, said)


def _escaped(name: str) -> str:
    return "".join(f"[{character}]" if character in "*?[" else character for character in name)


def _file(path: Path, custom: Collection[str] | None) -> Artefact:
    if path.suffix == ".index":
        return _tensorflow(path.with_suffix(""))
    if ".data-" in path.name and "-of-" in path.name:
        return _tensorflow(path.with_name(path.name.rpartition(".data-")[0]))
    head = read_head(path)
    require_allowed("head", head, path)
    return _keras(path, custom) if head.start.startswith(_ZIP) else _hdf5(path, custom)


def _keras(path: Path, custom: Collection[str] | None) -> Artefact:
    with path.open("rb") as file, checked_keras(path, file) as (archive, _, facts):
        keras_config(path, archive, facts, custom)
        return Artefact(path=path, format="keras", files=(path,))


@contextmanager
def checked_keras(path: Path, file: BinaryIO) -> Iterator[tuple[zipfile.ZipFile, Path, Hdf5]]:
    """Hold a `.keras` file that is open against the rules: its structure, its checksums, its weights.

    Yields:
        The archive, its weights unpacked into a private file, and their structure.

    Raises:
        CheckpointError: it is damaged or breaks a rule.
    """
    with TemporaryDirectory(prefix="rnneval-") as folder:
        weights = Path(folder) / WEIGHTS
        try:
            require_allowed("zip", read_zip(file), path)
            archive = zipfile.ZipFile(file)
            with weights.open("wb") as unpacked:
                damaged = damaged_members(archive, {WEIGHTS: unpacked})
        except (zipfile.BadZipFile, EOFError, NotImplementedError, ValueError, OSError) as error:
            require_allowed("failure", failure_of(error, ".keras file"), path)
            raise
        require_allowed("zip-content", damaged, path)
        with archive:
            yield archive, weights, checked_hdf5(weights, shown=path)


def keras_config(
    path: Path, archive: zipfile.ZipFile, facts: Hdf5, custom: Collection[str] | None
) -> tuple[str, dict[str, Any]]:
    """Give version and configuration of a `.keras` file, the latter held against the rules."""
    version = _version(archive.read("metadata.json") if "metadata.json" in archive.namelist() else b"{}")
    shapes = facts.shapes.values()
    text = archive.read("config.json")
    return version, checked_config(path, text, version=version, shapes=shapes, custom=custom)


def _version(metadata: bytes) -> str:
    try:
        return str(json.loads(metadata).get("keras_version", ""))
    except (ValueError, AttributeError, RecursionError):
        return ""


def hdf5_config(
    path: Path, facts: Hdf5, custom: Collection[str] | None, *, shown: Path | None = None
) -> tuple[str, dict[str, Any]]:
    """Give version and configuration of an `.h5` file, the latter held against the rules."""
    try:
        with h5py.File(path, "r") as file:
            version, text = file.attrs.get("keras_version", ""), as_bytes(file.attrs["model_config"])
    except BROKEN as error:
        require_allowed("failure", failure_of(error, "HDF5 file"), shown or path)
        raise
    version = version.decode(errors="replace") if isinstance(version, bytes) else str(version)
    shapes = facts.shapes.values()
    return version, checked_config(shown or path, text, version=version, shapes=shapes, custom=custom)


def _hdf5(path: Path, custom: Collection[str] | None) -> Artefact:
    facts = checked_hdf5(path)
    if "model_config" in facts.root_attributes:
        hdf5_config(path, facts, custom)
        return Artefact(path=path, format="keras-h5", files=(path,))
    if not facts.objects:
        raise refused("interrupted-save", path, "an HDF5 file that holds nothing: Keras leaves one where saving failed")
    if facts.root_attributes & {"layer_names", "layer_names0"}:
        return Artefact(path=path, format="keras2-weights-h5", files=(path,))
    return Artefact(path=path, format="weights-h5", files=(path,))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
