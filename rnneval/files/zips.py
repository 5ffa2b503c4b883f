"""The structure of a zip: its directory, and whether the headers of the members agree with it.

Python's own reader is lenient on purpose: it accepts bytes before and after, and of two headers it uses the last.
"""

import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

_END, _END64, _LOCATOR = struct.Struct("<4s4H2LH"), struct.Struct("<4sQ2H2L4Q"), struct.Struct("<4sLQL")
_LOCAL = struct.Struct("<4s5H3L2H")
_MOST_MEMBERS, _MOST_DIRECTORY = 10_000, 1 << 23
_DESCRIPTORS = {12, 16, 20, 24}
_LATER, _LONG = 0x8, 0xFFFFFFFF


@dataclass(frozen=True, kw_only=True)
class Member:
    """Entry of the directory."""

    name: str
    flags: int
    method: int
    size: int
    """Bytes after unpacking, as declared."""
    stored: int
    """Bytes in the file."""
    mode: int
    """Mode of Unix; 0 if it is unknown."""


@dataclass(frozen=True, kw_only=True)
class Zip:
    """Structure of a zip."""

    members: tuple[Member, ...]
    disagreements: tuple[str, ...]
    """Contradictions, and bytes that belong to no member."""


def read_zip(file: BinaryIO) -> Zip:
    """Read the directory and the header of every member, but no content."""
    size = file.seek(0, 2)
    entries, directory, end, problem = _end(file, size)
    if not problem and (entries > _MOST_MEMBERS or directory > _MOST_DIRECTORY):
        problem = f"its directory has {entries:,} members in {directory:,} bytes"
    if problem:
        return Zip(members=(), disagreements=(problem,))
    with zipfile.ZipFile(file) as archive:
        infos = archive.infolist()
        found = list(_disagreements(file, archive, infos))
        if archive.start_dir + directory + end != size or len(infos) != entries:
            found.append(f"its directory does not end where it says, or has not {entries:,} members")
    members = tuple(
        Member(
            name=info.orig_filename,
            flags=info.flag_bits,
            method=info.compress_type,
            size=info.file_size,
            stored=info.compress_size,
            mode=info.external_attr >> 16,
        )
        for info in infos
    )
    return Zip(members=members, disagreements=tuple(found))


def _end(file: BinaryIO, size: int) -> tuple[int, int, int, str]:
    """Return the number of entries, the bytes of the directory and of the end records, and what is wrong with them."""
    file.seek(max(0, size - _END.size))
    last = file.read()
    if len(last) < _END.size or not last.startswith(b"PK\x05\x06"):
        file.seek(max(0, size - _END.size - (1 << 16)))
        tail = file.read()
        if 0 <= tail.rfind(b"PK\x05\x06") <= len(tail) - _END.size:
            return 0, 0, 0, "there are bytes after its end, or a comment"
        raise zipfile.BadZipFile("its end is missing or cut")
    _, disk, of_disk, here, entries, directory, _, comment = _END.unpack(last)
    if disk or of_disk or here != entries or comment:
        return 0, 0, 0, "it is a part of several, or has a comment"
    file.seek(max(0, size - _END.size - _LOCATOR.size))
    locator = file.read(_LOCATOR.size)
    if not locator.startswith(b"PK\x06\x07"):
        return entries, directory, _END.size, ""
    file.seek(max(0, size - _END.size - _LOCATOR.size - _END64.size))
    long = file.read(_END64.size)
    if len(long) < _END64.size or not long.startswith(b"PK\x06\x06"):
        return 0, 0, 0, "its zip64 end record is not where it belongs"
    return _END64.unpack(long)[7], _END64.unpack(long)[8], _END.size + _LOCATOR.size + _END64.size, ""


def _disagreements(file: BinaryIO, archive: zipfile.ZipFile, infos: list[zipfile.ZipInfo]) -> Iterator[str]:
    ordered = sorted(infos, key=lambda info: info.header_offset)
    starts = [info.header_offset for info in ordered] + [archive.start_dir]
    if starts[0]:
        yield f"there are {starts[0]:,} bytes before its first member"
    for info, start, following in zip(ordered, starts, starts[1:], strict=False):
        member = f"member {info.orig_filename!r}"
        file.seek(start)
        header = file.read(_LOCAL.size)
        if len(header) < _LOCAL.size or not header.startswith(b"PK\x03\x04"):
            yield f"{member} is not where the directory says"
            continue
        _, _, flags, method, _, _, crc, stored, size, name_size, extra_size = _LOCAL.unpack(header)
        name, extra = file.read(name_size), file.read(extra_size)
        encoding = "utf-8" if flags & 0x800 else "cp437"
        if name.decode(encoding, errors="replace") != info.orig_filename:
            yield f"{member} calls itself {name[:60].decode(encoding, errors='replace')!r}"
        if (flags, method) != (info.flag_bits, info.compress_type):
            yield f"{member} has other flags or another method in the directory"
        if not flags & _LATER:
            if _LONG in {stored, size}:
                size, stored = _long_sizes(extra, size, stored)
            if (crc, stored, size) != (info.CRC, info.compress_size, info.file_size):
                yield f"{member} has another size or checksum in the directory"
        gap = following - (start + _LOCAL.size + name_size + extra_size + info.compress_size)
        if gap and not (info.flag_bits & _LATER and gap in _DESCRIPTORS):
            yield f"{member} {'overlaps the next' if gap < 0 else 'is followed by foreign bytes'}"


def _long_sizes(extra: bytes, size: int, stored: int) -> tuple[int, int]:
    """Return the sizes of zip64 from the first extra field of number 1; those of the header if there is none."""
    while len(extra) >= 4:
        number, length = struct.unpack_from("<2H", extra)
        if number == 1:
            longs = list(struct.unpack_from(f"<{length // 8}Q", extra[4 : 4 + length].ljust(length // 8 * 8, b"\0")))
            size = longs.pop(0) if size == _LONG and longs else size
            stored = longs.pop(0) if stored == _LONG and longs else stored
            break
        extra = extra[4 + length :]
    return size, stored


def damaged_members(archive: zipfile.ZipFile, keep: dict[str, BinaryIO]) -> tuple[str, ...]:
    """Read every member to its end, which compares its checksum; return the names of those that do not match.

    The directory breaks no rule: nothing larger than declared is unpacked. `keep` has files to write members to.
    """
    damaged = []
    for info in archive.infolist():
        try:
            with archive.open(info) as member:
                while piece := member.read(1 << 20):
                    if info.filename in keep:
                        keep[info.filename].write(piece)
        except (zipfile.BadZipFile, zlib.error, EOFError):
            damaged.append(info.filename)
    return tuple(damaged)
