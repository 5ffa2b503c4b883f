"""Every snippet gives the findings written beside its lines, and nothing else."""

from collections import Counter

import pytest

from rnneval.lint.check import check_bytes
from rnneval.lint.rules import RULES
from tests.lint.written import Snippet, snippets

WRONG, RIGHT = snippets("wrong"), snippets("right")


@pytest.mark.parametrize("snippet", [*WRONG, *RIGHT], ids=lambda snippet: snippet.name)
def test_findings_are_those_expected(snippet: Snippet) -> None:
    found = check_bytes("model.py", snippet.source.encode())
    assert tuple((finding.line, finding.code) for finding in found) == snippet.expected


def test_there_are_enough_of_them() -> None:
    assert len(WRONG) >= 60
    assert len(RIGHT) >= 100
    assert len({snippet.name for snippet in [*WRONG, *RIGHT]}) == len(WRONG) + len(RIGHT)
    assert all(snippet.expected for snippet in WRONG)
    assert not any(snippet.expected for snippet in RIGHT)


def test_every_rule_has_a_snippet_that_fires() -> None:
    fired = Counter(code for snippet in WRONG for _, code in snippet.expected)
    assert set(fired) == {rule.code for rule in RULES}
