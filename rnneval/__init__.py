"""rnneval evaluates recurrent language models: state wiring, held-out perplexity, and whether a change helped.

Names are resolved on first use (PEP 562), so that `import rnneval` imports nothing heavy.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

from rnneval._version import __version__
from rnneval.option import with_short_types
from rnneval.processes import without_current_folder

_HOMES = {
    "GradientNorms": "rnneval.callbacks",
    "RecurrentLM": "rnneval.models.keras",
    "StateNorms": "rnneval.callbacks",
    "Vocabulary": "rnneval.text",
    "as_html": "rnneval.render.notebook",
    "as_text": "rnneval.render.notebook",
    "check": "rnneval.evaluate.check",
    "check_server": "rnneval.servers.check",
    "compare": "rnneval.gates.ranking",
    "evaluate": "rnneval.evaluate.run",
    "from_losses": "rnneval.evaluate.imported",
    "from_mlx": "rnneval.models.mlx",
    "from_onnx": "rnneval.wiring.graphs",
    "from_step": "rnneval.models.step",
    "from_torch": "rnneval.models.torch.module",
    "from_transformers": "rnneval.models.torch.causal",
    "gate": "rnneval.gates.verdicts",
    "gradients": "rnneval.evaluate.diagnostics.gradients",
    "lint": "rnneval.lint",
    "open": "rnneval.evaluate.opening",
    "parity": "rnneval.parity.run",
    "read": "rnneval.records",
    "report": "rnneval.render.report",
    "sweep": "rnneval.evaluate.sweep",
    "trace": "rnneval.evaluate.diagnostics.trace",
    "wrap": "rnneval.models.wrapping",
}
_PACKAGES = ("callbacks", "errors", "gates", "metrics", "models", "records", "testing", "text")
_MODULES = {"plot": "rnneval.render.plot", "recordfile": "rnneval.records"}

__all__ = ["__version__", *_HOMES, *_MODULES, *_PACKAGES]  # noqa: PLE0604 - strings all


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
            try:
                found = getattr(import_module(_HOMES[name]), name)
            except ModuleNotFoundError as error:  # an AttributeError is what help() and completion leave out
                raise AttributeError(f"rnneval.{name} needs {error.name}, which is not installed") from error
            return found if isinstance(found, type) else with_short_types(found)
        if name in _MODULES:
            return import_module(_MODULES[name])
        if name in _PACKAGES:
            return import_module(f"rnneval.{name}")
    raise AttributeError(f"module 'rnneval' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
