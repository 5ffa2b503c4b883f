"""Registry of folders: adding a file to one adds a metric, a rule, a figure or a command.

An entry is a public module of the folder: one whose name does not begin with `_`. There is no other list of them. A `_`
at the end is no part of the entry's name: the entry `import`, a keyword of Python, is the file `import_.py`.
"""

import pkgutil
from importlib import import_module
from types import ModuleType


def names(package: str) -> tuple[str, ...]:
    """Return the names of a package's entries in alphabetical order, without importing one of them.

    Args:
        package: Dotted name, such as `rnneval.metrics`.

    >>> names("rnneval.metrics")[:2]
    ('accuracy', 'accuracy_top5')
    """
    return tuple(sorted(_files(package)))


def module(package: str, name: str) -> ModuleType:
    """Import one entry of a package."""
    return import_module(f"{package}.{_files(package)[name]}")


def modules(package: str) -> tuple[ModuleType, ...]:
    """Import every entry of a package and return the modules in alphabetical order of their names."""
    return tuple(import_module(f"{package}.{file}") for _, file in sorted(_files(package).items()))


def _files(package: str) -> dict[str, str]:
    """Return the name of each entry's module, by the name of the entry."""
    found = (each.name for each in pkgutil.iter_modules(import_module(package).__path__) if not each.ispkg)
    return {name.removesuffix("_"): name for name in found if not name.startswith("_")}
