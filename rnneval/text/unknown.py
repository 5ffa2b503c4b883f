"""What the text has and the vocabulary lacks: all of it is counted before anything is evaluated."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from rnneval.errors import TextError

_SHOWN = 5
_REMEMBERED = 10_000
"""Distinct ones at most, so that a text of other words than the vocabulary's does not fill the memory."""
_NOUNS = {"char": "character", "byte": "byte", "word": "word", "subword": "piece"}


@dataclass(frozen=True, kw_only=True)
class Place:
    """A place in the final text."""

    character: int
    """Characters before it."""
    line: int
    """From 1."""


class Unknowns:
    """A tally of what the vocabulary lacks: characters, words, or bytes (as characters of Latin-1)."""

    def __init__(self, kind: str) -> None:
        self.total = 0
        self.first: Place | None = None
        self._kind = kind
        self._counts: Counter[str] = Counter()
        self._all_distinct = True

    def add(self, counts: Mapping[str, int], first: Place) -> None:
        """Count some more, of which `first` is where the first one stands."""
        self.total += sum(counts.values())
        self.first = self.first or first
        for token, count in counts.items():
            if token in self._counts or len(self._counts) < _REMEMBERED:
                self._counts[token] += count
            else:
                self._all_distinct = False

    def describe(self, of: str) -> str:
        """Say how many there are, which, and where the first one is; `of` names the whole."""
        assert self.first is not None  # noqa: S101 - called where there is one
        noun = _NOUNS[self._kind]
        distinct = len(self._counts)
        some = ", ".join(map(self._show, sorted(self._counts, key=lambda token: -self._counts[token])[:_SHOWN]))
        more = ", …" if distinct > _SHOWN else ""
        return (
            f"{of} has {self.total:,} {noun}{'s' * (self.total != 1)} the vocabulary lacks "
            f"({'' if self._all_distinct else 'more than '}{distinct:,} distinct: {some}{more}; "
            f"first at character offset {self.first.character:,}, line {self.first.line:,})"
        )

    def refuse(self, of: str, tokens: Collection[str]) -> None:
        """Raise if there is any.

        Raises:
            TextError: what is unknown, and what may be done about it.
        """
        if self.total:
            raise TextError(f"{self.describe(of)}: {self._advice(tokens)}")

    def _show(self, token: str) -> str:
        if self._kind == "byte":
            return f"0x{ord(token):02X}"
        return f"{token!r} (U+{ord(token):04X})" if len(token) == 1 else repr(token[:40])

    def _advice(self, tokens: Collection[str]) -> str:
        unk = next((token for token in ("<unk>", "<UNK>", "[UNK]") if token in tokens), None)
        advice = "give the vocabulary the model was trained with, or --unknown skip, or --unknown TOKEN"
        if unk is not None:
            advice = f"--unknown '{unk}' maps them to the vocabulary's own {unk}, as is the convention; or {advice}"
        return "; ".join([*self._causes(tokens), advice])

    def _causes(self, tokens: Collection[str]) -> list[str]:
        """Name what is likely wrong, as far as the unknown ones tell."""
        causes = []
        if any("\0" in token for token in self._counts):
            causes.append("U+0000 in a text is a sign of UTF-16 or of a damaged file")
        if any("\r" in token for token in self._counts):
            causes.append("--newlines lf turns CRLF and CR into LF")
        if all(token != token.lower() and token.lower() in tokens for token in self._counts):
            causes.append("all are known in lower case: --normalize lower")
        return causes
