"""The files of a checkpoint, found by names and first bytes before the content is read."""

import errno
import glob
import os
import re
import shlex
import stat
import tempfile
from dataclasses import dataclass
from functools import cached_property
from hashlib import file_digest, sha256
from pathlib import Path

from rnneval.checkpoints.rules import Faults, refused, require_none
from rnneval.errors import CheckpointError
from rnneval.paths import natural, open_regular

FULL_MODELS = ("keras", "keras-h5")  # the formats that hold a model and not only weights
FORMATS = "a .keras, .h5 or .onnx file, or with --builder a .weights.h5 file or a TensorFlow checkpoint"
ZIP = b"PK\x03\x04"
HDF5 = b"\x89HDF\r\n\x1a\n"
PICKLES = tuple(b"\x80" + bytes([protocol]) for protocol in range(2, 6))
_SYSTEM = {errno.EACCES, errno.EPERM, errno.EIO, errno.ELOOP, errno.ENAMETOOLONG, errno.EMFILE, errno.ENOENT}
DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_PLAIN = {stat.S_IFREG, stat.S_IFDIR}
_MOST_STATE = 1 << 20
_PART = re.compile(r"\.index$|\.data-\d+-of-\d+.*$")


@dataclass(frozen=True, kw_only=True)
class Artefact:
    """A checkpoint on disk whose format is known."""

    path: Path
    """The path as given; for a TensorFlow checkpoint its prefix, without `.index`. Records and messages show it."""
    format: str  # `keras`, `keras-h5`, `weights-h5`, `keras2-weights-h5`, `tf-checkpoint` or `saved-model`
    files: tuple[Path, ...]  # every file with a part of it, where it is read
    copied: Path | None = None  # the path of the private copy; None if the checkpoint is read at `path`

    @property
    def place(self) -> Path:
        """The path to read: of the private copy if there is one."""
        return self.copied or self.path

    @property
    def weights(self) -> Path:
        """The path of the weights to read: the prefix of a SavedModel's checkpoint, else `place`."""
        return self.place / "variables" / "variables" if self.format == "saved-model" else self.place

    @property
    def outside(self) -> Path:
        """The path beside which vocabularies are searched: of a TensorFlow checkpoint its folder."""
        return self.path.absolute().parent if self.format == "tf-checkpoint" else self.path

    @cached_property
    def sha256(self) -> str:
        """Hash of the file; of several files, of the names and contents in the order of the names."""
        if len(self.files) == 1:
            return hash_of(self.files[0])
        lines = (f"{file.name}\0{hash_of(file)}\n" for file in sorted(self.files))
        return sha256("".join(lines).encode()).hexdigest()


def hash_of(path: Path) -> str:
    """Return the SHA-256 of a regular file, or raise an OSError."""
    with open_regular(path) as file:
        return file_digest(file, "sha256").hexdigest()


def locate(path: Path) -> Artefact:
    """Find the files of a checkpoint by names and first bytes; the format of a single file is not decided yet ("")."""
    scheme, colon, _ = str(path).partition(":/")  # pathlib makes one slash of the two that follow the scheme
    if colon and len(scheme) > 1 and scheme.isalnum() and not path.exists():
        raise refused("remote-path", path, f"an address ({scheme}://…)")
    try:
        if path.is_dir():
            return _folder(path)
        if path.is_file():
            prefix = _PART.sub("", path.name)
            if prefix != path.name:
                return _tensorflow(path.with_name(prefix))
            require_none(path, _head_faults(first_bytes(path)))
            return Artefact(path=path, format="", files=(path,))
    except OSError as error:
        raise failure(path, error, "file") from error
    if Path(f"{path}.index").is_file():
        return _tensorflow(path)
    what = "neither a file nor a folder" if path.exists() else "no such file or folder"
    raise CheckpointError(
        f"{path}: {'a link that leads nowhere' if path.is_symlink() else what}; a checkpoint is {FORMATS}"
    )


def first_bytes(path: Path) -> bytes:
    """Return the first bytes of a file, up to 512."""
    with path.open("rb") as file:
        return file.read(512)


def _head_faults(start: bytes) -> Faults:
    if start.startswith(PICKLES):
        yield "pickle", "a pickle: reading one runs code, so it is never read"
    if not start:
        reason = "Keras leaves one where saving failed, as it does for a subclassed model without get_config"
        yield "interrupted-save", f"an empty file; {reason}"
    if not start.startswith((ZIP, HDF5)):
        yield "no-checkpoint", _looks_like(start)


def _looks_like(start: bytes) -> str:
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer and not the file itself: run git lfs pull"
    if start.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")):
        return "an HTML page: the download gave a page about the file instead of the file"
    if start.startswith((b"\x08\x01\x12", b"\x08\x00\x12")):
        return "the graph of a SavedModel (saved_model.pb): give its folder, and --builder FILE.py:NAME"
    try:
        start.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(start) - 4:  # else only the last character is cut
            return f"neither a zip nor an HDF5 file (it begins with {start[:4].hex(' ')})"
    return "a text file"


def failure(path: Path, error: BaseException, kind: str) -> CheckpointError:
    """Return the error of a file that cannot be opened or copied: no room, locked, refused by the system, or broken."""
    words = " ".join(str(error).split())[:200]
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        return CheckpointError(
            f"{path}: no room for a private copy in {tempfile.gettempdir()} ({os.strerror(error.errno)}): free space "
            "there, up to three times the size of the checkpoint, or name another folder in TMPDIR"
        )
    if isinstance(error, BlockingIOError) or "unable to lock file" in words or "already open for write" in words:
        return refused("locked-file", path, "locked: another process has it open for writing")
    if isinstance(error, OSError) and error.errno in _SYSTEM and error.strerror:
        return refused("unreadable-file", path, f"cannot be read: {error.strerror.split(',')[0]}")
    return refused("damaged-file", path, f"a damaged or truncated {kind} ({words})")


def _folder(path: Path) -> Artefact:
    children = sorted(path.iterdir())
    program, variables = path / "saved_model.pb", path / "variables"
    if program.is_file():
        _require_inside(path, [program, variables])
        if not (variables / "variables.index").is_file():
            seen = "a SavedModel without variables/variables.index: the folder is not whole"
            raise refused("damaged-file", path, seen)
        files = (program, *_tensorflow(variables / "variables").files)
        return Artefact(path=path, format="saved-model", files=files)
    if {"config.json", "model.weights.h5"} <= {child.name for child in children}:
        raise refused("folder-unzipped", path, "an unzipped .keras file; its parts could be exchanged")
    # A training run writes its own path, which may be absolute: the last part must be in this folder.
    named = _state_of(path)
    if ".." in named.split("/") or "\\" in named or "://" in named:
        raise refused("folder-link", path, f"its file checkpoint names {named[:80]!r}, outside of the folder")
    _require_inside(path, [path / "checkpoint"])
    if prefixes := sorted(index.with_suffix("") for index in path.glob("*.index")):
        return _tensorflow(_latest(path, Path(named).name, prefixes))
    names = [child.name for child in children]
    if any(".tempstate" in name or name.endswith("_temp") for name in names):
        raise refused("interrupted-save", path, f"temporary files of a checkpoint alone ({', '.join(names[:3])})")
    if found := [child for child in children if child.suffix in {".keras", ".h5", ".hdf5"} and child.is_file()]:
        raise _several(path, found)
    seen = f"a folder without a checkpoint (it holds {', '.join(names[:5]) or 'nothing'}); a checkpoint is {FORMATS}"
    if "config.json" in names:
        seen = "config.json without weights: model.safetensors is missing"
    raise CheckpointError(f"{path}: {seen}")


def _require_inside(folder: Path, parts: list[Path]) -> None:
    root = folder.resolve()
    for part in parts:
        if not part.resolve().is_relative_to(root):
            raise refused("folder-link", folder, f"{part.name} is a link out of the folder")
        if part.exists() and stat.S_IFMT(part.stat().st_mode) not in _PLAIN:
            raise refused("folder-link", folder, f"{part.name} is no plain file")


def _state_of(folder: Path) -> str:
    """Return the checkpoint that the folder's state file `checkpoint` names; "" if there is none."""
    state = folder / "checkpoint"
    if not state.is_file() or state.stat().st_size > _MOST_STATE:
        return ""
    text = state.read_text(encoding="utf-8", errors="replace")
    found = re.search(r'^\s*model_checkpoint_path\s*:\s*"*(.*?)"*\s*$', text, re.MULTILINE)
    return found[1] if found else ""


def _latest(folder: Path, named: str, prefixes: list[Path]) -> Path:
    """Return the checkpoint that the folder's `checkpoint` file names; without such a file, the only one there is."""
    if folder / named in prefixes:
        return folder / named
    if named:
        names = ", ".join(prefix.name for prefix in prefixes)
        seen = f"its file checkpoint names {named[:80]}, which is not there ({names} is): to take another, name it"
        raise refused("damaged-file", folder, seen)
    if len(prefixes) == 1:
        return prefixes[0]
    raise _several(folder, prefixes)


def _several(folder: Path, checkpoints: list[Path]) -> CheckpointError:
    """Return the error that a folder is no checkpoint, with the newest in it and the commands for one and for all."""

    def age(path: Path) -> tuple[float, object]:
        file = path if path.is_file() else Path(f"{path}.index")
        return file.stat().st_mtime, natural(path.name)

    newest = max(checkpoints, key=age)
    count = f"{len(checkpoints)} checkpoints, the newest is" if len(checkpoints) > 1 else "one checkpoint,"
    needs = "" if newest.suffix == ".keras" else " (weights need --builder FILE.py:NAME too)"
    one = f"rnneval evaluate {shlex.quote(str(newest))} TEXT"
    every = f"; for all: rnneval sweep {shlex.quote(str(folder))} TEXT --out results" if len(checkpoints) > 1 else ""
    return CheckpointError(f"{folder}: a folder with {count} {newest.name}: to evaluate it: {one}{every}{needs}")


def _tensorflow(prefix: Path) -> Artefact:
    index = Path(f"{prefix}.index")
    data = sorted(prefix.parent.glob(f"{glob.escape(prefix.name)}.data-*-of-*"))
    count = data[0].name.rpartition("-of-")[2] if data else ""
    if not index.is_file() or not count.isdecimal() or len(data) != int(count):
        seen = f"{len(data)} of {count.lstrip('0') or 0} data files are there"
        seen = seen if data else f"{prefix.name}.data-… is missing beside {index.name}"
        missing = seen if index.is_file() else f"{index.name} is missing beside its data"
        raise refused("damaged-file", prefix, f"{missing}: the checkpoint is not whole")
    _require_inside(prefix.parent, [index, *data])
    return Artefact(path=prefix, format="tf-checkpoint", files=(index, *data))
