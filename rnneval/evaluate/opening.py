"""`rnneval.open`: a saved model, opened by the backend that is asked for.

A checkpoint is found, copied, hashed and held against the rules once, and all that can be refused is refused before
TensorFlow is imported.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from rnneval.checkpoints import Artefact, examined
from rnneval.checkpoints.checked import require_sha256
from rnneval.checkpoints.places import FULL_MODELS, HDF5, first_bytes, hash_of
from rnneval.checkpoints.pretrained import pretrained
from rnneval.errors import CheckpointError, UsageError, VocabularyError
from rnneval.models.step import StepLM
from rnneval.models.wrapping import is_module, wrap
from rnneval.options import OpeningGroup, OpenOptions, by_keyword
from rnneval.text import Vocabulary, find_vocabulary, given_vocabulary, only_vocabulary_beside

if TYPE_CHECKING:
    from rnneval.checkpoints.usercode import Builder


@by_keyword(OpenOptions)
def open(path: str | os.PathLike[str], options: OpenOptions) -> Any:  # noqa: A001 - the name in the contract: rnneval.open
    """Open a saved recurrent language model.

    Args:
        path: A `.keras` or `.h5` file of Keras 2 or 3; a folder that `save_pretrained` of transformers wrote; or with
            a builder, a file of weights (`.weights.h5`, `.h5`, `.hdf5`) or a TensorFlow checkpoint (its folder, prefix
            or `.index` file).
        options: Keyword arguments, each a field of `OpenOptions`.

    A builder with the parameter `checkpoint` reads the file itself, which may then be of any kind, and returns a model
    of `rnneval.from_step`, or a PyTorch module.

    `builder` is a class or function that makes the model, or `FILE.py:NAME`, `FILE.ipynb:NAME` or
    `package.module:NAME`. `builder_arguments` and `builder_globals`
    are maps, or `name=value` strings as on the command line. `vocabulary` may also be a Vocabulary, the tokens in the
    order of their ids, a map from token to id, or a StringLookup or TextVectorization layer. `weight_map` may also be
    the map itself.

    Returns:
        A `RecurrentLM` that runs on Keras; with `backend="numpy"`, and with `"auto"` where it can, a `NumpyLM`; of a
        folder of transformers, a `StepLM`.

    Raises:
        CheckpointError: what is at `path` is no checkpoint, is damaged, does not fit the builder's model, or cannot be
            driven with a carried state; or it is no chain of layers that the NumPy backend knows.
        VocabularyError: the vocabulary given is not a one-to-one map, or does not fit the model.
        UsageError: a builder is needed, or TensorFlow is and is not installed.
    """
    if (made := _step_model(Path(path), options)) is not None:
        return made
    with _admitted(path, options) as artefact:
        why: UsageError | None = None
        if options.backend in {"auto", "numpy"}:
            from rnneval.models.numpy.chain import NotForNumpyError
            from rnneval.models.numpy.lm import open_numpy

            try:
                return open_numpy(artefact, options)
            except NotForNumpyError as error:
                if options.backend == "numpy":
                    raise
                why = UsageError(str(error))
        if why is not None and find_spec("tensorflow") is None:
            raise why
        from rnneval.models.keras import open_keras

        return open_keras(artefact, options)


def model_of(path: str | os.PathLike[str], options: OpenOptions) -> Any:
    """Return a model as its author made it, whether or not it can be evaluated: its wiring can be judged."""
    if (made := _step_model(Path(path), options)) is not None:
        return made
    with _admitted(path, options) as artefact:
        from rnneval.models.keras.opening import load_model

        return load_model(artefact, options)


def _step_model(path: Path, options: OpenOptions) -> StepLM | None:
    """Return the model of a checkpoint that the builder itself reads, or of a folder of transformers; else None."""
    if _builder_reads(options):
        return _made_by_builder(path, options)
    folder = pretrained(path)
    return None if folder is None else _of_folder(folder, options)


def _of_folder(folder: Artefact, options: OpenOptions) -> StepLM:
    """Return the model of a folder that transformers wrote."""
    if options.builder is not None:
        raise UsageError(f"{folder.path}: a folder of transformers, which is read by its own classes: no --builder")
    require_sha256(folder, options.expect_sha256)
    missing = [name for name in ("torch", "transformers", "safetensors") if find_spec(name) is None]
    if missing:
        raise UsageError(f"{folder.path}: needs {missing[0]}, which is not installed: pip install 'rnneval[torch]'")
    from rnneval.models.torch.folder import open_folder

    return open_folder(folder, given_vocabulary(options.vocabulary, options.vocabulary_from))


@contextmanager
def _admitted(path: str | os.PathLike[str], options: OpenOptions) -> Iterator[Artefact]:
    """Yield a private copy of a checkpoint, once all is refused that can be without running anything."""
    _refuse_others(Path(path), options)
    has_builder = options.builder is not None
    with examined(path, has_builder=has_builder, expect_sha256=options.expect_sha256) as artefact:
        require_builder_runs(options, everything=artefact.format in FULL_MODELS)
        yield artefact


def _refuse_others(path: Path, options: OpenOptions) -> None:
    """Refuse a file of weights of a library other than Keras, and say how it is opened."""
    kind = _OTHERS.get(path.suffix.lower())
    if kind is None or not path.is_file() or first_bytes(path).startswith(HDF5):
        return
    returned = "and returns a PyTorch module or rnneval.from_step(…)"
    advice = f"give --builder FILE.py:NAME, a function of (checkpoint, vocabulary) that reads it {returned}"
    if options.builder is not None:
        from rnneval.checkpoints.usercode import name_of

        name = options.builder if isinstance(options.builder, str) else name_of(options.builder)
        advice = f"let {name} take its path as the parameter checkpoint; it reads the file {returned}"
    elif kind in ("PyTorch", "safetensors"):
        advice += "; a folder of save_pretrained needs no builder"
    raise CheckpointError(f"{path}: weights of {kind}, without the model: {advice}")


_OTHERS = {
    ".pt": "PyTorch", ".pth": "PyTorch", ".bin": "PyTorch", ".safetensors": "safetensors", ".npz": "NumPy",
    ".npy": "NumPy", ".msgpack": "Flax", ".onnx": "ONNX", ".gguf": "llama.cpp",
}  # fmt: skip
"""Library of the weights by the ending of a file."""


def require_builder_runs(options: OpeningGroup, spec: str | None = None, *, everything: bool = False) -> None:
    """Refuse a builder, `spec` or that of the options, which needs what may not be run."""
    if not (spec or options.builder is not None or options.builder_globals or options.run_module):
        return
    from rnneval.checkpoints.usercode import builder_of

    if (builder := builder_of(options, spec)) is not None:
        replace(builder, everything=everything).preflight()


def _builder_reads(options: OpenOptions) -> bool:
    """Return whether the builder reads the checkpoint itself."""
    if options.builder is None:
        return False
    from rnneval.checkpoints.usercode import reads_checkpoint

    return reads_checkpoint(options.builder)


def _made_by_builder(path: Path, options: OpenOptions) -> StepLM:
    """Return the model that the user's own code makes of a file that rnneval does not read."""
    from rnneval.checkpoints.usercode import builder_of

    require_builder_runs(options)
    try:
        sha256 = hash_of(path)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from error
    if options.expect_sha256 is not None and options.expect_sha256.lower() != sha256:
        raise CheckpointError(f"{path}: its SHA-256 is {sha256}, and {options.expect_sha256} is expected")
    builder = builder_of(options)
    assert builder is not None  # noqa: S101 - the caller has looked
    given = given_vocabulary(options.vocabulary, options.vocabulary_from) or beside_for(builder, path)
    made = builder.build(given, checkpoint=str(path))
    made = wrap(made) if is_module(made) else made
    if not isinstance(made, StepLM):
        raise CheckpointError(
            f"builder {builder.spec} takes the checkpoint's path and returned a {type(made).__name__}: a model of "
            "rnneval.from_step or a PyTorch module is needed; a builder of Keras models has no parameter checkpoint, "
            "since rnneval loads the weights"
        )
    if given is not None:
        made = replace(made, vocabulary=given.fit(made.width))
    elif made.vocabulary is None:
        with suppress(VocabularyError):
            made = replace(made, vocabulary=find_vocabulary(path, made.width).fit(made.width))
    return replace(made, checkpoint=msgspec.structs.replace(made.checkpoint, path=str(path), sha256=sha256, name=None))


def beside_for(builder: "Builder", path: Path) -> Vocabulary | None:
    """Return the one vocabulary beside a file, for a builder that needs one; else None."""
    return only_vocabulary_beside(path) if builder.takes_vocabulary() else None


def with_automatic_backend(options: OpenOptions, *, kernel: str = "auto", keras: str = "") -> OpenOptions:
    """Return the options of a command for which any backend will do, or raise a UsageError.

    Only Keras has several kernels; `keras` names what else only Keras can do, "" if nothing.
    """
    keras = keras or (f"--kernel {kernel}" if kernel != "auto" else "")
    if keras and options.backend == "numpy":
        raise UsageError(f"--backend numpy: {keras} needs the layers of Keras: leave the option out")
    if keras:
        return replace(options, backend="keras")
    return options if options.backend is not None else replace(options, backend="auto")
