"""Checkpoints in a folder, identified by name and a few bytes.

No weights or configuration are read here, since a hostile file may crash a parser; of a zip file, only the list of
names is. A file that only looks like a checkpoint by its ending counts as one, so that it gets a row with its error in
the sweep's table.
"""

import os
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rnneval.errors import UsageError
from rnneval.files import Artefact
from rnneval.sweeps.table import natural

# The first bytes of zip and HDF5 files.
_ZIP, _HDF5 = b"PK\x03\x04", b"\x89HDF\r\n\x1a\n"
_TABLE = bytes.fromhex("57fb808b247547db")
"""The last bytes of TensorFlow's `.index` files."""
_ENDINGS = {".keras", ".h5", ".hdf5"}
_DATA = re.compile(r"^(?P<prefix>.+)\.data-\d+-of-\d+$", re.DOTALL)
_KERAS = {"config.json", "model.weights.h5"}  # in every `.keras` file


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """Files that look like one checkpoint."""

    name: str
    """Path from the swept folder on, with slashes: the name of the checkpoint's row."""
    path: Path
    """The prefix, if it is a TensorFlow checkpoint."""
    files: tuple[Path, ...]
    """Every file that holds a part of it."""

    @property
    def sha256(self) -> str:
        """SHA-256 of its content, as in a run record."""
        # A hash needs no format, which is not known yet.
        return Artefact(path=self.path, format="", files=self.files).sha256


@dataclass(frozen=True, kw_only=True)
class FolderContent:
    """The files of a folder."""

    candidates: tuple[Candidate, ...]
    """Checkpoints in natural order: `ckpt_2` before `ckpt_10`."""
    others: tuple[str, ...]
    """The names of files that are no checkpoints."""


def find_checkpoints(folder: str | os.PathLike[str], *, out: str | os.PathLike[str] | None = None) -> FolderContent:
    """Return the checkpoints in a folder and its subfolders, except hidden ones and `out`; links are not followed.

    Raises:
        UsageError: it is no folder, a folder in it cannot be read, or no checkpoint is there.
    """
    root = Path(folder)
    if not root.is_dir():
        what = "a file: rnneval evaluate measures one" if root.exists() else "no such folder"
        raise UsageError(f"{root}: {what}; rnneval sweep takes a folder of checkpoints")
    seen = list(_walk(root, None if out is None else Path(out).resolve()))
    candidates = [
        Candidate(name=found.path.relative_to(root).as_posix(), path=found.path, files=found.files)
        for found in seen
        if isinstance(found, Artefact)
    ]
    others = [path.relative_to(root).as_posix() for path in seen if isinstance(path, Path)]
    if not candidates:
        raise UsageError(f"{root}: no checkpoint in it: {_listed(others)}; a checkpoint is identified by its content")
    return FolderContent(
        candidates=tuple(sorted(candidates, key=lambda candidate: natural(candidate.name))),
        others=tuple(sorted(others, key=natural)),
    )


def _listed(others: list[str]) -> str:
    """Return the end of the message that a folder has no checkpoint: up to five of the files that it has."""
    if not others:
        return "it holds no visible files"
    more = f" and {len(others) - 5} more" if len(others) > 5 else ""
    return f"found only {', '.join(sorted(others, key=natural)[:5])}{more}"


def _refuse(error: OSError) -> None:
    raise UsageError(f"{error.filename}: cannot be read: {error.strerror or error}")


def _walk(root: Path, out: Path | None) -> Iterator[Artefact | Path]:
    """Yield checkpoints as artefacts, other files as paths; the format of an artefact is "", not known yet."""
    for name, folders, files in os.walk(root, onerror=_refuse):
        folder = Path(name)
        # A sweep is of the checkpoints *in* the root: the root itself is never one, even if it is a SavedModel.
        checkpoint = _folder_checkpoint(folder, set(files)) if folder != root else None
        if checkpoint is not None:
            folders.clear()
            yield checkpoint
            continue
        folders[:] = sorted(sub for sub in folders if not sub.startswith(".") and (folder / sub).resolve() != out)
        yield from _in_folder(folder, [file for file in files if not file.startswith(".")])


def _folder_checkpoint(folder: Path, files: set[str]) -> Artefact | None:
    """Return a folder that is one checkpoint, a SavedModel or an unzipped `.keras` file; None if it is not.

    An unzipped `.keras` file cannot be opened: its row in the table says so.
    """
    if "saved_model.pb" in files:
        variables = folder / "variables"
        held = sorted(path for path in variables.glob("variables.*") if path.is_file())
        return Artefact(path=folder, format="", files=(folder / "saved_model.pb", *held))
    if files >= _KERAS:
        return Artefact(path=folder, format="", files=tuple(folder / name for name in sorted(_KERAS)))
    return None


def _in_folder(folder: Path, names: list[str]) -> Iterator[Artefact | Path]:
    plain = {name for name in names if (folder / name).is_file() and not (folder / name).is_symlink()}
    parts = _tensorflow_parts(folder, plain)
    for prefix, files in parts.items():
        yield Artefact(path=folder / prefix, format="", files=tuple(folder / name for name in sorted(files)))
    rest = sorted(set(names) - {name for files in parts.values() for name in files})
    for name in rest:
        path = folder / name
        checkpoint = name in plain and _looks_like_checkpoint(path)
        yield Artefact(path=path, format="", files=(path,)) if checkpoint else path


def _tensorflow_parts(folder: Path, names: set[str]) -> dict[str, list[str]]:
    """Return the files of each TensorFlow checkpoint, complete or not, by prefix."""
    found: dict[str, list[str]] = {}
    for name in names:
        if part := _DATA.match(name):
            found.setdefault(part["prefix"], []).append(name)
    for name in names:
        prefix = name.removesuffix(".index")
        if prefix != name and (prefix in found or _first_or_last_bytes(folder / name, -len(_TABLE)) == _TABLE):
            found.setdefault(prefix, []).append(name)
    return found


def _looks_like_checkpoint(path: Path) -> bool:
    if path.suffix.lower() in _ENDINGS:
        return True
    head = _first_or_last_bytes(path, 8)
    return head == _HDF5 or (head.startswith(_ZIP) and _is_keras(path))


def _is_keras(path: Path) -> bool:
    """Return whether a zip file with another ending holds a model: .npz and .docx files do not.

    One of the two names suffices: a file that lacks the other gets a row that says so.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return bool(_KERAS & set(archive.namelist()))
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False


def _first_or_last_bytes(path: Path, count: int) -> bytes:
    """Return the first bytes of a file, or with a negative count the last ones."""
    try:
        with path.open("rb") as file:
            if count < 0:
                file.seek(max(0, path.stat().st_size + count))
            return file.read(abs(count))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from error
