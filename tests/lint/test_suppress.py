"""Comments that silence a line."""

import pytest

from rnneval.lint.check import check_bytes
from tests.lint.written import snippets

SOURCE = snippets("wrong")[0].source


def codes_with(comment: str) -> list[str]:
    return [finding.code for finding in check_bytes("a.py", SOURCE.replace("# !RNN001", comment).encode())]


@pytest.mark.parametrize(
    "comment",
    [
        "# noqa",
        "# noqa: RNN001",
        "# noqa: E501, RNN001",
        "# noqa: E501 RNN001",
        "# rnneval: ignore",
        "# rnneval: ignore[shared-state]",
        "# rnneval:ignore[RNN001]",
        "# rnneval: ignore[stale-state, shared-state]  - meant so",
    ],
)
def test_silenced(comment: str) -> None:
    assert codes_with(comment) == []


@pytest.mark.parametrize(
    "comment", ["", "# noqa: E501", "# noqa: RNN002", "# rnneval: ignore[stale-state]", "# rnneval: ignore[]"]
)
def test_not_silenced(comment: str) -> None:
    assert codes_with(comment) == ["RNN001"]
