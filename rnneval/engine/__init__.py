"""Models run over text, as fast as exactness allows, into NumPy arrays."""

from rnneval import models  # noqa: F401 - first: its message names a missing TensorFlow in one line
from rnneval.engine.evaluate import evaluate

__all__ = ["evaluate"]
