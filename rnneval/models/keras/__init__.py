"""Keras models: opening checkpoints safely, and the state contract (`RecurrentLM`). Importing it needs TensorFlow."""

import os
from importlib.util import find_spec

from rnneval.errors import UsageError
from rnneval.processes import collector_paused, without_current_folder


def require_tensorflow() -> None:
    """Refuse an environment in which Keras 3 on TensorFlow cannot run, before half a gigabyte is imported."""
    if find_spec("tensorflow") is None:
        raise UsageError("TensorFlow is not installed, and this command needs it: pip install 'rnneval[tensorflow]'")
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    if backend != "tensorflow":
        raise UsageError(f"KERAS_BACKEND is {backend}; rnneval drives Keras on TensorFlow: unset it")
    if os.environ.get("TF_USE_LEGACY_KERAS", "0").lower() not in {"", "0", "false"}:
        raise UsageError("TF_USE_LEGACY_KERAS asks for Keras 2; rnneval reads Keras 2 files with Keras 3: unset it")
    # TensorFlow's log messages are of no use to the user; the command line holds back those that come all the same.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


with without_current_folder(), collector_paused():
    require_tensorflow()
    from rnneval.models.keras.lm import RecurrentLM, wrap
    from rnneval.models.keras.opening import open_keras
    from rnneval.models.keras.weights import keras2_hard_sigmoid

__all__ = ["RecurrentLM", "keras2_hard_sigmoid", "open_keras", "wrap"]
