"""Options of every command that opens a checkpoint, what it does with them, and commands that its errors propose."""

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from rnneval.cli import commands
from rnneval.cli.output import command_line
from rnneval.cli.terminal import chatter_held, progress_bar
from rnneval.errors import CheckpointError, FolderError
from rnneval.options import DiagnosticOptions, EvaluateOptions, OpenOptions
from rnneval.registry import module

if TYPE_CHECKING:
    from rnneval.models.protocol import LanguageModel

T = TypeVar("T", EvaluateOptions, DiagnosticOptions)
_OF_ONE = ("--out", "--expect-sha256")
"""Options of `evaluate` that `sweep` has and means otherwise or refuses."""


@dataclass(frozen=True, kw_only=True)
class CheckpointOptions(OpenOptions):
    """Options with which a checkpoint is opened."""

    @contextmanager
    def reading(self, options: T, doing: str, *, quiet: bool) -> Iterator[T]:
        """Let the block open the checkpoint and read a text, with options that show progress.

        Messages of C++ libraries are held back meanwhile.
        """
        with chatter_held(), progress_bar(doing, quiet=quiet) as progress:
            yield replace(options, progress=progress, command=command_line())

    def open(self, checkpoint: str) -> "LanguageModel":
        """Open the checkpoint with the backend that is asked for."""
        from rnneval.evaluate.opening import open as open_checkpoint

        with self._folders_explained(checkpoint):
            return cast("LanguageModel", open_checkpoint(checkpoint, **vars(self)))

    def model(self, checkpoint: str) -> Any:
        """Return the Keras model of the checkpoint as its author made it."""
        from rnneval.evaluate.opening import model_of

        with self._folders_explained(checkpoint):
            return model_of(checkpoint, self)

    @contextmanager
    def _folders_explained(self, checkpoint: str) -> Iterator[None]:
        try:
            yield
        except FolderError as error:
            raise CheckpointError(_about_folder(error, checkpoint, has_builder=self.builder is not None)) from error

    def inputs(self, checkpoint: str | None) -> dict[str, Any]:
        """Return every file that opening the checkpoint reads, by option, a vocabulary beside it included."""
        code = (self.builder or "").rpartition(":")[0]
        found: dict[str, Any] = {
            "--builder": code if code.endswith((".py", ".ipynb")) else None,
            "--vocab": self.vocabulary,
            "--vocab-from": self.vocabulary_from,
            "--weight-map": self.weight_map,
        }
        if checkpoint is not None:
            from rnneval.records.paths import named_checkpoint
            from rnneval.text import siblings

            found["CHECKPOINT"] = [each.path for each in named_checkpoint("CHECKPOINT", checkpoint)]
            if not (self.vocabulary or self.vocabulary_from):
                found["the vocabulary"] = siblings(checkpoint)
        return found

    def open_to_read(self, checkpoint: str, *, kernel: str, keras: str = "") -> "LanguageModel":
        """Open the checkpoint to read a text with any backend."""
        from rnneval.evaluate.opening import with_automatic_backend

        return replace(self, backend=with_automatic_backend(self, kernel=kernel, keras=keras).backend).open(checkpoint)


def _about_folder(error: FolderError, checkpoint: str, *, has_builder: bool) -> str:
    """Return the message about a folder of checkpoints, with the user's own command for the newest and for all."""
    command = command_line()
    if checkpoint not in command[2:]:
        return str(error)
    at = command.index(checkpoint, 2)
    one = shlex.join([*command[:at], error.newest, *command[at + 1 :]])
    every = f"; for all: {shlex.join(_as_sweep(command))}" if error.every and command[1] == "evaluate" else ""
    return f"{error.seen}: to take it: {one}{every}{'' if has_builder else error.needs}"


def _as_sweep(command: Sequence[str]) -> list[str]:
    """Return the command that evaluates all checkpoints of a folder with the options of a command for one."""
    ours, theirs = _options_of("evaluate"), _options_of("sweep")
    left_out = {name: option for name, option in ours.items() if name in _OF_ONE or name not in theirs}
    kept, words = ["rnneval", "sweep"], iter(command[2:])
    for word in words:
        name, given, _ = word.partition("=")
        if name not in left_out:
            kept.append(word)
        elif not given and not left_out[name].is_flag:
            next(words, None)
    return [*kept, "--out", "results"]


def _options_of(command: str) -> dict[str, click.Option]:
    """Return the options of a command by each of their names."""
    options = [each for each in module(commands.__name__, command).command.params if isinstance(each, click.Option)]
    return {name: option for option in options for name in (*option.opts, *option.secondary_opts)}


def with_options(command: Sequence[str], options: Sequence[str]) -> list[str]:
    """Return a command with another value of an option such as --builder-arg vocab_size=66."""
    flag, value = options
    start = value.partition("=")[0] + "="
    kept: list[str] = []
    for word in command:
        if word.startswith((f"{flag}={start}", start)) and (word.startswith(flag) or kept[-1:] == [flag]):
            kept = kept[:-1] if kept[-1:] == [flag] else kept
        else:
            kept.append(word)
    return [*kept, *options]
