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

from rnneval.checkpoints import Artefact
from rnneval.errors import UsageError
from rnneval.evaluate.sweep_table import natural

# The first bytes of zip and HDF5 files.
_ZIP, _HDF5 = b"PK\x03\x04", b"\x89HDF\r\n\x1a\n"
_TABLE = bytes.fromhex("57fb808b247547db")  # the last bytes of TensorFlow's `.index` files
_ENDINGS = {".keras", ".h5", ".hdf5"}
_DATA = re.compile(r"^(?P<prefix>.+)\.data-\d+-of-\d+$", re.DOTALL)
_KERAS = {"config.json", "model.weights.h5"}  # in every `.keras` file


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """Files that look like one checkpoint."""

    name: str  # path from the swept folder on, with slashes: the name of the checkpoint's row
    path: Path  # the prefix, if it is a TensorFlow checkpoint
    files: tuple[Path, ...]  # every file that holds a part of it

    @property
    def sha256(self) -> str:
        """SHA-256 of its content, as in a run record; a UsageError says that a file cannot be read."""
        try:
            return Artefact(path=self.path, format="", files=self.files).sha256  # which needs no format
        except OSError as error:
            raise UsageError(f"{self.path}: cannot be read: {error.strerror or error}") from error


@dataclass(frozen=True, kw_only=True)
class FolderContent:
    """The files of a folder."""

    candidates: tuple[Candidate, ...]  # checkpoints in natural order: `ckpt_2` before `ckpt_10`
    others: tuple[str, ...]  # the names of files that are no checkpoints


def find_checkpoints(folder: str | os.PathLike[str], *, out: str | os.PathLike[str] | None = None) -> FolderContent:
    """Return the checkpoints in a folder and its subfolders, except hidden ones and `out`; links are not followed."""
    root = Path(folder)
    if not root.is_dir():
        what = "a file: rnneval evaluate measures one" if root.exists() else "no such folder"
        raise UsageError(f"{root}: {what}; rnneval sweep takes a folder of checkpoints")
    candidates, others = [], []
    for path, files in _walk(root, None if out is None else Path(out).resolve()):
        name = path.relative_to(root).as_posix()
        if files:
            candidates.append(Candidate(name=name, path=path, files=files))
        else:
            others.append(name)
    candidates.sort(key=lambda candidate: natural(candidate.name))
    others.sort(key=natural)
    if not candidates:
        more = f" and {len(others) - 5} more" if len(others) > 5 else ""
        held = f"found only {', '.join(others[:5])}{more}" if others else "it holds no visible files"
        raise UsageError(f"{root}: no checkpoint in it: {held}; a checkpoint is identified by its content")
    return FolderContent(candidates=tuple(candidates), others=tuple(others))


def _refuse(error: OSError) -> None:
    raise UsageError(f"{error.filename}: cannot be read: {error.strerror or error}")


def _walk(root: Path, out: Path | None) -> Iterator[tuple[Path, tuple[Path, ...]]]:
    """Yield each checkpoint with its files, and every other file with none."""
    for name, folders, files in os.walk(root, onerror=_refuse):
        folder = Path(name)
        # A sweep is of the checkpoints *in* the root: the root itself is never one, even if it is a SavedModel.
        if folder != root and (whole := _files_of_folder(folder, set(files))):
            folders.clear()
            yield folder, whole
            continue
        folders[:] = sorted(sub for sub in folders if not sub.startswith(".") and (folder / sub).resolve() != out)
        visible = {file for file in files if not file.startswith(".")}
        plain = {file for file in visible if (folder / file).is_file() and not (folder / file).is_symlink()}
        parts = _tensorflow_parts(folder, plain)
        for prefix, held in parts.items():
            yield folder / prefix, tuple(folder / file for file in sorted(held))
        for file in sorted(visible.difference(*parts.values())):
            path = folder / file
            yield path, (path,) if file in plain and _looks_like_checkpoint(path) else ()


def _files_of_folder(folder: Path, files: set[str]) -> tuple[Path, ...]:
    """Return the files of a folder that is one checkpoint, a SavedModel or an unzipped `.keras` file.

    An unzipped `.keras` file cannot be opened: its row in the table says so.
    """
    if "saved_model.pb" in files:
        held = sorted(path for path in (folder / "variables").glob("variables.*") if path.is_file())
        return (folder / "saved_model.pb", *held)
    return tuple(folder / name for name in sorted(_KERAS)) if files >= _KERAS else ()


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
    """Return whether a file is one by its ending or its bytes; a zip file, by the names in it: an .npz file is none.

    One of the two names of a `.keras` file suffices: a file that lacks the other gets a row that says so.
    """
    if path.suffix.lower() in _ENDINGS:
        return True
    head = _first_or_last_bytes(path, 8)
    if not head.startswith(_ZIP):
        return head == _HDF5
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
