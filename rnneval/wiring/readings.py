"""Readings of a text by a model that changes its cache in place, in words that every runtime can follow.

A reading is the text, its calls, and what is done with the cache before a call. One of `lengths` (3, 2, 1), with two
changes of the cache before the second call, which happen in the order in which they are listed:

```text
call 0            Change(call=1, command=KeepCopy.SAVE)           call 1     call 2
ids 0 1 2   →     Change(call=1, command=CacheMethod("reset"))  → ids 3 4  → ids 5
```

Its logits are those of all calls one after the other: `(rows, 6, V)`.
"""

from dataclasses import dataclass
from enum import Enum, auto
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Rows = tuple[tuple[int, ...], ...]


class KeepCopy(Enum):
    """Commands about a copy of the cache that the reading itself keeps."""

    SAVE = auto()  # keep a copy of the cache
    RESTORE = auto()  # go on with this copy


@dataclass(frozen=True)
class CacheMethod:
    """Command to call a method of the cache."""

    name: str
    rows: tuple[int, ...] | None = None  # None for a method that takes none


@dataclass(frozen=True)
class TakeBack:
    """Command to take the last tokens out of the cache again."""

    tokens: int


CacheCommand = KeepCopy | CacheMethod | TakeBack


@dataclass(frozen=True, kw_only=True)
class Change:
    """Command that is carried out on the cache before a call."""

    call: int
    command: CacheCommand


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A text and how it is read: `(rows, tokens)`, cut into calls."""

    ids: Rows
    lengths: tuple[int, ...] = ()  # numbers of tokens of the calls; none for one call without a cache
    mask: Rows | None = None  # the attention mask; each call is given that of all tokens so far
    positions: Rows | None = None  # the position of each token, if it is not the number of unmasked tokens before it
    numbered: bool = True  # whether the model is given the positions, if it takes them
    packed: bool = False
    """Whether the model is told the documents of a row, which begin where the position is 0, in other ways too."""
    changes: tuple[Change, ...] = ()  # those before one call are made in this order

    @property
    def tokens(self) -> int:
        """The number of tokens of a row."""
        return len(self.ids[0])

    @property
    def calls(self) -> list[tuple[int, int]]:
        """The first token of each call and the one after its last."""
        return [*pairwise([0, *np.cumsum(self.lengths or (self.tokens,)).tolist()])]

    def commands(self, call: int) -> list[CacheCommand]:
        """Return what is done with the cache before a call, in order."""
        return [change.command for change in self.changes if change.call == call]

    def numbers(self) -> NDArray[np.int64]:
        """Return the position of each token, `(rows, tokens)`, as `generate` numbers them."""
        if self.positions is not None:
            return np.array(self.positions)
        numbers: NDArray[np.int64] = np.array(self.mask or np.ones_like(self.ids)).cumsum(axis=1) - 1
        return np.maximum(numbers, 0)

    def __str__(self) -> str:
        masked = " with a mask" * (self.mask is not None)
        if not self.lengths:
            return f"{self.tokens} tokens without a cache{masked}"
        return f"calls of {', '.join(map(str, self.lengths))} tokens{' for two rows' * (len(self.ids) > 1)}{masked}"
