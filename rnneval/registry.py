"""Registry of folders: adding a file to one adds a metric, a rule, a figure or a command.

An entry is a public module of the folder: one whose name does not begin with `_`. There is no other list of them.
"""

import pkgutil
from importlib import import_module
from types import ModuleType


def names(package: str) -> tuple[str, ...]:
    """Return the names of a package's entries in alphabetical order, without importing one of them.

    Args:
        package: Dotted name, such as `rnneval.metrics`.

    >>> names("rnneval.metrics.baselines")
    ('uniform', 'unigram')
    """
    found = pkgutil.iter_modules(import_module(package).__path__)
    return tuple(sorted(module.name for module in found if not module.ispkg and not module.name.startswith("_")))


def modules(package: str) -> tuple[ModuleType, ...]:
    """Import every entry of a package and return the modules in alphabetical order of their names."""
    return tuple(import_module(f"{package}.{name}") for name in names(package))
