"""Gates: baseline × candidate → a verdict. Records in, records out; no TensorFlow.

Names are resolved on first use: a run takes its intervals from `clusters`, and needs none of the gates.
"""

from importlib import import_module
from typing import Any

_HOMES = {"NamedRecord": "sides", "compare": "ranking", "gate": "verdicts"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'rnneval.gates' has no attribute {name!r}")
