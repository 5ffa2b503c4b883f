"""The final text in pieces: files joined, a part of them taken, rewritten, divided into documents.

`TextOptions` say which part of the files is the text, and in what form.

Newlines and normalisation are rewritten as text arrives in chunks; the result equals that of the whole text at once. A
rewriter holds back what the next chunk can still change: a CR that may be half of a CRLF, a letter that may get an
accent, a Greek sigma that may be the last of its word.
"""

import io
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, partial

from rnneval.errors import TextError, UsageError
from rnneval.option import values_of
from rnneval.options import TextGroup
from rnneval.text.sources import Characters, Part, Place, Sources

_LIMIT = 1 << 20
"""Characters kept back at most; real text has a place to cut within a few."""
_LONGEST_WORD = 1 << 20
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


class Rewriter:
    """A rewriting of strings that may be cut before every character for which `is_cut` holds."""

    def __init__(self, rewrite: Callable[[str], str], is_cut: Callable[[str], bool]) -> None:
        self._rewrite, self._is_cut = rewrite, is_cut
        self._kept = ""

    def decode(self, text: str, final: bool = False) -> str:
        """Take the next characters, and return what is settled: all of it at the end of a document, to start anew."""
        text = self._kept + text
        cut = next((place for place in range(len(text) - 1, 0, -1) if self._is_cut(text[place])), 0)
        kept = text[cut:]
        if len(kept) > _LIMIT:
            raise TextError(
                f"{len(kept):,} characters in a row that may not be parted (combining marks or cased letters), "
                f"at most {_LIMIT:,} are allowed with --normalize: is this text? use --normalize none"
            )
        self._kept = "" if final else kept
        return self._rewrite(text[:cut]) + (self._rewrite(kept) if final else "")


_Chain = list[io.IncrementalNewlineDecoder | Rewriter]


def rewriters(normalize: str, newlines: str) -> _Chain:
    """Return the rewriters that the options ask for, in order; Python's own makes LF of CRLF and lone CR."""
    chain: _Chain = [io.IncrementalNewlineDecoder(None, translate=True)] if newlines == "lf" else []
    if normalize == "lower":
        chain.append(Rewriter(str.lower, _parts_words))
    if normalize == "nfc":
        chain.append(Rewriter(partial(unicodedata.normalize, "NFC"), _begins_composition))
    return chain


@cache
def _parts_words(character: str) -> bool:
    """Return whether lower case on one side never depends on the other: neither cased nor ignored between cased ones.

    Only Σ depends on its neighbours (ς at the end of a word), so `str.lower` of Σ shows whether it sees past this one.
    """
    return f"aΣ{character}a".lower()[1] == "ς"


@cache
def _begins_composition(character: str) -> bool:
    """Return whether NFC never joins or reorders this character with what stands before it (UAX 15, section 9)."""
    if character.isascii():
        return True
    first = unicodedata.normalize("NFD", character)[0]
    return unicodedata.combining(first) == 0 and first not in _second_halves()


@cache
def _second_halves() -> frozenset[str]:
    """Return all characters that compose with one before them: of canonical pairs, and Hangul vowels and finals."""
    hangul = {chr(point) for point in (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))}
    decompositions = (unicodedata.decomposition(chr(point)) for point in range(0xA0, 0x30000))  # none lie beyond
    pairs = (halves.split() for halves in decompositions if " " in halves and not halves.startswith("<"))
    return frozenset(hangul | {chr(int(second, 16)) for _, second in pairs})


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Some characters of the final text, at least one."""

    text: str
    starts: tuple[int, ...] = ()
    """Characters at which a document starts; but for the first character, each follows white space."""


def final_text(sources: Sources, options: TextOptions) -> Iterator[Piece]:
    """Yield the final text, about a megabyte at a time; an empty document leaves no trace."""
    part = options.sliced
    runs = sources.read() if part is None else _slice(sources, part)
    chain = rewriters(options.normalize, options.newlines)
    pieces = _rewritten(runs, chain, apart=options.documents == "file")
    if options.documents == "blank-line":
        pieces = _at_blank_lines(pieces)
    empty = True
    for piece in pieces:
        empty = False
        yield piece
    if empty and (part is None or not sources.count()):
        raise TextError(f"{sources.name}: the text is empty, at least 2 tokens are needed")
    if empty:
        raise TextError(
            f"{sources.name}: {options.part_option} {options.part} of {sources.count():,} characters is empty: "
            "give a part that holds at least 2 tokens"
        )


def whole_words(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Cut the text anew so that no piece ends within a word, unless its document does."""
    kept = Piece(text="")
    for piece in pieces:
        if kept.text and piece.starts[:1] == (0,):
            yield kept
            kept = piece
        else:
            moved = (start + len(kept.text) for start in piece.starts)
            kept = Piece(text=kept.text + piece.text, starts=(*kept.starts, *moved))
        text = kept.text
        cut = next((place for place in range(len(text) - 1, 0, -1) if text[place].isspace()), 0)
        if len(text) - cut > _LONGEST_WORD:
            raise TextError(
                f"a word of more than {_LONGEST_WORD:,} characters, beginning {text[cut : cut + 30]!r}: words are "
                "parted by white space: split the text into words first, or use a model of characters or bytes"
            )
        if cut:
            yield Piece(text=text[:cut], starts=tuple(start for start in kept.starts if start < cut))
            kept = Piece(text=text[cut:], starts=tuple(start - cut for start in kept.starts if start >= cut))
    if kept.text:
        yield kept


def _slice(sources: Sources, part: Part) -> Iterator[Characters]:
    """Yield the part, but read all files to their ends, for their hashes and errors."""
    counted = sources.count()
    wanted, place = part.resolve(counted), 0
    for run in sources.read():
        start, stop = max(wanted.start - place, 0), max(wanted.stop - place, 0)
        if start:
            sources.skipped = Place.after_text(run.text[:start]).after(sources.skipped)
        place += len(run.text)
        if text := run.text[start:stop]:
            yield Characters(text=text, file=run.file)
    if place != counted:
        raise TextError(f"{sources.name}: changed while it was read: {counted:,} characters, then {place:,}")


def _rewritten(runs: Iterable[Characters], chain: _Chain, *, apart: bool) -> Iterator[Piece]:
    """Rewrite each document by itself; with `apart` every file is a document."""

    def settled(text: str, final: bool = False) -> str:
        for rewriter in chain:
            text = rewriter.decode(text, final)
        return text

    file = None
    starts: tuple[int, ...] = (0,)
    for run in runs:
        if apart and run.file != file:
            if text := settled("", final=True):
                yield Piece(text=text, starts=starts)
            file, starts = run.file, (0,)
        if text := settled(run.text):
            yield Piece(text=text, starts=starts)
            starts = ()
    if text := settled("", final=True):
        yield Piece(text=text, starts=starts)


def _at_blank_lines(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Start a document at every line with text that follows blank lines; those before all text belong to the first.

    White space at the end of a piece is held back: only the text after it shows whether a document ends in it.
    """
    kept = ""
    starts: tuple[int, ...] = (0,)
    first_text = None
    for piece in pieces:
        text = kept + piece.text
        whole = text.rstrip()
        kept = text[len(whole) :]
        if whole:
            first_text = len(whole) - len(whole.lstrip()) if first_text is None else 0
            blanks = (blank for blank in _BLANK_LINES.finditer(whole) if blank.start() >= first_text)
            yield Piece(text=whole, starts=(*starts, *(blank.end() for blank in blanks)))
            starts = ()
    if kept:
        yield Piece(text=kept, starts=starts)
