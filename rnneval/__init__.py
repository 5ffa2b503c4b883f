"""rnneval evaluates recurrent language models: state wiring, held-out perplexity, and whether a change helped.

Names are resolved on first use (PEP 562), so that `import rnneval` imports nothing heavy.
"""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

from rnneval._version import __version__

_HOMES = {
    "GradientNorms": "rnneval.callbacks",
    "RecurrentLM": "rnneval.models.keras",
    "StateNorms": "rnneval.callbacks",
    "Vocabulary": "rnneval.text",
    "as_html": "rnneval.render.notebook",
    "as_text": "rnneval.render.notebook",
    "check": "rnneval.evaluate.check",
    "compare": "rnneval.gates.ranking",
    "evaluate": "rnneval.evaluate.run",
    "from_losses": "rnneval.evaluate.imported",
    "from_step": "rnneval.models.step",
    "from_torch": "rnneval.models.torch.module",
    "from_transformers": "rnneval.models.torch.causal",
    "gate": "rnneval.gates.verdicts",
    "gradients": "rnneval.evaluate.diagnostics.gradients",
    "lint": "rnneval.lint",
    "open": "rnneval.evaluate.opening",
    "read": "rnneval.records",
    "sweep": "rnneval.evaluate.sweep",
    "trace": "rnneval.evaluate.diagnostics.trace",
    "wrap": "rnneval.models.keras",
}
_PACKAGES = ("callbacks", "errors", "gates", "metrics", "models", "records", "testing", "text")
_MODULES = {"plot": "rnneval.render.plot", "recordfile": "rnneval.records"}

__all__ = ["__version__", *_HOMES, *_MODULES, *_PACKAGES]  # noqa: PLE0604 - strings all


@contextmanager
def without_current_folder() -> Iterator[None]:
    """Keep modules of the current folder from being imported while the block runs.

    A notebook and `python -m` put that folder first on the path, so that a `keras_hub/` or `h5py.py` beside a
    checkpoint would be imported in place of the package of that name.
    """
    here = os.path.realpath(".")
    removed = [(at, place) for at, place in enumerate(sys.path) if os.path.realpath(place or ".") == here]
    removed = [(at, place) for at, place in removed if not place.endswith(("site-packages", "dist-packages"))]
    for at, _ in reversed(removed):
        del sys.path[at]
    try:
        yield
    finally:
        for at, place in removed:
            sys.path.insert(at, place)


@contextmanager
def collector_paused() -> Iterator[None]:
    """Keep Python's garbage collector from running while the block makes many objects that stay, and few cycles.

    It takes a sixth of the time of importing TensorFlow, and a quarter of the time of parsing many files.
    """
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


class _Package(ModuleType):
    """This module, in which functions stay functions although a package has the name of one.

    When a module of the package `rnneval.lint` is imported, Python binds the package to the name `lint` here. Write
    `from rnneval.lint import rules`, since `import rnneval.lint.rules as rules` looks for `rules` in the function.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if name not in _HOMES or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    with without_current_folder():
        if name in _HOMES:
            return getattr(import_module(_HOMES[name]), name)
        if name in _MODULES:
            return import_module(_MODULES[name])
        if name in _PACKAGES:
            return import_module(f"rnneval.{name}")
    raise AttributeError(f"module 'rnneval' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
