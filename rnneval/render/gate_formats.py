"""Verdicts of `gate` as continuous integration reads them: JUnit XML, GitHub's workflow commands, Markdown.

JUnit has a test case for each comparison. The file is valid under both schemas that are in use: Jenkins'
`junit-10.xsd` (xunit plugin) and Ant's `JUnit.xsd` (windyroad), which also requires the host, the time and an empty
output. A fail is a `failure`; no verdict is an `error`, since the exit code is not 0 either. Markdown is what GitHub
shows as the summary of a job, and what the comment of a merge request can hold.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from xml.etree import ElementTree as ET

from rnneval.records import Gate
from rnneval.records.gate import Comparison, Verdict
from rnneval.render.document import Paragraph
from rnneval.render.gate_document import HEADINGS, about, gate_blocks, headline, line, method
from rnneval.render.markdown import block_markdown
from rnneval.render.phrasing import Level, annotation, visible

_SUITE = "rnneval.gate"
_LEVELS: Mapping[Verdict, Level] = {
    "pass": "notice",
    "fail": "error",
    "inconclusive": "warning",
    "not comparable": "error",
}
_SIGNS = {"pass": "✅", "fail": "❌", "inconclusive": "⚠️", "not comparable": "⛔"}


# Markdown


def gate_markdown(gate: Gate) -> str:
    """Write a heading with the verdict, a table, a list of the reasons, and the warnings."""
    named = [Paragraph(text=headline(gate))] if headline(gate) else []
    parts = [
        f"## {_SIGNS[gate.verdict]} rnneval gate: {gate.verdict}",
        *map(block_markdown, (*named, *gate_blocks(gate))),
    ]
    return "\n\n".join(parts) + "\n"


# GitHub


def gate_github(gate: Gate, *, strict: bool = False) -> str:
    """Write an annotation for each comparison and each warning; with `strict`, inconclusive and warnings are errors."""
    level: Level = "error" if strict else "warning"
    lines = [_annotated(comparison, strict) for comparison in gate.comparisons]
    lines += [annotation(level, warning, title="rnneval gate") for warning in gate.warnings]
    return "".join(f"{line}\n" for line in lines)


def _annotated(comparison: Comparison, strict: bool) -> str:
    level = "error" if strict and comparison.verdict == "inconclusive" else _LEVELS[comparison.verdict]
    tail = f" ({about(comparison)})" if about(comparison) else ""
    title = f"rnneval gate: {comparison.metric}: {comparison.verdict}"
    return annotation(level, comparison.reason + tail, title=title)


# JUnit


def gate_junit(gate: Gate, made: datetime) -> str:
    """Write the XML.

    Args:
        gate: The verdict.
        made: When it was reached; written without a time zone, as the schema requires.
    """
    verdicts = [comparison.verdict for comparison in gate.comparisons]
    suites = ET.Element("testsuites")
    suite = _element(
        suites,
        "testsuite",
        name=_SUITE,
        package="rnneval",
        id="0",
        hostname="localhost",
        timestamp=made.strftime("%Y-%m-%dT%H:%M:%S"),
        tests=str(len(verdicts)),
        failures=str(verdicts.count("fail")),
        errors=str(verdicts.count("inconclusive") + verdicts.count("not comparable")),
        time="0",
    )
    properties = _element(suite, "properties")
    _element(properties, "property", name="verdict", value=gate.verdict)
    for comparison in gate.comparisons:
        _case(suite, comparison)
    _element(suite, "system-out", gate.warnings)
    _element(suite, "system-err")
    ET.indent(suites)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(suites, encoding="unicode")}\n'


def _case(suite: ET.Element, comparison: Comparison) -> None:
    against = "" if comparison.baseline == "limit" else f" against {comparison.baseline}"
    name = f"{comparison.metric} ({comparison.candidate}{against})"
    case = _element(suite, "testcase", name=name, classname=_SUITE, time="0")
    if comparison.verdict == "pass":
        return
    kind = "failure" if comparison.verdict == "fail" else "error"
    cells = zip(HEADINGS, line(comparison), strict=True)
    facts = [f"{heading}: {cell}" for heading, cell in cells if cell != "–"]
    lines = [part for part in (*facts, about(comparison), method(comparison)) if part]
    _element(case, kind, lines, type=comparison.verdict, message=comparison.reason)


def _element(parent: ET.Element, tag: str, lines: Iterable[str] = (), **attributes: str) -> ET.Element:
    """Add an element; characters that XML cannot hold (most control characters) are shown as escapes."""
    element = ET.SubElement(parent, tag, {name: visible(value) for name, value in attributes.items()})
    element.text = "\n".join(map(visible, lines)) or None
    return element
