"""Where each token of a text ends, in bytes: by what the pieces spell, or where that is not the text, by offsets."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rnneval.errors import TextError
from rnneval.text.subword.base import Offsets, Subword
from rnneval.text.units import Ints, letters


@dataclass(frozen=True, kw_only=True)
class Located:
    """A text as tokens; both arrays have the shape `(n,)`."""

    ids: NDArray[np.int32]
    ends: Ints
    """In bytes, never falling; two that are equal share a character, which is counted at the latter."""


def locate(subword: Subword, text: str) -> Located:
    """Encode a text that is not empty, and tell where its tokens end.

    Raises:
        VocabularyError: the library fails.
        TextError: the tokenizer leaves out characters without a trace.
    """
    encoded, utf8 = subword.encode(text), text.encode()
    spelt = subword.spell(encoded.ids)
    ends = np.cumsum(subword.lengths[encoded.ids])
    if spelt == utf8:
        return Located(ids=encoded.ids, ends=ends)
    if subword.adds_space and spelt == b" " + utf8:
        return Located(ids=encoded.ids, ends=np.maximum(ends - 1, 0))
    _refuse_dropped(subword, text)
    return Located(ids=encoded.ids, ends=_by_offsets(encoded.offsets(), text))


def _by_offsets(offsets: Offsets, text: str) -> Ints:
    """Let a token end where the library says, but no later than the next one begins, so that none counts twice."""
    places = np.append(0, np.cumsum(letters(text).widths, dtype=np.int64))
    ends, starts = places[offsets.ends], places[offsets.starts]
    if not len(ends):
        return ends
    ends[:-1] = np.minimum(ends[:-1], starts[1:])
    ends = np.maximum.accumulate(ends)
    # No token ends the text but the last: each belongs to the block of its first byte, and behind the end is none.
    ends[:-1][ends[:-1] == places[-1]] = places[-2]
    return ends


def _refuse_dropped(subword: Subword, text: str) -> None:
    """Refuse what a tokenizer would leave out in silence; its offsets are wrong from there on, too."""
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
