"""Newlines and normalisation of a text that arrives in chunks, equal to rewriting the whole at once.

A rewriter keeps back what the next chunk could still change: a CR that may be half of a CRLF, a letter that may get
an accent, a Greek sigma that may be the last of its word.
"""

import unicodedata
from collections.abc import Callable
from functools import cache

from rnneval.errors import TextError

_LIMIT = 1 << 20
"""Characters kept back at most; real text has a place to cut within a few."""


class LineFeeds:
    """CRLF and lone CR → LF."""

    def __init__(self) -> None:
        self._kept = ""

    def feed(self, text: str) -> str:
        """Take the next characters, give what is settled."""
        text = self._kept + text
        self._kept = "\r" if text.endswith("\r") else ""
        return _line_feeds(text[: len(text) - len(self._kept)])

    def finish(self) -> str:
        """Give the rest at the end of a document, and be as new."""
        kept, self._kept = self._kept, ""
        return _line_feeds(kept)


class Rewriter:
    """A rewriting of strings that may be cut before every character for which `is_cut` holds."""

    def __init__(self, rewrite: Callable[[str], str], is_cut: Callable[[str], bool]) -> None:
        self._rewrite = rewrite
        self._is_cut = is_cut
        self._kept = ""

    def feed(self, text: str) -> str:
        """Take the next characters, give what is settled.

        Raises:
            TextError: more than a million characters without a place to cut.
        """
        text = self._kept + text
        cut = next((place for place in range(len(text) - 1, 0, -1) if self._is_cut(text[place])), 0)
        self._kept = text[cut:]
        if len(self._kept) > _LIMIT:
            raise TextError(
                f"{len(self._kept):,} characters in a row that may not be parted (combining marks or cased letters), "
                f"at most {_LIMIT:,} are allowed with --normalize: is this text? use --normalize none"
            )
        return self._rewrite(text[:cut])

    def finish(self) -> str:
        """Give the rest at the end of a document, and be as new."""
        kept, self._kept = self._kept, ""
        return self._rewrite(kept)


def rewriters(normalize: str, newlines: str) -> list[LineFeeds | Rewriter]:
    """Give what the options ask for, in the order in which it is done."""
    chain: list[LineFeeds | Rewriter] = [LineFeeds()] if newlines == "lf" else []
    if normalize == "lower":
        chain.append(Rewriter(str.lower, _parts_words))
    if normalize == "nfc":
        chain.append(Rewriter(_nfc, _begins_composition))
    return chain


def _line_feeds(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


@cache
def _parts_words(character: str) -> bool:
    """Tell whether lower case on one side never depends on the other: neither cased nor ignored between cased ones.

    Only Σ depends on its neighbours (ς at the end of a word), so it is asked itself whether it sees past this one.
    """
    return f"aΣ{character}a".lower()[1] == "ς"


@cache
def _begins_composition(character: str) -> bool:
    """Tell whether NFC never joins or reorders this character with what stands before it (UAX 15, section 9)."""
    if character.isascii():
        return True
    first = unicodedata.normalize("NFD", character)[0]
    return unicodedata.combining(first) == 0 and first not in _second_halves()


@cache
def _second_halves() -> frozenset[str]:
    """Give every character that composes with one before it: of canonical pairs, and Hangul vowels and finals."""
    hangul = {chr(point) for point in (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))}
    decompositions = (unicodedata.decomposition(chr(point)) for point in range(0xA0, 0x30000))  # none lie beyond
    pairs = (halves.split() for halves in decompositions if " " in halves and not halves.startswith("<"))
    return frozenset(hangul | {chr(int(second, 16)) for _, second in pairs})
