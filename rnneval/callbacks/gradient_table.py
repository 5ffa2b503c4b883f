"""The table of gradients in training, which the callbacks of Keras and of PyTorch fill step by step.

Numbers of a step are norms of each variable; the table has them for each variable, each layer and the whole model.
"""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnneval.callbacks.histories import Key, Parts
from rnneval.metrics.gradient_norms import together
from rnneval.records.tables import GRADIENT_HISTORY

STATISTICS = ("grad_norm", "grad_norm_clipped", "weight_norm", "update_norm", "not_finite")
"""Of each variable in each step: three norms, that of the update, and the count of numbers that are not finite."""
NORM, CLIPPED, WEIGHT, UPDATE, NOT_FINITE = range(len(STATISTICS))
WRITTEN = ("grad_norm", "grad_norm_clipped", "weight_norm", "update_ratio", "not_finite")
"""What is written of these: the ratio of update and weight norm in place of the update's norm."""
NO_NORM = -1.0  # in place of the clipped norm in a step that only accumulates gradients


class Column(NamedTuple):
    """A trainable variable."""

    layer: str
    variable: str


class GradientTable:
    """Numbers of steps, written as parts of a history."""

    def __init__(self, path: str | os.PathLike[str], steps_per_part: int, existing: str) -> None:
        """Prepare the folder; `steps_per_part` is the most that a killed run loses."""
        self._parts = Parts(path, "step", {"rnneval.schema": GRADIENT_HISTORY}, existing)
        self._steps_per_part = steps_per_part
        self._waiting: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []
        self._columns: Sequence[Column] = ()
        self.first_not_finite: tuple[int, str] | None = None
        """The first step with a gradient that is not finite, and `LAYER.VARIABLE`."""

    def add(self, columns: Sequence[Column], steps: NDArray[np.int64], values: NDArray[np.float64]) -> dict[str, float]:
        """Add the statistics `(n, variables, statistics)` of steps `(n,)`, NaN where there is none.

        Returns the numbers of the last step that `logs` of Keras may hold.
        """
        self._columns = columns
        self._waiting.append((steps, values))
        bad = np.argwhere(values[:, :, NOT_FINITE] > 0)
        if self.first_not_finite is None and len(bad):
            step, place = bad[0]
            self.first_not_finite = (int(steps[step]), f"{columns[place].layer}.{columns[place].variable}")
        if sum(len(waiting) for waiting, _ in self._waiting) >= self._steps_per_part:
            self.flush()
        keys, numbers = _tidy(columns, values[-1:])
        last = dict(zip(keys, numbers.filled(np.nan)[0].tolist(), strict=True))
        of_model = {name: last["", "", name] for name in ("grad_norm", "grad_norm_clipped", "update_ratio")}
        of_layers = {f"grad_norm/{column.layer}": last[column.layer, "", "grad_norm"] for column in columns}
        return {**of_model, "grad_not_finite": last["", "", "not_finite"], **of_layers}

    def flush(self) -> None:
        """Write the steps that wait as one part."""
        if self._waiting:
            steps, values = (np.concatenate(parts) for parts in zip(*self._waiting, strict=True))
            self._waiting = []
            self._parts.write(steps, *_tidy(self._columns, values))


def _tidy(columns: Sequence[Column], values: NDArray[np.float64]) -> tuple[list[Key], Any]:
    """Return keys and a masked array of numbers `(n, keys)`: of each variable, of each layer and of the model.

    A variable without a gradient counts as 0. Masked are the statistics of a layer without any gradient, the clipped
    norm in a step that only accumulates, and the update ratio of weights that are all 0.
    """
    groups: dict[tuple[str, str], list[int]] = {(c.layer, c.variable): [k] for k, c in enumerate(columns)}
    for k, column in enumerate(columns):
        groups.setdefault((column.layer, ""), []).append(k)
    groups["", ""] = list(range(len(columns)))
    numbers = []
    for places in groups.values():
        part = values[:, places]
        present = ~np.isnan(part[:, :, NOT_FINITE])  # a count: NaN only where there is no gradient
        counted = np.where(present[:, :, None], part, 0.0)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            norm, clipped, weight, update = (together(counted[:, :, k]) for k in (NORM, CLIPPED, WEIGHT, UPDATE))
            written = np.stack([norm, clipped, weight, update / weight, counted[:, :, NOT_FINITE].sum(axis=1)], axis=1)
        absent = np.stack([~present.any(axis=1)] * len(WRITTEN), axis=1)
        absent[:, CLIPPED] |= (part[:, :, CLIPPED] == NO_NORM).any(axis=1)
        absent[:, UPDATE] |= weight == 0
        numbers.append(np.ma.masked_array(written, absent))
    return [(*group, statistic) for group in groups for statistic in WRITTEN], np.ma.hstack(numbers)
