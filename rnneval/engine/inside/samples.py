"""States at every so-many-th position, on disk by position: written again where a row is read again."""

import tempfile
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from rnneval.errors import TextError

EVERY = 16
MOST = 1 << 16
_CHUNK = 2048

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


class Samples:
    """Vectors `(D,)` at the positions 0, every, 2 · every, … of a text, in an unnamed temporary file."""

    def __init__(self, every: int, size: int) -> None:
        self.every, self._size = every, size
        self._file = tempfile.TemporaryFile(prefix="rnneval-")  # noqa: SIM115 - closed with the object

    def put(self, first: int, vectors: Floats) -> None:
        """Write vectors `(n, D)` of consecutive samples, the first of them that of position `first`.

        Raises:
            TextError: the disk of temporary files is full.
        """
        try:
            self._file.seek(first // self.every * self._size * 4)
            self._file.write(np.ascontiguousarray(vectors, np.float32).data)
        except OSError as error:
            raise TextError(
                f"{tempfile.gettempdir()}: cannot hold {self._size * 4} bytes every {self.every} tokens: "
                f"{error.strerror or error}: set TMPDIR to a folder with more room, or give --no-states"
            ) from error

    def chunks(self, tokens: int) -> Iterator[tuple[NDArray[np.int64], Floats]]:
        """Give positions `(n,)` and vectors `(n, D)`, in the order of the text."""
        positions = np.arange(0, tokens, self.every)
        self._file.seek(0)
        for start in range(0, len(positions), _CHUNK):
            at = positions[start : start + _CHUNK]
            raw = self._file.read(len(at) * self._size * 4)
            held = np.frombuffer(raw, np.float32).reshape(-1, self._size)
            yield at[: len(held)], held

    def close(self) -> None:
        """Let the file go."""
        self._file.close()

    def __del__(self) -> None:
        """Where a run was broken off, too."""
        if hasattr(self, "_file"):
            self._file.close()
