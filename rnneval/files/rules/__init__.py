"""Rules by which a file is refused: a module for each format, with a function for each rule.

The function's docstring is the page of `rnneval explain` and of the docs. The function gets facts, which were gathered
once without following, unpacking or allocating what they describe, and yields a sentence for each violation.

Example:
    @rule(about="zip", order=150, advice="give the file as Keras saved it")
    def zip_members(archive: Zip) -> Iterator[str]: ...
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from rnneval.errors import CheckpointError
from rnneval.registry import modules

_Find = Callable[[Any], Iterator[str]]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A rule about files."""

    name: str
    """Name of the rule, such as `zip-members`."""
    about: str
    """The facts that it looks at, such as `zip`."""
    order: int
    """A file that breaks several rules is refused by the one of the lowest order."""
    advice: str
    """Advice to the user, the end of the error message."""
    find: _Find
    """A pure function that yields a sentence for each violation: it is put between the rule's name and the advice."""


def rule(*, about: str, order: int, advice: str) -> Callable[[_Find], Rule]:
    """Turn a function into the rule of its name, with `-` for `_`."""

    def made(find: _Find) -> Rule:
        return Rule(name=find.__name__.replace("_", "-"), about=about, order=order, advice=advice, find=find)

    return made


@cache
def all_rules() -> tuple[Rule, ...]:
    """Return every rule, the lowest order first."""
    found = [value for module in modules(__name__) for value in vars(module).values() if isinstance(value, Rule)]
    return tuple(sorted(found, key=lambda found: (found.order, found.name)))


def require_allowed(about: str, facts: Any, path: Path) -> None:
    """Check facts against every rule about them.

    Raises:
        CheckpointError: a rule is broken; the message names the file, the rule, what was seen and what to do.
    """
    for each in all_rules():
        if about == each.about:
            for seen in each.find(facts):
                raise refused(each.name, path, seen)


def refused(name: str, path: Path, seen: str) -> CheckpointError:
    """Return the error of a broken rule: the file, the rule's name, what was seen, and the rule's advice."""
    advice = next(each.advice for each in all_rules() if name == each.name)
    return CheckpointError(f"{path}: refused by rule {name}: {seen}: {advice}", rule=name)
