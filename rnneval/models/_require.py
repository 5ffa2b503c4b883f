"""What must hold before TensorFlow is imported: said in one line, before half a gigabyte is loaded."""

import os
from importlib.util import find_spec

from rnneval.errors import UsageError


def require_tensorflow() -> None:
    """Refuse an environment in which Keras 3 on TensorFlow cannot run.

    Raises:
        UsageError: TensorFlow is not installed, another Keras backend is asked for, or legacy Keras is.
    """
    if find_spec("tensorflow") is None:
        raise UsageError("TensorFlow is not installed, and this command needs it: pip install 'rnneval[tensorflow]'")
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    if backend != "tensorflow":
        raise UsageError(
            f"KERAS_BACKEND is {backend}; rnneval drives Keras on TensorFlow: unset it or set it to tensorflow"
        )
    if os.environ.get("TF_USE_LEGACY_KERAS", "0").lower() not in {"", "0", "false"}:
        raise UsageError("TF_USE_LEGACY_KERAS asks for Keras 2; rnneval reads Keras 2 files with Keras 3: unset it")
    # Chatter of no use to a person who asked for a number; what comes all the same is held back by the command line.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


require_tensorflow()
