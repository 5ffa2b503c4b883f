"""What a checkpoint that is a folder, or files side by side, is made of; nothing in it is opened but its state file."""

import stat
from dataclasses import dataclass
from pathlib import Path

_MOST_STATE = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Folder:
    """The entries of a folder, and where they lead."""

    names: tuple[str, ...]
    named_outside: tuple[str, ...] = ()
    """Paths out of the folder that its file `checkpoint` names."""
    outside: tuple[str, ...] = ()
    """Entries that are links out of the folder."""
    special: tuple[str, ...] = ()
    """Entries that are neither file nor folder."""


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A SavedModel's program."""

    size: int
    has_builder: bool


def parts_of(folder: Path, parts: list[Path], *, named: str = "") -> Folder:
    """Gather where the parts of a checkpoint lead; `named` is what its state file says."""
    root = folder.resolve()
    outside = [part for part in parts if not part.resolve().is_relative_to(root)]
    special = [part for part in parts if part.exists() and not _is_plain(part)]
    return Folder(
        names=tuple(sorted(part.name for part in parts)),
        named_outside=(named,) if named and _leads_out(named) else (),
        outside=tuple(part.name for part in outside),
        special=tuple(part.name for part in special),
    )


def _is_plain(path: Path) -> bool:
    mode = path.stat().st_mode
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def _leads_out(named: str) -> bool:
    """A training writes its own path, which is absolute where it was given so: its last part must be here."""
    return ".." in named.split("/") or "\\" in named or "://" in named


def state_of(folder: Path) -> str:
    """Give the checkpoint that the folder's state file names; "" where there is none."""
    state = folder / "checkpoint"
    if not state.is_file() or state.stat().st_size > _MOST_STATE:
        return ""
    for line in state.read_text(encoding="utf-8", errors="replace").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model_checkpoint_path":
            return value.strip().strip('"')
    return ""
