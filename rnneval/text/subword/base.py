"""Tokenizers of word pieces, whichever library they come from, and the place in bytes where each token ends."""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnneval import without_current_folder
from rnneval.errors import RnnevalError, TextError, UsageError, VocabularyError
from rnneval.text.units import Ints, letters

Offsets = tuple[Ints, Ints]
"""Start and end of each token in the encoded text, in characters, as the library says; `(n,)` each."""


class Subword(ABC):
    """A loaded tokenizer; it adds nothing to a text except a space at its start."""

    name: str
    """The file it comes from."""
    sha256: str
    """SHA-256 of all that decides over ids."""
    tokens: Mapping[str, int]
    """Every piece and its id."""
    unknown_id: int | None
    """The id of text that no piece covers."""
    adds_space: bool
    """A text is read as if a space stood before it."""
    drops: frozenset[str] | None = None
    """The characters it knows, if it drops others without a token for them; None if it never does."""

    @abstractmethod
    def encode(self, text: str) -> tuple[NDArray[np.int32], Callable[[], Offsets]]:
        """Return the ids of a text, `(n,)`, without special tokens around it, and a function that gives the offsets.

        It is called only if the pieces do not spell the text.

        Raises:
            VocabularyError: the library fails.
        """

    @abstractmethod
    def normalized(self, text: str) -> str:
        """Return the text as the pieces see it."""

    @abstractmethod
    def spelling(self, piece: str) -> bytes:
        """Return the bytes of text that a piece stands for."""

    @cached_property
    def spellings(self) -> tuple[bytes, ...]:
        """The bytes of every id."""
        found = [b""] * (max(self.tokens.values(), default=-1) + 1)
        for piece, id_ in self.tokens.items():
            found[id_] = self.spelling(piece)
        return tuple(found)

    @cached_property
    def lengths(self) -> Ints:
        """Bytes that each id stands for."""
        return np.array([len(spelling) for spelling in self.spellings], np.int64)

    def spell(self, ids: NDArray[Any]) -> bytes:
        """Return the bytes that ids stand for, one after the other."""
        return b"".join(map(self.spellings.__getitem__, ids.tolist()))

    def decode(self, ids: NDArray[Any]) -> str:
        """Return the text of a whole document from its ids."""
        return self.spell(ids).removeprefix(b" " if self.adds_space else b"").decode(errors="replace")


def library(module: str, name: str) -> Any:
    """Import an optional library, and never one that lies beside the tokenizer.

    Raises:
        UsageError: it is not installed.
    """
    try:
        with without_current_folder():
            return importlib.import_module(module)
    except ImportError as error:
        raise UsageError(
            f"{name}: a tokenizer of word pieces needs the package {module}: pip install 'rnneval[subword]'"
        ) from error


@contextmanager
def plainly(name: str, doing: str) -> Iterator[None]:
    """Turn any error of a library on hostile input into one line; a panic of Rust is a bare BaseException.

    Raises:
        VocabularyError: the library failed.
    """
    try:
        yield
    except (RnnevalError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        what = " ".join(str(error).split())[:200] or type(error).__name__
        raise VocabularyError(
            f"{name}: {doing} ({what}): is it damaged, or from a newer version of the library?"
        ) from error


def digits(piece: str) -> bytes | None:
    """Return the byte of a piece like `<0xE6>`, which spells text without a piece of its own."""
    if len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">"):
        try:
            return bytes([int(piece[3:5], 16)])
        except ValueError:
            return None
    return None


@dataclass(frozen=True, kw_only=True)
class Located:
    """A text as tokens; both arrays have the shape `(n,)`."""

    ids: NDArray[np.int32]
    ends: Ints
    """End of each token in bytes, never decreasing; two equal ones share a character, counted at the latter."""


def locate(subword: Subword, text: str) -> Located:
    """Encode a text that is not empty, and return where its tokens end.

    Raises:
        VocabularyError: the library fails.
        TextError: the tokenizer leaves out characters without a trace.
    """
    (ids, offsets), utf8 = subword.encode(text), text.encode()
    spelt = subword.spell(ids)
    ends = np.cumsum(subword.lengths[ids])
    if spelt == utf8:
        return Located(ids=ids, ends=ends)
    if subword.adds_space and spelt == b" " + utf8:
        return Located(ids=ids, ends=np.maximum(ends - 1, 0))
    _refuse_dropped(subword, text)
    return Located(ids=ids, ends=_by_offsets(offsets(), text))


def _by_offsets(offsets: Offsets, text: str) -> Ints:
    """Return where tokens end by the library, but no later than the next one begins, so that no text counts twice."""
    places = np.append(0, np.cumsum(letters(text).widths, dtype=np.int64))
    starts, ends = (places[of_each] for of_each in offsets)
    if not len(ends):
        return ends
    ends[:-1] = np.minimum(ends[:-1], starts[1:])
    ends = np.maximum.accumulate(ends)
    # No token ends the text but the last: each belongs to the block of its first byte, and behind the end is none.
    ends[:-1][ends[:-1] == places[-1]] = places[-2]
    return ends


def _refuse_dropped(subword: Subword, text: str) -> None:
    """Refuse characters that a tokenizer would drop in silence; its offsets are wrong after them, too."""
    if subword.drops is None:
        return
    seen = subword.normalized(text)
    lost = [character for character in dict.fromkeys(seen) if character not in subword.drops]
    lost = [character for character in lost if not character.isspace()]
    if lost:
        some = ", ".join(f"{character!r} (U+{ord(character):04X})" for character in lost[:5])
        raise TextError(
            f"the tokenizer ({subword.name}) has no piece for {some} and no unknown token, so it would leave out such "
            "characters in silence: give the tokenizer the model was trained with, or a text without them"
        )
