"""Allowances and limits: how much a metric may get worse (`--allow`), and conditions on figures (`--require`).

A figure of a record is named as in `states."stack[1].lstm".h.saturated<=0.2`, one of a training history as in
`grad_norm.gru.last100.p99`: `STATISTIC[.LAYER[.VARIABLE]][.lastN][.SUMMARY]`, by default the maximum over all steps.
A part of a layer's name that would be read as something else is quoted: `grad_norm."max".p99`.
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
from rnneval.records.tables import GRADIENT_HISTORY, STATE_HISTORY, WIRING

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


def parse_allow(texts: Sequence[str]) -> dict[str, str]:
    """Read `METRIC=AMOUNT` of the command line and return the amounts by metric."""
    amounts: dict[str, str] = {}
    for text in texts:
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
    option, measured, match = f"--allow {metric}={amount}", by_name()[metric], _AMOUNT.match(amount)
    number = float(match["number"]) if match else math.nan
    if match is None or not math.isfinite(number):
        raise UsageError(f"{option}: the amount is a number or per cent, such as +1% or +0.01")
    percent = match["percent"] is not None
    if measured.log is None:
        return Allowance(measured=measured, amount=number / 100 if percent else number, relative=percent)
    if not percent:
        raise UsageError(f"{option}: a perplexity takes per cent, such as {metric}=+1%")
    if not number > -100:
        raise UsageError(f"{option}: nothing gets better by 100 per cent or more")
    return Allowance(measured=measured, amount=math.log1p(number / 100), relative=False)


@dataclass(frozen=True, kw_only=True)
class Limit:
    """Condition on one figure of a record."""

    figure: str
    sign: str
    value: float | str | bool
    text: str

    def holds(self, value: object) -> bool:
        """Return whether a figure satisfies the limit; false for anything that is not of the limit's kind."""
        if isinstance(self.value, float):
            number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            return number and _SIGNS[self.sign](value, self.value)
        return type(value) is type(self.value) and _SIGNS[self.sign](value, self.value)


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
        if match["sign"] not in ("==", "!="):
            raise UsageError(f"--require {text!r}: {word!r} is not a number; words compare by == and !=") from None
    if isinstance(value, float) and math.isnan(value):
        raise UsageError(f"--require {text!r}: nothing compares with NaN; give a number")
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

    unit: str  # `step` or `epoch`
    steps: NDArray[np.int64]
    """Steps or epochs in the order of writing; a training that was appended to another begins again at its first."""
    series: Mapping[tuple[str, str], tuple[NDArray[np.int64], NDArray[np.float64]]]
    """By statistic and place (`LAYER.VARIABLE`, `LAYER`, "" for the whole model), indexes into `steps`, and values."""
    wiring: str = ""  # what the wiring check said of the model; of one that fails no number is valid

    def figure(self, name: str) -> Lookup:
        """Return a figure by its name, what there is if the name is unknown, or why there are too few steps for it."""
        count = len(self.steps)
        if not count:
            note = "the history has no step: the training ended before the first part was written"
            return Lookup(undecided=True, note=note)
        statistic, place, last, summary = _parsed(name)
        if (statistic, place) not in self.series:
            return Lookup(unknown=True, note=self._there_are(statistic, place))
        if self.wiring.startswith("fail"):
            return Lookup(value=math.nan, note=f"not valid, by the wiring check: {self.wiring}")
        at, values = self.series[statistic, place]
        inside = at >= count - (last or count)
        at, values = at[inside], values[inside]
        if len(bad := at[~np.isfinite(values)]):  # a failure, however few steps there are
            asked, first = min(last or count, count), self.steps[bad[0]]
            note = f"not finite in {len(bad):,} of {asked:,} {self.unit}s, first in {self.unit} {first:,}"
            return Lookup(value=math.nan, note=note)
        if last is not None and (last > count or not len(values)):
            has = f"{count:,} {self.unit}s" if len(values) else f"no {statistic} of {place or 'the whole model'} there"
            return Lookup(undecided=True, note=f"the history has {has}, and the last {last:,} were asked for")
        percent = _PERCENTILE.fullmatch(summary)
        return Lookup(value=float(np.percentile(values, int(percent[1])) if percent else _SUMMARIES[summary](values)))

    def _there_are(self, statistic: str, place: str) -> str:
        """Return what there is in place of a statistic or a place that there is not."""
        names = [place or "the whole model" for of, place in self.series if of == statistic]
        begin = (
            f"no {statistic} of {place or 'the whole model'!r} (after it may come lastN, then {', '.join(_SUMMARIES)}"
        )
        begin += " or p0 to p100)"
        if not names:
            begin, names = f"no statistic {statistic!r}", [*dict.fromkeys(of for of, _ in self.series)]
        more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
        return f"{begin}: there are {', '.join(names[:_MOST_NAMES])}{more}"


def _parsed(name: str) -> tuple[str, str, int | None, str]:
    """Return statistic, place, number of last steps and summary of `STATISTIC[.LAYER[.VARIABLE]][.lastN][.SUMMARY]`."""
    (quoted, plain), *rest = PART.findall(name) or [("", "")]
    statistic, summary, last = quoted or plain, "max", None
    if rest and (rest[-1][1] in _SUMMARIES or _PERCENTILE.fullmatch(rest[-1][1])):
        summary = rest.pop()[1]
    if rest and (last_steps := _LAST.fullmatch(rest[-1][1])):
        last = int(last_steps[1])
        rest.pop()
    return statistic, ".".join(quoted or plain for quoted, plain in rest), last, summary


def read_history(path: str | os.PathLike[str]) -> TrainingHistory:
    """Read a history: the folder of its parts, or one part. An empty folder is a history without a step."""
    place = Path(path)
    if place.is_dir() and not any(place.iterdir()):
        return TrainingHistory(unit="step", steps=np.array([], np.int64), series={})
    table = read_table(place)
    schema = (table.schema.metadata or {}).get(b"rnneval.schema", b"").decode()
    unit, keys = _INDEX.get(schema, ""), ["statistic", "layer", "variable"]
    if not {unit, *keys, "value"} <= set(table.column_names):
        raise RecordError(
            f"{place}: holds {schema}, and a gate reads JSON records and histories of GradientNorms or StateNorms alone"
        )
    index, values = table.column(unit).to_numpy(), table.column("value").to_numpy()
    begins = np.append(True, index[1:] != index[:-1])[: len(index)]
    moment = np.cumsum(begins) - 1
    groups = table.select(keys).to_pandas().groupby(keys, sort=False, observed=True).indices
    series = {
        (statistic, ".".join(filter(None, (layer, variable)))): (moment[rows], values[rows])
        for (statistic, layer, variable), rows in groups.items()
    }
    wiring = (table.schema.metadata or {}).get(WIRING.encode(), b"").decode()
    return TrainingHistory(unit=unit, steps=index[begins], series=series, wiring=wiring)


def look_up(record: Record | TrainingHistory, name: str) -> Lookup:
    """Look for a figure in a record (`perplexity` is `scores.perplexity.value`) or a training history."""
    if isinstance(record, TrainingHistory):
        return record.figure(name)
    plain: dict[str, Any] = msgspec.to_builtins(record)
    if isinstance(record, Run) and "nats" in record.blocks.sums:
        pairs = zip(record.blocks.sums["nats"], record.blocks.tokens, strict=False)
        plain["blocks"]["largest_nats_per_token"] = max((nats / n for nats, n in pairs if n), default=math.nan)
    scores = plain.get("scores", {})
    family = str(type(record).__struct_config__.tag).partition("/")[0].removeprefix("rnneval.")
    name = name.removeprefix(f"{family}.")  # `parity.kl.mean` says which of several records is meant
    for root in (plain, scores):
        figure = _resolve(root, [quoted or bare for quoted, bare in PART.findall(name)])
        if isinstance(figure, dict):
            figure = figure.get("value", ABSENT)
        if isinstance(figure, bool | int | float | str):
            return Lookup(value=figure)
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
            if key in value and (figure := _resolve(value[key], parts[count:])) is not ABSENT:
                return figure
    return ABSENT


def _names(value: Any, place: str) -> Iterator[str]:
    """Yield the names of the numbers in a record."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _names(inner, f"{place}.{key}" if place else key)
    elif isinstance(value, int | float):
        yield place
