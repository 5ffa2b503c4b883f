"""A verdict as JUnit XML: a test case a comparison.

The file is valid under both schemas that are in use: Jenkins' `junit-10.xsd` (xunit plugin) and Ant's `JUnit.xsd`
(windyroad), which asks for the host, the time and an empty output besides. A fail is a `failure`; no verdict is an
`error`, as the exit code is not 0 either.
"""

from collections.abc import Iterable
from datetime import datetime
from xml.etree import ElementTree as ET

from rnneval.records import Gate
from rnneval.records.gate import Comparison
from rnneval.render.gate_words import HEADINGS, about, line, method
from rnneval.render.words import visible

_SUITE = "rnneval.gate"


def gate_junit(gate: Gate, made: datetime) -> str:
    """Give the XML.

    Args:
        gate: The verdict.
        made: When it was reached; written without a zone, as the schema has it.
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
    cells = zip(HEADINGS, line(comparison).cells, strict=True)
    facts = [f"{heading or 'metric'}: {cell}" for heading, cell in cells if cell != "–"]
    lines = [part for part in (*facts, about(comparison), method(comparison)) if part]
    _element(case, kind, lines, type=comparison.verdict, message=comparison.reason)


def _element(parent: ET.Element, tag: str, lines: Iterable[str] = (), **attributes: str) -> ET.Element:
    """Add an element; what XML has no way to write (most control characters) is shown as an escape."""
    element = ET.SubElement(parent, tag, {name: visible(value) for name, value in attributes.items()})
    element.text = "\n".join(map(visible, lines)) or None
    return element
