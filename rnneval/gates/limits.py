"""Allowances and limits: how much a metric may get worse (`--allow`), and conditions on figures (`--require`).

A limit names a figure of a record: `perplexity<=5.3`, `states."stack[1].lstm".h.saturated<=0.2`. A figure that is
absent, is not a number or is not finite satisfies no limit.

A figure of a training history is one statistic of a layer or variable, summarized over steps or epochs:
`STATISTIC[.LAYER[.VARIABLE]][.lastN][.SUMMARY]`, such as `grad_norm.gru.last100.p99<=5`:

- without a layer it is the whole model's, or a score of `StateNorms`;
- `lastN` takes the last N steps (of `StateNorms`, epochs) alone;
- the summary is `max` (the default), `min`, `mean`, `median`, `sum`, `last`, or a percentile from `p0` to `p100`.

Parts of a layer's name that would be read as one of these are quoted: `grad_norm."max".p99`.
"""

import math
import operator
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from rnneval.errors import RecordError, UsageError
from rnneval.metrics import Metric, by_name
from rnneval.records import Record, Run, read_table
from rnneval.records.tables import GRADIENT_HISTORY, STATE_HISTORY

DEFAULT = {"perplexity": "+1%"}
ABSENT = object()
"""A figure that a record does not have."""
_AMOUNT = re.compile(r"^(?P<number>[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?)(?P<percent>\s*%)?$")
_LIMIT = re.compile(r"^\s*(?P<figure>.+?)\s*(?P<sign><=|>=|==|!=|<|>)\s*(?P<value>[^<>=!]+?)\s*$")
_PART = re.compile(r'"([^"]*)"|([^."]+)')
_SIGNS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "==": operator.eq,
    "!=": operator.ne,
}
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
_COUNT = "not_finite"
_MOST_NAMES = 20


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """The amount by which one metric may get worse."""

    measured: Metric
    amount: float
    """The amount in nats for metrics that are compared by logarithms; for others in the metric's unit, or a share."""
    relative: bool
    """True if `amount` is a share of the baseline's own value, whose error then counts, too."""

    @property
    def factor(self) -> float:
        """Factor f of the baseline in the tested candidate − f · baseline: 1 unless the allowance is relative."""
        return 1 + self.measured.worse * self.amount if self.relative else 1.0


def parse_allow(given: Sequence[str]) -> dict[str, str]:
    """Read `METRIC=AMOUNT` of the command line and return the amounts by metric.

    Raises:
        UsageError: there is no `=`, or a metric comes twice.

    >>> parse_allow(["perplexity=+1%", "accuracy=0.01"])
    {'perplexity': '+1%', 'accuracy': '0.01'}
    """
    amounts: dict[str, str] = {}
    for text in given:
        metric, equals, amount = (part.strip() for part in text.partition("="))
        if not equals or not metric:
            raise UsageError(f"--allow {text!r}: written as METRIC=+1% or METRIC=+0.01, such as perplexity=+1%")
        if metric in amounts:
            raise UsageError(f"--allow {text!r}: {metric}={amounts[metric]} was given, too; give each metric once")
        amounts[metric] = amount
    return amounts


def allowances(allow: Mapping[str, str | float] | None) -> tuple[Allowance, ...]:
    """Read how much each metric may get worse; the default is `perplexity=+1%`.

    Raises:
        UsageError: a metric that does not exist, or an amount that cannot be read.
    """
    chosen = DEFAULT if allow is None else allow
    return tuple(_allowance(metric, str(amount)) for metric, amount in chosen.items())


def _allowance(metric: str, amount: str) -> Allowance:
    known = by_name()
    if metric not in known:
        close = get_close_matches(metric, known, 1)
        meant = f"did you mean {close[0]}? " if close else ""
        raise UsageError(f"--allow {metric}: no such metric; {meant}There are: {', '.join(known)}")
    given, measured, match = f"--allow {metric}={amount}", known[metric], _AMOUNT.match(amount)
    number = float(match["number"]) if match else math.nan
    if match is None or not math.isfinite(number):
        raise UsageError(f"{given}: the amount is a number or per cent, such as +1% or +0.01")
    percent = bool(match["percent"])
    if not measured.logarithmic:
        return Allowance(measured=measured, amount=number / 100 if percent else number, relative=percent)
    if not percent:
        raise UsageError(f"{given}: a perplexity takes per cent, such as {metric}=+1%")
    if not number > -100:
        raise UsageError(f"{given}: nothing gets better by 100 per cent or more")
    return Allowance(measured=measured, amount=math.log1p(number / 100), relative=False)


@dataclass(frozen=True, kw_only=True)
class Limit:
    """Condition on one figure of a record."""

    figure: str
    sign: str
    value: float | str | bool
    text: str

    def holds(self, seen: object) -> bool:
        """Return whether a figure satisfies the limit; false for anything that is not of the limit's kind."""
        if isinstance(self.value, float):
            number = isinstance(seen, int | float) and not isinstance(seen, bool) and math.isfinite(seen)
            return number and _SIGNS[self.sign](seen, self.value)
        return type(seen) is type(self.value) and _SIGNS[self.sign](seen, self.value)


def parse_limit(text: str) -> Limit:
    """Read `FIGURE<=NUMBER`, or `FIGURE==WORD` for a figure that is a word, true or false.

    Raises:
        UsageError: it cannot be read.
    """
    match = _LIMIT.match(text)
    if match is None:
        raise UsageError(f"--require {text!r}: written as FIGURE<=NUMBER (or <, >=, >, ==), such as 'perplexity<=5.3'")
    word = match["value"]
    value: float | str | bool
    try:
        value = float(word)
    except ValueError:
        value = word == "true" if word in ("true", "false") else word.strip("'\"")
    if isinstance(value, float) and math.isnan(value):
        raise UsageError(f"--require {text!r}: nothing compares with NaN; give a number")
    if not isinstance(value, float) and match["sign"] not in ("==", "!="):
        raise UsageError(f"--require {text!r}: {word!r} is not a number; words compare by == and != alone")
    return Limit(figure=match["figure"], sign=match["sign"], value=value, text=text.strip())


@dataclass(frozen=True, kw_only=True)
class Lookup:
    """A figure that a limit asks for, as a record or a history has it."""

    value: object = ABSENT
    """NaN if a value of a history that it depends on was not finite."""
    note: str = ""
    """Explanation of a value that is not finite."""
    unknown: str = ""
    """Explanation of a name that can be no figure of this history: what it has."""
    undecided: str = ""
    """Reason why the record can neither satisfy a limit nor break it: a history with too few steps."""


def look_up(record: "Record | TrainingHistory", name: str) -> Lookup:
    """Look for a figure in a record or a training history."""
    return record.figure(name) if isinstance(record, TrainingHistory) else Lookup(value=figure(record, name))


def figure(record: Record, name: str) -> object:
    """Return a figure by its path in the record; `perplexity` is short for `scores.perplexity.value`.

    A key that holds dots may be quoted. `blocks.largest_nats_per_token` is the mean loss in the worst block.

    Returns:
        The number, word or truth value; `ABSENT` where the record has none of this name.
    """
    plain = _plain(record)
    for root in (plain, plain.get("scores", {})):
        found = _resolve(root, _parts(name))
        if isinstance(found, dict):
            found = found.get("value", ABSENT)
        if isinstance(found, bool | int | float | str):
            return found
    return ABSENT


def similar(record: Record, name: str) -> str | None:
    """Return the name of a figure of the record that is close to a name that it lacks."""
    plain = _plain(record)
    return next(iter(get_close_matches(name, [*plain.get("scores", {}), *_names(plain, "")], 1, 0.7)), None)


def _parts(name: str) -> list[str]:
    return [quoted or plain for quoted, plain in _PART.findall(name)]


def _plain(record: Record) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(record)
    if isinstance(record, Run) and "nats" in record.blocks.sums:
        pairs = zip(record.blocks.sums["nats"], record.blocks.tokens, strict=False)
        plain["blocks"]["largest_nats_per_token"] = max((nats / n for nats, n in pairs if n), default=math.nan)
    return plain


def _resolve(value: Any, parts: list[str]) -> Any:
    """Return what stands at a path; a key may itself hold dots (`gru.h`), so parts are joined until one fits."""
    if not parts:
        return value
    if isinstance(value, list | tuple) and parts[0].isdigit() and int(parts[0]) < len(value):
        return _resolve(value[int(parts[0])], parts[1:])
    if isinstance(value, dict):
        for count in range(1, len(parts) + 1):
            key = ".".join(parts[:count])
            if key in value and (found := _resolve(value[key], parts[count:])) is not ABSENT:
                return found
    return ABSENT


def _names(value: Any, place: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _names(inner, f"{place}.{key}" if place else key)
    elif isinstance(value, int | float):
        yield place


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingHistory:
    """History that `GradientNorms` or `StateNorms` wrote."""

    schema: str
    index: NDArray[np.int64]
    """Step or epoch of each row of the table, in the order of writing."""
    value: NDArray[np.float64]
    rows: Mapping[tuple[str, str], NDArray[np.intp]]
    """Rows by statistic and place: `LAYER.VARIABLE`, `LAYER` for a total of a layer, "" for the whole model."""

    def figure(self, name: str) -> Lookup:
        """Return a figure by its name, what there is if the name is unknown, or why there are too few steps for it."""
        if not len(self.index):
            return Lookup(undecided="the history has no step: the training ended before the first part was written")
        statistics = list(dict.fromkeys(statistic for statistic, _ in self.rows))
        (statistic, _), *rest = [(quoted or plain, not quoted) for quoted, plain in _PART.findall(name)] or [("", True)]
        if statistic not in statistics:
            return Lookup(unknown=what_there_is(f"no statistic {statistic!r}", statistic, statistics))
        summary, last = "max", None
        if rest and rest[-1][1] and (rest[-1][0] in _SUMMARIES or _PERCENTILE.fullmatch(rest[-1][0])):
            summary = rest.pop()[0]
        if rest and rest[-1][1] and (found := _LAST.fullmatch(rest[-1][0])):
            last = int(found[1])
            rest.pop()
        place = ".".join(word for word, _ in rest)
        if (statistic, place) not in self.rows:
            places = [each for of, each in self.rows if of == statistic]
            message = what_there_is(f"no {statistic} of {place or 'the whole model'!r}", place, places)
            return Lookup(unknown=f"{message}; after it may come lastN, then {', '.join(_SUMMARIES)} or p0 to p100")
        return self._summarized(statistic, place, last, summary)

    def _summarized(self, statistic: str, place: str, last: int | None, summary: str) -> Lookup:
        # A training that was appended to another begins again at its first step, and is later all the same.
        begins = np.concatenate([[True], self.index[1:] != self.index[:-1]])
        moment, steps, unit = np.cumsum(begins) - 1, self.index[begins], _INDEX[self.schema]

        def series(of: str) -> Any:
            """Return the values in order of time, masked where there is none: `(steps,)`."""
            values: Any = np.ma.masked_array(np.zeros(len(steps)), mask=True)
            rows = self.rows.get((of, place), ())
            values[moment[rows]] = self.value[rows]
            return values

        values, start = series(statistic), 0 if last is None else max(0, len(steps) - last)
        lacking = ~np.isfinite(values.filled(np.nan))
        if unit == "step":  # a step may have no gradient; older histories left out and counted what was not finite
            lacking &= ~np.ma.getmaskarray(values) | (series(_COUNT).filled(0) > 0)
        lacking = lacking[start:]
        if lacking.any():  # a failure, however few steps there are
            first = steps[start + int(lacking.argmax())]
            note = f"not finite in {int(lacking.sum()):,} of {len(lacking):,} {unit}s, first in {unit} {first:,}"
            return Lookup(value=math.nan, note=note)
        if last is not None and last > len(steps):
            return Lookup(undecided=f"the history has {len(steps):,} {unit}s, and {last:,} were asked for")
        there = values[start:].compressed()
        if not len(there):
            whose = place or "the whole model"
            return Lookup(undecided=f"the history has no {statistic} of {whose} in its last {last} {unit}s")
        percent = _PERCENTILE.fullmatch(summary)
        return Lookup(value=float(np.percentile(there, int(percent[1])) if percent else _SUMMARIES[summary](there)))


def read_history(path: str | os.PathLike[str]) -> TrainingHistory:
    """Read a history: the folder of its parts, or one part. An empty folder is a history without a step.

    Raises:
        RecordError: it is missing or damaged, or holds another table.
    """
    place = Path(path)
    if place.is_dir() and not any(place.iterdir()):
        none = np.array([], np.int64)
        return TrainingHistory(schema="empty", index=none, value=none.astype(np.float64), rows={})
    table = read_table(place)
    schema = (table.schema.metadata or {}).get(b"rnneval.schema", b"").decode()
    keys = ["statistic", "layer", "variable"]
    if not {_INDEX.get(schema, ""), *keys, "value"} <= set(table.column_names):
        raise RecordError(
            f"{place}: holds {schema}, and a gate reads JSON records and histories of GradientNorms or StateNorms alone"
        )
    groups = table.select(keys).to_pandas().groupby(keys, sort=False, observed=True).indices
    return TrainingHistory(
        schema=schema,
        index=table.column(_INDEX[schema]).to_numpy(),
        value=table.column("value").to_numpy(),
        rows={
            (statistic, ".".join(filter(None, (layer, variable)))): rows
            for (statistic, layer, variable), rows in groups.items()
        },
    )


def what_there_is(problem: str, word: str, known: list[str]) -> str:
    """Say what is not known, which known names are close to it, and which there are, up to 20.

    >>> what_there_is("no layer 'gruu'", "gruu", ["gru", "logits"])
    "no layer 'gruu'; did you mean gru? There are gru, logits"
    """
    close = get_close_matches(word, known)
    meant = f" did you mean {' or '.join(close)}? There are" if close else " there are"
    listed = [each or "the whole model" for each in known[:_MOST_NAMES]]
    if len(known) > _MOST_NAMES:
        listed.append(f"and {len(known) - _MOST_NAMES} more")
    return f"{problem};{meant} {', '.join(listed)}"
