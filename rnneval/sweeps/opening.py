"""How a checkpoint is opened on a worker, as plain data that travels; TensorFlow is there alone."""

import hashlib
import json
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rnneval
from rnneval.errors import UsageError
from rnneval.records.paths import open_regular

if TYPE_CHECKING:
    from rnneval.models import RecurrentLM

ALONE = threading.Lock()
"""A model is for one task at a time: its layers and TensorFlow's switches are the process's own."""


@dataclass(frozen=True, kw_only=True)
class Opening:
    """What `rnneval.open` takes, but for the checkpoint: paths are absolute."""

    builder: str | None = None
    builder_arguments: tuple[str, ...] | Mapping[str, Any] = ()
    """`name=value`, as on the command line, or a map."""
    vocabulary: str | tuple[str, ...] | None = None
    vocabulary_from: tuple[str, ...] | None = None
    window: int | None = None
    weight_map: str | None = None

    @classmethod
    def of(
        cls,
        *,
        builder: str | None = None,
        builder_arguments: Mapping[str, Any] | Sequence[str] | None = None,
        vocabulary: str | os.PathLike[str] | Sequence[str] | None = None,
        vocabulary_from: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None = None,
        window: int | None = None,
        weight_map: str | os.PathLike[str] | None = None,
    ) -> "Opening":
        """Take them as `rnneval.open` does."""
        arguments = builder_arguments or ()
        whole = isinstance(vocabulary, (str, os.PathLike))
        return cls(
            builder=None if builder is None else _absolute_builder(builder),
            builder_arguments=dict(arguments) if isinstance(arguments, Mapping) else tuple(arguments),
            vocabulary=_absolute(vocabulary) if whole else None if vocabulary is None else tuple(vocabulary),  # type: ignore[arg-type]
            vocabulary_from=None if vocabulary_from is None else tuple(map(_absolute, _paths(vocabulary_from))),
            window=window,
            weight_map=None if weight_map is None else _absolute(weight_map),
        )

    @property
    def files(self) -> tuple[str, ...]:
        """The files that it reads beside the checkpoint: they must be the same ones on every worker."""
        code = self.builder.rpartition(":")[0] if self.builder is not None else ""
        vocabulary = [self.vocabulary] if isinstance(self.vocabulary, str) else []
        named = [code if code.endswith(".py") else None, *vocabulary, *(self.vocabulary_from or ()), self.weight_map]
        return tuple(name for name in named if name)

    def open(self, path: str, sha256: str) -> "RecurrentLM":
        """Open a checkpoint of known content, in this process; see `rnneval.open`."""
        from rnneval.models import open as open_checkpoint
        from rnneval.models.builder import parse_arguments

        arguments = self.builder_arguments
        return open_checkpoint(
            path,
            builder=self.builder,
            builder_arguments=arguments if isinstance(arguments, Mapping) else parse_arguments(arguments),
            vocabulary=self.vocabulary,
            vocabulary_from=self.vocabulary_from,
            expect_sha256=sha256,
            window=self.window,
            weight_map=self.weight_map,
        )

    def plain(self) -> dict[str, Any]:
        """Give it as data that can be hashed as JSON."""
        return asdict(self)


def _paths(given: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[str | os.PathLike[str]]:
    return [given] if isinstance(given, (str, os.PathLike)) else list(given)


def _absolute(path: str | os.PathLike[str]) -> str:
    return str(Path(path).absolute())


def _absolute_builder(spec: str) -> str:
    module, _, name = spec.rpartition(":")
    return f"{_absolute(module)}:{name}" if module.endswith(".py") else spec


def file_hashes(paths: Iterable[str]) -> dict[str, str]:
    """Hash files by path.

    Raises:
        UsageError: one cannot be read.
    """
    return {path: _hash(path) for path in dict.fromkeys(paths)}


def require_same_files(hashes: Mapping[str, str]) -> None:
    """Refuse to work where a path leads to another file than on the machine that gave the work.

    Raises:
        UsageError: names the path and this machine.
    """
    for path, sha256 in hashes.items():
        try:
            status = Path(path).stat()
            found = _known(path, status.st_mtime_ns, status.st_size)
        except OSError as error:
            raise UsageError(f"{path}: cannot be read on {_machine()}: {error.strerror or error}") from error
        if found != sha256:
            raise UsageError(f"{path}: is another file on {_machine()}: give workers the same files")


def require_same_version(version: str) -> None:
    """Refuse to mix what two versions measure.

    Raises:
        UsageError: names both and this machine.
    """
    if version != rnneval.__version__:
        raise UsageError(f"{_machine()} has rnneval {rnneval.__version__}, not {version}: install the same on workers")


def key_of(*things: Any) -> str:
    """Hash plain data."""
    return hashlib.sha256(json.dumps(things, sort_keys=True, default=repr).encode()).hexdigest()


def _machine() -> str:
    return os.uname().nodename if hasattr(os, "uname") else "the worker"


def _hash(path: str) -> str:
    try:
        with open_regular(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from error


@lru_cache(maxsize=64)
def _known(path: str, changed: int, size: int) -> str:  # noqa: ARG001 - told apart by all three
    return _hash(path)
