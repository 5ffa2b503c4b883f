"""Figures of training histories: one statistic of a layer or variable, summarized over steps or epochs.

A figure is `STATISTIC[.LAYER[.VARIABLE]][.lastN][.SUMMARY]`, such as `grad_norm.gru.last100.p99`:

- without a layer it is the whole model's, or a score of `StateNorms`;
- `lastN` takes the last N steps (of `StateNorms`, epochs) alone;
- the summary is `max` (the default), `min`, `mean`, `median`, `sum`, `last`, or a percentile from `p0` to `p100`.

Parts of a layer's name that would be read as one of these are quoted: `grad_norm."max".p99`.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnneval.errors import RecordError
from rnneval.records import read_table
from rnneval.records.tables import GRADIENT_HISTORY, STATE_HISTORY

_INDEX = {GRADIENT_HISTORY: "step", STATE_HISTORY: "epoch"}
_EMPTY = "empty"
_PART = re.compile(r'"([^"]*)"|([^."]+)')
_LAST = re.compile(r"last([1-9]\d*)")
_PERCENTILE = re.compile(r"p(\d{1,2}|100)")
_SUMMARIES: Mapping[str, Callable[[NDArray[np.float64]], float]] = {
    "max": lambda values: float(values.max()),
    "min": lambda values: float(values.min()),
    "mean": lambda values: float(values.mean()),
    "median": lambda values: float(np.median(values)),
    "sum": lambda values: float(values.sum()),
    "last": lambda values: float(values[-1]),
}
_COUNT = "not_finite"
_OF_EVERY_STEP = ("grad_norm", "weight_norm")
"""Statistics that a gradient history has of every step; others are left out where a step only accumulates gradients."""
_MOST_NAMES = 20


class TooFewStepsError(Exception):
    """A history has too few steps for a figure."""


class UnknownFigureError(Exception):
    """A history has no figure of this name; the message says what it has."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A figure of a history."""

    value: float
    """NaN if a value that it depends on was not finite."""
    note: str = ""
    """Where values were not finite; "" if all were."""


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """A figure as its name asks for it."""

    statistic: str
    place: str
    last: int | None
    summary: str


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingHistory:
    """History that `GradientNorms` or `StateNorms` wrote. Its arrays have one entry a row of the table."""

    schema: str
    index: NDArray[np.int64]
    """Step or epoch, in the order of writing."""
    columns: NDArray[np.int64]
    """Number of the row's column in `names`."""
    names: tuple[tuple[str, str], ...]
    """Statistic and place of each column: `LAYER.VARIABLE`, `LAYER` for a total of a layer, "" for the whole model."""
    value: NDArray[np.float64]

    def figure(self, name: str) -> Summary:
        """Return a figure by its name.

        Raises:
            UnknownFigureError: there is none of this name.
            TooFewStepsError: the history has no step, fewer than `lastN` asks for, or no value in them.
        """
        if not len(self.index):
            raise TooFewStepsError("the history has no step: the training ended before the first part was written")
        asked = self._asked(name)
        series = self._series(asked.statistic, asked.place)
        unit = _INDEX[self.schema]
        start = 0 if asked.last is None else max(0, len(series) - asked.last)
        lacking = self._not_finite(asked, series)[start:]
        if lacking.any():  # a failure, however few steps there are
            first = self._moments[1][start + int(lacking.argmax())]
            note = f"not finite in {int(lacking.sum()):,} of {len(lacking):,} {unit}s, first in {unit} {first:,}"
            return Summary(value=float("nan"), note=note)
        if asked.last is not None and asked.last > len(series):
            raise TooFewStepsError(f"the history has {len(series):,} {unit}s, and {asked.last:,} were asked for")
        values = series[start:]
        values = values[~np.isnan(values)]
        if not len(values):
            place = asked.place or "the whole model"
            raise TooFewStepsError(f"the history has no {asked.statistic} of {place} in its last {asked.last} {unit}s")
        return Summary(value=_summarized(values, asked.summary))

    def _asked(self, name: str) -> _Asked:
        """Read the name of a figure.

        Raises:
            UnknownFigureError: the history lacks its statistic, layer or variable.
        """
        parts = [(quoted or plain, not quoted) for quoted, plain in _PART.findall(name)]
        known = self._known()
        statistics = list(dict.fromkeys(each for each, _ in known))
        statistic = parts[0][0] if parts else ""
        if statistic not in statistics:
            raise UnknownFigureError(what_there_is(f"no statistic {statistic!r}", statistic, statistics))
        rest = parts[1:]
        summary, last = "max", None
        if rest and rest[-1][1] and (rest[-1][0] in _SUMMARIES or _PERCENTILE.fullmatch(rest[-1][0])):
            summary = rest.pop()[0]
        if rest and rest[-1][1] and (found := _LAST.fullmatch(rest[-1][0])):
            last = int(found[1])
            rest.pop()
        place = ".".join(word for word, _ in rest)
        places = [each for of, each in known if of == statistic]
        if place not in places:
            message = what_there_is(f"no {statistic} of {place or 'the whole model'!r}", place, places)
            raise UnknownFigureError(f"{message}; after it may come lastN, then {', '.join(_SUMMARIES)} or p0 to p100")
        return _Asked(statistic=statistic, place=place, last=last, summary=summary)

    def _known(self) -> list[tuple[str, str]]:
        """Return statistics and places, with the norms of which not a single one was finite."""
        counted = [place for statistic, place in self.names if statistic == _COUNT]
        norms = [name for name in _OF_EVERY_STEP if name == "grad_norm" or any(name == each for each, _ in self.names)]
        return list(dict.fromkeys([*self.names, *((name, place) for name in norms for place in counted)]))

    @cached_property
    def _moments(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the position in time of each row, from 0, and the step or epoch of each position.

        A training that was appended to another begins again at its first step, and is later all the same.
        """
        begins = np.concatenate([[True], self.index[1:] != self.index[:-1]])
        return np.cumsum(begins) - 1, self.index[begins]

    def _series(self, statistic: str, place: str) -> NDArray[np.float64]:
        """Return the values in order of time, NaN where there is none: `(steps,)`."""
        moment, steps = self._moments
        series = np.full(len(steps), np.nan)
        if (statistic, place) in self.names:
            chosen = self.columns == self.names.index((statistic, place))
            series[moment[chosen]] = self.value[chosen]
        return series

    def _not_finite(self, asked: _Asked, series: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return the steps whose value was not finite: a history leaves it out, `(steps,)`."""
        missing = np.isnan(series)
        if _INDEX[self.schema] == "epoch":
            return missing
        counts = self._series(_COUNT, asked.place)
        measured = ~np.isnan(counts) if asked.statistic in _OF_EVERY_STEP else counts > 0
        return missing & measured


def read_history(path: str | os.PathLike[str]) -> TrainingHistory:
    """Read a history: the folder of its parts, or one part. An empty folder is a history without a step.

    Raises:
        RecordError: it is missing or damaged, or holds another table.
    """
    place = Path(path)
    if place.is_dir() and not any(place.iterdir()):
        none = np.array([], np.int64)
        return TrainingHistory(schema=_EMPTY, index=none, columns=none, names=(), value=none.astype(np.float64))
    table = read_table(place)
    schema = (table.schema.metadata or {}).get(b"rnneval.schema", b"").decode()
    needed = {_INDEX.get(schema, ""), "layer", "variable", "statistic", "value"}
    if not needed <= set(table.column_names):
        raise RecordError(
            f"{place}: holds {schema}, and a gate reads JSON records and histories of GradientNorms or StateNorms alone"
        )
    numbers, words = zip(*(_encoded(table.column(name)) for name in ("statistic", "layer", "variable")), strict=True)
    shape = tuple(len(each) + 1 for each in words)
    used, columns = np.unique(np.ravel_multi_index(numbers, shape), return_inverse=True)
    there = zip(*np.unravel_index(used, shape), strict=True)
    names = ((words[0][i], ".".join(filter(None, (words[1][j], words[2][k])))) for i, j, k in there)
    return TrainingHistory(
        schema=schema,
        index=table.column(_INDEX[schema]).to_numpy(),
        columns=columns.astype(np.int64),
        names=tuple(names),
        value=table.column("value").to_numpy(),
    )


def _encoded(column: Any) -> tuple[NDArray[np.int64], list[str]]:
    """Return the words of a column as numbers, and the word of each number."""
    import pyarrow as pa

    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    whole = encoded.unify_dictionaries().combine_chunks()
    return whole.indices.to_numpy().astype(np.int64), whole.dictionary.to_pylist()


def _summarized(values: NDArray[np.float64], summary: str) -> float:
    """Return the summary of values, of which there is at least one."""
    if (found := _PERCENTILE.fullmatch(summary)) is not None:
        return float(np.percentile(values, int(found[1])))
    return _SUMMARIES[summary](values)


def what_there_is(problem: str, word: str, known: list[str]) -> str:
    """Say what is not known, which known names are close to it, and which there are, up to 20.

    >>> what_there_is("no layer 'gruu'", "gruu", ["gru", "logits"])
    "no layer 'gruu'; did you mean gru? There are gru, logits"
    """
    close = get_close_matches(word, known)
    meant = f" did you mean {' or '.join(close)}? There are" if close else " there are"
    return f"{problem};{meant} {', '.join(_listed(known))}"


def _listed(known: list[str]) -> Iterator[str]:
    yield from (each or "the whole model" for each in known[:_MOST_NAMES])
    if len(known) > _MOST_NAMES:
        yield f"and {len(known) - _MOST_NAMES} more"
