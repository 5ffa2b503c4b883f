"""`rnneval.open`: a saved model, opened by the backend that is asked for."""

import os
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

from rnneval.errors import UsageError
from rnneval.options import OpenOptions, on_path


@on_path(OpenOptions)
def open(path: str | os.PathLike[str], options: OpenOptions) -> Any:  # noqa: A001 - the name in the contract: rnneval.open
    """Open a saved recurrent language model.

    Args:
        path: A `.keras` or `.h5` file of Keras 2 or 3; or with a builder, a file of weights (`.weights.h5`, `.h5`,
            `.hdf5`) or a TensorFlow checkpoint (its folder, prefix or `.index` file).
        options: Keyword arguments, each a field of `OpenOptions`.

    `builder` is `FILE.py:NAME`, `FILE.ipynb:NAME` or `package.module:NAME`. `builder_arguments` and `builder_globals`
    are maps, or `name=value` strings as on the command line. `vocabulary` may also be a Vocabulary, the tokens in the
    order of their ids, a map from token to id, or a StringLookup or TextVectorization layer. `weight_map` may also be
    the map itself.

    Returns:
        A `RecurrentLM` that runs on Keras; with `backend="numpy"`, and with `"auto"` where it can, a `NumpyLM`.

    Raises:
        CheckpointError: what is at `path` is no checkpoint, is damaged, does not fit the builder's model, or cannot be
            driven with a carried state; or it is no chain of layers that the NumPy backend knows.
        VocabularyError: the vocabulary given is not a one-to-one map, or does not fit the model.
        UsageError: a builder is needed, or TensorFlow is and is not installed.
    """
    why: UsageError | None = None
    if options.backend in {"auto", "numpy"}:
        from rnneval.backends.numpy import NotForNumpyError, open_numpy

        try:
            return open_numpy(path, **vars(options))
        except NotForNumpyError as error:
            if options.backend == "numpy":
                raise
            why = UsageError(str(error))
    if why is not None and find_spec("tensorflow") is None:
        raise why
    from rnneval.models import open as open_keras

    return open_keras(path, **vars(replace(options, backend="keras")))


def with_automatic_backend(options: OpenOptions, *, keras: str = "") -> OpenOptions:
    """Return the options of a command for which any backend will do, unless `keras` says what only Keras can.

    Raises:
        UsageError: another backend is asked for than that.
    """
    if keras and options.backend == "numpy":
        raise UsageError(f"--backend numpy: {keras} needs the layers of Keras: leave the option out")
    return options if options.backend is not None else replace(options, backend="keras" if keras else "auto")
