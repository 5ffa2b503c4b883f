"""What is known of each model of the corpus, beside its builder.

Models are written as people write them, a class (of what they share in `parts`) or a graph, so that the linter can be
tried on the same sources.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

V, E, U = 11, 6, 8
"""Vocabulary, embedding and units of the models."""
OUTSIDE = "outside of the recurrent layers"
_MARKED: list["Case"] = []


@dataclass(frozen=True, kw_only=True)
class Case:
    """One model."""

    name: str
    build: Callable[[], Any]
    right: bool
    rule: str = ""
    """Which rule names the fault of a wrong model."""
    layer: str | None = None
    """The layer at fault, where the finding can name it; `OUTSIDE` where no recurrent layer is at fault."""
    declare: tuple[str, ...] = ()
    expect: str = ""
    """The verdict, where it is neither pass for a right model nor fail for a wrong one."""
    held_back: bool = False
    """Whether it was written after the checker was, and not tuned on."""

    @property
    def verdict(self) -> str:
        """What the check must say."""
        return self.expect or ("pass" if self.right else "fail")

    def verify(self, seed: int = 0) -> None:
        """Hold the check to what is known of the model: its verdict, the rule of its fault, and the layer."""
        from rnneval.evaluate.check import check

        wiring = check(self.build(), declare=self.declare, seed=seed)
        assert wiring.verdict == self.verdict, f"\n{wiring}"
        assert all(len({*layer.slots}) == len(layer.slots) for layer in wiring.layers), f"\n{wiring}"
        errors = [finding for finding in wiring.findings if finding.severity == "error"]
        rules, named = {error.rule for error in errors}, {error.layer for error in errors}
        assert not self.rule or self.rule in rules, f"\n{wiring}"
        assert self.rule != "leftover-state" or "always-random" not in rules, f"\n{wiring}"
        if self.layer == OUTSIDE:
            assert named.isdisjoint({layer.name for layer in wiring.layers}), f"\n{wiring}"
        else:
            assert self.layer is None or self.layer in named, f"\n{wiring}"


def right(**known: Any) -> Callable[[Any], Any]:
    """Mark a right model, a function or a class that makes it; further fields of its `Case` may be given."""
    return _marking(right=True, **known)


def wrong(rule: str = "", **known: Any) -> Callable[[Any], Any]:
    """Mark a wrong model, with the rule that names its fault where one rule alone can."""
    return _marking(right=False, rule=rule, **known)


def _marking(**known: Any) -> Callable[[Any], Any]:
    def mark(build: Any) -> Any:
        named = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<!^)(?=[A-Z][a-z])", "_", build.__name__).lower()
        _MARKED.append(Case(**{"name": named, "build": build, **known}))
        return build

    return mark


def by_hand() -> tuple[Case, ...]:
    """Every model that a person wrote, from all files of this folder."""
    return tuple(_marked())


def _marked() -> Iterator[Case]:
    for file in sorted(Path(__file__).parent.glob("*.py")):
        if file.stem not in ("__init__", "case", "generator"):
            yield from cases_of(import_module(f"{__package__}.{file.stem}"))


def cases_of(module: ModuleType) -> tuple[Case, ...]:
    """The models of a module, in the order of the file."""
    return tuple(case for case in _MARKED if case.build.__module__ == module.__name__)
