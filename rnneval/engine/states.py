"""States as plain numbers: one vector a row, whatever the model's own containers and shapes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from rnneval.models.lm import RecurrentLM

Vectors = NDArray[np.floating[Any]]
"""`(rows, D)`: float64 only where a leaf is not float32, since float64 holds every smaller type exactly."""


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """One leaf of the state: where its batch axis is, and the shape of one row of it."""

    axis: int
    shape: tuple[int, ...]
    dtype: Any

    @property
    def size(self) -> int:
        """Numbers in one row."""
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True, kw_only=True)
class Packing:
    """How the leaves of a model's state become one vector a row, and back."""

    leaves: tuple[Leaf, ...]

    @classmethod
    def of(cls, lm: RecurrentLM) -> "Packing":
        """Learn it from the model's initial state."""
        leaves = []
        for leaf, axis in zip(lm.initial_state(1), lm.batch_axes, strict=True):
            assert axis is not None  # noqa: S101 - else the model is not mixable, and nothing is packed
            shape = tuple(int(n) for n in leaf.shape)
            leaves.append(Leaf(axis=axis, shape=shape[:axis] + shape[axis + 1 :], dtype=leaf.dtype))
        return cls(leaves=tuple(leaves))

    @property
    def size(self) -> int:
        """D, the numbers of one row."""
        return sum(leaf.size for leaf in self.leaves)

    @property
    def dtype(self) -> Any:
        """The type of the vectors."""
        return np.float32 if all(leaf.dtype == tf.float32 for leaf in self.leaves) else np.float64

    def pack(self, state: Sequence[Any]) -> Any:
        """Put leaves, tensors, into vectors `(rows, D)`; in a graph or eagerly."""
        columns = []
        for leaf, value in zip(self.leaves, state, strict=True):
            rows_first = tf.transpose(value, _rows_first(leaf.axis, len(leaf.shape) + 1))
            columns.append(tf.cast(tf.reshape(rows_first, [-1, leaf.size]), self.dtype))
        return tf.concat(columns, axis=1)

    def unpack(self, vectors: Any) -> tuple[Any, ...]:
        """Put vectors `(rows, D)` back into leaves."""
        parts = tf.split(vectors, [leaf.size for leaf in self.leaves], axis=1)
        return tuple(self._leaf(leaf, part) for leaf, part in zip(self.leaves, parts, strict=True))

    def _leaf(self, leaf: Leaf, part: Any) -> Any:
        rows = part.shape[0]
        shaped = tf.reshape(tf.cast(part, leaf.dtype), [rows, *leaf.shape])
        return tf.transpose(shaped, np.argsort(_rows_first(leaf.axis, len(leaf.shape) + 1)))


def _rows_first(axis: int, rank: int) -> list[int]:
    return [axis, *(other for other in range(rank) if other != axis)]
