"""Options of every command that opens a checkpoint, and what such a command does with them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rnneval.cli.options import add_options
from rnneval.options import OpenOptions

if TYPE_CHECKING:
    from rnneval.models import RecurrentLM
    from rnneval.records.paths import Named


@dataclass(frozen=True, kw_only=True)
class CheckpointOptions(OpenOptions):
    """Options with which a checkpoint is opened."""

    def preflight(self, checkpoint: str) -> None:
        """Refuse what can be refused before TensorFlow is imported."""
        from rnneval.files import preflight

        preflight(checkpoint, has_builder=self.builder is not None, expect_sha256=self.expect_sha256)
        from rnneval import models  # noqa: F401 - its message names a missing TensorFlow in one line

    def inputs(self, checkpoint: str | None) -> "list[Named]":
        """Return every file that opening the checkpoint reads, a vocabulary beside it included."""
        from rnneval.records.paths import named, named_checkpoint

        code = (self.builder or "").rpartition(":")[0]
        found = [
            *named("--builder", code if code.endswith(".py") else None),
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

    def open(self, checkpoint: str) -> "RecurrentLM":
        """Open the checkpoint for evaluation; see `rnneval.open`."""
        from rnneval.models import open as open_checkpoint

        return open_checkpoint(checkpoint, **vars(self))

    def load_model(self, checkpoint: str) -> Any:
        """Load the model alone, even one that cannot be evaluated."""
        from rnneval.models.opening import load_model

        return load_model(checkpoint, **vars(self))


checkpoint_options = add_options(OpenOptions, "opening", make=CheckpointOptions)
