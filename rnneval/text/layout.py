"""Whether word tokens give the text back, and giving it back.

Two ways of writing a line are known, and a text must keep to one of them to its end: *plain*, `w w⏎`, with one space
between words and nothing else, and *padded*, the ` w w ⏎` of WikiText, with one space before every token.
"""

from collections.abc import Sequence

import numpy as np

from rnneval.text.units import Bools, Counts

PLAIN = "plain"
PADDED = "padded"


class LayoutWatch:
    """Follows the white space before each token; what has been right so far is still possible."""

    def __init__(self) -> None:
        self._plain = True
        self._padded = True
        self._after_word = False

    @property
    def layout(self) -> str | None:
        """How the text is written, or None where its white space cannot be told from its tokens."""
        return PLAIN if self._plain else PADDED if self._padded else None

    def feed(self, gap: Counts, blank: Counts, is_line: Bools, is_first: Bools) -> None:
        """Take n ≥ 1 more tokens.

        Args:
            gap: White space before each token, `(n,)`.
            blank: U+0020 in it, `(n,)`.
            is_line: Whether the token is a line feed, `(n,)`.
            is_first: Whether it is the first of its document, `(n,)`.
        """
        one = (gap == 1) & (blank == 1)
        between_words = np.append(self._after_word, ~is_line[:-1]) & ~is_line & ~is_first
        self._plain = self._plain and bool(np.where(between_words, one, gap == 0).all())
        self._padded = self._padded and bool(one.all())
        self._after_word = not is_line[-1]

    def trail(self) -> None:
        """Say that a document has text after its last token, which no token gives back."""
        self._plain = self._padded = False


def text_of_words(words: Sequence[str], layout: str, eos: str) -> str:
    r"""Give the text of one document from its words, where `eos` is a line feed.

    >>> text_of_words(["a", "b", "<eos>", "c"], "plain", "<eos>")
    'a b\nc'
    >>> text_of_words(["<eos>", "a", "<eos>"], "padded", "<eos>")
    ' \n a \n'
    """
    if layout == PADDED:
        return "".join(" \n" if word == eos else f" {word}" for word in words)
    lines: list[list[str]] = [[]]
    for word in words:
        if word == eos:
            lines.append([])
        else:
            lines[-1].append(word)
    return "\n".join(map(" ".join, lines))
