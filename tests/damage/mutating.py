"""Files, changed as accidents and hands change them; every change follows from its seed, and can be repeated."""

import io
import json
import random
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

Files = Mapping[str, bytes]
"""What lies on the disk, by relative path."""


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One changed set of files."""

    files: Files
    what: str
    """The kind of change, then where."""
    protected: bool = False
    """The change lies under a checksum: it must be refused."""

    @property
    def kind(self) -> str:
        return self.what.partition(" ")[0]


Change = Callable[[Files, random.Random], Mutant]


def _changed(files: Files, name: str, raw: bytes, kind: str, where: object) -> Mutant:
    return Mutant(files={**files, name: raw}, what=f"{kind} {name} {where}")


def _pick(files: Files, draw: random.Random) -> tuple[str, bytearray]:
    """Larger files more often, but small ones, too."""
    name = draw.choice(sorted(files)) if draw.random() < 0.5 else draw.choices(
        sorted(files), [len(files[name]) + 1 for name in sorted(files)]
    )[0]  # fmt: skip
    return name, bytearray(files[name])


def truncate(files: Files, draw: random.Random) -> Mutant:
    name, raw = _pick(files, draw)
    at = draw.choice([0, 1, len(raw) - 1, draw.randrange(len(raw) + 1)])
    return _changed(files, name, bytes(raw[: max(0, at)]), "truncate", at)


def flip(files: Files, draw: random.Random) -> Mutant:
    name, raw = _pick(files, draw)
    at, bit = draw.randrange(len(raw)), draw.randrange(8)
    raw[at] ^= 1 << bit
    return _changed(files, name, bytes(raw), "flip", f"{at}.{bit}")


def zero(files: Files, draw: random.Random) -> Mutant:
    name, raw = _pick(files, draw)
    at, size = draw.randrange(len(raw)), draw.choice([1, 4, 16, 512])
    raw[at : at + size] = bytes(len(raw[at : at + size]))
    return _changed(files, name, bytes(raw), "zero", f"{at}+{size}")


def overwrite(files: Files, draw: random.Random) -> Mutant:
    name, raw = _pick(files, draw)
    at, size = draw.randrange(len(raw)), draw.choice([1, 2, 8, 64])
    raw[at : at + size] = draw.choice([draw.randbytes(size), b"\xff" * size])
    return _changed(files, name, bytes(raw), "overwrite", f"{at}+{size}")


def duplicate(files: Files, draw: random.Random) -> Mutant:
    name, raw = _pick(files, draw)
    at, size = draw.randrange(len(raw)), draw.choice([1, 16, 256])
    return _changed(files, name, bytes(raw[: at + size] + raw[at:]), "duplicate", f"{at}+{size}")


def cut_out(files: Files, draw: random.Random) -> Mutant:
    name, raw = _pick(files, draw)
    at, size = draw.randrange(len(raw)), draw.choice([1, 16, 256])
    return _changed(files, name, bytes(raw[:at] + raw[at + size :]), "cut-out", f"{at}+{size}")


def append(files: Files, draw: random.Random) -> Mutant:
    name, raw = _pick(files, draw)
    return _changed(files, name, bytes(raw) + draw.randbytes(draw.choice([1, 8, 1024])), "append", "")


def exchange(files: Files, draw: random.Random) -> Mutant:
    """Give two files each other's content, or lose one."""
    one, other = draw.choice(sorted(files)), draw.choice(sorted(files))
    if one == other:
        return Mutant(files={name: raw for name, raw in files.items() if name != one}, what=f"lose {one}")
    return Mutant(files={**files, one: files[other], other: files[one]}, what=f"exchange {one} {other}")


BYTES: tuple[Change, ...] = (truncate, flip, flip, flip, zero, overwrite, duplicate, cut_out, append)


def mutant(files: Files, changes: tuple[Change, ...], seed: object) -> Mutant:
    """Give the one that this seed makes; one that changes nothing is drawn again."""
    draw = random.Random(str(seed))  # noqa: S311 - repeatable, no secret
    while True:
        found = draw.choice(changes)(files, draw)
        if found.files != files:
            return found


# --- JSON ---


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place of a JSON value; of a long list the first, one in the middle and the last."""
    found = [path] if path else []
    if isinstance(value, dict):
        for key in value:
            found += places(value[key], (*path, key))
    elif isinstance(value, list):
        for index in sorted({0, len(value) // 2, len(value) - 1} if value else ()):
            found += places(value[index], (*path, index))
    return found


def _other(value: Any, draw: random.Random) -> Any:  # noqa: PLR0911 - one a kind of value
    """Something else in the place of a value: mostly of the same kind, sometimes of none that belongs there."""
    strange = [None, True, -1, 0, 1e308, 10**30, "", "\x1b[31m\u202e", [], {}, [[]], "x" * 10_000]
    if value is None or draw.random() < 0.3:
        return draw.choice(strange)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return draw.choice([value + 1, value - 1, -value, value * 1000 + 7, 0])
    if isinstance(value, float):
        return draw.choice([value * 1.01, -value, value + 1.0, 0.0, value * 1e6])
    if isinstance(value, str):
        return draw.choice([value + "x", value[:-1], value.swapcase(), value.replace("a", "e"), "keras.layers"])
    if isinstance(value, list):
        return draw.choice([value[1:], value[:-1], value * 2, value[::-1]])
    keys = sorted(value)
    return {key: value[key] for key in keys if key != draw.choice([*keys, ""])}


def edited_json(text: str, draw: random.Random) -> tuple[str, str]:
    """Change one value of a JSON text, drop a key, or copy one value over another; give the text and where."""
    plain = json.loads(text)
    every = places(plain)
    path = draw.choice(every)
    parent = plain
    for key in path[:-1]:
        parent = parent[key]
    how = draw.random()
    if how < 0.1:
        del parent[path[-1]]
    elif how < 0.2:
        source: Any = plain
        for key in draw.choice(every):
            source = source[key]
        parent[path[-1]] = json.loads(json.dumps(source))
    else:
        parent[path[-1]] = _other(parent[path[-1]], draw)
    return json.dumps(plain), ".".join(map(str, path))


def edit_json(files: Files, draw: random.Random) -> Mutant:
    name = draw.choice([name for name in sorted(files) if name.endswith(".json")])
    text, where = edited_json(files[name].decode(), draw)
    return _changed(files, name, text.encode("utf-8", "backslashreplace"), "edit", where)


# --- zip ---


def zipped(members: list[tuple[str, bytes]], *, deflated: bool = False) -> bytes:
    target = io.BytesIO()
    how = zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED
    with zipfile.ZipFile(target, "w", how) as archive:
        for name, raw in members:
            archive.writestr(zipfile.ZipInfo(name), raw, how)
    return target.getvalue()


def members(raw: bytes) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


def rezip(files: Files, draw: random.Random) -> Mutant:
    """Another zip of the same members: packed, in another order, without one, with contents exchanged, renamed."""
    (name,) = files
    held = members(files[name])
    how = draw.choice(["pack", "turn", "lose", "exchange", "rename", "add"])
    one, other = draw.sample(range(len(held)), 2)
    if how == "turn":
        held = held[::-1]
    elif how == "lose":
        del held[one]
    elif how == "exchange":
        held[one], held[other] = (held[one][0], held[other][1]), (held[other][0], held[one][1])
    elif how == "rename":
        held[one] = (draw.choice([held[one][0].upper(), f"x/{held[one][0]}", f"../{held[one][0]}"]), held[one][1])
    elif how == "add":
        held.append((draw.choice(["assets/vocab.txt", "evil.py", "config.json/x", "/etc/x"]), b"x"))
    return _changed(files, name, zipped(held, deflated=how == "pack"), "rezip", how)


def in_member(ending: str, change: Callable[[bytes, random.Random], tuple[bytes, str]]) -> Change:
    """Change the inside of one member and zip it again, checksums and all: a hand and no accident."""

    def edit(files: Files, draw: random.Random) -> Mutant:
        (name,) = files
        held = members(files[name])
        chosen = draw.choice([index for index, member in enumerate(held) if member[0].endswith(ending)])
        raw, where = change(held[chosen][1], draw)
        held[chosen] = (held[chosen][0], raw)
        return _changed(files, name, zipped(held), f"inside-{ending.rpartition('.')[2]}", where)

    return edit


def json_inside(raw: bytes, draw: random.Random) -> tuple[bytes, str]:
    text, where = edited_json(raw.decode(), draw)
    return text.encode("utf-8", "backslashreplace"), where


def flip_inside(raw: bytes, draw: random.Random) -> tuple[bytes, str]:
    found = flip({"": raw}, draw)
    return found.files[""], found.what


def marked(found: Mutant, original: Files, under_checksum: Callable[[str, bytes, int], bool]) -> Mutant:
    """Mark a flip of one bit that lies under a checksum."""
    if found.kind != "flip":
        return found
    _, name, where = found.what.split(" ")
    return replace(found, protected=under_checksum(name, original[name], int(where.partition(".")[0])))
