"""… and here: models run over text, as fast as exactness allows, into arrays that hold nothing of TensorFlow."""

from rnneval import models  # noqa: F401 - first: says in one line what is missing
from rnneval.engine.evaluate import evaluate

__all__ = ["evaluate"]
