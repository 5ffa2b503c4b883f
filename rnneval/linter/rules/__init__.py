"""One file a rule: its docstring is its documentation, `find` looks for it. Adding a file adds the rule."""

from functools import cache
from types import ModuleType

from rnneval.registry import modules


@cache
def all_rules() -> tuple[ModuleType, ...]:
    """Load every rule, in the order of the codes."""
    return tuple(sorted(modules(__name__), key=lambda rule: str(rule.CODE)))


@cache
def codes() -> dict[str, str]:
    """Give the code of every name, and of every code itself."""
    pairs = {rule.NAME: rule.CODE for rule in all_rules()} | {rule.CODE: rule.CODE for rule in all_rules()}
    return {str(name): str(code) for name, code in pairs.items()}
