"""The state from which a model starts: measured, and never assumed to be zero.

A model that is called with `states=None` gives its layers some initial state: zeros, a learned vector, anything. To
start one row of a batch anew while the others go on, that state is needed in the form in which the model *returns*
states. It is found element by element: the model is called with a state of distinct numbers. The element of a layer's
state in which a number arrives shows which element of the start belongs in that number's place.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from rnneval.models.adapters import Adapter, numbers_of
from rnneval.models.layers import Unit
from rnneval.models.state_tap import UnitRun, record_runs
from rnneval.records.wiring import Slot

Leaves = tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Start:
    """The leaves that stand for `states=None` at one batch size, and the layer's state that each leaf goes into.

    *Leaves* are the tensors of a state as the model returns it; a *slot* is one part of a layer's state, h or c.
    """

    leaves: Leaves
    slots: tuple[Slot | None, ...]
    batch_axes: tuple[int | None, ...]
    """The batch axis of each leaf; None if no axis grows with the batch."""


def find_start(adapter: Adapter, units: Sequence[Unit], batch: int) -> Start:
    """Call the model three times, eagerly, and work out its start as the module's docstring says."""
    ids = tf.ones((batch, 1), tf.int32)
    with record_runs(units) as at_start:
        returned = adapter(ids, None).leaves
    marked = _distinct_like(returned)
    with record_runs(units) as when_marked:
        adapter(ids, marked)
    arrivals = _Arrivals(at_start, when_marked)
    leaves = tuple(arrivals.leaf(numbers_of(mark)) for mark in marked)
    slots = tuple(arrivals.slot(numbers_of(mark)) for mark in marked)
    wider = adapter(tf.ones((batch + 1, 1), tf.int32), None).leaves
    return Start(leaves=leaves, slots=slots, batch_axes=tuple(map(_grown_axis, returned, wider)))


class _Arrivals:
    """The places where distinct numbers arrived, and the numbers that arrive there at the model's own start."""

    def __init__(self, at_start: Sequence[UnitRun], when_marked: Sequence[UnitRun]) -> None:
        starts = {(p.unit, p.turn, k): numbers_of(leaf) for p in at_start for k, leaf in enumerate(p.state_in)}
        arrived: list[NDArray[Any]] = []
        began: list[NDArray[Any]] = []
        self._slots: list[Slot] = []
        for run in when_marked:
            for k, leaf in enumerate(run.state_in):
                values, start = numbers_of(leaf), starts.get((run.unit, run.turn, k))
                if start is not None and start.shape == values.shape:
                    arrived.append(values.ravel())
                    began.append(start.ravel())
                    place = run.unit.at(run.turn)  # one token was read: each run is a place
                    self._slots.append(Slot(layer=place.name, slot=place.slots[k]))
        self._origin = np.repeat(np.arange(len(arrived)), [len(values) for values in arrived])
        self._began = np.concatenate([*began, np.zeros(0, np.float32)])
        values = np.concatenate([*arrived, np.zeros(0, np.float32)])
        self._order = np.argsort(values, kind="stable")
        self._sorted = values[self._order]

    def leaf(self, mark: NDArray[Any]) -> Any:
        """Return the start in the form of one leaf, whose distinct numbers are `mark`."""
        found, place = self._find(mark)
        start = np.zeros(mark.size, mark.dtype)
        start[found] = self._began[place]
        return tf.constant(start.reshape(mark.shape), mark.dtype)

    def slot(self, mark: NDArray[Any]) -> Slot | None:
        """Return the state where a whole leaf arrives; None where it is divided over several, or arrives nowhere."""
        found, place = self._find(mark)
        origins = np.unique(self._origin[place])
        return self._slots[origins[0]] if found.all() and found.size and len(origins) == 1 else None

    def _find(self, mark: NDArray[Any]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Return which numbers of a leaf arrived, and where each of those did."""
        flat = mark.ravel()
        if not self._sorted.size or not np.issubdtype(flat.dtype, np.floating):
            return np.zeros(flat.size, bool), np.zeros(0, np.int64)
        at = np.minimum(np.searchsorted(self._sorted, flat), self._sorted.size - 1)
        found = self._sorted[at] == flat
        return found, self._order[at[found]]


def _distinct_like(leaves: Sequence[Any]) -> Leaves:
    """Return leaves of the same shapes whose elements are all distinct, in (−0.9, 0.9); integers stay as they are."""
    sizes = [int(tf.size(leaf)) if leaf.dtype.is_floating else 0 for leaf in leaves]
    numbers = np.random.default_rng(0).permutation(np.linspace(-0.9, 0.9, sum(sizes) + 1, dtype=np.float32)[:-1])
    parts = np.split(numbers, np.cumsum(sizes)[:-1]) if sizes else []
    return tuple(
        tf.cast(tf.reshape(part, tf.shape(leaf)), leaf.dtype) if leaf.dtype.is_floating else leaf
        for leaf, part in zip(leaves, parts, strict=True)
    )


def _grown_axis(leaf: Any, wider: Any) -> int | None:
    grown = [axis for axis, (a, b) in enumerate(zip(leaf.shape, wider.shape, strict=True)) if a != b]
    return grown[0] if len(grown) == 1 else None
