"""What was predicted of every token, on disk by position: written in any order, written again where a row is repaired.

Sums are taken from here in the order of the text, once everything is settled; so they do not depend on how the text
was divided, and memory does not depend on its length.
"""

import tempfile
from types import TracebackType
from typing import Any, Self

import numpy as np

from rnneval.engine.kernel import Predicted
from rnneval.errors import TextError


class Observations:
    """Loss, confidence and rank of each position of a text, in an unnamed temporary file."""

    def __init__(self, nats_dtype: Any = np.float32) -> None:
        self._dtype = np.dtype([("nats", nats_dtype), ("confidence", "<f4"), ("rank", "<i4")])
        # Each write goes to a place of its own, so a buffer would only be emptied.
        self._file: Any = tempfile.TemporaryFile(prefix="rnneval-", buffering=0)  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def put(self, position: int, predicted: Predicted) -> None:
        """Write what was predicted of consecutive tokens, arrays of shape `(n,)`, of which `position` is the first.

        Raises:
            TextError: the disk of temporary files is full.
        """
        rows = np.empty(len(predicted.nats), self._dtype)
        rows["nats"], rows["confidence"], rows["rank"] = predicted
        try:
            self._file.seek(position * self._dtype.itemsize)
            rest: Any = rows.view(np.uint8).data
            while rest:  # the system may take less at a time
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise TextError(
                f"{tempfile.gettempdir()}: cannot hold {self._dtype.itemsize} bytes a token: "
                f"{error.strerror or error}: set TMPDIR to a folder with more room"
            ) from error

    def get(self, start: int, stop: int) -> Predicted:
        """Read positions start to stop; one that was never written is zero."""
        rows = np.zeros(stop - start, self._dtype)
        self._file.seek(start * self._dtype.itemsize)
        rest: Any = rows.view(np.uint8).data
        while rest and (given := self._file.readinto(rest)):
            rest = rest[given:]
        return Predicted(rows["nats"], rows["confidence"], rows["rank"])
