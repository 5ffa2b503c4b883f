"""One file a rule: its docstring is its documentation, `find` looks for it. Adding a file adds the rule."""

import pkgutil
from functools import cache
from importlib import import_module
from types import ModuleType


@cache
def all_rules() -> tuple[ModuleType, ...]:
    """Load every rule, in the order of the codes."""
    names = (module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))
    return tuple(sorted((import_module(f"{__name__}.{name}") for name in names), key=lambda rule: str(rule.CODE)))


@cache
def codes() -> dict[str, str]:
    """Give the code of every name, and of every code itself."""
    pairs = {rule.NAME: rule.CODE for rule in all_rules()} | {rule.CODE: rule.CODE for rule in all_rules()}
    return {str(name): str(code) for name, code in pairs.items()}
