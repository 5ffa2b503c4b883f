"""A verdict as JUnit XML: a test case a comparison.

The file is valid under both schemas that are in use: Jenkins' `junit-10.xsd` (xunit plugin) and Ant's `JUnit.xsd`
(windyroad), which asks for the host, the time and an empty output besides. A fail is a `failure`; no verdict is an
`error`, as the exit code is not 0 either.
"""

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
    suite = ET.Element(
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
    properties = ET.SubElement(suite, "properties")
    ET.SubElement(properties, "property", name="verdict", value=gate.verdict)
    for comparison in gate.comparisons:
        _case(suite, comparison)
    ET.SubElement(suite, "system-out").text = "\n".join(visible(warning) for warning in gate.warnings)
    ET.SubElement(suite, "system-err")
    suites = ET.Element("testsuites")
    suites.append(suite)
    ET.indent(suites)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(suites, encoding="unicode")}\n'


def _case(suite: ET.Element, comparison: Comparison) -> None:
    against = "" if comparison.baseline == "limit" else f" against {visible(comparison.baseline)}"
    name = f"{visible(comparison.metric)} ({visible(comparison.candidate)}{against})"
    case = ET.SubElement(suite, "testcase", name=name, classname=_SUITE, time="0")
    if comparison.verdict == "pass":
        return
    kind = "failure" if comparison.verdict == "fail" else "error"
    outcome = ET.SubElement(case, kind, type=comparison.verdict, message=visible(comparison.reason))
    cells = zip(HEADINGS, line(comparison).cells, strict=True)
    facts = [f"{heading or 'metric'}: {cell}" for heading, cell in cells if cell != "–"]
    outcome.text = "\n".join(part for part in (*facts, about(comparison), method(comparison)) if part)
