"""Files as they come: notebooks, magics, bytes that are no source."""

import json

import pytest

from rnneval.lint.check import check_bytes
from tests.lint.written import snippets

QUESTION = snippets("wrong")[0]


def notebook(*cells: str | list[str], kind: str = "code") -> bytes:
    return json.dumps(
        {
            "cells": [{"cell_type": kind, "source": cell, "metadata": {}, "outputs": []} for cell in cells],
            "nbformat": 4,
            "nbformat_minor": 5,
            "metadata": {},
        }
    ).encode()


def test_cells_are_read_together_and_lines_count_within_the_cell() -> None:
    first, second = QUESTION.source.split("\n", 1)
    lines = [f"{line}\n" for line in second.splitlines()]
    found = check_bytes("a.ipynb", notebook("# title\n", f"%matplotlib inline\n{first}", lines))
    ((line, code),) = QUESTION.expected
    assert [(finding.cell, finding.line, finding.code) for finding in found] == [(3, line - 1, code)]


@pytest.mark.parametrize(
    "magic",
    [
        "%load_ext tensorboard",
        "!pip install tensorflow==2.8 \\\n    keras",
        "files = !ls",
        "?model.fit",
        "%%time\nx = 1",
        "%%bash\nfor i in 1 2; do echo $i; done",
        "if True:\n    !ls -l\nelse:\n    %pwd",
    ],
)
def test_magics_are_tolerated(magic: str) -> None:
    found = check_bytes("a.ipynb", notebook(magic, QUESTION.source))
    assert [(finding.cell, finding.line, finding.code) for finding in found] == [(2, *QUESTION.expected[0])]


def test_one_broken_cell_does_not_hide_the_others() -> None:
    found = check_bytes("a.ipynb", notebook("def f(:\n  pass", QUESTION.source))
    assert [(finding.cell, finding.code, finding.severity) for finding in found] == [
        (1, "RNN000", "warning"),
        (2, "RNN001", "error"),
    ]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"null", b'{"cells": 3}', b'{"cells": [1]}', b"\xff\xfe"])
def test_what_is_no_notebook_is_a_warning(content: bytes) -> None:
    (finding,) = check_bytes("a.ipynb", content)
    assert (finding.code, finding.severity) == ("RNN000", "warning")
    assert "\n" not in finding.message


@pytest.mark.parametrize(
    "content",
    [
        b"\x00",
        b"x = '\xff'",
        b"# -*- coding: no-such -*-\nx = 1",
        b"\xef\xbb\xbfx = 1\n# \xff",
        b"(" * 100_000,
        b"-" * 200_000,
    ],
)
def test_bytes_that_are_no_source_are_a_warning(content: bytes) -> None:
    found = check_bytes("a.py", content)
    assert [finding.code for finding in found] == ["RNN000"]
