"""The hostile files: one line of a table each, in `cases/`. Nothing here needs rnneval or TensorFlow.

What each is about, the CVEs whose route it takes, and whether its canary fired with an old release is in
`docs/hostile.json`, which docs/evidence/hostile.md shows.
"""

import json
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from tests.hostile.canary import Canary

ROOT = Path(__file__).resolve().parents[2]
Build = Callable[[Path, Canary], Path]
CASES: dict[str, "Case"] = {}


@dataclass(frozen=True)
class Case:
    """One hostile file."""

    name: str
    rule: str
    """By which it is refused; "" where it is opened and nothing happens."""
    build: Build
    """Writes it into a folder and gives its path."""
    arguments: tuple[str, ...] = ("open", "{file}")
    """Of the command line, {folder} and {file} put in."""
    late: bool = False
    """Whether the format decides only once TensorFlow is there."""
    needs_tensorflow: bool = False
    """Whether it is written by TensorFlow."""

    def __post_init__(self) -> None:
        assert self.name not in CASES
        CASES[self.name] = self

    def command(self, path: Path) -> list[str]:
        """What is typed."""
        return [word.format(file=path, folder=path.parent) for word in self.arguments]


def all_cases() -> dict[str, Case]:
    """Every case by its name."""
    from tests.hostile import cases

    for module in pkgutil.iter_modules(cases.__path__):
        import_module(f"{cases.__name__}.{module.name}")
    return CASES


def rows() -> dict[str, dict[str, object]]:
    """What the docs say of each case."""
    return {row["name"]: row for row in json.loads((ROOT / "docs" / "hostile.json").read_text())["cases"]}


def build(name: str, folder: Path) -> tuple[Path, Canary]:
    """Write one case into a folder of its own: the file in `model`, the traps beside it."""
    canary = Canary(folder / "traps")
    canary.folder.mkdir(parents=True)
    (folder / "model").mkdir()
    return all_cases()[name].build(folder / "model", canary), canary
