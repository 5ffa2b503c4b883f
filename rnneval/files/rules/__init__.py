"""The rules by which a file is refused, one file each, found by being here.

The docstring of a rule's file is its page: the text of `rnneval explain` and of the docs. The module has `NAME`,
`ABOUT` (the facts that it looks at), `ORDER` (a file that breaks several is refused by the lowest), `ADVICE` (what the
user can do, the end of the line of error) and `find(facts)`, a pure function that yields what was seen. Facts are
gathered once, without following, unpacking or allocating what they describe.
"""

from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from rnneval.errors import CheckpointError
from rnneval.registry import modules


@cache
def all_rules() -> tuple[ModuleType, ...]:
    """Every rule's module, in the order of `ORDER`."""
    return tuple(sorted(modules(__name__), key=lambda module: (module.ORDER, module.NAME)))


def require_allowed(about: str, facts: Any, path: Path) -> None:
    """Hold facts against every rule about them.

    Raises:
        CheckpointError: a rule is broken; its line names the file, the rule, what was seen and what to do.
    """
    for rule in all_rules():
        if about == rule.ABOUT:
            for seen in rule.find(facts):
                raise refused(rule.NAME, path, seen)


def refused(name: str, path: Path, seen: str) -> CheckpointError:
    """Give the error of a rule that is broken."""
    rule = next(rule for rule in all_rules() if name == rule.NAME)
    return CheckpointError(f"{path}: refused by rule {name}: {seen}: {rule.ADVICE}", rule=name)
