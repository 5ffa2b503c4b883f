"""The final text: files joined, a part of them taken, rewritten, divided into documents.

`TextOptions` say which part of the files is the text, and in what form.
"""

import re
import unicodedata
from dataclasses import dataclass
from itertools import pairwise

from rnneval.errors import TextError, UsageError
from rnneval.option import values_of
from rnneval.options import TextGroup
from rnneval.text.sources import Part, Sources

_BLANK_LINES = re.compile(r"\n\s*\n")
"""From the end of a line that has text to the end of the last blank line after it: `\\s` is what `str.isspace` is."""


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


def final_text(sources: Sources, options: TextOptions) -> list[str]:
    """Return the documents of the final text, none empty.

    Raises:
        TextError: a file cannot be read as UTF-8 text, or nothing is left of it.
    """
    taken = zip(list(sources.read()), sources.taken(options.sliced), strict=True)
    texts = [text[file.characters.start : file.characters.stop] for text, file in taken]
    if options.documents != "file":
        texts = ["".join(texts)]
    documents = [_rewritten(text, options) for text in texts]
    if options.documents == "blank-line":
        documents = [document for text in documents for document in _at_blank_lines(text)]
    documents = [document for document in documents if document]
    characters = sum(map(len, sources.texts))
    if not documents and not characters:
        raise TextError(f"{sources.name}: the text is empty, at least 2 tokens are needed")
    if not documents:
        raise TextError(
            f"{sources.name}: {options.part_option} {options.part} of {characters:,} characters is empty: "
            "give a part that holds at least 2 tokens"
        )
    return documents


def _rewritten(text: str, options: TextOptions) -> str:
    if options.newlines == "lf":
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if options.normalize == "lower":
        return text.lower()
    return unicodedata.normalize("NFC", text) if options.normalize == "nfc" else text


def _at_blank_lines(text: str) -> list[str]:
    """Start a document at every line with text that follows blank lines; those before all text belong to the first."""
    whole = text.rstrip()
    first_text = len(whole) - len(whole.lstrip())
    starts = (blank.end() for blank in _BLANK_LINES.finditer(whole) if blank.start() >= first_text)
    return [text[start:stop] for start, stop in pairwise([0, *starts, len(text)])]
