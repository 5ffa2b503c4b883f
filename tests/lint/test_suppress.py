"""Comments that silence a line."""

import pytest

from rnneval.lint.check import check_bytes
from tests.lint.written import snippets

SOURCE = snippets("wrong")[0].source


SILENT = (
    "# noqa", "# noqa: RNN001", "# noqa: E501, RNN001", "# noqa: E501 RNN001", "# rnneval: ignore",
    "# rnneval: ignore[shared-state]", "# rnneval:ignore[RNN001]",
    "# rnneval: ignore[stale-state, shared-state]  - meant so",
)  # fmt: skip
LOUD = ("", "# noqa: E501", "# noqa: RNN002", "# rnneval: ignore[stale-state]", "# rnneval: ignore[]")


@pytest.mark.parametrize("comment", [*SILENT, *LOUD])
def test_a_comment_silences_its_line_or_not(comment: str) -> None:
    findings = check_bytes("a.py", SOURCE.replace("# !RNN001", comment).encode())
    assert [finding.code for finding in findings] == ([] if comment in SILENT else ["RNN001"])
