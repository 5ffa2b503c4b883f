"""Files to read, and chunks small enough that everything falls on a boundary."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import strategies as st

LETTERS = "ab \n\r\tAÉé\u0301\u0323Σσς'İ.\u1100\u1161\u11a8\uac00\u3000\u2028\u4e2d😀"
"""Cased, combining, composing, Hangul by halves, white space of three widths, one to four bytes."""


@pytest.fixture(scope="module")
def write():
    """Write texts to files of a folder that is used again and again; give their paths."""
    with tempfile.TemporaryDirectory() as folder:

        def write_all(texts):
            paths = [Path(folder, f"{i}.txt") for i in range(len(texts))]
            for path, text in zip(paths, texts, strict=True):
                path.write_bytes(text if isinstance(text, bytes) else text.encode())
            return paths

        yield write_all


def texts(alphabet=LETTERS):
    """Give one to three texts, at least one not empty."""
    several = st.lists(st.text(alphabet, max_size=40), min_size=1, max_size=3)
    return several.filter(any)
