"""What is printed: text, JSON, SARIF 2.1.0 against its own schema, GitHub annotations.

`data/sarif-2.1.0.schema.json` is the schema that OASIS publishes (sarif-spec, Schemata/sarif-schema-2.1.0.json),
without its line breaks, taken from the package schemastore 0.2.3.
"""

import dataclasses
import json
from pathlib import Path

import jsonschema

from rnneval.lint.check import LintFinding, check_bytes
from rnneval.render.lint_formats import lint_json, lint_sarif
from tests.lint.written import snippets

SCHEMA = json.loads((Path(__file__).parent / "data" / "sarif-2.1.0.schema.json").read_text(encoding="utf-8"))
FOUND = [
    finding
    for number, snippet in enumerate(snippets("wrong"))
    for finding in check_bytes(f"models/a b/{number}.py", snippet.source.encode())
]
CELL = LintFinding(
    rule="shared-state",
    code="RNN001",
    severity="error",
    path="a.ipynb",
    cell=3,
    line=4,
    column=5,
    end_line=4,
    end_column=9,
    message="50 % of it,\nsee: there",
)
BROKEN = check_bytes("old.py", b"print 'a'\n")[0]
EVERY = [*FOUND, CELL, BROKEN]


def check(log: str) -> dict:
    parsed = json.loads(log)
    jsonschema.Draft7Validator(SCHEMA).validate(parsed)
    return parsed


def test_sarif_is_valid_and_complete() -> None:
    run = check(lint_sarif(EVERY))["runs"][0]
    rules = run["tool"]["driver"]["rules"]
    assert len(run["results"]) == len(EVERY)
    assert [rules[result["ruleIndex"]]["id"] for result in run["results"]] == [finding.code for finding in EVERY]
    assert {result["level"] for result in run["results"]} == {"error", "warning"}


def test_sarif_places() -> None:
    result = check(lint_sarif([dataclasses.replace(CELL, path="a.py", cell=None)]))["runs"][0]["results"][0]
    place = result["locations"][0]
    assert place["physicalLocation"]["region"] == {"startLine": 4, "startColumn": 5, "endLine": 4, "endColumn": 9}
    assert "logicalLocations" not in place


def test_json_has_the_keys_of_the_contract_and_no_null() -> None:
    first, cell = json.loads(lint_json([FOUND[0], CELL]))
    keys = {"rule", "code", "severity", "path", "line", "column", "end_line", "end_column", "message"}
    assert set(first) == keys
    assert set(cell) == {*keys, "cell"}
    assert json.loads(lint_json([])) == []
