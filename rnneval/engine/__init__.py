"""Models of any backend run over text, as fast as exactness allows, into NumPy arrays."""

from rnneval.engine.evaluate import evaluate

__all__ = ["evaluate"]
