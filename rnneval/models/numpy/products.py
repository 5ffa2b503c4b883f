"""Products of rows with weights, in one thread of linear algebra and in pieces of a size that it is fast with.

OpenBLAS copies the factors of a product into an order of its own first. With AVX-512 it multiplies small ones where
they lie: a quarter less time for layers of 128 to 256 units if they begin at a cache line (docs/evidence/speed.md). All
of it is tuning: a product is `rows @ weights`, whatever the pieces.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise

import numpy as np

from rnneval.arrays import Floats
from rnneval.processes import blas

InPlace = Callable[[Floats], object]  # function whose result goes into an array, its argument or another fixed one

_LINE = 64  # bytes of a cache line, and of an AVX-512 register
_SMALL = 10**6
"""The most multiplications of a small product (OpenBLAS, `kernel/x86_64/sgemm_small_kernel_permit_skylakex.c`)."""
_PIECE, _FEWEST = 128, 60  # the most rows of a piece, and how many it must be able to have for its width to be chosen
_WIDTHS = 64, 32  # columns of a piece, the best first; all columns where their number is a multiple of neither
_AVX512 = {"SkylakeX", "Cooperlake", "SapphireRapids"}
"""OpenBLAS' names of the processors for which it has such products."""


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let linear algebra run in one thread while the block runs: many threads spin where a machine is busy."""
    with blas().limit(limits=1, user_api="blas"), np.errstate(all="ignore"):
        yield


def aligned_empty(*shape: int) -> Floats:
    """Return a float32 array that begins at a cache line; NumPy's own large arrays begin 16 or 32 bytes after one."""
    size = 4 * math.prod(shape)
    room = np.empty(size + _LINE, np.uint8)
    start = -room.ctypes.data % _LINE
    array: Floats = room[start : start + size].view(np.float32).reshape(shape)
    return array


def _aligned(array: Floats) -> Floats:
    """Return a copy, in the order of C, that begins at a cache line."""
    copy = aligned_empty(*array.shape)
    np.copyto(copy, array)
    return copy


class Matrix:
    """Weights `(…, inputs, outputs)` that rows are multiplied with."""

    def __init__(self, weights: Floats) -> None:
        self.whole, self.shape = _aligned(weights), weights.shape
        self._rows, self._panels = _PIECE, None
        *before, inputs, outputs = weights.shape
        small_is_fast = any(library.get("architecture") in _AVX512 for library in blas().info())
        for width in (*_WIDTHS, outputs) if small_is_fast else ():
            rows = _SMALL // (inputs * width)
            if outputs % width == 0 and rows >= _FEWEST:
                self._rows = min(rows, _PIECE)
                self._panels = _aligned(self.whole.reshape(*before, inputs, -1, width).swapaxes(-3, -2))
                break

    def times(self, rows: Floats | None, out: Floats | None = None) -> Floats:
        """Return rows `(n, inputs)` · weights, `(…, n, outputs)`, in `out` if given; rows None are all one-hot rows."""
        if rows is None:
            return self.whole.copy()
        if out is None:
            out = aligned_empty(*self.shape[:-2], len(rows), self.shape[-1])
        self.into(out)(rows)
        return out

    def into(self, out: Floats) -> InPlace:
        """Return a function that multiplies rows `(n, inputs)`, and puts the product into `out`, `(…, n, outputs)`."""
        weights, panels, count = self.whole, self._panels, out.shape[-2]
        if count == 1 or panels is None:
            return lambda rows: np.matmul(rows, weights, out=out)
        pieces = math.ceil(count / self._rows)
        places = out.reshape(*out.shape[:-1], -1, panels.shape[-1]).swapaxes(-3, -2)
        bounds = pairwise(count * k // pieces for k in range(pieces + 1))
        parts = [(slice(*both), places[..., slice(*both), :]) for both in bounds]

        def multiply(rows: Floats) -> None:
            for part, place in parts:
                np.matmul(rows[part], panels, out=place)

        return multiply
