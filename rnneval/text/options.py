"""What a user may say about a text: which part of it, in what form, split into what tokens."""

from dataclasses import dataclass

from rnneval.errors import UsageError
from rnneval.text.sources import Part

_ALLOWED = {
    "normalize": ("none", "lower", "nfc"),
    "newlines": ("keep", "lf"),
    "documents": ("one", "file", "blank-line"),
    "tokens": ("char", "byte", "word", "subword"),
}


@dataclass(frozen=True, kw_only=True)
class TextOptions:
    """How files become a final text and its tokens, in the words of the command line.

    Raises:
        UsageError: a value that is not one of those allowed.

    >>> TextOptions(part="90%:").signature_part("char")
    'tok:char|norm:none|newlines:keep|unk:error|docs:one'
    """

    part: str | None = None
    """Python's slice rules on characters, or per cents rounded down: `90%:`, `:1000`, `-10%:`."""
    part_option: str = "--part"
    """The option that gave `part`, for messages."""
    normalize: str = "none"
    """`none`, `lower` (`str.lower`) or `nfc` (Unicode normalisation form C)."""
    newlines: str = "keep"
    """`keep`, or `lf`: CRLF and a lone CR become one line feed."""
    documents: str = "one"
    """Where the state is reset: `one` (never), `file` (at each file), `blank-line` (after each run of blank lines)."""
    unknown: str = "error"
    """`error`, `skip`, or the token of the vocabulary that stands for what it lacks."""
    tokens: str | None = None
    """`char`, `byte`, `word` or `subword`; None: told by the vocabulary."""

    def __post_init__(self) -> None:
        for name, allowed in _ALLOWED.items():
            value = getattr(self, name)
            if value not in allowed and not (name == "tokens" and value is None):
                raise UsageError(f"--{name} {value!r} is not known: give one of {', '.join(allowed)}")
        _ = self.sliced
        if not self.unknown:
            raise UsageError("--unknown is empty: give error, skip, or a token of the vocabulary such as '<unk>'")

    @property
    def sliced(self) -> Part | None:
        """The part as a slice; None for the whole text."""
        return None if self.part is None else Part.parse(self.part, self.part_option)

    def signature_part(self, token_kind: str) -> str:
        """Give what two numbers must share, as far as the text is concerned; `token_kind` such as `word+eos`."""
        unknown = self.unknown.replace("|", "%7C")  # the bar parts the fields of a signature
        return f"tok:{token_kind}|norm:{self.normalize}|newlines:{self.newlines}|unk:{unknown}|docs:{self.documents}"
