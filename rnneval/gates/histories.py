"""Figures of training histories: one statistic of a layer or variable, summarized over steps or epochs.

Their names are `STATISTIC[.LAYER[.VARIABLE]][.lastN][.SUMMARY]`, such as `grad_norm.gru.last100.p99`:

- without a layer it is the whole model's, or a score of `StateNorms`;
- `lastN` takes the last N steps (of `StateNorms`, epochs) alone;
- the summary is `max` (the default), `min`, `mean`, `median`, `sum`, `last`, or a percentile from `p0` to `p100`.

Parts of a layer's name that would be read as one of these are quoted: `grad_norm."max".p99`.
"""

import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnneval.errors import RecordError
from rnneval.records import read_table
from rnneval.records.tables import GRADIENT_HISTORY, STATE_HISTORY

ABSENT = object()
"""A figure that a record does not have."""
PART = re.compile(r'"([^"]*)"|([^."]+)')
"""A part of a figure's name, quoted or not."""
_INDEX = {GRADIENT_HISTORY: "step", STATE_HISTORY: "epoch"}
_LAST = re.compile(r"last([1-9]\d*)")
_PERCENTILE = re.compile(r"p(\d{1,2}|100)")
_SUMMARIES: Mapping[str, Callable[[NDArray[np.float64]], Any]] = {
    "max": np.max,
    "min": np.min,
    "mean": np.mean,
    "median": np.median,
    "sum": np.sum,
    "last": lambda values: values[-1],
}
_MOST_NAMES = 20


@dataclass(frozen=True, kw_only=True)
class Lookup:
    """A figure that a limit asks for, as a record or a history has it."""

    value: object = ABSENT
    """NaN if a value of a history that it depends on was not finite."""
    note: str = ""
    """Explanation of a value that is absent or not finite."""
    unknown: bool = False
    """Whether the name can be no figure of this history."""
    undecided: bool = False
    """Whether the record can neither satisfy a limit nor break it: a history with too few steps."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingHistory:
    """History that `GradientNorms` or `StateNorms` wrote."""

    schema: str
    steps: NDArray[np.int64]
    """Steps or epochs in the order of writing; a training that was appended to another begins again at its first."""
    series: Mapping[tuple[str, str], tuple[NDArray[np.int64], NDArray[np.float64]]]
    """By statistic and place (`LAYER.VARIABLE`, `LAYER`, "" for the whole model), indexes into `steps`, and values."""

    def figure(self, name: str) -> Lookup:
        """Return a figure by its name, what there is if the name is unknown, or why there are too few steps for it."""
        if not len(self.steps):
            note = "the history has no step: the training ended before the first part was written"
            return Lookup(undecided=True, note=note)
        (statistic, _), *rest = [(quoted or plain, not quoted) for quoted, plain in PART.findall(name)] or [("", True)]
        if all(of != statistic for of, _ in self.series):
            return _unknown(f"no statistic {statistic!r}: there are", (of for of, _ in self.series))
        summary, last = "max", None
        if rest and rest[-1][1] and (rest[-1][0] in _SUMMARIES or _PERCENTILE.fullmatch(rest[-1][0])):
            summary = rest.pop()[0]
        if rest and rest[-1][1] and (found := _LAST.fullmatch(rest[-1][0])):
            last = int(found[1])
            rest.pop()
        place = ".".join(word for word, _ in rest)
        if (statistic, place) not in self.series:
            if rest and re.fullmatch(r"p\d+", rest[-1][0]):
                return Lookup(unknown=True, note=f"no percentile {rest[-1][0]}: there are p0 to p100")
            begin = (
                f"no {statistic} of {place or 'the whole model'!r}; after it may come lastN, then "
                f"{', '.join(_SUMMARIES)} or p0 to p100; there are"
            )
            return _unknown(begin, (each or "the whole model" for of, each in self.series if of == statistic))
        return self._summarized(statistic, place, last, summary)

    def _summarized(self, statistic: str, place: str, last: int | None, summary: str) -> Lookup:
        unit, (at, values) = _INDEX[self.schema], self.series[statistic, place]
        inside = at >= len(self.steps) - (last or len(self.steps))
        at, values = at[inside], values[inside]
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):  # a failure, however few steps there are
            first = self.steps[at[bad[0]]]
            asked = min(last or len(self.steps), len(self.steps))
            note = f"not finite in {len(bad):,} of {asked:,} {unit}s, first in {unit} {first:,}"
            return Lookup(value=math.nan, note=note)
        if last is not None and last > len(self.steps):
            note = f"the history has {len(self.steps):,} {unit}s, and {last:,} were asked for"
            return Lookup(undecided=True, note=note)
        if not len(values):
            note = f"the history has no {statistic} of {place or 'the whole model'} in its last {last} {unit}s"
            return Lookup(undecided=True, note=note)
        percent = _PERCENTILE.fullmatch(summary)
        return Lookup(value=float(np.percentile(values, int(percent[1])) if percent else _SUMMARIES[summary](values)))


def _unknown(begin: str, known: Iterable[str]) -> Lookup:
    names = list(dict.fromkeys(known))
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return Lookup(unknown=True, note=f"{begin} {', '.join(names[:_MOST_NAMES])}{more}")


def read_history(path: str | os.PathLike[str]) -> TrainingHistory:
    """Read a history: the folder of its parts, or one part. An empty folder is a history without a step."""
    place = Path(path)
    if place.is_dir() and not any(place.iterdir()):
        return TrainingHistory(schema="empty", steps=np.array([], np.int64), series={})
    table = read_table(place)
    schema = (table.schema.metadata or {}).get(b"rnneval.schema", b"").decode()
    keys = ["statistic", "layer", "variable"]
    if not {_INDEX.get(schema, ""), *keys, "value"} <= set(table.column_names):
        raise RecordError(
            f"{place}: holds {schema}, and a gate reads JSON records and histories of GradientNorms or StateNorms alone"
        )
    index, values = table.column(_INDEX[schema]).to_numpy(), table.column("value").to_numpy()
    begins = np.append(True, index[1:] != index[:-1])[: len(index)]
    moment = np.cumsum(begins) - 1
    groups = table.select(keys).to_pandas().groupby(keys, sort=False, observed=True).indices
    series = {
        (statistic, ".".join(filter(None, (layer, variable)))): (moment[rows], values[rows])
        for (statistic, layer, variable), rows in groups.items()
    }
    return TrainingHistory(schema=schema, steps=index[begins], series=series)
