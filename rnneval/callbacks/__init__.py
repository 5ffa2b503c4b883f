"""Keras callbacks that record gradients and states in training, as histories that survive a killed run."""

from importlib import import_module
from typing import Any

__all__ = ["GradientNorms", "StateNorms"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        import_module("rnneval.models.keras")  # says in one line what is missing
        return getattr(import_module("rnneval.callbacks.keras"), name)
    raise AttributeError(f"module 'rnneval.callbacks' has no attribute {name!r}")
