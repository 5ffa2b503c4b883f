"""Allowances and limits: how much a metric may get worse (`--allow`), and conditions on figures (`--require`).

A limit names a figure of a record: `perplexity<=5.3`, `states."stack[1].lstm".h.saturated<=0.2`; those of a training
history are in `histories`. A figure that is absent, is not a number or is not finite satisfies no limit.
"""

import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import msgspec

from rnneval.errors import UsageError
from rnneval.gates.histories import ABSENT, PART, Lookup, TrainingHistory
from rnneval.metrics import Metric, by_name
from rnneval.records import Record, Run

DEFAULT = {"perplexity": "+1%"}
_AMOUNT = re.compile(r"^(?P<number>[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?)(?P<percent>\s*%)?$")
_LIMIT = re.compile(r"^\s*(?P<figure>.+?)\s*(?P<sign><=|>=|==|!=|<|>)\s*(?P<value>[^<>=!]+?)\s*$")
_SIGNS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "==": operator.eq,
    "!=": operator.ne,
}


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
    """Read how much each metric may get worse; the default is `perplexity=+1%`."""
    return tuple(_allowance(metric, str(amount)) for metric, amount in (DEFAULT if allow is None else allow).items())


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
    """Write a number with five significant digits, or with as many as tell it from the limit.

    >>> rounded(6.005450766644738, 5.3), rounded(5.3000001, 5.3), rounded(5.3, 5.3)
    ('6.0055', '5.3000001', '5.3')
    """
    precise = (f"{value:.{digits}g}" for digits in range(5, 17))
    return next((text for text in precise if float(text) != limit or value == limit), repr(value))


def look_up(record: Record | TrainingHistory, name: str) -> Lookup:
    """Look for a figure in a record or a training history.

    `perplexity` is short for `scores.perplexity.value`. A key that holds dots may be quoted.
    `blocks.largest_nats_per_token` is the mean loss in the worst block.
    """
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
    close = get_close_matches(name, [*scores, *_names(plain, "")], 1, 0.7)
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
