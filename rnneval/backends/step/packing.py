"""Packing of a step function's state into one vector per row, and back into the user's own nest of arrays."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnneval.backends.protocol import Vectors
from rnneval.backends.step.nests import as_array, filled, form_of, leaves_of, made_like
from rnneval.errors import CheckpointError

COUNTER_SCALE = 1e-30
"""Scale of counters in a vector: so small that two readings of a text agree although their positions differ.

Floating point keeps every whole number at any scale. The counters are those that were seen to change no prediction.
"""
_MOST = 2**53
"""Whole numbers up to here are exact in float64."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StateLeaf:
    """One array of the state."""

    path: str
    like: Any = field(repr=False)
    """The array as the user's function returned it; its library and type are used again."""
    dtype: np.dtype[Any]
    axis: int | None
    """The batch axis; None for a value that all rows of a call share."""
    shape: tuple[int, ...]
    """Shape of one row, without the batch axis; the whole shape where there is none."""
    counts: bool = False
    """Whether it counts tokens or calls, and changes no prediction."""
    constant: bool = False
    """Whether it has no batch axis and never changes, so that it need not be packed."""

    @property
    def size(self) -> int:
        """Count of numbers in one row of a vector."""
        return 0 if self.constant else int(np.prod(self.shape, dtype=np.int64)) * (2 if self.dtype.kind == "c" else 1)

    def rows_of(self, array: NDArray[Any], rows: int) -> NDArray[Any]:
        """Return an array as real numbers, `(rows, size)`."""
        rows_first = np.moveaxis(array, self.axis, 0) if self.axis is not None else array[None]
        flat = np.ascontiguousarray(rows_first).reshape(len(rows_first), -1)
        if flat.dtype.kind == "c":
            flat = flat.view(flat.real.dtype)
        elif flat.dtype.kind in "iu" and np.abs(flat.astype(np.float64)).max(initial=0) > _MOST:
            raise CheckpointError(f"{self.path} holds whole numbers beyond ±2⁵³, which cannot be carried: use int32")
        columns: NDArray[Any] = np.broadcast_to(flat * COUNTER_SCALE if self.counts else flat, (rows, self.size))
        return columns

    def array_of(self, columns: NDArray[Any]) -> NDArray[Any]:
        """Return columns `(rows, size)` as an array of the leaf's shape and type; it shares no memory with them."""
        numbers: NDArray[Any]
        if self.dtype.kind == "c":
            numbers = np.array(columns, self.dtype.type().real.dtype, order="C").view(self.dtype)
        elif self.counts:
            counted = columns / COUNTER_SCALE
            # The engine adds 1e-6 to a state to see whether that grows. No counter is so large: 1 stands for it.
            numbers = np.rint(np.where(np.abs(counted) < _MOST, counted, 1)).astype(self.dtype)
        else:
            numbers = (np.rint(columns) if self.dtype.kind in "iub" else np.array(columns)).astype(self.dtype)
        if self.axis is None:
            return np.ascontiguousarray(numbers[0]).reshape(self.shape)
        return np.ascontiguousarray(np.moveaxis(numbers.reshape(-1, *self.shape), 0, self.axis))


@dataclass(frozen=True, kw_only=True, eq=False)
class StatePacking:
    """Conversion of states, nests of arrays, into vectors `(rows, D)`, and back."""

    example: Any = field(repr=False)
    """A state that the user's function returned."""
    leaves: tuple[StateLeaf, ...]
    initial: Callable[[int], Any] | None = field(repr=False)
    """Makes the initial state, where it is unlike every state that is returned; it has no vector of its own then."""
    separate: bool = False
    """Whether the function reads one row at a time."""

    @property
    def size(self) -> int:
        """D, the count of numbers in one row."""
        return sum(leaf.size for leaf in self.leaves) + (self.initial is not None)

    @property
    def dtype(self) -> Any:
        """The type of the vectors: float64 where a leaf is not exact in float32."""
        exact = ("float16", "float32", "complex64", "bool")
        return np.float32 if all(leaf.dtype.name in exact for leaf in self.leaves) else np.float64

    def pack(self, state: Any, rows: int) -> Vectors:
        """Put a state into vectors `(rows, D)`.

        Raises:
            CheckpointError: it has another form than the first one that the function returned, or other shapes.
        """
        if form_of(state) != form_of(self.example):
            raise CheckpointError(
                f"step returned a state of the form {form_of(self.example)} at first, and now {form_of(state)}: every "
                "call must return the same form"
            )
        vectors = np.empty((rows, self.size), self.dtype)
        at = 0
        for leaf, (_, value) in zip(self.leaves, leaves_of(state), strict=True):
            array = as_array(value, leaf.path)
            wanted = leaf.shape if leaf.axis is None else (*leaf.shape[: leaf.axis], rows, *leaf.shape[leaf.axis :])
            if array.shape != wanted:
                raise CheckpointError(
                    f"step returned {leaf.path} of shape {array.shape} for {rows} rows: {wanted} is needed, as in the "
                    "calls before"
                )
            if leaf.constant and not np.array_equal(array, as_array(leaf.like, leaf.path)):
                raise CheckpointError(
                    f"{leaf.path} has no batch axis, and changes after several calls: give it one, so that rows may "
                    "differ"
                )
            if leaf.size:
                vectors[:, at : at + leaf.size] = leaf.rows_of(array, rows)
            at += leaf.size
        vectors[:, at:] = 1  # this is no initial state
        return vectors

    def unpack(self, vectors: Vectors) -> Any:
        """Put vectors `(rows, D)` of rows that may go into one call back into a state."""
        if self.initial is not None and vectors[0, -1] < 0.5:
            return self.initial(len(vectors))
        arrays, at = [], 0
        for leaf in self.leaves:
            columns = vectors[:, at : at + leaf.size]
            arrays.append(leaf.like if leaf.constant else made_like(leaf.array_of(columns), leaf.like))
            at += leaf.size
        return filled(self.example, iter(arrays))

    def groups(self, vectors: Vectors) -> Iterator[Any]:
        """Yield the rows of each call, as an index: all of them, unless values that rows share in a call differ."""
        if self.separate:
            yield from ([row] for row in range(len(vectors)))
        elif not self._shared.any():
            yield slice(None)
        else:
            kinds, of_row = np.unique(vectors[:, self._shared], axis=0, return_inverse=True)
            several = [np.flatnonzero(of_row.reshape(-1) == kind) for kind in range(len(kinds))]
            yield from several if len(several) > 1 else [slice(None)]

    @cached_property
    def _shared(self) -> NDArray[np.bool_]:
        """The columns `(D,)` of values that all rows of a call share: whether it begins, and arrays without rows."""
        of_leaves = [np.full(leaf.size, leaf.axis is None) for leaf in self.leaves]
        return np.concatenate([*of_leaves, np.full(int(self.initial is not None), True)])

    def columns(self, leaf: StateLeaf) -> slice:
        """Return the columns of a leaf in the vectors."""
        start = sum(other.size for other in self.leaves[: self.leaves.index(leaf)])
        return slice(start, start + leaf.size)
