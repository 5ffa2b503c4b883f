"""Records in one line, for `repr` and `print`, and the score that is usual for a kind of token."""

import re
from collections.abc import Mapping, Sequence
from typing import Protocol

_TOKENS = re.compile(r"(?:^|\|)tok:([^|]*)")
_USUAL = {
    "char": ("bits_per_char", "characters"),
    "byte": ("bits_per_byte", "bytes"),
    "word+eos": ("word_perplexity_eos", "words and line ends"),
}
_LONGEST = 100


class HasValue(Protocol):
    """A score."""

    @property
    def value(self) -> float:
        """Return the number."""


def usual_metric(signature: str) -> str:
    """Return the metric that papers report for the kind of token in a signature; "" if there is no custom.

    Models of characters are compared by bits per character, of bytes by bits per byte, of words with `<eos>` by
    perplexity over words and line ends (Penn Treebank, WikiText).

    >>> usual_metric("tok:char|norm:none"), usual_metric("tok:word+eos|norm:none"), usual_metric("tok:word|norm:none")
    ('bits_per_char', 'word_perplexity_eos', '')
    """
    return _USUAL.get(_token_kind(signature), ("", ""))[0]


def usual_for(signature: str) -> str:
    """Return the kind of token in words, if a metric is usual for it.

    >>> usual_for("tok:char|norm:none"), usual_for("tok:word|norm:none")
    ('characters', '')
    """
    return _USUAL.get(_token_kind(signature), ("", ""))[1]


def _token_kind(signature: str) -> str:
    found = _TOKENS.search(signature)
    return found[1] if found else ""


def score_in_words(scores: Mapping[str, HasValue], signature: str) -> str:
    """Return a score with its name: the usual one, else perplexity, else the first.

    >>> score_in_words({}, "tok:char")
    'no score'
    """
    name = next((name for name in (usual_metric(signature), "perplexity", *scores) if name in scores), None)
    return "no score" if name is None else f"{name} {scores[name].value:.5g}"


def quoted(paths: Sequence[str]) -> str:
    r"""Return the first path in quotes, with escapes for what cannot be printed, and the number of the others.

    >>> quoted(["a\n.txt", "b.txt"])
    "'a\\n.txt' and 1 more"
    """
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return f"{shortened(paths[0])!r}{more}" if paths else "nothing"


def shortened(text: str) -> str:
    """Return the beginning of a text that is longer than 100 characters.

    >>> shortened("a" * 200) == "a" * 99 + "…"
    True
    """
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
