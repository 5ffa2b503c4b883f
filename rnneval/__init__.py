"""rnneval: is the state wired right, how good is the model, and did a change help?

Names are resolved on first use (PEP 562), so that `import rnneval` brings nothing heavy.
"""

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
    "gradients": "rnneval.engine.inside.gradients",
    "lint": "rnneval.wiring.lint",
    "open": "rnneval.models",
    "read": "rnneval.recordfile",
    "sweep": "rnneval.sweeps",
    "trace": "rnneval.engine.inside.trace",
    "wrap": "rnneval.models",
}
_ROOMS = ("callbacks", "engine", "errors", "gates", "metrics", "models", "recordfile", "records", "testing", "text")
_MODULES = {"plot": "rnneval.render.plot"}

__all__ = ["__version__", *_HOMES, *_MODULES, *_ROOMS]  # noqa: PLE0604 - strings all


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in _MODULES:
        return import_module(_MODULES[name])
    if name in _ROOMS:
        return import_module(f"rnneval.{name}")
    raise AttributeError(f"module 'rnneval' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
