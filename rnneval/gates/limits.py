"""Allowances and limits: how much a metric may get worse (`--allow`), and conditions on figures (`--require`).

A limit names a figure of a record: `perplexity<=5.3`, `states."stack[1].lstm".h.saturated<=0.2`; or of a training
history: `grad_norm.gru.last100.p99<=5` (`rnneval.gates.histories`). A figure that is absent, is not a number or is NaN
satisfies no limit.
"""

import difflib
import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from rnneval.errors import UsageError
from rnneval.gates.histories import TooFewStepsError, TrainingHistory, UnknownFigureError, what_there_is
from rnneval.metrics import Metric, by_name
from rnneval.records import Gradients, Record, Run

DEFAULT = {"perplexity": "+1%"}
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
_ABSENT = object()


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """The amount by which one metric may get worse."""

    measured: Metric
    amount: float
    """The amount in nats for metrics that are compared by logarithms; for others in the metric's unit, or a share."""
    relative: bool
    """True if `amount` is a share of the baseline's own value, whose error then counts, too."""
    text: str
    """The allowance as it was given, such as `+1%`."""

    @property
    def factor(self) -> float:
        """Factor f of the baseline in the tested candidate − f · baseline: 1 unless the allowance is relative."""
        return 1 + self.measured.worse * self.amount if self.relative else 1.0


def allowances(allow: Mapping[str, str | float] | None) -> tuple[Allowance, ...]:
    """Read how much each metric may get worse; the default is `perplexity=+1%`.

    Raises:
        UsageError: a metric that does not exist, or an amount that cannot be read.
    """
    known = by_name()
    chosen = DEFAULT if allow is None else allow
    return tuple(_allowance(known, metric, str(amount)) for metric, amount in chosen.items())


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


def _allowance(known: Mapping[str, Metric], metric: str, amount: str) -> Allowance:
    if metric not in known:
        close = difflib.get_close_matches(metric, known, 1)
        meant = f"did you mean {close[0]}? " if close else ""
        raise UsageError(f"--allow {metric}: no such metric; {meant}There are: {', '.join(known)}")
    match = _AMOUNT.match(amount)
    number = float(match["number"]) if match else math.nan
    if match is None or not math.isfinite(number):
        raise UsageError(f"--allow {metric}={amount}: the amount is a number or per cent, such as +1% or +0.01")
    return _scaled(known[metric], number, percent=bool(match["percent"]), text=amount)


def _scaled(measured: Metric, number: float, *, percent: bool, text: str) -> Allowance:
    if not measured.logarithmic:
        amount = number / 100 if percent else number
        return Allowance(measured=measured, amount=amount, relative=percent, text=text)
    if not percent:
        raise UsageError(f"--allow {measured.name}={text}: a perplexity takes per cent, such as {measured.name}=+1%")
    if not number > -100:
        raise UsageError(f"--allow {measured.name}={text}: nothing gets better by 100 per cent or more")
    return Allowance(measured=measured, amount=math.log1p(number / 100), relative=False, text=text)


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
            number = isinstance(seen, int | float) and not isinstance(seen, bool) and not math.isnan(seen)
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
    value = _value(match["value"])
    if isinstance(value, float) and math.isnan(value):
        raise UsageError(f"--require {text!r}: nothing compares with NaN; give a number")
    if not isinstance(value, float) and match["sign"] not in ("==", "!="):
        raise UsageError(f"--require {text!r}: {match['value']!r} is not a number; words compare by == and != alone")
    return Limit(figure=match["figure"], sign=match["sign"], value=value, text=text.strip())


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A figure that a limit asks for, as a record has it."""

    value: object = _ABSENT
    note: str = ""
    """Explanation of a value that is not finite."""
    unknown: str = ""
    """Explanation of a name that can be no figure of this record: what the record has."""
    undecided: str = ""
    """Reason why the record can neither satisfy a limit nor break it."""


def look_up(record: Record | TrainingHistory, name: str) -> Seen:
    """Look for a figure in a record or a training history."""
    if isinstance(record, TrainingHistory):
        try:
            found = record.figure(name)
        except UnknownFigureError as error:
            return Seen(unknown=str(error))
        except TooFewStepsError as error:
            return Seen(undecided=str(error))
        return Seen(value=found.value, note=found.note)
    value = figure(record, name)
    if is_absent(value) and isinstance(record, Gradients) and not _is_declared(record, name):
        return Seen(unknown=what_there_is(f"no figure {name!r}", name, list(_names(_plain(record), ""))))
    return Seen(value=value)


def _is_declared(record: Record, name: str) -> bool:
    """Return whether a figure that is absent is one that the record may have: `through_time.gru.h.gone`."""

    def complete(value: Any) -> Any:
        if isinstance(value, msgspec.Struct):
            return {key: complete(inner) for key, inner in msgspec.structs.asdict(value).items()}
        return {key: complete(inner) for key, inner in value.items()} if isinstance(value, dict) else value

    return _resolve(complete(record), [quoted or plain for quoted, plain in _PART.findall(name)]) is None


def figure(record: Record, name: str) -> object:
    """Return a figure by its path in the record; `perplexity` is short for `scores.perplexity.value`.

    A key that holds dots may be quoted. `blocks.largest_nats_per_token` is the mean loss in the worst block.

    Returns:
        The number, word or truth value; `absent` where the record has none of this name.
    """
    parts = [quoted or plain for quoted, plain in _PART.findall(name)]
    plain = _plain(record)
    for root in (plain, plain.get("scores", {})):
        found = _resolve(root, parts)
        if isinstance(found, dict):
            found = found.get("value", _ABSENT)
        if isinstance(found, bool | int | float | str):
            return found
    return _ABSENT


def is_absent(found: object) -> bool:
    """Return whether `figure` found nothing."""
    return found is _ABSENT


def similar(record: Record, name: str) -> str | None:
    """Return the name of a figure of the record that is close to a name that it lacks."""
    names = [*_plain(record).get("scores", {}), *_names(_plain(record), "")]
    return next(iter(difflib.get_close_matches(name, names, 1, 0.7)), None)


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
            if key in value and (found := _resolve(value[key], parts[count:])) is not _ABSENT:
                return found
    return _ABSENT


def _names(value: Any, place: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _names(inner, f"{place}.{key}" if place else key)
    elif isinstance(value, int | float):
        yield place


def _value(text: str) -> float | str | bool:
    if text in ("true", "false"):
        return text == "true"
    try:
        return float(text)
    except ValueError:
        return text.strip("'\"")
