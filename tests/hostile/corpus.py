"""The hostile files: one function each, found by standing in `cases/`. Nothing here needs rnneval or TensorFlow."""

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from tests.hostile.canary import Canary


@dataclass(frozen=True)
class Case:
    """One hostile file."""

    build: Callable[[Path, Canary], Path]
    """Writes it into a folder and gives its path."""
    rule: str
    """By which it is refused; "" where it is opened and nothing happens."""
    fires: str
    """The plain call with which its canary fires (`fire.py`), or after "none: " why none does."""
    routes: tuple[str, ...] = ()
    """CVEs whose route it takes."""
    arguments: tuple[str, ...] = ()
    """Of the command line, {folder} and {file} put in."""
    after_tensorflow: bool = False
    """Whether the format decides only once TensorFlow is there."""
    needs_tensorflow: bool = False
    """Whether it is written by TensorFlow."""

    @property
    def name(self) -> str:
        """As the function is called."""
        return self.build.__name__

    @property
    def about(self) -> str:
        """The first line of the function's text."""
        return (self.build.__doc__ or "").partition("\n")[0]

    def command(self, path: Path) -> list[str]:
        """What is typed."""
        words = self.arguments or ("open", "{file}")
        return [word.format(file=path, folder=path.parent) for word in words]


CASES: dict[str, Case] = {}


def case(rule: str, fires: str, *routes: str, **more: object) -> Callable:
    """Register a builder."""

    def add(build: Callable[[Path, Canary], Path]) -> Callable[[Path, Canary], Path]:
        assert build.__name__ not in CASES
        CASES[build.__name__] = Case(build, rule, fires, routes, **more)
        return build

    return add


def all_cases() -> dict[str, Case]:
    """Every case by its name."""
    from tests.hostile import cases

    for module in pkgutil.iter_modules(cases.__path__):
        import_module(f"{cases.__name__}.{module.name}")
    return CASES


def build(name: str, folder: Path) -> tuple[Path, Canary]:
    """Write one case into a folder of its own: the file in `model`, the traps beside it."""
    canary = Canary(folder / "traps")
    canary.folder.mkdir(parents=True)
    (folder / "model").mkdir()
    return all_cases()[name].build(folder / "model", canary), canary
