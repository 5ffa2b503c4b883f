"""A watch that sees more than the summary: every slot and gate at a stride, histograms, time constants."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from rnneval.engine.diagnostics.anchors import Anchors
from rnneval.engine.diagnostics.gated import GatedCell, gated_cells, why_no_gates
from rnneval.engine.diagnostics.samples import Samples
from rnneval.engine.diagnostics.slots import SlotOf
from rnneval.engine.diagnostics.states import Row, StateWatch, course_in, places
from rnneval.engine.diagnostics.trajectories import UnitCourse
from rnneval.engine.runner import Boundary
from rnneval.metrics.diagnostics import gates, histogram, sums
from rnneval.metrics.diagnostics.summary import SATURATED, Covariance, means, variances
from rnneval.models.layers import Unit
from rnneval.records.run import GateSummary
from rnneval.text import EncodedText

SLOT_COLUMNS = ("norm", "rms", "mean", "lowest", "highest", "saturated", "speed")
GATE_COLUMNS = ("mean", "saturated_low", "saturated_high")
Doubles = NDArray[np.float64]


class Column(NamedTuple):
    """One series of a trace."""

    layer: str
    slot: str
    """A slot or a gate; "" of the whole model."""
    statistic: str


class TraceRow(NamedTuple):
    """What is kept of one row's segment."""

    states: Row
    first: int
    """Position of the first line of the table."""
    table: NDArray[np.float32]
    """`(n, columns)`."""


@dataclass(frozen=True, kw_only=True)
class Spectrum:
    """A histogram over a text."""

    layer: str
    slot: str
    edges: Doubles
    counts: Doubles


@dataclass(frozen=True, kw_only=True)
class UnitColumn:
    """One number a unit, over a text."""

    layer: str
    slot: str
    statistic: str
    values: Doubles
    """`(units,)`."""


class TraceWatch(StateWatch):
    """Looks at slots and gates at every `stride`-th position, beside the sums of every position."""

    def __init__(self, text: EncodedText, stride: int, anchors: Anchors | None = None) -> None:
        super().__init__(text, every=1)
        self.stride, self._anchors = stride, anchors
        self.cells: dict[str, tuple[GatedCell, ...]] = {}
        self.columns: list[Column] = []
        self._table: Samples | None = None

    def _also(self, unit: Unit, course: UnitCourse) -> dict[str, Any]:
        with tf.init_scope():  # out of the graph that is being made: weights are read as arrays
            self.cells[unit.name] = gated_cells(unit)
        reason = why_no_gates(unit)
        if reason:
            self.missing[f"{unit.name}, gates"] = reason
        return {_inputs_key(unit.name): course.inputs} if self.cells[unit.name] else {}

    def rows(self, inside: Any, first: Sequence[int], counts: Sequence[int]) -> list[Any]:
        """Look at the positions of the stride, beside the sums."""
        summed = super().rows(inside, first, counts)
        place = np.stack(places(first, counts, self.stride), axis=1)
        slots, gated = self._slots_at(inside, place), self._gates_at(inside, place)
        table = self._table_of(slots, gated)
        bounds = np.searchsorted(place[:, 0], np.arange(len(counts) + 1))
        made = []
        for row, states in enumerate(summed):
            part = slice(bounds[row], bounds[row + 1])
            more = np.concatenate([states.additive, *self._more(slots, gated, part)])
            made.append(TraceRow(states._replace(additive=more), first[row] + -first[row] % self.stride, table[part]))
        return made

    def _slots_at(self, inside: Any, place: NDArray[np.int64]) -> dict[str, tuple[Any, Any]]:
        """Each slot's state at some (row, time), and the one before, `(n, units)`."""
        row, t = place[:, 0], place[:, 1]
        found = {}
        for key in self.slots:
            states, before = course_in(inside, key)
            earlier = np.where((t == 0)[:, None], before[row], states[row, np.maximum(t - 1, 0)])
            found[key] = (states[row, t].astype(np.float32), earlier.astype(np.float32))
        return found

    def _gates_at(self, inside: Any, place: NDArray[np.int64]) -> dict[tuple[str, str], tuple[Any, Any]]:
        """Each gate at some (row, time), `(n, units)`, and the logarithm of those that keep."""
        slots = self._slots_at(inside, place)
        found = {}
        for layer, cells in self.cells.items():
            keys = [key for key, slot in self.slots.items() if slot.layer == layer]
            for cell in cells:
                own = inside[_inputs_key(layer)][place[:, 0], place[:, 1]]
                inputs = own if cell.below is None else slots[keys[cell.below]][0]
                active, log_kept = cell.activations(inputs, slots[keys[cell.slot]][1])
                for name, values in active.items():
                    found[layer, name] = (values, log_kept if name == cell.keeps else None)
        return found

    def _table_of(self, slots: Any, gated: Any) -> NDArray[np.float32]:
        columns: dict[Column, Any] = {}
        for key, (state, before) in slots.items():
            slot = self.slots[key]
            columns |= {
                Column(slot.layer, slot.slot, name): values for name, values in _slot_columns(slot, state, before)
            }
        for (layer, gate), (values, _) in gated.items():
            shares = (values.mean(1), (values < gates.LOW).mean(1), (values > gates.HIGH).mean(1))
            columns |= {Column(layer, gate, name): share for name, share in zip(GATE_COLUMNS, shares, strict=True)}
        columns[Column("", "", "nats")] = np.zeros(len(next(iter(columns.values()), ())))
        self.columns = list(columns)
        return np.stack([np.asarray(column, np.float32) for column in columns.values()], axis=1)

    def _more(self, slots: Any, gated: Any, part: slice) -> Iterator[Doubles]:
        """What adds up beside the sums: histograms of slots and gates; for gates, sums and Σ ln f a unit."""
        for key, (state, _) in slots.items():
            yield histogram.counts(state[part], _edges(self.slots[key]))
        for values, log_kept in gated.values():
            gate = values[part]
            yield histogram.counts(gate, _GATE_EDGES)
            yield np.array([gate.size, gate.sum(dtype=np.float64), (gate < gates.LOW).sum(), (gate > gates.HIGH).sum()])
            if log_kept is not None:
                yield log_kept[part].sum(axis=0, dtype=np.float64)

    def put(self, row: Boundary, stretch: int | None) -> None:
        """Add the sums to their stretch, and write the table's lines at their place."""
        seen: TraceRow = row.inside
        super().put(row._replace(inside=seen.states), stretch)
        if self._anchors is not None:
            self._anchors.put(row)
        if not len(seen.table):
            return
        if self._table is None:
            self._table = Samples(self.stride, seen.table.shape[1], self._tokens)
        offset = seen.first - (row.first - 1)
        seen.table[:, -1] = row.predicted.nats[offset :: self.stride]
        self._table.put(seen.first, seen.table)

    @property
    def most_lines(self) -> int:
        """How many lines there are at the most."""
        return -(-self._tokens // self.stride)

    def lines(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Give positions `(n,)` and their lines `(n, columns)`, in the order of the text."""
        if self._table is None:
            return
        for positions, lines in self._table.chunks(self._tokens):
            read = ~np.isin(positions, self._stops - 1)
            yield positions[read], lines[read]

    def spectra(self) -> tuple["list[Spectrum]", dict[str, GateSummary], "list[UnitColumn]"]:
        """Give the histograms, the summaries of gates, and what is known of each unit."""
        rest = self._totals()[0][sum(sums.width(slot.units) for slot in self.slots.values()) :]
        reader = _Reader(rest)
        found = [
            Spectrum(layer=slot.layer, slot=slot.slot, edges=_edges(slot), counts=reader.take(histogram.BINS))
            for slot in self.slots.values()
        ]
        summaries, columns = {}, list(self._unit_columns())
        for layer, cells in self.cells.items():
            for cell in cells:
                for gate in cell.names:
                    counted = reader.take(histogram.BINS)
                    found.append(Spectrum(layer=layer, slot=gate, edges=_GATE_EDGES, counts=counted))
                    size, total, low, high = reader.take(4).tolist()
                    constants = None
                    if gate == cell.keeps:
                        n = size / cell.weights.units
                        constants = gates.time_constants(reader.take(cell.weights.units) / n)
                        columns.append(UnitColumn(layer=layer, slot=gate, statistic="time_constant", values=constants))
                    summaries[f"{layer}.{gate}"] = GateSummary(
                        mean=total / size,
                        saturated_low=low / size,
                        saturated_high=high / size,
                        time_constant=None if constants is None else float(np.median(constants)),
                        every=self.stride,
                    )
        return found, summaries, columns

    def _unit_columns(self) -> Iterator[UnitColumn]:
        for slot, collected in zip(
            self.slots.values(), self._collected([Covariance(1) for _ in self.slots]), strict=True
        ):
            for name, values in (("mean", means(collected)), ("variance", variances(collected))):
                yield UnitColumn(layer=slot.layer, slot=slot.slot, statistic=f"unit_{name}", values=values)


class _Reader:
    """Takes an array apart from its front."""

    def __init__(self, numbers: Doubles) -> None:
        self._numbers, self._at = numbers, 0

    def take(self, count: int) -> Doubles:
        """Give the next numbers."""
        self._at += count
        return self._numbers[self._at - count : self._at]


_GATE_EDGES = histogram.edges_within(0.0, 1.0)


def _edges(slot: SlotOf) -> Doubles:
    return histogram.edges_within(-1.0, 1.0) if slot.limit == SATURATED else histogram.edges_without_bounds()


def _slot_columns(slot: SlotOf, state: Any, before: Any) -> Iterator[tuple[str, Any]]:
    norm = np.linalg.norm(state, axis=1)
    yield "norm", norm
    yield "rms", norm / np.sqrt(slot.units)
    yield "mean", state.mean(axis=1)
    yield "lowest", state.min(axis=1)
    yield "highest", state.max(axis=1)
    if slot.limit is not None:
        yield "saturated", (np.abs(state) > np.float32(slot.limit)).mean(axis=1)
    yield "speed", np.linalg.norm(state - before, axis=1)


def _inputs_key(layer: str) -> str:
    return f"inputs of {layer}"
