"""The numbers that stubs emit as new states: no two alike, so that a number tells where it comes from."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnneval.wiring.facts import Source

_GRID = 2**22  # numbers for states, as many again for their altered selves, as many for other outputs
_MARKS = 2**40  # labels from here on are marks
_STRIDE = 1_368_547  # odd, so that i → i · stride mod 2²² meets each number once


@dataclass(kw_only=True)
class Emissions:
    """Gives labels and values; label k is the k-th element ever emitted."""

    seed: int
    altered: Source | None = None
    """Whose numbers are to be others this time: the intervention."""
    count: int = 0
    other: int = 0
    marked: int = 0
    _marks: list[tuple[int, Source]] = field(default_factory=list)
    _bases: list[int] = field(default_factory=list)
    _sources: list[Source] = field(default_factory=list)
    _arrays: list[NDArray[np.float32]] = field(default_factory=list)
    _sorted: tuple[NDArray[np.int64], NDArray[np.float32]] | None = None

    def draw(self, source: Source, shape: tuple[int, ...]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Give the labels and values of a new state."""
        size = int(np.prod(shape))
        labels = np.arange(self.count, self.count + size, dtype=np.int64)
        values = self._values(labels, 1 if source == self.altered else 0)
        self._bases.append(self.count)
        self._sources.append(source)
        self._arrays.append(values.reshape(shape))
        self.count += size
        return labels.reshape(shape), values.reshape(shape)

    def mark(self, source: Source, shape: tuple[int, ...]) -> NDArray[np.int64]:
        """Give labels to a tensor that nobody emitted; its numbers mean nothing and are not looked up."""
        size = int(np.prod(shape))
        labels = np.arange(self.marked, self.marked + size, dtype=np.int64) + _MARKS
        self._marks.append((int(labels[0]) if size else _MARKS, source))
        self.marked += size
        return labels.reshape(shape)

    def noise(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Numbers for an output that is no state."""
        size = int(np.prod(shape))
        values = self._values(np.arange(self.other, self.other + size, dtype=np.int64), 2)
        self.other += size
        return values.reshape(shape)

    def _values(self, labels: NDArray[np.int64], third: int) -> NDArray[np.float32]:
        # An altered number must be far from the plain one: a neighbour would drown in the rounding of a blend.
        far = third * (_GRID // 2)
        places = (labels * _STRIDE + self.seed * 7919 + far) % _GRID * 3 + third
        return (1.8 * (places + 0.5) / (3 * _GRID) - 0.9).astype(np.float32)

    def sources(self, labels: NDArray[np.int64]) -> dict[Source, NDArray[np.int64]]:
        """Divide labels by where they come from; each with its offsets within that state."""
        found: dict[Source, NDArray[np.int64]] = {}
        marks = labels[labels >= _MARKS]
        labels = labels[labels < _MARKS]
        for bases, sources, some in (
            (self._bases, self._sources, labels),
            ([base for base, _ in self._marks], [source for _, source in self._marks], marks),
        ):
            places = np.searchsorted(np.asarray(bases, np.int64), some, side="right") - 1
            for place in np.unique(places):
                found[sources[place]] = some[places == place] - bases[place]
        return found

    def emitted(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """The labels without marks: −1 in their place."""
        return np.where(labels < _MARKS, labels, -1)

    def offsets(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """The place of each label within its own state."""
        bases = np.asarray(self._bases, dtype=np.int64)
        offsets: NDArray[np.int64] = labels - bases[np.searchsorted(bases, labels, side="right") - 1]
        return offsets

    def find(self, values: NDArray[Any]) -> NDArray[np.int64] | None:
        """The labels of values that were emitted, −1 elsewhere; None where there is none."""
        if not self.count or not np.issubdtype(values.dtype, np.floating):
            return None
        if values.dtype.itemsize < 4:
            return self._find_whole(values)
        wanted = values.astype(np.float32)
        order, known = self._table()
        at = np.minimum(np.searchsorted(known, wanted.ravel()), known.size - 1)
        found = np.where(known[at] == wanted.ravel(), order[at], -1).reshape(values.shape)
        return found if (found >= 0).any() else None

    def _find_whole(self, values: NDArray[Any]) -> NDArray[np.int64] | None:
        """At half precision numbers coincide, so only a whole state is found."""
        for base, array in zip(self._bases, self._arrays, strict=True):
            if array.shape == values.shape and (array.astype(values.dtype) == values).all():
                return np.arange(base, base + array.size, dtype=np.int64).reshape(array.shape)
        return None

    def _table(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        if self._sorted is None or self._sorted[0].size != self.count:
            values = np.concatenate([array.ravel() for array in self._arrays])
            order = np.argsort(values)
            self._sorted = order.astype(np.int64), values[order]
        return self._sorted
