"""Figures of records by name, and limits on them: `perplexity<=5.3`, `states."stack[1].lstm".h.saturated<=0.2`.

What is absent, is not a number or is NaN never satisfies a limit.
"""

import difflib
import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from rnneval.errors import UsageError
from rnneval.records import Gate, Run, Wiring

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
class Limit:
    """What one figure must satisfy."""

    figure: str
    sign: str
    value: float | str | bool
    text: str

    def holds(self, seen: object) -> bool:
        """Tell whether a figure satisfies the limit; false for anything that is not of the limit's kind."""
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


def figure(record: Run | Wiring | Gate, name: str) -> object:
    """Look a figure up by its path in the record; `perplexity` is short for `scores.perplexity.value`.

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
    """Tell whether `figure` found nothing."""
    return found is _ABSENT


def similar(record: Run | Wiring | Gate, name: str) -> str | None:
    """Give the name of a figure of the record that is close to a name that it lacks."""
    names = [*_plain(record).get("scores", {}), *_names(_plain(record), "")]
    return next(iter(difflib.get_close_matches(name, names, 1, 0.7)), None)


def _plain(record: Run | Wiring | Gate) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(record)
    if isinstance(record, Run) and "nats" in record.blocks.sums:
        pairs = zip(record.blocks.sums["nats"], record.blocks.tokens, strict=False)
        plain["blocks"]["largest_nats_per_token"] = max((nats / n for nats, n in pairs if n), default=math.nan)
    return plain


def _resolve(value: Any, parts: list[str]) -> Any:
    """Walk down; a key of the record may itself hold dots (`gru.h`), so parts are joined as far as it takes."""
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
