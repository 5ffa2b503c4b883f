"""Allowances and limits: how much a metric may get worse (`--allow`), and conditions on figures (`--require`).

A limit names a figure of a record: `perplexity<=5.3`, `states."stack[1].lstm".h.saturated<=0.2`. A figure that is
absent, is not a number or is not finite satisfies no limit. A figure of a training history is one statistic, of the
whole model, a layer or a variable, over its last N steps or all: `STATISTIC[.LAYER[.VARIABLE]][.lastN][.SUMMARY]`, such
as `grad_norm.gru.last100.p99`. The summary is `max` (the default), `min`, `mean`, `median`, `sum`, `last`, or a
percentile from `p0` to `p100`. Parts of a layer's name that would be read so are quoted: `grad_norm."max".p99`.
"""

import math
import operator
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
ABSENT = object()  # a figure that a record does not have
PART = re.compile(r'"([^"]*)"|([^."]+)')  # a part of a figure's name, quoted or not
_INDEX = {GRADIENT_HISTORY: "step", STATE_HISTORY: "epoch"}
_LAST = re.compile(r"last([1-9]\d*)")
_PERCENTILE = re.compile(r"p(\d{1,2}|100)")
_SUMMARIES: Mapping[str, Callable[[NDArray[np.float64]], Any]] = {
    "max": np.max, "min": np.min, "mean": np.mean, "median": np.median, "sum": np.sum, "last": lambda all_: all_[-1],
}  # fmt: skip
_MOST_NAMES = 20
_AMOUNT = re.compile(r"^(?P<number>[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?)(?P<percent>\s*%)?$")
_LIMIT = re.compile(r"^\s*(?P<figure>.+?)\s*(?P<sign><=|>=|==|!=|<|>)\s*(?P<value>[^<>=!]+?)\s*$")
_SIGNS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """The amount by which one metric may get worse."""

    measured: Metric
    amount: float
    """The amount in nats for metrics that are compared by logarithms; for others in the metric's unit, or a share."""
    relative: bool  # true if `amount` is a share of the baseline's own value, whose error then counts, too

    @property
    def factor(self) -> float:
        """Factor f of the baseline in the tested candidate − f · baseline: 1 unless the allowance is relative."""
        return 1 + self.measured.worse * self.amount if self.relative else 1.0


def parse_allow(given: Sequence[str]) -> dict[str, str]:
    """Read `METRIC=AMOUNT` of the command line and return the amounts by metric."""
    amounts: dict[str, str] = {}
    for text in given:
        metric, equals, amount = (part.strip() for part in text.partition("="))
        if not equals or not metric:
            raise UsageError(f"--allow {text!r}: written as METRIC=+1% or METRIC=+0.01, such as perplexity=+1%")
        if metric in amounts:
            raise UsageError(f"--allow {text!r}: {metric}={amounts[metric]} was given, too; give each metric once")
        amounts[metric] = amount
    return amounts


_SHORT = {"bpc": "bits_per_char", "bpb": "bits_per_byte", "ppl": "perplexity", "loss": "cross_entropy"}
"""Usual names of metrics."""


def allowances(allow: Mapping[str, str | float] | None) -> tuple[Allowance, ...]:
    """Read how much each metric may get worse; the default is `perplexity=+1%`."""
    if allow is not None and not isinstance(allow, Mapping):
        raise UsageError(f"allow={allow!r}: name the metric, such as allow={{'perplexity': '+1%'}}")
    return tuple(_allowance(metric, str(amount)) for metric, amount in (DEFAULT if allow is None else allow).items())


def require_metric(metric: str, option: str) -> None:
    """Refuse a metric that there is not; `option` is what it was given by, for the message."""
    known = by_name()
    if metric not in known:
        close = get_close_matches(_SHORT.get(metric, metric), known, 1)
        meant = f"did you mean {close[0]}? " if close else ""
        raise UsageError(f"{option} {metric}: no such metric: {meant}there are {', '.join(known)}")


def _allowance(metric: str, amount: str) -> Allowance:
    require_metric(metric, "--allow")
    known = by_name()
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
    """Read `FIGURE<=NUMBER`, or `FIGURE==WORD` for a figure that is a word, true or false."""
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


def rounded(value: float, limit: object) -> str:
    """Write a number with five significant digits, or with as many as tell it from the limit."""
    precise = (f"{value:.{digits}g}" for digits in range(5, 17))
    return next((text for text in precise if float(text) != limit or value == limit), repr(value))


@dataclass(frozen=True, kw_only=True)
class Lookup:
    """A figure that a limit asks for, as a record or a history has it."""

    value: object = ABSENT  # NaN if a value of a history that it depends on was not finite
    note: str = ""  # explanation of a value that is absent or not finite
    unknown: bool = False  # whether the name can be no figure of this history
    undecided: bool = False  # whether the record can neither satisfy a limit nor break it: a history with too few steps


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


def look_up(record: Record | TrainingHistory, name: str) -> Lookup:
    """Look for a figure in a record (`perplexity` is `scores.perplexity.value`) or a training history."""
    if isinstance(record, TrainingHistory):
        return record.figure(name)
    plain: dict[str, Any] = msgspec.to_builtins(record)
    if isinstance(record, Run) and "nats" in record.blocks.sums:
        pairs = zip(record.blocks.sums["nats"], record.blocks.tokens, strict=False)
        plain["blocks"]["largest_nats_per_token"] = max((nats / n for nats, n in pairs if n), default=math.nan)
    scores = plain.get("scores", {})
    for root in (plain, scores):
        found = _resolve(root, [quoted or bare for quoted, bare in PART.findall(name)])
        if isinstance(found, dict):
            found = found.get("value", ABSENT)
        if isinstance(found, bool | int | float | str):
            return Lookup(value=found)
    close = get_close_matches(_SHORT.get(name, name), [*scores, *_names(plain, "")], 1, 0.7)
    meant = f"did you mean {close[0]}?" if close else ""
    first = name.partition(".")[0]
    if first not in type(record).__struct_fields__ and not (isinstance(record, Run) and first in by_name()):
        return Lookup(note=f"no figure is called {name}{meant and f': {meant}'}", unknown=True)
    return Lookup(note=meant)


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
    """Yield the names of the numbers in a record."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _names(inner, f"{place}.{key}" if place else key)
    elif isinstance(value, int | float):
        yield place
