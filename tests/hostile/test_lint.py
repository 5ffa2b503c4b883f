"""Sources made to take the linter's time and memory: it works within limits and says which one was reached."""

import json
import os
import subprocess
import time
from contextlib import chdir
from pathlib import Path

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


@pytest.mark.sampled(2)
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


def test_methods_that_call_each_other_share_the_steps_of_a_file():
    first = (
        "class A:\n    def __init__(self):\n        self.g = GRU(8)\n    def a(self, x):\n"
        + "        x = f(x)\n" * 3_000
    )
    many = "".join(f"    def d{number}(self, x):\n        g(x)\n" + "        self.a(x)\n" * 30 for number in range(500))
    (finding,) = linted(HEAD + first + many)
    assert "takes more than 1,000,000 steps: split the file" in finding.message


def test_many_layers_in_one_method_take_linear_time():
    layers = range(4_000)
    source = HEAD + "class M(tf.keras.Model):\n    def __init__(self):\n"
    source += "".join(f"        self.g{k} = GRU(8, return_sequences=True, return_state=True)\n" for k in layers)
    source += "    def call(self, x, s):\n"
    source += "".join(f"        x, s = self.g{k}(x, initial_state=s)\n" for k in layers)
    found = linted(source + "        return x, s\n")
    assert len(found) == len(layers) - 1  # each layer after the first starts from the state of another


@pytest.mark.parametrize("line", ["# noqa{blank}: !", "# rnneval: ignore[{blank}", "a, {blank}!\nx{blank}y\n{blank}?"])
def test_no_expression_backtracks(line):
    source = HEAD + line.format(blank=" " * 60_000) + "\n"
    linted(source)
    linted(json.dumps({"cells": [{"cell_type": "code", "source": source}]}), "a.ipynb")


@pytest.mark.parametrize(
    ("unit", "said"),
    [("{},", "more than 1,048,576 lists and objects"), ('"a",', "more than 4,194,304 quotation marks")],
)
def test_a_notebook_of_many_values(unit, said):
    (finding,) = linted('{"cells": [], "metadata": [' + unit * ((1 << 24) // len(unit)) + "1]}", "a.ipynb")
    assert said in finding.message


def test_links_to_themselves_and_folders_deeper_than_the_stack(tmp_path):
    """Before: OSError (too many levels of symbolic links), RecursionError."""
    (tmp_path / "a.py").symlink_to("a.py")
    (tmp_path / "me").symlink_to(tmp_path)
    (tmp_path / "gone.py").symlink_to("nowhere.py")
    with chdir(tmp_path):
        for _ in range(1500):
            Path("d").mkdir()
            os.chdir("d")
        Path("deep.py").write_text("x = = 1\n")
    done = cost("lint", ".", cwd=tmp_path)
    assert (done.code, done.printed.count("RNN000")) == (0, 1), done
    assert "deep.py:1:5: RNN000 cannot be read: invalid syntax" in done.printed
    subprocess.run(["/bin/rm", "-r", tmp_path / "d"], check=True)  # pytest's own cleaning ends at a depth of a thousand
