"""Keras callbacks that record gradients and states in training, as histories that survive a killed run."""

from importlib import import_module
from typing import Any

_HOMES = {"GradientNorms": "gradient_norms", "StateNorms": "state_norms"}

__all__ = ["GradientNorms", "StateNorms"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        import_module("rnneval.models.keras")  # says in one line what is missing
        return getattr(import_module(f"rnneval.callbacks.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'rnneval.callbacks' has no attribute {name!r}")
