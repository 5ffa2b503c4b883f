"""Options that say which part of a text is read, in what form, and into which tokens it is split."""

from dataclasses import dataclass

from rnneval.errors import UsageError
from rnneval.options import TextGroup, values_of
from rnneval.text.sources import Part


@dataclass(frozen=True, kw_only=True)
class TextOptions(TextGroup):
    """Options by which files become a final text and its tokens: those of a text of `rnneval.evaluate`.

    Raises:
        UsageError: a value that is not one of those allowed.

    >>> TextOptions(part="90%:").signature_part("char")
    'tok:char|norm:none|newlines:keep|unk:error|docs:one'
    """

    part_option: str = "--part"
    """The option that gave `part`, for messages."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.sliced
        if not self.unknown:
            raise UsageError("--unknown is empty: give error, skip, or a token of the vocabulary such as '<unk>'")

    @classmethod
    def of(cls, options: TextGroup) -> "TextOptions":
        """Take the options of a text from those of a function that reads one."""
        return cls(**values_of(TextGroup, options))

    @property
    def sliced(self) -> Part | None:
        """The part as a slice; None for the whole text."""
        return None if self.part is None else Part.parse(self.part, self.part_option)

    def signature_part(self, token_kind: str) -> str:
        """Return the fields of the signature that tell about the text; `token_kind` is such as `word+eos`."""
        unknown = self.unknown.replace("|", "%7C")  # the bar separates the fields of a signature
        return f"tok:{token_kind}|norm:{self.normalize}|newlines:{self.newlines}|unk:{unknown}|docs:{self.documents}"
