"""The tidy table of a trace: one observation a row, Parquet that pandas reads with no help.

Columns: `position` (token of the text; absent for what holds of the whole text), `unit` (absent for what is not of one
unit), `layer`, `slot` (h, c, or a gate: update, reset, input, forget, output; "" of the whole model), `statistic`,
`value`, `low` and `high` (the bin of a histogram; absent elsewhere). What is not a finite number is left out.
"""

import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from rnneval.engine.inside.tracing import TraceWatch
from rnneval.metrics.inside import histogram
from rnneval.recordfile import table_written

SCHEMA = "rnneval.trace/1"
_WORD = pa.dictionary(pa.int32(), pa.string())
_FIELDS: list[Any] = [
    ("position", pa.int64()),
    ("unit", pa.int32()),
    ("layer", _WORD),
    ("slot", _WORD),
    ("statistic", _WORD),
    ("value", pa.float64()),
    ("low", pa.float64()),
    ("high", pa.float64()),
]
_SHARES = (0.05, 0.5, 0.95)


def write_trace(path: str | os.PathLike[str], watch: TraceWatch, described: Mapping[str, str]) -> None:
    """Write the trace, whole or not at all; the file's own metadata say what it was made from.

    Raises:
        RecordError: the file cannot be written.
    """
    metadata = {key.encode(): value.encode() for key, value in {"rnneval.schema": SCHEMA, **described}.items()}
    schema = pa.schema(_FIELDS, metadata=metadata)
    with table_written(path, schema) as writer:
        for columns in _parts(watch):
            writer.write_table(_table(columns, schema))


def _parts(watch: TraceWatch) -> Iterator[dict[str, Any]]:
    for positions, lines in watch.lines():
        for column, values in zip(watch.columns, lines.T, strict=True):
            yield {**column._asdict(), "value": values, "position": positions}
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
