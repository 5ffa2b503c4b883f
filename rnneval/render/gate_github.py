"""A verdict as GitHub's workflow commands: what becomes an annotation of the job."""

from rnneval.records import Gate
from rnneval.records.gate import Comparison
from rnneval.render.gate_words import about
from rnneval.render.words import visible

_LEVELS = {"pass": "notice", "fail": "error", "inconclusive": "warning", "not comparable": "error"}


def gate_github(gate: Gate, *, strict: bool = False) -> str:
    """Give an annotation a comparison and a warning; an inconclusive one is an error where `strict`."""
    lines = [_annotation(comparison, strict) for comparison in gate.comparisons]
    level = "error" if strict else "warning"
    lines += [f"::{level} title=rnneval gate::{_data(visible(warning))}" for warning in gate.warnings]
    return "\n".join(lines) + "\n"


def _annotation(comparison: Comparison, strict: bool) -> str:
    level = "error" if strict and comparison.verdict == "inconclusive" else _LEVELS[comparison.verdict]
    title = _property(f"rnneval gate: {visible(comparison.metric)}: {comparison.verdict}")
    tail = f" ({about(comparison)})" if about(comparison) else ""
    return f"::{level} title={title}::{_data(visible(comparison.reason) + tail)}"


def _data(text: str) -> str:
    r"""Escape a message as GitHub's runner reads it back.

    >>> _data("100 %\nsure")
    '100 %25%0Asure'
    """
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
