"""Products of rows with weights, in one thread of linear algebra and in pieces of a size that it is fast with.

OpenBLAS copies the factors of a product into an order of its own first. With AVX-512 it multiplies small ones where
they lie, which takes a quarter less time for layers of 128 to 256 units if they begin at a cache line (docs/speed.md).
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import cycle, pairwise
from typing import Any

import numpy as np

from rnneval.backends.numpy.activations import Floats

_LINE = 64
"""Bytes of a cache line, and of an AVX-512 register."""
_SMALL = 10**6
"""The most multiplications of a small product (OpenBLAS, `kernel/x86_64/sgemm_small_kernel_permit_skylakex.c`)."""
_ROWS, _FEWEST = 128, 60
"""The most rows of a piece, and how many it must be able to have for its width to be chosen."""
_WIDTHS = 64, 32
"""Columns of a piece, the best first; all columns where their number is a multiple of neither."""

_LARGE = 2**20
"""Bytes of weights that may not fit into a core's own cache."""
_AVX512 = {"SkylakeX", "Cooperlake", "SapphireRapids"}
"""OpenBLAS' names of the processors for which it has such products."""
Multiply = Callable[[Floats], object]
"""Function that multiplies rows, and puts the product into an array of its own."""


@cache
def _blas() -> Any:
    """Return the libraries of linear algebra that are loaded; they are searched for once."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let linear algebra run in one thread while the block runs: many threads spin where a machine is busy."""
    with _blas().limit(limits=1, user_api="blas"), np.errstate(all="ignore"):
        yield


@cache
def _small_is_fast() -> bool:
    return any(library.get("architecture") in _AVX512 for library in _blas().info())


def aligned_empty(shape: int | tuple[int, ...], dtype: Any) -> Floats:
    """Return an array that begins at a cache line; NumPy's own large arrays begin 16 or 32 bytes after one."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    room = np.empty(size + _LINE, np.uint8)
    start = -room.ctypes.data % _LINE
    array: Floats = room[start : start + size].view(dtype).reshape(shape)
    return array


def aligned(array: Floats) -> Floats:
    """Return a copy, in the order of C, that begins at a cache line."""
    copy = aligned_empty(array.shape, array.dtype)
    np.copyto(copy, array)
    return copy


class Matrix:
    """Weights that rows are multiplied with."""

    def __init__(self, weights: Floats) -> None:
        """Take weights `(…, inputs, outputs)`."""
        self.whole = aligned(weights)
        self._rows, self._panels = _ROWS, None
        *before, inputs, outputs = weights.shape
        for width in (*_WIDTHS, outputs) if _small_is_fast() else ():
            rows = _SMALL // (inputs * width)
            if outputs % width == 0 and rows >= _FEWEST:
                self._rows = min(rows, _ROWS)
                self._panels = aligned(self.whole.reshape(*before, inputs, -1, width).swapaxes(-3, -2))
                break

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the weights."""
        return self.whole.shape

    def times(self, rows: Floats | None, out: Floats | None = None) -> Floats:
        """Return rows · weights, `(…, n, outputs)`.

        Args:
            rows: `(n, inputs)`; None for one-hot rows of every id.
            out: Where to put it, in the order of C.
        """
        if rows is None:
            return self.whole.copy()
        if out is None:
            out = aligned_empty((*self.shape[:-2], len(rows), self.shape[-1]), rows.dtype)
        self.into(out)(rows)
        return out

    def into(self, out: Floats) -> Multiply:
        """Return a function that multiplies rows `(n, inputs)`, and puts the product into `out`, `(…, n, outputs)`."""
        weights, panels, count = self.whole, self._panels, out.shape[-2]
        if count == 1 and weights.ndim == 3 and weights.nbytes >= _LARGE:
            return self._gate_by_gate(out)
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

    def _gate_by_gate(self, out: Floats) -> Multiply:
        """Multiply one row, which reads all weights: every other time it begins with those that were read last."""
        gates = range(len(out))
        orders = cycle((gates, gates[::-1]))

        def multiply(row: Floats) -> None:
            for gate in next(orders):
                np.matmul(row, self.whole[gate], out=out[gate])

        return multiply
