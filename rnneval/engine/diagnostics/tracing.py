"""The watch of `trace` and its table: every state and gate at a stride, histograms, time constants.

The table is tidy, one observation a row, in Parquet that pandas reads with no help. Columns: `position` (token of the
text; absent for statistics of the whole text), `unit` (absent for statistics that are not of one unit), `lag` (tokens
of context; only for `context`), `layer`, `slot` (h, c, or a gate: update, reset, input, forget, output; "" for the
whole layer or model), `statistic`, `value`, `low` and `high` (the bin of a histogram; the ends of the middle 95 % of
a `norm_band`; two standard errors around a `context` or `lyapunov`; absent elsewhere). Numbers that are not finite are
left out.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rnneval.backends.protocol import GatedCell, LayerState, SeenRows, Sees
from rnneval.engine.diagnostics.anchors import Anchors
from rnneval.engine.diagnostics.states import Row, Samples, StateWatch, places
from rnneval.engine.runner import Boundary
from rnneval.metrics.diagnostics import gates, histogram, sums
from rnneval.metrics.diagnostics.summary import SATURATED, Covariance, means, variances
from rnneval.records import table_written
from rnneval.records.run import GateSummary, Run
from rnneval.records.tables import TRACE
from rnneval.text import EncodedText

GATE_COLUMNS = ("mean", "saturated_low", "saturated_high")
Doubles = NDArray[np.float64]


class Column(NamedTuple):
    """One series of a trace."""

    layer: str
    slot: str
    """A state or a gate; "" of the whole model."""
    statistic: str


class TraceRow(NamedTuple):
    """The sums, samples and lines of the table of one row's segment."""

    states: Row
    first: int
    """The position of the first line of the table."""
    table: NDArray[np.float32]
    """Lines of the table, `(n, columns)`."""


@dataclass(frozen=True, kw_only=True)
class Spectrum:
    """A histogram over a text."""

    layer: str
    slot: str
    edges: Doubles
    counts: Doubles


@dataclass(frozen=True, kw_only=True)
class UnitColumn:
    """One number per unit, over a text."""

    layer: str
    slot: str
    statistic: str
    values: Doubles
    """The statistic of each unit, `(units,)`."""


class TraceWatch(StateWatch):
    """A watch that records states and gates at every `stride`-th position, beside the sums of every position."""

    sees: Sees = "gates"

    def __init__(self, text: EncodedText, stride: int, anchors: Anchors | None = None) -> None:
        super().__init__(text, every=1)
        self.stride, self._anchors = stride, anchors
        self.columns: list[Column] = []
        self._table: Samples | None = None

    @property
    def cells(self) -> dict[str, tuple[GatedCell, ...]]:
        """The gated cells that were seen, by layer."""
        return self._layout.cells

    def rows(self, seen: SeenRows | None, first: Sequence[int], counts: Sequence[int]) -> list[Any]:
        """Record the positions of the stride, beside the sums."""
        assert seen is not None  # noqa: S101 - states are asked for
        summed = super().rows(seen, first, counts)
        place = np.stack(places(first, counts, self.stride), axis=1)
        slots = self._slots_at(seen, place)
        gated = self._gates_at(seen, place, slots)
        table = self._table_of(slots, gated)
        bounds = np.searchsorted(place[:, 0], np.arange(len(counts) + 1))
        made = []
        for row, states in enumerate(summed):
            part = slice(bounds[row], bounds[row + 1])
            more = np.concatenate([states.additive, *self._more(slots, gated, part)])
            made.append(TraceRow(states._replace(additive=more), first[row] + -first[row] % self.stride, table[part]))
        return made

    def _slots_at(self, seen: SeenRows, place: NDArray[np.int64]) -> dict[str, tuple[Any, Any]]:
        """Return each state at some (row, time), and the one before, `(n, units)`."""
        row, t = place[:, 0], place[:, 1]
        found = {}
        for key in self.slots:
            states, before = seen.states[key]
            earlier = np.where((t == 0)[:, None], before[row], states[row, np.maximum(t - 1, 0)])
            found[key] = (states[row, t].astype(np.float32), earlier.astype(np.float32))
        return found

    def _gates_at(
        self, seen: SeenRows, place: NDArray[np.int64], slots: dict[str, tuple[Any, Any]]
    ) -> dict[tuple[str, str], tuple[Any, Any]]:
        """Return each gate at some (row, time), `(n, units)`, and the logarithm of those that keep."""
        found = {}
        for layer, cells in self.cells.items():
            keys = [key for key, slot in self.slots.items() if slot.layer == layer]
            for cell in cells:
                own = seen.inputs[layer][place[:, 0], place[:, 1]]
                inputs = own if cell.below is None else slots[keys[cell.below]][0]
                active, log_kept = cell.activations(inputs, slots[keys[cell.slot]][1])
                for name, values in active.items():
                    found[layer, name] = (values, log_kept if name == cell.keeps else None)
        return found

    def _table_of(self, slots: Any, gated: Any) -> NDArray[np.float32]:
        """Return the numbers of each sampled position, `(n, columns)`, and note the columns; losses come in later."""
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
        """Yield more sums: histograms of states and gates; for gates, their sums and Σ ln f a unit."""
        for key, (state, _) in slots.items():
            yield histogram.counts(state[part], _edges(self.slots[key]))
        for values, log_kept in gated.values():
            gate = values[part]
            yield histogram.counts(gate, _GATE_EDGES)
            yield np.array([gate.size, gate.sum(dtype=np.float64), (gate < gates.LOW).sum(), (gate > gates.HIGH).sum()])
            if log_kept is not None:
                yield log_kept[part].sum(axis=0, dtype=np.float64)

    def put(self, row: Boundary, group: int | None) -> None:
        """Add the sums to their group, and write the table's lines at their place."""
        seen: TraceRow = row.inside
        super().put(row._replace(inside=seen.states), group)
        if self._anchors is not None:
            self._anchors.put(row)
        if not len(seen.table):
            return
        if self._table is None:
            self._table = Samples(self.stride, seen.table.shape[1], self._tokens, holds="the trace")
        offset = seen.first - (row.first - 1)
        seen.table[:, -1] = row.predicted.nats[offset :: self.stride]
        self._table.put(seen.first, seen.table)

    @property
    def most_lines(self) -> int:
        """The most lines that the table may have."""
        return -(-self._tokens // self.stride)

    def lines(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Yield positions `(n,)` and their lines `(n, columns)`, in the order of the text."""
        if self._table is None:
            return
        for positions, lines in self._table.chunks(self._tokens):
            read = ~np.isin(positions, self._stops - 1)
            yield positions[read], lines[read]

    def spectra(self) -> tuple["list[Spectrum]", dict[str, GateSummary], "list[UnitColumn]"]:
        """Return the histograms, the summaries of gates, and the statistics of each unit."""
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
    """Reads the parts of an array one after the other."""

    def __init__(self, numbers: Doubles) -> None:
        self._numbers, self._at = numbers, 0

    def take(self, count: int) -> Doubles:
        """Return the next numbers."""
        self._at += count
        return self._numbers[self._at - count : self._at]


_GATE_EDGES = histogram.edges_within(0.0, 1.0)


def _edges(slot: LayerState) -> Doubles:
    return histogram.edges_within(-1.0, 1.0) if slot.limit == SATURATED else histogram.edges_without_bounds()


def _slot_columns(slot: LayerState, state: Any, before: Any) -> Iterator[tuple[str, Any]]:
    """Yield the name and values `(n,)` of each statistic of a state, at the sampled positions."""
    norm = np.linalg.norm(state, axis=1)
    yield "norm", norm
    yield "rms", norm / np.sqrt(slot.units)
    yield "mean", state.mean(axis=1)
    yield "lowest", state.min(axis=1)
    yield "highest", state.max(axis=1)
    if slot.limit is not None:
        yield "saturated", (np.abs(state) > np.float32(slot.limit)).mean(axis=1)
    yield "speed", np.linalg.norm(state - before, axis=1)


_WORD = pa.dictionary(pa.int32(), pa.string())
_FIELDS: list[Any] = [
    ("position", pa.int64()),
    ("unit", pa.int32()),
    ("lag", pa.int64()),
    ("layer", _WORD),
    ("slot", _WORD),
    ("statistic", _WORD),
    ("value", pa.float64()),
    ("low", pa.float64()),
    ("high", pa.float64()),
]
_SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)
_BANDS, _FEWEST = 128, 8
"""The number of spans into which a text is divided for bands, and the fewest lines of a span."""


def write_trace(path: str | os.PathLike[str], watch: TraceWatch, run: Run) -> None:
    """Write the trace, atomically; the file's metadata say what it was made from.

    Raises:
        RecordError: the file cannot be written.
    """
    metadata = {key.encode(): value.encode() for key, value in _described(watch, run).items()}
    schema = pa.schema(_FIELDS, metadata=metadata)
    with table_written(path, schema) as writer:
        for columns in chain(_along(watch), _bands(watch), _of_all(watch), _asked_for(run)):
            writer.write_table(_table(columns, schema))


def _described(watch: TraceWatch, run: Run) -> dict[str, str]:
    """Return the metadata of the table."""
    return {
        "rnneval.schema": TRACE,
        "rnneval.version": run.rnneval,
        "rnneval.signature": run.signature,
        "rnneval.text": run.text.sha256,
        "rnneval.checkpoint": run.source.sha256,
        "rnneval.stride": str(watch.stride),
        "rnneval.norm_band": "0.95",
    }


def _along(watch: TraceWatch) -> Iterator[dict[str, Any]]:
    """Yield every state and gate at the stride."""
    for positions, lines in watch.lines():
        for column, values in zip(watch.columns, lines.T, strict=True):
            yield {**column._asdict(), "value": values, "position": positions}


def _bands(watch: TraceWatch) -> Iterator[dict[str, Any]]:
    """Yield median and middle 95 % of each norm by spans of the text, with the first position of each span."""
    places = [k for k, column in enumerate(watch.columns) if column.statistic == "norm"]
    size, begins, found = max(_FEWEST, -(-watch.most_lines // _BANDS)), [], []
    for position, norms in _spans(watch, places, size):
        begins.append(position)
        found.append(np.percentile(norms.astype(np.float64), (2.5, 50, 97.5), axis=0))
    for k, place in enumerate(places):
        low, median, high = np.array(found).reshape(-1, 3, len(places))[:, :, k].T
        named = watch.columns[place]._replace(statistic="norm_band")._asdict()
        yield {**named, "position": np.array(begins), "value": median, "low": low, "high": high}


def _spans(watch: TraceWatch, places: list[int], size: int) -> Iterator[tuple[int, Any]]:
    """Yield the first position and the lines `(size, places)` of each span; the last one may be shorter."""
    at, held = np.zeros(0, np.int64), np.zeros((0, len(places)), np.float32)
    for positions, lines in watch.lines():
        at, held = np.concatenate([at, positions]), np.concatenate([held, lines[:, places]])
        while len(held) >= size:
            yield int(at[0]), held[:size]
            at, held = at[size:], held[size:]
    if len(held):
        yield int(at[0]), held


def _of_all(watch: TraceWatch) -> Iterator[dict[str, Any]]:
    """Yield statistics of the whole text: histograms, percentiles, numbers a unit."""
    spectra, _, units = watch.spectra()
    for spectrum in spectra:
        place = {"layer": spectrum.layer, "slot": spectrum.slot}
        yield {
            **place,
            "statistic": "histogram",
            "value": spectrum.counts,
            "low": spectrum.edges[:-1],
            "high": spectrum.edges[1:],
        }
        for share in _SHARES:
            value = histogram.percentile(spectrum.counts, spectrum.edges, share)
            yield {**place, "statistic": f"p{round(share * 100):02}", "value": np.array([value])}
    for of_units in units:
        named = {"layer": of_units.layer, "slot": of_units.slot, "statistic": of_units.statistic}
        yield {**named, "value": of_units.values, "unit": np.arange(len(of_units.values))}


def _asked_for(run: Run) -> Iterator[dict[str, Any]]:
    """Yield the context curve and the Lyapunov exponents, with two standard errors."""
    if run.context is not None:
        nats, error = np.array(run.context.nats), 2 * np.array(run.context.extra_error)
        lags = np.array(run.context.lengths)
        of_model = {"layer": "", "slot": "", "lag": lags, "low": nats - error, "high": nats + error}
        yield {**of_model, "statistic": "context", "value": nats}
        yield {"layer": "", "slot": "", "statistic": "context_whole", "value": np.array([run.context.whole])}
    for layer, exponent in (run.lyapunov or {}).items():
        value, twice = np.array([exponent.value]), 2 * exponent.standard_error
        around = {"low": value - twice, "high": value + twice}
        yield {"layer": layer, "slot": "", "statistic": "lyapunov", "value": value, **around}


def _table(columns: Mapping[str, Any], schema: Any) -> Any:
    """Return rows of a schema, without values that are not finite; a string stands in every row, and None is null."""
    value = np.asarray(columns["value"], np.float64)
    finite = np.isfinite(value)
    arrays = []
    for field in schema:
        given = columns.get(field.name)
        if isinstance(given, str):
            arrays.append(pa.array([given] * int(finite.sum()), pa.string()).dictionary_encode())
        elif given is None:
            arrays.append(pa.nulls(int(finite.sum()), field.type))
        else:
            kind = np.float64 if pa.types.is_floating(field.type) else np.int64
            arrays.append(pa.array(np.asarray(given)[finite].astype(kind), field.type))
    return pa.table([array.cast(field.type) for array, field in zip(arrays, schema, strict=True)], schema=schema)
