"""Options of every command that opens a checkpoint, and what it does with them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from rnneval.cli.output import command_line
from rnneval.cli.terminal import chatter_held, progress_bar
from rnneval.options import DiagnosticOptions, EvaluateOptions, OpenOptions, TextGroup

if TYPE_CHECKING:
    from rnneval.models.protocol import LanguageModel

T = TypeVar("T", EvaluateOptions, DiagnosticOptions)
_FROM_VOCABULARY = ("vocab_size", "vocabulary")
_MOST_ENCODED_TWICE = 2 << 20
"""Bytes of text that are encoded in a fraction of a second."""


@dataclass(frozen=True, kw_only=True)
class CheckpointOptions(OpenOptions):
    """Options with which a checkpoint is opened."""

    @contextmanager
    def reading(self, checkpoint: str, text: Sequence[str], options: T, doing: str, *, quiet: bool) -> Iterator[T]:
        """Let the block read a text with options that show progress, after all that can be refused before.

        Messages of C++ libraries are held back meanwhile.
        """
        with chatter_held(), progress_bar(doing, quiet=quiet) as progress:
            self.preflight(checkpoint)
            self.preflight_text(text, options)
            yield replace(options, progress=progress, command=command_line())

    def preflight(self, checkpoint: str) -> None:
        """Refuse what can be refused before TensorFlow is imported."""
        from rnneval.checkpoints import preflight
        from rnneval.checkpoints.places import FULL_MODELS
        from rnneval.checkpoints.usercode import reads_checkpoint
        from rnneval.text import siblings

        if self.builder is not None and reads_checkpoint(self.builder):
            self.preflight_builder(offered=("checkpoint",))
            return
        found = preflight(checkpoint, has_builder=self.builder is not None, expect_sha256=self.expect_sha256)
        beside = found.format == "saved-model" or siblings(checkpoint)
        self.preflight_builder(everything=found.format in FULL_MODELS, offered=_FROM_VOCABULARY if beside else ())

    def preflight_builder(
        self, spec: str | None = None, *, everything: bool = False, offered: Sequence[str] = ()
    ) -> None:
        """Refuse a builder, `spec` or that of --builder, which needs what may not be run or is not given."""
        from rnneval.checkpoints.usercode import builder_of

        builder = builder_of(self, spec)
        if builder is not None:
            if self.vocabulary or self.vocabulary_from:
                offered = (*offered, *_FROM_VOCABULARY)
            builder.preflight(everything=everything, offered=offered)

    def preflight_text(self, text: Sequence[str], options: TextGroup) -> None:
        """Refuse a text that a given vocabulary does not fit, before TensorFlow is imported; a long one later."""
        from rnneval.records.paths import named
        from rnneval.text import TextOptions, encode, given_vocabulary

        read = [Path(each.path) for each in named("", text, self.vocabulary_from)]  # here, and once more later
        sizes = [path.stat().st_size for path in read if path.is_file()]
        if options.unknown != "error" or len(sizes) < len(read) or sum(sizes) > _MOST_ENCODED_TWICE:
            return
        given = given_vocabulary(self.vocabulary, self.vocabulary_from)
        if given is not None:
            encode(text, given, TextOptions.of(options)).close()

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
        from rnneval.evaluate.opening import open as open_checkpoint
        from rnneval.evaluate.opening import with_automatic_backend

        options = with_automatic_backend(self, kernel=kernel, keras=keras)
        return cast("LanguageModel", open_checkpoint(checkpoint, **vars(options)))
