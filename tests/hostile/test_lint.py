"""Sources made to take the linter's time and memory: it works within limits and says which one was reached."""

import time

import pytest

from rnneval.lint.check import check_bytes
from tests.hostile.cost import cost

HEAD = "import tensorflow as tf\nfrom keras.layers import GRU\ng = GRU(8, return_sequences=True, return_state=True)\n"
CALL = "x, s = g(x, initial_state=s)\n"


def linted(source, name="a.py"):
    """What the linter says of a source, within 8 processor seconds."""
    before = time.process_time()
    found = check_bytes(name, source.encode())
    assert time.process_time() - before < 8
    return found


@pytest.mark.grid
@pytest.mark.parametrize("source", ["a\n" * 510_000, CALL * 36_000], ids=["names", "passages"])
def test_the_largest_source_takes_less_than_a_gigabyte(tmp_path, source):
    (tmp_path / "a.py").write_text(HEAD + source)
    done = cost("lint", "a.py", "--strict", cwd=tmp_path)
    assert (done.code, done.printed) == (0, "")
    assert done.mb < 1000
    (tmp_path / "a.py").write_text(HEAD + source + "#" * (1 << 20))
    assert "more than 1,048,576 bytes of source: split the file" in cost("lint", "a.py", cwd=tmp_path).printed


@pytest.mark.parametrize(
    "body",
    [
        "a = (g, g)\n" + "a = (a, a)\n" * 60,
        "a = {'x': g}\n" + "a = {'x': a, 'y': a}\n" * 60,
        "a = [g]\n" + "a.append(a)\n" * 60,
        "a = g\n" + "if c:\n    a = (a, a)\nelse:\n    a = [a, a]\n" * 60,
    ],
)
def test_values_within_values_are_not_counted_twice_for_ever(body):
    """Before: time doubled with each line."""
    assert linted(HEAD + body) == ()


@pytest.mark.parametrize(
    ("unit", "said"),
    [("{},", "more than 1,048,576 lists and objects"), ('"a",', "more than 4,194,304 quotation marks")],
)
def test_a_notebook_of_many_values(unit, said):
    (finding,) = linted('{"cells": [], "metadata": [' + unit * ((1 << 24) // len(unit)) + "1]}", "a.ipynb")
    assert said in finding.message
