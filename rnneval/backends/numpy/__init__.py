"""The NumPy backend: checkpoints whose layers are a chain of known ones, run without TensorFlow and Keras.

Names are resolved on first use: a worker needs the arithmetic alone, and imports nothing that reads files.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rnneval.backends.numpy.chain import NotForNumpyError
    from rnneval.backends.numpy.lm import NumpyLM, open_numpy

__all__ = ["NotForNumpyError", "NumpyLM", "open_numpy"]
_HOMES = {"NotForNumpyError": "chain", "NumpyLM": "lm", "open_numpy": "lm"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
