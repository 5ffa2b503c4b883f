"""Options of every command that opens a checkpoint, and what it does with them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from rnneval.cli.output import command_line
from rnneval.cli.terminal import chatter_held, progress_bar
from rnneval.errors import VocabularyError
from rnneval.options import DiagnosticOptions, EvaluateOptions, OpenOptions

if TYPE_CHECKING:
    from rnneval.models.protocol import LanguageModel

T = TypeVar("T", EvaluateOptions, DiagnosticOptions)


@dataclass(frozen=True, kw_only=True)
class CheckpointOptions(OpenOptions):
    """Options with which a checkpoint is opened."""

    @contextmanager
    def reading(self, options: T, doing: str, *, quiet: bool) -> Iterator[T]:
        """Let the block read a text with options that show progress; messages of C++ libraries are held back."""
        with chatter_held(), progress_bar(doing, quiet=quiet) as progress:
            yield replace(options, progress=progress, command=command_line())

    def open(self, checkpoint: str) -> "LanguageModel":
        """Open the checkpoint with the backend that is asked for."""
        from rnneval.evaluate.opening import open as open_checkpoint

        return cast("LanguageModel", open_checkpoint(checkpoint, **vars(self)))

    def model(self, checkpoint: str) -> Any:
        """Return the model of the checkpoint as its author made it."""
        from rnneval.evaluate.opening import model_of

        return model_of(checkpoint, self)

    def inputs(self, checkpoint: str | None) -> dict[str, Any]:
        """Return every file that opening the checkpoint reads, by option, a vocabulary beside it included."""
        code = str(self.builder or "").rpartition(":")[0]
        found: dict[str, Any] = {
            "--builder": code if code.endswith((".py", ".ipynb")) else None,
            "--vocab": self.vocabulary,
            "--vocab-from": self.vocabulary_from,
            "--weight-map": self.weight_map,
        }
        if checkpoint is not None:
            from rnneval.paths import checkpoint_files
            from rnneval.text import siblings

            found["CHECKPOINT"] = checkpoint_files(checkpoint)
            if not (self.vocabulary or self.vocabulary_from):
                found["the vocabulary"] = siblings(checkpoint)
        return found

    def open_to_read(self, checkpoint: str, *, keras: str = "") -> "LanguageModel":
        """Open the checkpoint to read a text with any backend; a folder without a vocabulary is refused at once."""
        from rnneval.evaluate.opening import with_automatic_backend

        if not (self.builder or self.vocabulary or self.vocabulary_from) and Path(checkpoint).is_dir():
            from rnneval.checkpoints.pretrained import TOKENIZER, no_tokenizer, pretrained

            folder = pretrained(Path(checkpoint))
            if folder is not None and not (folder.path / TOKENIZER).is_file():
                raise VocabularyError(no_tokenizer(folder.path))
        return replace(self, backend=with_automatic_backend(self, keras=keras).backend).open(checkpoint)
