"""The arrays of a step's blocks, side by side in one piece of memory, which two processes may share."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnneval.backends.numpy.activations import Floats
from rnneval.backends.numpy.network import Network, Paths
from rnneval.backends.protocol import Predicted, Sees

_APART = 64  # bytes between the starts of arrays are multiples of this: a cache line
Ids = NDArray[np.int32]


@dataclass(frozen=True, kw_only=True)
class Room:
    """The arrays that one block reads and writes."""

    ids: Ids
    """`(rows, time)`."""
    targets: Ids
    before: Floats
    """States before the first input, `(rows, D)`."""
    after: Floats
    predicted: Predicted
    paths: Paths | None
    """Places for what the layers do; None where only losses are wanted."""


@dataclass(frozen=True, kw_only=True)
class Ask:
    """The sizes of a step's blocks: the same in every process that reads the memory."""

    rows: tuple[int, ...]
    """Rows of each block."""
    time: int
    sees: Sees

    def shapes(self, network: Network, rows: int) -> Iterator[tuple[tuple[int, ...], Any]]:
        """Yield the shape and the type of every array of a block."""
        yield from [((rows, self.time), np.int32)] * 2
        yield from [((rows, network.size), network.dtype)] * 2
        yield from [((rows, self.time), kind) for kind in (network.dtype, np.float32, np.int32)]
        cells = [stage.cell for stage in network.stages]
        if self.sees != "losses":
            yield from [((self.time, rows, cell.units), network.dtype) for cell in cells for _ in cell.slots]
        if self.sees == "gates":
            yield from [((self.time, rows, cell.inputs), network.dtype) for cell in cells]

    def size(self, network: Network) -> int:
        """Return how many bytes the arrays of all blocks take."""
        return sum(_bytes(shape, kind) for rows in self.rows for shape, kind in self.shapes(network, rows))

    def rooms(self, network: Network, memory: Any) -> list[Room]:
        """Return the arrays of each block, in memory of at least `size` bytes."""
        found, at = [], 0
        for rows in self.rows:
            arrays: list[NDArray[Any]] = []
            for shape, kind in self.shapes(network, rows):
                arrays.append(np.ndarray(shape, kind, memory, at))
                at += _bytes(shape, kind)
            found.append(self._room(network, arrays))
        return found

    def _room(self, network: Network, arrays: Sequence[NDArray[Any]]) -> Room:
        ids, targets, before, after, *rest = arrays
        own, states = iter(rest[3:]), None
        if self.sees != "losses":
            states = [[next(own) for _ in stage.cell.slots] for stage in network.stages]
        return Room(
            ids=ids,
            targets=targets,
            before=before,
            after=after,
            predicted=Predicted(*rest[:3]),
            paths=None if states is None else Paths(states=states, inputs=[*own] or None),
        )


def _bytes(shape: tuple[int, ...], kind: Any) -> int:
    size: int = math.prod(shape) * np.dtype(kind).itemsize
    return -(-size // _APART) * _APART
