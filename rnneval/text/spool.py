"""Arrays on disk."""

import tempfile
from threading import Lock
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from rnneval.errors import TextError


class DiskArray:
    """Rows of one type in an unnamed temporary file, written and read in any order, also by several threads.

    It is no `numpy.memmap`: there a full disk would end the process with SIGBUS, and the pages of the file would count
    as memory of the process.
    """

    def __init__(self, dtype: DTypeLike, shape: tuple[int, ...] = (), *, holds: str) -> None:
        """Make an empty array whose rows have a type and a shape; `holds` names the content in messages."""
        self._dtype, self._shape, self._holds = np.dtype(dtype), shape, holds
        self._row_bytes = self._dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        # Each write goes to a place of its own, so a buffer would only be emptied.
        self._file: Any = tempfile.TemporaryFile(prefix="rnneval-", buffering=0)  # noqa: SIM115 - closed by `close`
        self._lock = Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the disk space."""
        self._file.close()

    def write(self, start: int, rows: NDArray[Any]) -> None:
        """Write rows `(n, *shape)` from row `start` on."""
        rest: Any = np.ascontiguousarray(rows, self._dtype).reshape(-1).view(np.uint8).data
        end = start * self._row_bytes + len(rest)
        try:
            with self._lock:
                self._file.seek(start * self._row_bytes)
                while rest:  # the system may take less at a time
                    rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise TextError(
                f"{tempfile.gettempdir()}: cannot hold {end:,} bytes of {self._holds}: {error.strerror or error}: "
                "set TMPDIR to a folder with more room"
            ) from error

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Read rows start to stop, `(n, *shape)`; rows that were never written are zero."""
        rows = np.zeros((max(0, stop - start), *self._shape), self._dtype)
        rest: Any = rows.reshape(-1).view(np.uint8).data
        with self._lock:
            self._file.seek(start * self._row_bytes)
            while rest and (count := self._file.readinto(rest)):
                rest = rest[count:]
        return rows
