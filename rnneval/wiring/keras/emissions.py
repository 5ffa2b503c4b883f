"""The numbers that stubs emit as new states, no two alike, so that a number tells where it comes from.

Each element that is ever emitted has a label, its place in the order of emission. Of two states of two units each:

```text
source                labels    numbers       find([-.72 .05])  →  [1 3]
event 0, slot 0 (h)   0 1       .31  -.72     sources([1 3])    →  {event 0 slot 0, event 0 slot 1}
event 0, slot 1 (c)   2 3       .88   .05     offsets([1 3])    →  [1 1]: the second element of each
```
"""

from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnneval.wiring.facts import StateSource

Labels = NDArray[np.int64]
Sources = frozenset[StateSource]
UNLABELLED = -1  # the label of an element in which no emitted number is
_GRID = 2**22  # the count of numbers for each use
_STRIDE = 1_368_547  # odd, so that i → i · stride mod 2²² meets each number once


class _Use(IntEnum):
    """The uses of numbers: each has every third number of the grid, so that no two are alike."""

    STATE = 0
    ALTERED = 1  # a state that `probe.intervene` alters
    OUTPUT = 2  # an output that is no state


class Emissions:
    """The numbers that stubs emit as new states, no two alike, so that a number tells where it comes from.

    Label k belongs to the k-th element ever emitted. An initial state gets labels, too, which tell it from a new one if
    it is returned and passed in again; its numbers mean nothing and are not looked up.
    """

    def __init__(self, seed: int, altered: StateSource | None = None) -> None:
        self.count = 0
        self._seed, self._altered = seed, altered  # altered: the state that gets other numbers this time
        self._others = 0
        self._bases: list[int] = []  # the first label of each state
        self._sources: list[StateSource] = []
        self._arrays: list[NDArray[np.float32]] = []
        self._sorted: tuple[Labels, NDArray[np.float32]] = np.empty(0, np.int64), np.empty(0, np.float32)

    def draw(self, source: StateSource, shape: tuple[int, ...]) -> tuple[Labels, NDArray[np.float32]]:
        """Return the labels and values of a new state."""
        values = self._numbers(self.count, shape, _Use.ALTERED if source == self._altered else _Use.STATE)
        return self._label(source, values), values

    def mark(self, source: StateSource, shape: tuple[int, ...]) -> Labels:
        """Return labels for a tensor that no stub emitted."""
        return self._label(source, np.full(shape, np.nan, np.float32))

    def noise(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Return numbers for an output that is no state."""
        values = self._numbers(self._others, shape, _Use.OUTPUT)
        self._others += values.size
        return values

    def _label(self, source: StateSource, values: NDArray[np.float32]) -> Labels:
        labels = np.arange(self.count, self.count + values.size, dtype=np.int64).reshape(values.shape)
        self._bases.append(self.count)
        self._sources.append(source)
        self._arrays.append(values)
        self.count += values.size
        return labels

    def _numbers(self, first: int, shape: tuple[int, ...], use: _Use) -> NDArray[np.float32]:
        # An altered number must be far from the plain one: a neighbour would drown in the rounding of a blend.
        far = use * (_GRID // 2)
        order = np.arange(first, first + int(np.prod(shape)), dtype=np.int64).reshape(shape)
        places = (order * _STRIDE + self._seed * 7919 + far) % _GRID * len(_Use) + use
        return (1.8 * (places + 0.5) / (len(_Use) * _GRID) - 0.9).astype(np.float32)

    def _owners(self, labels: Labels) -> NDArray[np.intp]:
        """Return which state each label belongs to."""
        return np.searchsorted(np.asarray(self._bases, np.int64), labels, side="right") - 1

    def sources(self, labels: Labels) -> set[StateSource]:
        """Return the states that labels come from."""
        return {self._sources[owner] for owner in np.unique(self._owners(labels[labels >= 0]))}

    def offsets(self, labels: Labels) -> Labels:
        """Return the offset of each label within its own state."""
        return np.asarray(labels - np.asarray(self._bases, np.int64)[self._owners(labels)], np.int64)

    def without_marks(self, labels: Labels) -> Labels:
        """Return labels without those of initial states."""
        marks = np.array([source.incoming for source in self._sources])
        return np.where((labels >= 0) & ~marks[self._owners(labels)], labels, UNLABELLED)

    def find(self, values: NDArray[Any]) -> Labels | None:
        """Return the labels of values; None where none of them was emitted."""
        if not self.count or not np.issubdtype(values.dtype, np.floating):
            return None
        if values.dtype.itemsize < 4:  # at half precision numbers coincide, so only a whole state is found
            for base, array in zip(self._bases, self._arrays, strict=True):
                if array.shape == values.shape and (array.astype(values.dtype) == values).all():
                    return np.arange(base, base + array.size, dtype=np.int64).reshape(array.shape)
            return None
        if self._sorted[0].size != self.count:
            emitted = np.concatenate([array.ravel() for array in self._arrays])
            by_value = np.argsort(emitted)
            self._sorted = by_value.astype(np.int64), emitted[by_value]
        (order, known), wanted = self._sorted, values.astype(np.float32)
        at = np.minimum(np.searchsorted(known, wanted), known.size - 1)
        labels = np.where(known[at] == wanted, order[at], UNLABELLED)
        return labels if (labels >= 0).any() else None
