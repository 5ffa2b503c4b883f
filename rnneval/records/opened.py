"""The opened record: what `rnneval open` recognised of a checkpoint. Schema `rnneval.opened/1`."""

from typing import Annotated

import msgspec

from rnneval.records._base import Stored, quoted
from rnneval.records.run import (
    Checkpoint,
    InputRecord,
    OutputRecord,
    VocabularyRecord,
    Warning,  # noqa: A004 - the record's own word
)


class Opened(Stored, frozen=True, kw_only=True, tag_field="schema", tag="rnneval.opened/1"):
    """A checkpoint that could be opened, and all assumptions about it."""

    checkpoint: Checkpoint
    input: InputRecord
    output: OutputRecord
    width: Annotated[int, msgspec.Meta(ge=1)]
    """V, the number of logits."""
    vocabulary: VocabularyRecord | None = None
    why_no_vocabulary: str | None = None
    """Places that were searched in vain, and what to give."""
    assumptions: tuple[str, ...]
    warnings: tuple[Warning, ...] | None = None

    @property
    def title(self) -> str:
        """The path of the model, or words for one that was given in Python."""
        return self.checkpoint.title

    def _in_one_line(self) -> str:
        """Return the file, its format, and the size of model and vocabulary."""
        found = self.checkpoint
        tokens = "no vocabulary" if self.vocabulary is None else f"{self.vocabulary.size:,} tokens"
        return f"{quoted([self.title])}: {found.format}, {found.parameters:,} parameters, {tokens}"
