"""The tidy table of a trace: one observation a row, Parquet that pandas reads with no help.

Columns: `position` (token of the text; absent for what holds of the whole text), `unit` (absent for what is not of one
unit), `lag` (tokens of context; absent but for `context`), `layer`, `slot` (h, c, or a gate: update, reset, input,
forget, output; "" of the whole layer or model), `statistic`, `value`, `low` and `high` (the bin of a histogram; the
5th and 95th percentile of a `norm_band`; two standard errors around a `context` or `lyapunov`; absent elsewhere). What
is not a finite number is left out.
"""

import os
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from rnneval.engine.diagnostics.tracing import TraceWatch
from rnneval.metrics.diagnostics import histogram
from rnneval.records import table_written
from rnneval.records.run import Run

SCHEMA = "rnneval.trace/1"
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
_STRETCHES, _FEWEST = 128, 8
"""Into how many stretches a text is divided for bands, and how many lines each has at the least."""


def write_trace(path: str | os.PathLike[str], watch: TraceWatch, run: Run) -> None:
    """Write the trace, whole or not at all; the file's own metadata say what it was made from.

    Raises:
        RecordError: the file cannot be written.
    """
    metadata = {key.encode(): value.encode() for key, value in _described(watch, run).items()}
    schema = pa.schema(_FIELDS, metadata=metadata)
    with table_written(path, schema) as writer:
        for columns in chain(_along(watch), _bands(watch), _of_all(watch), _asked_for(run)):
            writer.write_table(_table(columns, schema))


def _described(watch: TraceWatch, run: Run) -> dict[str, str]:
    return {
        "rnneval.schema": SCHEMA,
        "rnneval.version": run.rnneval,
        "rnneval.signature": run.signature,
        "rnneval.text": run.text.sha256,
        "rnneval.checkpoint": run.checkpoint.sha256,
        "rnneval.stride": str(watch.stride),
    }


def _along(watch: TraceWatch) -> Iterator[dict[str, Any]]:
    """Every slot and gate at the stride."""
    for positions, lines in watch.lines():
        for column, values in zip(watch.columns, lines.T, strict=True):
            yield {**column._asdict(), "value": values, "position": positions}


def _bands(watch: TraceWatch) -> Iterator[dict[str, Any]]:
    """Median, 5th and 95th percentile of each norm, by stretches of the text; the position is a stretch's first."""
    places = [k for k, column in enumerate(watch.columns) if column.statistic == "norm"]
    size, begins, found = max(_FEWEST, -(-watch.most_lines // _STRETCHES)), [], []
    for position, norms in _stretches(watch, places, size):
        begins.append(position)
        found.append(np.percentile(norms.astype(np.float64), (5, 50, 95), axis=0))
    for k, place in enumerate(places):
        low, median, high = np.array(found).reshape(-1, 3, len(places))[:, :, k].T
        named = watch.columns[place]._replace(statistic="norm_band")._asdict()
        yield {**named, "position": np.array(begins), "value": median, "low": low, "high": high}


def _stretches(watch: TraceWatch, places: list[int], size: int) -> Iterator[tuple[int, Any]]:
    """Give the first position and the lines `(size, places)` of each stretch; the last one may be shorter."""
    at, held = np.zeros(0, np.int64), np.zeros((0, len(places)), np.float32)
    for positions, lines in watch.lines():
        at, held = np.concatenate([at, positions]), np.concatenate([held, lines[:, places]])
        while len(held) >= size:
            yield int(at[0]), held[:size]
            at, held = at[size:], held[size:]
    if len(held):
        yield int(at[0]), held


def _of_all(watch: TraceWatch) -> Iterator[dict[str, Any]]:
    """What holds of the whole text: histograms, percentiles, numbers a unit."""
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
        numbers = np.arange(len(of_units.values))
        yield {
            "layer": of_units.layer,
            "slot": of_units.slot,
            "statistic": of_units.statistic,
            "value": of_units.values,
            "unit": numbers,
        }


def _asked_for(run: Run) -> Iterator[dict[str, Any]]:
    """The context curve and the Lyapunov exponents, with two standard errors."""
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
            arrays.append(
                pa.array(
                    np.asarray(given)[finite].astype(np.float64 if pa.types.is_floating(field.type) else np.int64),
                    field.type,
                )
            )
    return pa.table([array.cast(field.type) for array, field in zip(arrays, schema, strict=True)], schema=schema)
