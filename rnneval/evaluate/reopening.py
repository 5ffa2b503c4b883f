"""Options for opening a checkpoint on a worker, as plain data; TensorFlow is imported only there."""

import os
import platform
import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rnneval
from rnneval.checkpoints.places import hash_of
from rnneval.checkpoints.usercode import is_file, name_of
from rnneval.errors import CheckpointError, UsageError
from rnneval.options import OpeningGroup, OpenOptions, Paths

if TYPE_CHECKING:
    from rnneval.models.protocol import LanguageModel

ALONE = threading.Lock()
"""Lock of a process: it works on one model at a time, since layers and TensorFlow's switches are shared."""


@dataclass(frozen=True, kw_only=True)
class Opening(OpeningGroup):
    """Options of `rnneval.open` as plain data that another process can read: all paths are absolute."""

    def __post_init__(self) -> None:
        super().__post_init__()
        builder, vocabulary = self.builder, _absolute(self.vocabulary)
        if builder is not None and not isinstance(builder, str):
            name = name_of(builder)
            raise UsageError(f"--builder {name}: other processes make the model: give its file, FILE.py:{name}")
        if builder is not None and is_file(builder):
            module, _, name = builder.rpartition(":")
            builder = f"{_absolute(module)}:{name}"
        plain = {
            "builder": builder,
            "builder_arguments": _plain(self.builder_arguments) or (),
            "builder_globals": _plain(self.builder_globals) or (),
            "vocabulary": vocabulary if isinstance(vocabulary, str) else _plain(vocabulary),
            "vocabulary_from": None if self.vocabulary_from is None else absolute_paths(self.vocabulary_from),
            "weight_map": _absolute(self.weight_map),
        }
        for name, value in plain.items():
            object.__setattr__(self, name, value)

    @property
    def files(self) -> tuple[str, ...]:
        """The files that are read beside the checkpoint: they must be the same ones on every worker."""
        code = self.builder.rpartition(":")[0] if isinstance(self.builder, str) and is_file(self.builder) else None
        own = [code, self.vocabulary, *absolute_paths(self.vocabulary_from or ()), self.weight_map]
        return tuple(name for name in own if name and isinstance(name, str))

    def open(self, path: str, sha256: str, *, kernel: str = "auto", backend: str | None = None) -> "LanguageModel":
        """Open a checkpoint of known content to read a text, in a worker, with a backend if one is given."""
        from rnneval.evaluate.opening import open as open_checkpoint
        from rnneval.evaluate.opening import with_automatic_backend

        # The last digits depend on the number of threads: they shall not depend on the worker.
        os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
        backend = self.backend if backend in {None, "step"} else backend  # a builder says itself that it makes steps
        options = OpenOptions(**{**vars(self), "expect_sha256": sha256, "backend": backend})
        model: LanguageModel = open_checkpoint(path, **vars(with_automatic_backend(options, kernel=kernel)))
        return model

    def plain(self) -> dict[str, Any]:
        """Return the options as data that can be hashed as JSON."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Reopened:
    """A checkpoint that a worker opens by its path: the same files, version, backend and width as where the text is."""

    path: str
    sha256: str
    opening: Opening
    hashes: Mapping[str, str]  # hashes of the files that are read beside the checkpoint, by path
    version: str
    kernel: str
    backend: str
    width: int

    def __call__(self) -> "LanguageModel":
        """Open the checkpoint."""
        require_same_version(self.version)
        require_same_files(self.hashes)
        lm = self.opening.open(self.path, self.sha256, kernel=self.kernel, backend=self.backend)
        if lm.width != self.width:
            raise CheckpointError(f"{self.path}: {lm.width} outputs on a worker, {self.width} where the text is")
        return lm


def _plain(given: Any) -> Any:
    return dict(given) if isinstance(given, Mapping) else None if given is None else tuple(given)


def _absolute(given: Any) -> Any:
    """Return a path as an absolute one, anything else as it is."""
    return str(Path(given).absolute()) if isinstance(given, (str, os.PathLike)) else given


def absolute_paths(given: Paths) -> tuple[str, ...]:
    """Return one path, or several, as absolute ones."""
    paths = [given] if isinstance(given, (str, os.PathLike)) else given
    return tuple(str(Path(path).absolute()) for path in paths)


def file_hashes(paths: Iterable[str]) -> dict[str, str]:
    """Hash files by path; one that cannot be read is a UsageError."""
    return {path: _hash(path) for path in dict.fromkeys(paths)}


def require_same_files(hashes: Mapping[str, str]) -> None:
    """Refuse to work, with a UsageError, if a path leads to another file than on the machine that started the sweep."""
    for path, sha256 in hashes.items():
        try:
            status = Path(path).stat()
            found = _known(path, status.st_mtime_ns, status.st_size)
        except OSError as error:
            raise UsageError(f"{path}: cannot be read on {platform.node()}: {error.strerror or error}") from error
        if found != sha256:
            raise UsageError(f"{path}: is another file on {platform.node()}: give workers the same files")


def require_same_version(version: str) -> None:
    """Refuse to mix results of two versions, with a UsageError."""
    if version != rnneval.__version__:
        raise UsageError(
            f"{platform.node()} has rnneval {rnneval.__version__}, not {version}: install the same on workers"
        )


def _hash(path: str) -> str:
    try:
        return hash_of(Path(path))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from error


@lru_cache(maxsize=64)
def _known(path: str, changed: int, size: int) -> str:  # noqa: ARG001 - told apart by all three
    return _hash(path)
