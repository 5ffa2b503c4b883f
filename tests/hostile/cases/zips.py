"""Zips that lead out of their folder, say two things, or unpack into far more than they hold."""

import struct
import zipfile
import zlib
from pathlib import Path

from tests.hostile import plain
from tests.hostile.canary import Canary
from tests.hostile.corpus import Case
from tests.hostile.plain import bytecode, keras_file, layer, members, with_layers


def added(path: Path, name: str | zipfile.ZipInfo, content: bytes, method: int = zipfile.ZIP_STORED) -> Path:
    """The plain model, and one member more."""
    with zipfile.ZipFile(keras_file(path), "a", method) as archive:
        archive.writestr(name, content, method)
    return path


def traversal(folder: Path, canary: Canary) -> Path:
    """A member that goes up and out of the folder."""
    return added(folder / "m.keras", "assets/../../../traps/canary-created", b"x")


def link(folder: Path, canary: Canary) -> Path:
    """A member that is a symbolic link out of the folder, and one that is written through it."""
    info = zipfile.ZipInfo("assets/out")
    info.external_attr = 0o120777 << 16
    added(folder / "m.keras", info, str(canary.folder).encode())
    with zipfile.ZipFile(folder / "m.keras", "a") as archive:
        archive.writestr("assets/out/canary-created", b"x")
    return folder / "m.keras"


def duplicate(folder: Path, canary: Canary) -> Path:
    """Two configurations: a harmless one, and one with bytecode, which Keras takes."""
    import warnings

    bad = members(with_layers(layer("Lambda", function=bytecode(canary.code), arguments={})))["config.json"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return added(folder / "m.keras", "config.json", bad)


def weights_as_npz(folder: Path, canary: Canary) -> Path:
    """Weights as `.npz`, with an array of objects."""
    import io
    import pickle

    import numpy as np

    class Runs:
        def __reduce__(self) -> tuple:
            return exec, (canary.code,)

    held = io.BytesIO()
    np.lib.format.write_array(held, np.array([Runs()], object), allow_pickle=True)
    assert pickle
    with zipfile.ZipFile(folder / "m.keras", "w") as archive:
        archive.writestr("config.json", members()["config.json"])
        archive.writestr("model.weights.npz", held.getvalue())
    return folder / "m.keras"


def bomb(folder: Path, canary: Canary) -> Path:
    """An asset of 800 MB of zeros in 800 kB."""
    body, directory, _ = entries(keras_file(folder / "m.keras"))
    return with_zeros(folder / "m.keras", "assets/zeros", body, directory)


def encrypted(folder: Path, canary: Canary) -> Path:
    """A member that says it is encrypted."""
    path = added(folder / "m.keras", "assets/a", b"x")
    raw = bytearray(path.read_bytes())
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = raw.rfind(mark)
        raw[at + place] |= 1
    path.write_bytes(raw)
    return path


def entries(path: Path) -> tuple[bytes, list[bytes], bytes]:
    """The members' own part, the entries of the directory, and the end record."""
    raw = path.read_bytes()
    count, _, start = struct.unpack_from("<HLL", raw, len(raw) - 12)
    found, at = [], start
    for _ in range(count):
        sizes = struct.unpack_from("<3H", raw, at + 28)
        found.append(raw[at : at + 46 + sum(sizes)])
        at += 46 + sum(sizes)
    return raw[:start], found, raw[at:]


def rewritten(path: Path, body: bytes, directory: list[bytes]) -> Path:
    """A zip of these parts."""
    whole = b"".join(directory)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, len(directory), len(directory), len(whole), len(body), 0)
    path.write_bytes(body + whole + end)
    return path


def with_zeros(path: Path, name: str, body: bytes, directory: list[bytes], megabytes: int = 800) -> Path:
    """The archive and a member of zeros, without packing them: one packed megabyte, repeated."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = (packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)) * megabytes
    packed += zlib.compressobj(9, zlib.DEFLATED, -15).flush()
    crc = 0
    for _ in range(megabytes):
        crc = zlib.crc32(bytes(1 << 20), crc)
    sizes = (crc, len(packed), megabytes << 20, len(name), 0)
    local = struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, 0, 8, 0, 33, *sizes) + name.encode()
    entry = struct.pack("<4s6H3L2H3H2L", b"PK\x01\x02", 20, 20, 0, 8, 0, 33, *sizes, 0, 0, 0, 0, len(body))
    return rewritten(path, body + local + packed, [*directory, entry + name.encode()])


def overlapping_members(folder: Path, canary: Canary) -> Path:
    """Forty names for one asset of 20 MB: each is harmless by itself."""
    path = added(folder / "m.keras", "assets/00", bytes(range(256)) * (20 << 12), zipfile.ZIP_STORED)
    body, directory, _ = entries(path)
    last = directory[-1]
    return rewritten(path, body, [*directory, *(last[:46] + b"assets/%02d" % k for k in range(1, 40))])


def two_archives_in_one(folder: Path, canary: Canary) -> Path:
    """A harmless archive, and behind it one with bytecode, which Python takes."""
    bad = keras_file(folder / "bad", with_layers(layer("Lambda", function=bytecode(canary.code), arguments={})))
    first = keras_file(folder / "m.keras")
    first.write_bytes(first.read_bytes() + bad.read_bytes())
    bad.unlink()
    return first


def flipped_bit(folder: Path, canary: Canary) -> Path:
    """One bit of the weights is another one."""
    path = keras_file(folder / "m.keras")
    raw = bytearray(path.read_bytes())
    raw[raw.find(b"\x89HDF") + 4000] ^= 0x10
    path.write_bytes(raw)
    return path


def pickle_called_keras(folder: Path, canary: Canary) -> Path:
    """A pickle with the ending of a model."""
    (folder / "m.keras").write_bytes(plain.pickled(canary.code))
    return folder / "m.keras"


Case("traversal", "zip-traversal", traversal)
Case("link", "zip-link", link)
Case("duplicate", "zip-duplicate", duplicate)
Case("weights_as_npz", "zip-members", weights_as_npz)
Case("bomb", "zip-bomb", bomb)
Case("encrypted", "zip-encrypted", encrypted)
Case("overlapping_members", "zip-bomb", overlapping_members)
Case("two_archives_in_one", "config-code", two_archives_in_one)
Case("flipped_bit", "zip-checksum", flipped_bit)
Case("pickle_called_keras", "pickle", pickle_called_keras)
