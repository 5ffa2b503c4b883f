"""Choice of the kernel, and of how many parts of the rows run at the same time: by sizes, never by a clock.

The figures are in docs/speed.md, and benchmarks/speed_kernels.py measures them. Kernels differ in the last digits, so a
run could not be repeated if a clock chose.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from rnneval.models.keras.hoisted import Hoisting, why_own

if TYPE_CHECKING:
    from rnneval.models.keras.lm import RecurrentLM

_ROWS_A_PART = ((700, 32), (None, 64))
"""Units of the widest layer, and the fewest rows of a part: the products of wide layers want many rows."""
_MOST_PARTS = 4


@dataclass(frozen=True, kw_only=True)
class Arrangement:
    """Settings with which a model is run in the graph of a step."""

    parts: int = 1  # most parts into which rows are divided; parts run at the same time
    rows_a_part: int = 1  # fewest rows of a part
    hoisting: Hoisting | None = None  # the loops that are hoisted; None: every layer runs its own

    def divided(self, *tensors: Any) -> Iterator[tuple[Any, ...]]:
        """Divide tensors of the same rows."""
        rows = tensors[0].shape[0]
        parts = max(1, min(self.parts, rows // self.rows_a_part))
        sizes = [rows * (k + 1) // parts - rows * k // parts for k in range(parts)]
        yield from zip(*(tf.split(tensor, sizes) if parts > 1 else [tensor] for tensor in tensors), strict=True)

    def running(self) -> AbstractContextManager[None]:
        """Run the model in the block as arranged."""
        return nullcontext() if self.hoisting is None else self.hoisting.running()

    @property
    def said(self) -> str:
        """The kernel that ran, for the record: `hoisted`, `layers`, or which layers ran which and why."""
        if self.hoisting is None or not self.hoisting.ran:
            return "layers"
        if not self.hoisting.own:
            return "hoisted"
        own = "; ".join(f"{name}: {why}" for name, why in self.hoisting.own.items())
        return f"hoisted ({', '.join(sorted(self.hoisting.ran))}), layers ({own})"


PLAIN: Arrangement = Arrangement()


def arranged(lm: "RecurrentLM", kernel: str) -> Arrangement:
    """Choose how a model is run; if TensorFlow sees a GPU, `auto` leaves the cuDNN loops to the layers of Keras."""
    gpu = bool(tf.config.list_logical_devices("GPU"))
    if kernel == "layers" or (kernel == "auto" and gpu):
        return PLAIN
    # As many parts as cores: the operations of a small model are too short to be shared by two.
    parts = 1 if gpu else max(1, min(_MOST_PARTS, os.cpu_count() or 1))
    some = any(why_own(unit) is None for unit in lm.units)
    return Arrangement(
        parts=parts,
        rows_a_part=rows_a_part(max((unit.units for unit in lm.units), default=1)),
        hoisting=Hoisting(model=lm.model, units=lm.units) if some else None,
    )


def rows_a_part(units: int) -> int:
    """Return the fewest rows that are worth a part of their own.

    Example:
        >>> [rows_a_part(units) for units in (128, 650, 1024)]
        [32, 32, 64]
    """
    return next(rows for most, rows in _ROWS_A_PART if most is None or units <= most)
