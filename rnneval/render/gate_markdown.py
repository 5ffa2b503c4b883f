"""A verdict as Markdown: what GitHub shows as a job's summary, and what a merge request's comment can hold."""

import re

from rnneval.records import Gate
from rnneval.records.gate import Comparison
from rnneval.render.gate_words import HEADINGS, about, headline, line, method
from rnneval.render.words import shortened, visible

_SPECIAL = str.maketrans({character: f"\\{character}" for character in "\\`*_[]<>|#~&$!"})
_BULLET = re.compile(r"[-+](\s|$)|--+\s*$|=")
_NUMBER = re.compile(r"(\d+)[.)](\s|$)")
_LONGEST = 2000
_SIGNS = {"pass": "✅", "fail": "❌", "inconclusive": "⚠️", "not comparable": "⛔"}


def gate_markdown(gate: Gate) -> str:
    """Give a heading with the verdict, a table, a list of the reasons, and the warnings."""
    rows = [HEADINGS, *(line(comparison).cells for comparison in gate.comparisons)]
    head, *body = (f"| {' | '.join(escaped(cell) for cell in row)} |" for row in rows)
    parts = [f"## {_SIGNS[gate.verdict]} rnneval gate: {gate.verdict}"]
    if headline(gate):
        parts.append(escaped(headline(gate)))
    parts.append("\n".join([head, "| --- | ---: | ---: | ---: | ---: | ---: | --- |", *body]))
    parts.append("\n".join(_reason(comparison) for comparison in gate.comparisons))
    if gate.warnings:
        parts.append("\n".join(f"- ⚠️ {escaped(warning)}" for warning in gate.warnings))
    return "\n\n".join(parts) + "\n"


def escaped(text: str) -> str:
    r"""Keep text from being read as Markdown or HTML, wherever in a line or cell it stands.

    >>> escaped("a|b <c> *d*"), escaped("- 1. x"), escaped("1. x")
    ('a\\|b \\<c\\> \\*d\\*', '\\- 1. x', '1\\. x')
    """
    harmless = shortened(visible(text), _LONGEST).translate(_SPECIAL)
    bare = harmless.lstrip()
    number = _NUMBER.match(bare)
    if _BULLET.match(bare):
        bare = f"\\{bare}"
    elif number:
        bare = f"{number[1]}\\{bare[len(number[1]) :]}"
    return "&#32;" * (len(harmless) - len(harmless.lstrip())) + bare


def _reason(comparison: Comparison) -> str:
    details = "; ".join(part for part in (about(comparison), method(comparison)) if part not in ("", "none", "limit"))
    tail = f" ({escaped(details)})" if details else ""
    return f"- **{escaped(comparison.metric)}**: {escaped(comparison.reason)}{tail}"
