"""The final text in pieces: files joined, a part of them taken, rewritten, parted into documents."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rnneval.errors import TextError
from rnneval.text.options import TextOptions
from rnneval.text.part import Part
from rnneval.text.rewriting import LineFeeds, Rewriter, rewriters
from rnneval.text.sources import Characters, Sources

_LONGEST_WORD = 1 << 20
_BLANK_LINES = re.compile(r"\n\s*\n")
"""From the end of a line that has text to the end of the last blank line after it: `\\s` is what `str.isspace` is."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Some characters of the final text, at least one."""

    text: str
    starts: tuple[int, ...] = ()
    """Characters at which a document starts; but for the first character, each follows white space."""


def final_text(sources: Sources, options: TextOptions) -> Iterator[Piece]:
    """Give the final text, about a megabyte at a time; an empty document leaves no trace.

    Raises:
        TextError: a file cannot be read as UTF-8, or no character is left.
    """
    parts = sources.read() if options.part is None else _slice(sources, Part.parse(options.part))
    apart = options.documents == "file"
    pieces = _rewritten(parts, rewriters(options.normalize, options.newlines), apart=apart)
    if options.documents == "blank-line":
        pieces = _at_blank_lines(pieces)
    empty = True
    for piece in pieces:
        empty = False
        yield piece
    if empty:
        raise TextError(_about_nothing(sources, options))


def whole_words(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Cut the same text so that no piece ends within a word, unless its document does.

    Raises:
        TextError: more than a million characters without white space.
    """
    kept = Piece(text="")
    for piece in pieces:
        if kept.text and piece.starts[:1] == (0,):
            yield kept
            kept = piece
        else:
            moved = (start + len(kept.text) for start in piece.starts)
            kept = Piece(text=kept.text + piece.text, starts=(*kept.starts, *moved))
        cut = _last_space(kept.text)
        if cut:
            yield Piece(text=kept.text[:cut], starts=tuple(start for start in kept.starts if start < cut))
            kept = Piece(text=kept.text[cut:], starts=tuple(start - cut for start in kept.starts if start >= cut))
    if kept.text:
        yield kept


def _last_space(text: str) -> int:
    """Give where the last white space is, 0 if nowhere."""
    cut = next((place for place in range(len(text) - 1, 0, -1) if text[place].isspace()), 0)
    if len(text) - cut > _LONGEST_WORD:
        raise TextError(
            f"a word of more than {_LONGEST_WORD:,} characters, beginning {text[cut : cut + 30]!r}: words are "
            "parted by white space: split the text into words first, or use a model of characters or bytes"
        )
    return cut


def _slice(sources: Sources, part: Part) -> Iterator[Characters]:
    """Take the part, but read all files to their ends, for their hashes and their errors."""
    counted = sources.count()
    wanted, place = part.resolve(counted), 0
    for run in sources.read():
        start, stop = max(wanted.start - place, 0), max(wanted.stop - place, 0)
        place += len(run.text)
        if text := run.text[start:stop]:
            yield Characters(text=text, file=run.file)
    if place != counted:
        raise TextError(f"{sources.name}: changed while it was read: {counted:,} characters, then {place:,}")


def _rewritten(runs: Iterable[Characters], chain: list[LineFeeds | Rewriter], *, apart: bool) -> Iterator[Piece]:
    """Rewrite, each document by itself; with `apart` every file is one."""
    file = None
    starts: tuple[int, ...] = (0,)
    for run in runs:
        if apart and run.file != file:
            if text := _finish(chain):
                yield Piece(text=text, starts=starts)
            file, starts = run.file, (0,)
        text = run.text
        for rewriter in chain:
            text = rewriter.feed(text)
        if text:
            yield Piece(text=text, starts=starts)
            starts = ()
    if text := _finish(chain):
        yield Piece(text=text, starts=starts)


def _finish(chain: list[LineFeeds | Rewriter]) -> str:
    """Give what every rewriter still keeps, each rest rewritten by those after it."""
    text = ""
    for rewriter in chain:
        text = rewriter.feed(text) + rewriter.finish()
    return text


def _at_blank_lines(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Start a document at every line with text that follows blank lines; those before all text belong to the first.

    White space at the end of a piece is kept back: only what comes after tells whether a document ends in it.
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


def _about_nothing(sources: Sources, options: TextOptions) -> str:
    if options.part is None or not sources.count():
        return f"{sources.name}: the text is empty, at least 2 tokens are needed"
    return (
        f"{sources.name}: {options.part_option} {options.part} of {sources.count():,} characters is empty: "
        "give a part that holds at least 2 tokens"
    )
