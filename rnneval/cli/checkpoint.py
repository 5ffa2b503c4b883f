"""Steps that the commands share which read a text with a checkpoint."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from rnneval.cli.output import chatter_held, command_line, progress_bar
from rnneval.errors import VocabularyError
from rnneval.options import DiagnosticOptions, EvaluateOptions, OpenOptions

if TYPE_CHECKING:
    from rnneval.models.protocol import LanguageModel

T = TypeVar("T", EvaluateOptions, DiagnosticOptions)


@contextmanager
def reading(options: T, doing: str, *, quiet: bool) -> Iterator[T]:
    """Let the block read a text with options that show progress; messages of C++ libraries are held back."""
    with chatter_held(), progress_bar(doing, quiet=quiet) as progress:
        yield replace(options, progress=progress, command=command_line())


def opened(checkpoint: str, opening: OpenOptions) -> "LanguageModel":
    """Open a checkpoint with the backend that is asked for."""
    from rnneval.evaluate.opening import open as open_checkpoint

    return cast("LanguageModel", open_checkpoint(checkpoint, **vars(opening)))


def opened_by_any(checkpoint: str, opening: OpenOptions, *, keras: str = "") -> "LanguageModel":
    """Open a checkpoint with any backend, unless `keras` needs Keras; refuse a folder without a vocabulary at once."""
    from rnneval.evaluate.opening import with_automatic_backend

    if not (opening.builder or opening.vocabulary or opening.vocabulary_from) and Path(checkpoint).is_dir():
        from rnneval.checkpoints.pretrained import TOKENIZER, no_tokenizer, pretrained

        folder = pretrained(Path(checkpoint))
        if folder is not None and not (folder.path / TOKENIZER).is_file():
            raise VocabularyError(no_tokenizer(folder.path))
    return opened(checkpoint, replace(opening, backend=with_automatic_backend(opening, keras=keras).backend))
