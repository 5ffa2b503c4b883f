"""`rnneval.open`: a saved model, opened by the backend that is asked for.

A checkpoint is found, copied, hashed and held against the rules once, and all that can be refused is refused before
TensorFlow is imported. Workers open it again (`Reopened`): the same files, by the same options as plain data.
"""

import os
import platform
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

import rnneval
from rnneval.checkpoints import Artefact, examined
from rnneval.checkpoints.checked import require_sha256
from rnneval.checkpoints.places import FULL_MODELS, HDF5, first_bytes, hash_of
from rnneval.errors import CheckpointError, UsageError, VocabularyError
from rnneval.models.wrapping import is_module, wrap
from rnneval.option import values_of
from rnneval.options import OpeningGroup, OpenOptions, Paths, by_keyword
from rnneval.text import Vocabulary, find_vocabulary, given_vocabulary, only_vocabulary_beside

if TYPE_CHECKING:
    from rnneval.checkpoints.usercode import Builder
    from rnneval.models.protocol import LanguageModel
    from rnneval.models.step import StepLM

ALONE = threading.Lock()
"""Lock of a process: it works on one model at a time, since layers and TensorFlow's switches are shared."""
MLX = "mlx:"
"""Begin of the path of a folder that mlx-lm reads."""
_OTHERS = {".pt", ".pth", ".bin", ".safetensors", ".npz", ".npy", ".msgpack", ".onnx", ".gguf"}
"""Endings of files of weights of other libraries."""


@by_keyword(OpenOptions)
def open(path: str | os.PathLike[str], options: OpenOptions) -> Any:  # noqa: A001 - the name in the contract: rnneval.open
    """Open a saved recurrent language model.

    Args:
        path: A `.keras` or `.h5` file of Keras 2 or 3; an ONNX graph that takes and gives its states; a folder
            that `save_pretrained` of transformers wrote; `mlx:FOLDER` for one that mlx-lm reads; or with a builder, a
            file of weights (`.weights.h5`, `.h5`, `.hdf5`) or a TensorFlow checkpoint (its folder, prefix or `.index`
            file).
        options: Keyword arguments, each a field of `OpenOptions`.

    A builder with the parameter `checkpoint` reads the file itself, which may then be of any kind, and returns a model
    of `rnneval.from_step`, or a PyTorch module.

    `builder` is a class or function that makes the model, or `FILE.py:NAME`, `FILE.ipynb:NAME` or
    `package.module:NAME`. `builder_arguments` and `builder_globals`
    are maps, or `name=value` strings as on the command line. `vocabulary` may also be a Vocabulary, the tokens in the
    order of their ids, a map from token to id, or a StringLookup or TextVectorization layer. `weight_map` may also be
    the map itself.

    Returns:
        A `RecurrentLM` that runs on Keras; with `backend="numpy"`, and with `"auto"` where it can, a `NumpyLM`; of an
        ONNX graph and of a folder of transformers, a `StepLM`.

    Raises:
        CheckpointError: what is at `path` is no checkpoint, is damaged, does not fit the builder's model, or cannot be
            driven with a carried state; or it is no chain of layers that the NumPy backend knows.
        VocabularyError: the vocabulary given is not a one-to-one map, or does not fit the model.
        UsageError: a builder is needed, or TensorFlow is and is not installed.
    """
    if not isinstance(path, str | os.PathLike):
        raise UsageError(f"rnneval.open reads a file, and was given a {type(path).__name__}: see rnneval.wrap")
    model = _open_by(path, options, _load_language_model)
    if options.builder is None:
        return model
    from rnneval.checkpoints.usercode import record_of

    return replace(model, checkpoint=msgspec.structs.replace(model.checkpoint, builder=record_of(options.builder)))


def open_for_check(path: str | os.PathLike[str], options: OpenOptions) -> Any:
    """Return a model as its author made it, whether or not it can be evaluated: its wiring can be judged."""
    return _open_by(path, options, _load_authors_model)


def _open_by(path: str | os.PathLike[str], options: OpenOptions, load: Callable[[Artefact, OpenOptions], Any]) -> Any:
    """Return the model that a builder or transformers reads itself, else what `load` makes of a private copy.

    All that can be refused without running anything is refused before.
    """
    place, builder = Path(path), options.builder
    if builder is not None:
        from rnneval.checkpoints.usercode import reads_checkpoint

        if reads_checkpoint(builder):
            return _open_by_builder(place, options)
    if builder is None and (folder := _mlx_folder(path)) is not None:
        from rnneval.models.mlx import open_mlx

        require_sha256(folder, options.expect_sha256)
        return open_mlx(folder, given_vocabulary(options.vocabulary, options.vocabulary_from))
    if place.is_dir():
        from rnneval.checkpoints.pretrained import pretrained

        if (folder := pretrained(place)) is not None:
            return _open_folder(folder, options)
    if place.suffix.lower() == ".onnx" and builder is None and not place.is_dir():
        from rnneval.wiring.graphs import from_onnx, open_graph

        vocabulary = given_vocabulary(options.vocabulary, options.vocabulary_from)
        read = open_graph if load is _load_authors_model else from_onnx
        return read(path, options.state_pairs, vocabulary=vocabulary, expect_sha256=options.expect_sha256)
    if place.suffix.lower() in _OTHERS and place.is_file() and not first_bytes(place).startswith(HDF5):
        raise CheckpointError(
            f"{path}: weights of a library other than Keras, without the model: give --builder FILE.py:NAME, a "
            "function with the parameter checkpoint, which reads the file at that path and returns a PyTorch module or "
            "rnneval.from_step(…); a folder of save_pretrained needs no builder"
        )
    with examined(path, has_builder=builder is not None, expect_sha256=options.expect_sha256) as artefact:
        require_builder_runs(options, everything=artefact.format in FULL_MODELS)
        return load(artefact, options)


def _mlx_folder(path: str | os.PathLike[str]) -> Artefact | None:
    """Return the folder of `mlx:FOLDER`; None for another path."""
    if not os.fspath(path).startswith(MLX) or Path(path).exists():
        return None
    from rnneval.checkpoints.pretrained import pretrained

    place = Path(os.fspath(path).removeprefix(MLX))
    if not place.is_dir() or (folder := pretrained(place)) is None:
        raise CheckpointError(f"{path}: no folder with config.json and model.safetensors, as mlx-lm reads")
    return replace(folder, format="mlx")


def _load_language_model(artefact: Artefact, options: OpenOptions) -> Any:
    if options.backend in {"auto", "numpy"}:
        from rnneval.models.numpy.chain import NotForNumpyError
        from rnneval.models.numpy.lm import open_numpy

        try:
            return open_numpy(artefact, options)
        except NotForNumpyError as error:
            if options.backend == "numpy":
                raise
            if find_spec("tensorflow") is None:
                raise UsageError(str(error)) from error
    from rnneval.models.keras import open_keras

    return open_keras(artefact, options)


def _load_authors_model(artefact: Artefact, options: OpenOptions) -> Any:
    from rnneval.models.keras.opening import load_model

    return load_model(artefact, options)


def _open_folder(folder: Artefact, options: OpenOptions) -> "StepLM":
    """Return the model of a folder that transformers wrote."""
    if options.builder is not None:
        raise UsageError(f"{folder.path}: a folder of transformers, which is read by its own classes: no --builder")
    require_sha256(folder, options.expect_sha256)
    missing = [name for name in ("torch", "transformers", "safetensors") if find_spec(name) is None]
    if missing:
        raise UsageError(f"{folder.path}: needs {missing[0]}, which is not installed: pip install 'rnneval[torch]'")
    from rnneval.models.torch.folder import open_folder

    return open_folder(folder, given_vocabulary(options.vocabulary, options.vocabulary_from))


def require_builder_runs(options: OpeningGroup, spec: str | None = None, *, everything: bool = False) -> None:
    """Refuse a builder, `spec` or that of the options, which needs what may not be run."""
    if not (spec or options.builder is not None or options.builder_globals or options.run_module):
        return
    from rnneval.checkpoints.usercode import builder_of

    if (builder := builder_of(options, spec)) is not None:
        replace(builder, everything=everything).preflight()


def _open_by_builder(path: Path, options: OpenOptions) -> "StepLM":
    """Return the model that the user's own code makes of a file that rnneval does not read."""
    from rnneval.checkpoints.usercode import builder_of
    from rnneval.models.step import StepLM

    require_builder_runs(options)
    try:
        sha256 = require_sha256(Artefact(path=path, format="", files=(path,)), options.expect_sha256)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from error
    builder = builder_of(options)
    assert builder is not None  # noqa: S101 - the caller has looked
    vocabulary = given_vocabulary(options.vocabulary, options.vocabulary_from) or beside_for(builder, path)
    model = builder.build(vocabulary, checkpoint=str(path))
    model = wrap(model) if is_module(model) else model
    if not isinstance(model, StepLM):
        raise CheckpointError(
            f"builder {builder.spec} takes the checkpoint's path and returned a {type(model).__name__}: a model of "
            "rnneval.from_step or a PyTorch module is needed; a builder of Keras models has no parameter checkpoint, "
            "since rnneval loads the weights"
        )
    if vocabulary is not None:
        model = replace(model, vocabulary=vocabulary.fit(model.width))
    elif model.vocabulary is None:
        with suppress(VocabularyError):
            model = replace(model, vocabulary=find_vocabulary(path, model.width))
    return replace(
        model, checkpoint=msgspec.structs.replace(model.checkpoint, path=str(path), sha256=sha256, name=None)
    )


def beside_for(builder: "Builder", path: Path) -> Vocabulary | None:
    """Return the one vocabulary beside a file, for a builder that needs one; else None."""
    return only_vocabulary_beside(path) if builder.takes_vocabulary() else None


def with_automatic_backend(options: OpenOptions, *, keras: str = "") -> OpenOptions:
    """Return the options of a command for any backend; `keras` names what only Keras can do, "" if nothing."""
    if keras and options.backend == "numpy":
        raise UsageError(f"--backend numpy: {keras} needs the layers of Keras: leave the option out")
    return replace(options, backend="keras" if keras else options.backend or "auto")


# On a worker


@dataclass(frozen=True, kw_only=True)
class Reopened:
    """A checkpoint that a worker opens by its path: the same files and version as where the text is."""

    path: str
    sha256: str
    options: OpeningGroup
    hashes: Mapping[str, str]  # hashes of other files that are read, by path
    version: str = rnneval.__version__

    def __call__(self) -> "LanguageModel":
        """Open the checkpoint, to read a text."""
        here = platform.node()
        if self.version != rnneval.__version__:
            raise UsageError(
                f"{here} has rnneval {rnneval.__version__}, not {self.version}: install the same on workers"
            )
        for path, sha256 in file_hashes(self.hashes).items():
            if sha256 != self.hashes[path]:
                raise UsageError(f"{path}: is another file on {here}: give workers the same files")
        # The last digits depend on the number of threads: they shall not depend on the worker.
        os.environ["TF_NUM_INTRAOP_THREADS"] = "1"
        options = OpenOptions(**vars(self.options), expect_sha256=self.sha256)
        model: LanguageModel = open(self.path, **vars(with_automatic_backend(options)))
        return model


def portable(options: OpeningGroup) -> OpeningGroup:
    """Return options for opening as plain data that another process can read: all paths are absolute."""
    builder = options.builder
    if builder is not None and not isinstance(builder, str):
        from rnneval.checkpoints.usercode import name_of

        name = name_of(builder)
        raise UsageError(f"--builder {name}: other processes make the model: give its file, FILE.py:{name}")
    if (code := _code_of(options)) is not None:
        builder = f"{_absolute(code)}:{builder.rpartition(':')[2] if builder else ''}"
    names = ("vocabulary", "builder_arguments", "builder_globals", "weight_map", "state_pairs")
    plain = {"builder": builder, **{name: _absolute(getattr(options, name)) for name in names}}
    if options.vocabulary_from is not None:
        plain["vocabulary_from"] = absolute_paths(options.vocabulary_from)
    return OpeningGroup(**{**values_of(OpeningGroup, options), **plain})


def files_of(options: OpeningGroup) -> tuple[str, ...]:
    """Return the files that are read beside a checkpoint: they must be the same ones on every worker."""
    paths = [_code_of(options), options.vocabulary, *absolute_paths(options.vocabulary_from or ()), options.weight_map]
    return tuple(name for name in paths if name and isinstance(name, str))


def _code_of(options: OpeningGroup) -> str | None:
    """Return the file of a builder; None for a module that is imported by its name."""
    builder = options.builder
    if not isinstance(builder, str):
        return None
    from rnneval.checkpoints.usercode import is_file

    return builder.rpartition(":")[0] if is_file(builder) else None


def _absolute(value: Any) -> Any:
    """Return a path as an absolute one, a map or several values as plain ones."""
    if value is None or isinstance(value, str | os.PathLike):
        return value and str(Path(value).absolute())
    return dict(value) if isinstance(value, Mapping) else tuple(value)


def absolute_paths(paths_of: Paths) -> tuple[str, ...]:
    """Return one path, or several, as absolute ones."""
    paths = [paths_of] if isinstance(paths_of, str | os.PathLike) else paths_of
    return tuple(str(Path(path).absolute()) for path in paths)


def file_hashes(paths: Iterable[str]) -> dict[str, str]:
    """Hash files by path; one that cannot be read is a UsageError."""
    try:
        return {path: hash_of(Path(path)) for path in dict.fromkeys(paths)}
    except OSError as error:
        raise UsageError(f"{error.filename}: cannot be read: {error.strerror or error}") from error
