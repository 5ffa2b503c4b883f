"""The forms that CI systems read, against a schema or an independent parser."""

import re
from datetime import datetime
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import xmlschema
from markdown_it import MarkdownIt

from rnneval.gates.verdicts import NamedRecord, gate
from rnneval.render.gate_document import gate_github, gate_junit, gate_markdown
from tests.gates.synthetic import ar_losses, make_run

LOSSES = ar_losses(128)
BASELINE = make_run(LOSSES, checkpoint="base")
NOISE = 0.01 * np.random.default_rng(0).normal(size=128)
MADE = datetime(2026, 1, 2, 3, 4, 5)
JUNIT = xmlschema.XMLSchema(str(Path(__file__).with_name("junit.xsd")))
GATES = {
    "pass": gate(make_run(LOSSES + NOISE), baseline=BASELINE),
    "fail": gate(make_run(LOSSES + 0.1 + NOISE), baseline=BASELINE),
    "inconclusive": gate(make_run(LOSSES[:9] + 0.1), baseline=make_run(LOSSES[:9])),
    "not comparable": gate(make_run(LOSSES, content="other"), baseline=BASELINE),
    "warned": gate(make_run(LOSSES + NOISE + np.sin(np.arange(128) / 9)), baseline=BASELINE),
    "limits": gate(BASELINE, require=["perplexity<=1", "valid==true", "states.no.such<=1"]),
    "names": gate(
        [NamedRecord(name='a|b<c>&"d"\x1b[31m\n*e*, f:g%', record=make_run(LOSSES + 0.1))],
        [NamedRecord(name="базовый ✓.json", record=BASELINE)],
    ),
}
every = pytest.mark.parametrize("name", GATES)


@every
def test_junit_is_valid_and_counts_right(name):
    text = gate_junit(GATES[name], MADE)
    JUNIT.validate(text)
    assert "none</" not in text
    suite = ET.fromstring(text)[0]  # noqa: S314 - written three lines above
    verdicts = [each.verdict for each in GATES[name].comparisons]
    assert suite.get("tests") == str(len(verdicts))
    assert suite.get("failures") == str(verdicts.count("fail")) == str(len(suite.findall("testcase/failure")))
    assert suite.get("errors") == str(len(suite.findall("testcase/error")))
    assert suite.get("timestamp") == "2026-01-02T03:04:05"


@every
def test_markdown_is_one_heading_one_table_and_lists(name):
    tokens = MarkdownIt("commonmark").enable("table").parse(gate_markdown(GATES[name]))
    kinds = [token.type for token in tokens]
    assert kinds.count("heading_open") == 1
    assert kinds.count("table_open") == 1
    assert kinds.count("tr_open") == len(GATES[name].comparisons) + 1
    cells = kinds.count("th_open") + kinds.count("td_open")
    assert cells == 7 * kinds.count("tr_open")
    inner = [child.type for token in tokens for child in token.children or ()]
    assert not {"html_inline", "link_open", "em_open"} & set(inner)


@every
def test_github_annotations_are_one_line_each_and_read_back(name):
    lines = gate_github(GATES[name]).splitlines()
    assert len(lines) == len(GATES[name].comparisons) + len(GATES[name].warnings)
    for line in lines:
        match = re.fullmatch(r"::(notice|warning|error) title=([^:,]+)::(.+)", line)
        assert match is not None
        assert "%" not in re.sub(r"%(25|0A|0D|3A|2C)", "", line)
