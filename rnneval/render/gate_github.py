"""A verdict as GitHub's workflow commands: what becomes an annotation of the job."""

from collections.abc import Mapping

from rnneval.records import Gate
from rnneval.records.gate import Comparison, Verdict
from rnneval.render.gate_words import about
from rnneval.render.github import Level, annotation

_LEVELS: Mapping[Verdict, Level] = {
    "pass": "notice",
    "fail": "error",
    "inconclusive": "warning",
    "not comparable": "error",
}


def gate_github(gate: Gate, *, strict: bool = False) -> str:
    """Give an annotation a comparison and a warning; what is inconclusive or warned of is an error where `strict`."""
    level: Level = "error" if strict else "warning"
    lines = [_comparison(comparison, strict) for comparison in gate.comparisons]
    lines += [annotation(level, warning, title="rnneval gate") for warning in gate.warnings]
    return "".join(f"{line}\n" for line in lines)


def _comparison(comparison: Comparison, strict: bool) -> str:
    level = "error" if strict and comparison.verdict == "inconclusive" else _LEVELS[comparison.verdict]
    tail = f" ({about(comparison)})" if about(comparison) else ""
    title = f"rnneval gate: {comparison.metric}: {comparison.verdict}"
    return annotation(level, comparison.reason + tail, title=title)
