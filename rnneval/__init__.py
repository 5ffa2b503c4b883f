"""rnneval: is the state wired right, how good is the model, and did a change help?

Names are resolved on first use (PEP 562), so that `import rnneval` brings nothing heavy.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from rnneval._version import __version__

_HOMES = {
    "GradientNorms": "rnneval.callbacks",
    "RecurrentLM": "rnneval.models",
    "StateNorms": "rnneval.callbacks",
    "Vocabulary": "rnneval.text",
    "check": "rnneval.engine.wiring",
    "compare": "rnneval.gates",
    "evaluate": "rnneval.engine",
    "gate": "rnneval.gates",
    "gradients": "rnneval.engine.diagnostics.gradients",
    "lint": "rnneval.linter",
    "open": "rnneval.models",
    "read": "rnneval.records",
    "sweep": "rnneval.sweeps.many",
    "trace": "rnneval.engine.diagnostics.trace",
    "wrap": "rnneval.models",
}
_LATER = {
    "fragment": "rnneval.render.notebook",
    "plain": "rnneval.render.notebook",
    "score_problems": "rnneval.metrics",
}
"""What records need of packages that come after them, and ask for here: how they are shown, and their scores."""
_ROOMS = ("callbacks", "engine", "errors", "gates", "metrics", "models", "records", "testing", "text")
_MODULES = {"plot": "rnneval.render.plot", "recordfile": "rnneval.records"}

__all__ = ["__version__", *_HOMES, *_MODULES, *_ROOMS]  # noqa: PLE0604 - strings all


@contextmanager
def without_current_folder() -> Iterator[None]:
    """Keep the current folder from being imported while the block runs: what lies beside a checkpoint is no module.

    A notebook and `python -m` put it first of all places, so that a `keras_hub/` or `h5py.py` beside the model would
    stand in for the package of that name.
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


def __getattr__(name: str) -> Any:
    with without_current_folder():
        if name in _HOMES:
            return getattr(import_module(_HOMES[name]), name)
        if name in _LATER:
            return getattr(import_module(_LATER[name]), name)
        if name in _MODULES:
            return import_module(_MODULES[name])
        if name in _ROOMS:
            return import_module(f"rnneval.{name}")
    raise AttributeError(f"module 'rnneval' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
