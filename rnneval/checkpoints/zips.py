"""The container of a `.keras` file: a zip, whose members are judged by its directory before one of them is read."""

import io
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from rnneval.checkpoints.rules import Faults

_MOST_MEMBERS, _MOST_DIRECTORY = 10_000, 1 << 23
_ENCRYPTED = 0x1 | 0x40 | 0x2000  # flags of a member: encrypted, strongly encrypted, encrypted directory
_KIND, _FILE, _FOLDER = 0o170000, 0o100000, 0o040000  # of a Unix mode: the bits of the kind, a plain file, a folder
_NEEDED = ("config.json", "model.weights.h5")
_MAX_RATIO = 100  # unpacked by packed bytes
_BOMB_MIN_BYTES = 1 << 16  # unpacked bytes up to which the ratio does not matter
_MAX_BYTES = {"config.json": 1 << 24, "metadata.json": 1 << 20, "model.weights.h5": 1 << 34}
_MAX_ASSET_BYTES = 1 << 28  # of all assets
BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, RuntimeError, OSError)
"""The errors that `zipfile` raises for a damaged file."""


class _Limited(io.BufferedReader):
    """A file of which no more than a directory's size is read at once, until the limit is lifted."""

    limit: int | None = _MOST_DIRECTORY

    def read(self, size: int | None = -1) -> bytes:
        if self.limit is not None and size is not None and size > self.limit:
            raise zipfile.BadZipFile(f"its directory has {size:,} bytes; up to {self.limit:,} are read")
        return super().read(size)


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip; `zipfile` reads the whole directory, whose size is therefore limited."""
    with _Limited(io.FileIO(path)) as file, zipfile.ZipFile(file) as archive:
        file.limit = None
        yield archive


def member_faults(archive: zipfile.ZipFile) -> Faults:
    """Yield the rules that a directory breaks."""
    members = archive.infolist()
    if len(members) > _MOST_MEMBERS:
        yield "zip-bomb", f"its directory has {len(members):,} members"
    yield from _name_faults(members)
    for each in members:
        if each.flag_bits & _ENCRYPTED:
            yield "zip-encrypted", f"member {each.filename!r} is encrypted"
        if each.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            said = f"packed by method {each.compress_type}, neither stored nor deflated"
            yield "zip-encrypted", f"member {each.filename!r} is {said}"
        # The sizes are those that the directory declares; more is never unpacked.
        if each.file_size > max(_BOMB_MIN_BYTES, _MAX_RATIO * each.compress_size):
            yield "zip-bomb", f"member {each.filename!r} unpacks {each.compress_size:,} bytes into {each.file_size:,}"
        if each.file_size > _MAX_BYTES.get(each.filename, _MAX_ASSET_BYTES):
            yield "zip-bomb", f"member {each.filename!r} has {each.file_size:,} bytes"
    if (assets := sum(each.file_size for each in members if each.filename not in _MAX_BYTES)) > _MAX_ASSET_BYTES:
        yield "zip-bomb", f"its assets have {assets:,} bytes"


def _name_faults(members: list[zipfile.ZipInfo]) -> Faults:
    for each in members:
        name, kind = each.orig_filename, each.external_attr >> 16 & _KIND
        if ".." in name.split("/") or name.startswith("/") or "\\" in name or ":" in name or not name.isprintable():
            yield "zip-traversal", f"member {name!r} has an unsafe name"
        if kind not in {0, _FILE, _FOLDER}:
            yield "zip-link", f"member {name!r} is no plain file (mode {each.external_attr >> 16:o})"
    # Some file systems do not tell capitals from small letters.
    for name, count in Counter(each.filename.casefold() for each in members).items():
        if count > 1:
            yield "zip-duplicate", f"member {name!r} occurs {count} times"
    names = [each.filename for each in members]
    if names and all(name.endswith(".npy") for name in names):
        yield "zip-members", "a NumPy archive (.npz): arrays, and nothing that says of which model"
    if missing := [name for name in _NEEDED if name not in names]:
        yield "zip-members", f"a zip file without {' and '.join(missing)}: not a .keras file"
    for name in names:
        if name not in _MAX_BYTES and not name.startswith("assets/"):
            yield "zip-members", f"member {name!r} does not belong in a .keras file"


def damaged_members(archive: zipfile.ZipFile, weights: BinaryIO) -> Faults:
    """Yield every member that does not match its checksum, and write the weights to a file."""
    for info in archive.infolist():
        try:
            with archive.open(info) as member:
                while piece := member.read(1 << 20):
                    if info.filename == "model.weights.h5":
                        weights.write(piece)
        except (zipfile.BadZipFile, zlib.error, EOFError):
            yield "zip-checksum", f"{info.filename} does not match its checksum"
