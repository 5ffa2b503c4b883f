"""States at every so-many-th position, kept by position: written again where a row is read again."""

import tempfile
import weakref
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from rnneval.errors import TextError

EVERY = 16
MOST = 1 << 16
ENOUGH = 1 << 12
"""Samples of a covariance at the most: the products and the memory of more are much of a summary's cost."""
_CHUNK = 2048
_MEMORY = 64 << 20  # bytes that may stand in memory

Floats = NDArray[np.float32]


def sampling(tokens: int) -> int:
    """How far apart samples are: 16 tokens, and twice that as often as it takes to have at most 65,536 of them.

    Example:
        >>> sampling(111_540), sampling(10_000_000)
        (16, 256)
    """
    every = EVERY
    while tokens > every * MOST:
        every *= 2
    return every


def covariance_sampling(tokens: int) -> int:
    """How far apart samples for a covariance are: 16 tokens, and twice that as often as leaves at most 4,096 of them.

    Example:
        >>> covariance_sampling(65_536), covariance_sampling(111_540), covariance_sampling(10_000_000)
        (16, 32, 4096)
    """
    every = EVERY
    while tokens > every * ENOUGH:
        every *= 2
    return every


class Samples:
    """Vectors `(D,)` at the positions 0, every, 2 · every, … of a text: in memory, or in an unnamed file."""

    def __init__(self, every: int, size: int, tokens: int) -> None:
        self.every, self._size = every, size
        count = -(-tokens // every)
        self._held: Floats | None = None
        if count * size * 4 <= _MEMORY:
            self._held = np.zeros((count, size), np.float32)
        else:
            self._file = tempfile.TemporaryFile(prefix="rnneval-")  # noqa: SIM115 - closed with the object
            weakref.finalize(self, self._file.close)

    def put(self, first: int, vectors: Floats) -> None:
        """Write vectors `(n, D)` of consecutive samples, the first of them that of position `first`.

        Raises:
            TextError: the disk of temporary files is full.
        """
        place = first // self.every
        if self._held is not None:
            self._held[place : place + len(vectors)] = vectors
            return
        try:
            self._file.seek(place * self._size * 4)
            self._file.write(np.ascontiguousarray(vectors, np.float32).data)
        except OSError as error:
            raise TextError(
                f"{tempfile.gettempdir()}: cannot hold {self._size * 4} bytes every {self.every} tokens: "
                f"{error.strerror or error}: set TMPDIR to a folder with more room, or give --no-states"
            ) from error

    def chunks(self, tokens: int) -> Iterator[tuple[NDArray[np.int64], Floats]]:
        """Give positions `(n,)` and vectors `(n, D)`, in the order of the text."""
        positions = np.arange(0, tokens, self.every)
        for start in range(0, len(positions), _CHUNK):
            at = positions[start : start + _CHUNK]
            held = self._read(start, len(at))
            yield at[: len(held)], held

    def _read(self, start: int, count: int) -> Floats:
        if self._held is not None:
            return self._held[start : start + count]
        self._file.seek(start * self._size * 4)
        return np.frombuffer(self._file.read(count * self._size * 4), np.float32).reshape(-1, self._size)

    def close(self) -> None:
        """Let the file go."""
        if hasattr(self, "_file"):
            self._file.close()

    def __del__(self) -> None:
        """Where a run was broken off, too."""
        self.close()
