"""`rnneval.trace`: the states of a model along a text, as a table and as a run record.

The table holds every state and gate at a stride, and time constants: one observation a row, in Parquet that pandas
reads with no help (docs/reference/tables.md). Numbers that are not finite are left out.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice, pairwise
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rnneval.arrays import Doubles, Ints
from rnneval.evaluate.diagnostics import probes
from rnneval.evaluate.diagnostics.probes import SETTLING, TOKENS
from rnneval.evaluate.plan import SEGMENT
from rnneval.evaluate.run import held_out, inputs_of
from rnneval.evaluate.states import StateWatch, places, sampling
from rnneval.evaluate.watch import NONE, Segment
from rnneval.metrics.diagnostics import findings, gates, sums
from rnneval.models.protocol import LanguageModel, LayerState, Place, Sees, Trajectories
from rnneval.models.state import Packing
from rnneval.models.step import StepLM
from rnneval.models.wrapping import language_model
from rnneval.options import TraceOptions, by_keyword
from rnneval.paths import require_apart
from rnneval.records import table_written
from rnneval.records.run import Exponent, GateSummary, Run, Warning  # noqa: A004 - the record's own word
from rnneval.records.tables import TRACE, in_utf8
from rnneval.text import EncodedText, Paths, text_given

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
_GATE_COLUMNS = ("mean", "saturated_low", "saturated_high")
_SEGMENTS = 512  # those of the table that are written at once


@by_keyword(TraceOptions)
def trace(lm: LanguageModel, text: Paths | None = None, *, options: TraceOptions) -> Run:
    """Trace the state of every layer along a text, over the exact carried stream.

    A model that gives a layer the state of another layer, or none, has states that mean something else; the record
    says so.

    Args:
        lm: Model, as `rnneval.evaluate` takes it.
        text: One or more files of UTF-8 text, joined in this order; or give `string`.
        options: Keyword arguments, each a field of `TraceOptions`.

    Returns:
        The run record, with `states`, `gates` and, where asked for, `context` and `lyapunov`; the findings are among
        its warnings.

    Raises:
        UsageError, TextError, VocabularyError, CheckpointError: as `rnneval.evaluate`.
        RecordError: the table cannot be written.
    """
    source = text_given(text, options.string)
    lm = language_model(lm, options.vocabulary, "trace")
    if options.lyapunov:
        probes.derivatives_of(lm, probes.TANGENTS)
    if options.every_token and isinstance(lm, StepLM) and lm.observer is None:
        lm = replace(lm, every_token=True)
    findings.require_known(options.thresholds or {})
    require_apart({"out": options.out}, inputs_of(lm, source))
    with held_out(lm, "trace", source, options) as (encoded, _, read):
        starts, stops = encoded.document_starts, encoded.document_stops
        longest = int((stops - starts).max())
        lengths = tuple(k for k in probes.LENGTHS if k < longest) if options.context else ()
        tokens = targets = NONE
        if lengths:
            tokens = probes.spread(starts, stops, lengths[-1], probes.ANCHORS, options.seed) + lengths[-1]
        # At most half of the longest document, so that places spread out; one too short for that is walked to its end.
        walk = max(longest // 2, min(TOKENS + SETTLING, longest - SEGMENT - 3))
        walk = min(TOKENS + probes.MOST_SETTLING, walk) // 50 * 50
        begins_inside = lm.mixable or (isinstance(lm, StepLM) and isinstance(lm.carrier, Packing))
        if options.lyapunov and walk > SETTLING and begins_inside:
            targets = probes.spread(starts + 1, stops, walk + SEGMENT + 1, probes.ROWS, options.seed)
        watch = TraceWatch(encoded, options.stride or sampling(encoded.tokens), targets=targets, tokens=tokens)
        run = msgspec.structs.replace(read(watch), gates=watch.gate_summaries() or None)
        warnings: list[Warning] = []
        if options.context:
            curve = probes.context_curve(lm, encoded, watch.by_position["nats"], lengths) if lm.mixable else None
            run = msgspec.structs.replace(run, context=curve)
            if curve is None:
                message = "no context curve: the text is too short, or the model's start cannot be given"
                warnings.append(Warning(code="no-context", message=message))
        if options.lyapunov:
            exponents, reasons = _lyapunov(lm, encoded, [*watch.by_position["places"].values()], walk, begins_inside)
            run = msgspec.structs.replace(run, lyapunov=exponents or None)
            warnings += reasons
        if options.out is not None:
            write_trace(options.out, watch, run)
    signs = findings.find(options.thresholds or {}, run=run, truncation=options.truncation)
    warnings += [Warning(code=each.rule, message=each.message) for each in signs]
    return msgspec.structs.replace(run, warnings=(*run.warnings, *warnings))


def _lyapunov(
    lm: LanguageModel, text: EncodedText, places: list[Place], tokens: int, begins_inside: bool
) -> tuple[dict[str, Exponent], list[Warning]]:
    if places:
        return probes.exponents(lm, text, places, tokens)
    short = f"no document is longer than {SETTLING + 2 * SEGMENT} tokens"
    grows = "its state grows with the text, or is carried as it is: no row can begin in the middle"
    no_start = grows if lm.backend == "step" else "the model's start stands for no state that it returns"
    reason = short if begins_inside else no_start
    return {}, [Warning(code="no-lyapunov", message=f"no Lyapunov exponent: {reason}")]


# The watch


class Series(NamedTuple):
    """One series of a trace."""

    layer: str
    slot: str  # a state or a gate; "" of the whole model
    statistic: str


class TraceWatch(StateWatch):
    """A watch that records states and gates at every `stride`-th position, beside the sums of every position."""

    sees: Sees = "gates"

    def __init__(self, text: EncodedText, stride: int, **anchors: Any) -> None:
        super().__init__(text, every=1, **anchors)
        self.stride = stride
        self.series: list[Series] = []
        self.by_position["lines"] = {}  # lines of the table, a column for each series, by the position of the first

    def _also(self, segments: Sequence[Segment], trajectories: Trajectories, first: Ints, counts: Ints) -> Doubles:
        """Record the positions of the stride, and return the sums over them."""
        row, time = places(first, counts, self.stride, self._layout.call)
        slots = {}  # each state at these places, and the one before, `(n, units)`
        for key in self.slots:
            states, before = trajectories.states[key]
            earlier = np.where((time == 0)[:, None], before[row], states[row, np.maximum(time - 1, 0)])
            slots[key] = (states[row, time].astype(np.float32), earlier.astype(np.float32))
        gated = self._gates_at(trajectories, row, time, slots)
        parts = [slice(*both) for both in pairwise(np.searchsorted(row, np.arange(len(counts) + 1)))]
        records = [each.records["nats"][first[k] - each.first :] for k, each in enumerate(segments)]
        nats = np.concatenate([each[time[part]] for each, part in zip(records, parts, strict=True)])
        self._sample("lines", first[row] + time, row, self._lines(slots, gated, nats))
        return np.array([np.concatenate([np.zeros(0), *self._sums_of_gates(gated, part)]) for part in parts])

    def _gates_at(
        self,
        trajectories: Trajectories,
        row: NDArray[np.int64],
        time: NDArray[np.int64],
        slots: dict[str, tuple[Any, Any]],
    ) -> dict[tuple[str, str], tuple[Any, Any]]:
        """Return each gate at some (row, time), `(n, units)`, and the logarithm of those that keep."""
        activations = {}
        for layer, cells in self._layout.cells.items():
            keys = [key for key, slot in self.slots.items() if slot.layer == layer]
            for cell in cells:
                own = trajectories.inputs[layer][row, time]
                inputs = own if cell.below is None else slots[keys[cell.below]][0]
                active, log_kept = cell.activations(inputs, slots[keys[cell.slot]][1])
                for name, values in active.items():
                    activations[layer, name] = (values, log_kept if name == cell.keeps else None)
        return activations

    def _lines(self, slots: Any, gated: Any, nats: NDArray[Any]) -> NDArray[np.float32]:
        """Return the numbers of each sampled position, `(n, columns)`, and note the columns."""
        columns: dict[Series, Any] = {}
        for key, (state, before) in slots.items():
            slot = self.slots[key]
            for name, values in _slot_columns(slot, state, before):
                columns[Series(slot.layer, slot.slot, name)] = values
        for (layer, gate), (values, _) in gated.items():
            shares = (values.mean(1), (values < gates.LOW).mean(1), (values > gates.HIGH).mean(1))
            columns |= {Series(layer, gate, name): share for name, share in zip(_GATE_COLUMNS, shares, strict=True)}
        columns[Series("", "", "nats")] = nats
        self.series = list(columns)
        return np.stack([np.asarray(column, np.float32) for column in columns.values()], axis=1)

    def _sums_of_gates(self, gated: Any, part: slice) -> Iterator[Doubles]:
        """Yield the sums of each gate, and Σ ln f a unit of one that keeps."""
        for values, log_kept in gated.values():
            gate = values[part]
            yield np.array([gate.size, gate.sum(dtype=np.float64), (gate < gates.LOW).sum(), (gate > gates.HIGH).sum()])
            if log_kept is not None:
                yield log_kept[part].sum(axis=0, dtype=np.float64)

    def over_gates(self) -> Iterator[tuple[str, str, list[float], Doubles | None]]:
        """Yield layer and name of each gate, its sums, and each unit's time constant if it keeps."""
        of_states = sum(sums.size_of(slot.units) for slot in self.slots.values())
        rest = iter(self.totals()[0][of_states:].tolist())
        for layer, cells in self._layout.cells.items():
            for cell in cells:
                for gate in cell.names:
                    summed, units = [*islice(rest, 4)], cell.weights.units
                    constants = None
                    if gate == cell.keeps:
                        constants = gates.time_constants(np.array([*islice(rest, units)]) / (summed[0] / units))
                    yield layer, gate, summed, constants

    def gate_summaries(self) -> dict[str, GateSummary]:
        """Return the summary of every gate for the record."""
        return {
            f"{layer}.{gate}": GateSummary(
                mean=total / size,
                saturated_low=low / size,
                saturated_high=high / size,
                time_constant=None if constants is None else float(np.median(constants)),
                every=self.stride,
            )
            for layer, gate, (size, total, low, high), constants in self.over_gates()
        }


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


# The table


def write_trace(path: str | os.PathLike[str], watch: TraceWatch, run: Run) -> None:
    """Write the trace, atomically; the file's metadata say what it was made from."""
    metadata = {
        "rnneval.schema": TRACE,
        "rnneval.version": run.rnneval,
        "rnneval.signature": run.signature,
        "rnneval.text": run.text.sha256,
        "rnneval.checkpoint": run.source.sha256,
        "rnneval.model": run.source.identity,
        "rnneval.stride": str(watch.stride),
    }
    schema = pa.schema(_FIELDS, metadata={key: in_utf8(value) for key, value in metadata.items()})
    with table_written(path, schema) as writer:
        for columns in chain(_along(watch), _of_units(watch), _asked_for(run)):
            writer.write_table(_table(columns, schema))


def _along(watch: TraceWatch) -> Iterator[dict[str, Any]]:
    """Yield every state and gate at the stride."""
    lines = sorted(watch.by_position["lines"].items())
    for start in range(0, len(lines), _SEGMENTS):
        some = lines[start : start + _SEGMENTS]
        positions = np.concatenate([at + watch.stride * np.arange(len(part)) for at, part in some])
        for series, values in zip(watch.series, np.concatenate([part for _, part in some]).T, strict=True):
            yield {**series._asdict(), "value": values, "position": positions}


def _of_units(watch: TraceWatch) -> Iterator[dict[str, Any]]:
    """Yield the time constant of each unit."""
    for layer, gate, _, constants in watch.over_gates():
        if constants is not None:
            series = Series(layer, gate, "time_constant")
            yield {**series._asdict(), "value": constants, "unit": np.arange(len(constants))}


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
    finite = np.isfinite(columns["value"])
    arrays = []
    for field in schema:
        values = columns.get(field.name)
        if values is None:
            arrays.append(pa.nulls(int(finite.sum()), field.type))
        elif isinstance(values, str):
            word = pa.scalar(in_utf8(values).decode())
            arrays.append(pa.repeat(word, int(finite.sum())).dictionary_encode().cast(field.type))
        else:
            arrays.append(pa.array(np.asarray(values)[finite]).cast(field.type))
    return pa.table(arrays, schema=schema)
