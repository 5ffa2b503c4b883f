"""What is allowed: by how much a metric may get worse, and what `--require` demands of a figure."""

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rnneval.errors import UsageError
from rnneval.metrics import Metric, by_name

DEFAULT = {"perplexity": "+1%"}
_AMOUNT = re.compile(r"^(?P<number>[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?)(?P<percent>\s*%)?$")


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """By how much one metric may get worse."""

    measured: Metric
    amount: float
    """In nats on a logarithmic scale; else in the metric's unit, or a share where it is relative."""
    relative: bool
    """A share of the baseline's own value, whose error then counts, too."""
    text: str
    """As it was given, such as `+1%`."""

    @property
    def factor(self) -> float:
        """What the baseline is multiplied by before it is subtracted."""
        return 1 + self.measured.worse * self.amount if self.relative else 1.0


def allowances(allow: Mapping[str, str | float] | None) -> tuple[Allowance, ...]:
    """Read what is allowed; nothing given is `perplexity=+1%`.

    Raises:
        UsageError: a metric that does not exist, or an amount that cannot be read.
    """
    known = by_name()
    chosen = DEFAULT if allow is None else allow
    return tuple(_allowance(known, metric, str(amount)) for metric, amount in chosen.items())


def parse_allow(given: Sequence[str]) -> dict[str, str]:
    """Read `METRIC=AMOUNT` as the command line has it: amounts by metric.

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
