"""What a text holds, each once and sorted: the vocabulary of the tutorials."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from rnneval.text.options import TextOptions
from rnneval.text.pieces import Piece, final_text, whole_words
from rnneval.text.sources import Paths, Sources
from rnneval.text.units import letters

_POINTS = 0x110000


@dataclass(frozen=True, kw_only=True)
class Distinct:
    """The tokens of a text."""

    kind: str
    tokens: tuple[str, ...]
    name: str
    """What to call the text."""


def distinct(paths: Paths, options: TextOptions | None = None) -> Distinct:
    """Read a text once and give its distinct characters (words, bytes), sorted.

    Raises:
        TextError: a file cannot be read as UTF-8 text, or there is nothing in it.
    """
    options = replace(options or TextOptions(), documents="one")
    sources = Sources(paths)
    kind = options.tokens or "char"
    pieces = final_text(sources, options)
    tokens = _words(pieces) if kind == "word" else _units(pieces, as_bytes=kind == "byte")
    return Distinct(kind=kind, tokens=tokens, name=sources.name)


def _units(pieces: Iterable[Piece], *, as_bytes: bool) -> tuple[str, ...]:
    seen = np.zeros(_POINTS, bool)
    for piece in pieces:
        looked_at = letters(piece.text)
        seen[np.frombuffer(looked_at.utf8, np.uint8) if as_bytes else looked_at.points] = True
    return tuple(map(chr, np.flatnonzero(seen).tolist()))


def _words(pieces: Iterable[Piece]) -> tuple[str, ...]:
    seen: set[str] = set()
    for piece in whole_words(pieces):
        seen.update(piece.text.split())
    return tuple(sorted(seen))
