"""Options of every command that opens a checkpoint, and what such a command does with them."""

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rnneval.cli.options import add_options, command_line
from rnneval.errors import CheckpointError, WeightShapeError
from rnneval.options import OpenOptions

if TYPE_CHECKING:
    from rnneval.backends.protocol import LanguageModel
    from rnneval.records.paths import Named


@dataclass(frozen=True, kw_only=True)
class CheckpointOptions(OpenOptions):
    """Options with which a checkpoint is opened."""

    def preflight(self, checkpoint: str) -> None:
        """Refuse what can be refused before TensorFlow is imported."""
        from rnneval.files import preflight
        from rnneval.files.artefact import FULL_MODELS
        from rnneval.usercode import reads_checkpoint

        if self.builder is not None and reads_checkpoint(self.builder):
            self.preflight_builder()
            return
        found = preflight(checkpoint, has_builder=self.builder is not None, expect_sha256=self.expect_sha256)
        self.preflight_builder(everything=found.format in FULL_MODELS)

    def preflight_builder(self, spec: str | None = None, *, everything: bool = False) -> None:
        """Refuse a builder, `spec` or that of --builder, which needs statements that may not be run."""
        from rnneval.usercode import builder_of

        builder = builder_of(self, spec)
        if builder is not None:
            builder.preflight(everything=everything)

    def inputs(self, checkpoint: str | None) -> "list[Named]":
        """Return every file that opening the checkpoint reads, a vocabulary beside it included."""
        from rnneval.records.paths import named, named_checkpoint

        code = (self.builder or "").rpartition(":")[0]
        found = [
            *named("--builder", code if code.endswith((".py", ".ipynb")) else None),
            *named("--vocab", self.vocabulary),
            *named("--vocab-from", self.vocabulary_from),
            *named("--weight-map", self.weight_map),
        ]
        if checkpoint is not None:
            from rnneval.text import siblings

            found += named_checkpoint("CHECKPOINT", checkpoint)
            has_vocabulary = self.vocabulary or self.vocabulary_from
            found += [] if has_vocabulary else named("the vocabulary", siblings(checkpoint))
        return found

    def open(self, checkpoint: str) -> Any:
        """Open the checkpoint with Keras, or with the backend that is asked for; see `rnneval.open`."""
        from rnneval.engine.opening import open as open_checkpoint

        with _whole_command_proposed():
            return open_checkpoint(checkpoint, **vars(self))

    def open_to_read(self, checkpoint: str, *, kernel: str, keras: str = "") -> "LanguageModel":
        """Open the checkpoint to read a text with any backend; see `rnneval.engine.opening.with_automatic_backend`."""
        from rnneval.engine.opening import open as open_checkpoint
        from rnneval.engine.opening import with_automatic_backend

        options = with_automatic_backend(self, kernel=kernel, keras=keras)
        with _whole_command_proposed():
            model: LanguageModel = open_checkpoint(checkpoint, **vars(options))
            return model

    def load_model(self, checkpoint: str) -> Any:
        """Load the model alone, even one that cannot be evaluated."""
        from rnneval.models.opening import load_model

        with _whole_command_proposed():
            return load_model(checkpoint, **vars(self))


@contextmanager
def _whole_command_proposed() -> Iterator[None]:
    """Add the whole command to an error that knows the options with which every weight fits."""
    try:
        yield
    except WeightShapeError as error:
        if not error.options:
            raise
        raise CheckpointError(f"{error}: {shlex.join(_with_options(command_line(), error.options))}") from error


def _with_options(command: Sequence[str], options: Sequence[str]) -> list[str]:
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


checkpoint_options = add_options(OpenOptions, "opening", make=CheckpointOptions)
