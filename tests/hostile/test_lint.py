"""Sources made to take the linter's time and memory: it works within a budget and says what it left out."""

import json
import os
import subprocess
from contextlib import chdir
from pathlib import Path

import pytest

from rnneval.errors import UsageError
from rnneval.lint.check import check_bytes
from rnneval.lint.document import MOST_WORDS
from rnneval.lint.files import MOST_BYTES, MOST_DOTS, read_settings
from tests.hostile.cost import cost, require_refused

HEAD = "import tensorflow as tf\nfrom keras.layers import GRU\ng = GRU(8, return_sequences=True, return_state=True)\n"
CALL = "x, s = g(x, initial_state=s)\n"


def linted(tmp_path, name="a.py"):
    """What the linter says of a file, within 8 processor seconds and a gigabyte.

    The largest takes 3 to 6 of them: a core whose twin is busy takes half as long again.
    """
    done = cost("lint", name, "--format", "json", cwd=tmp_path)
    assert done.code in (0, 1), done
    assert done.seconds < 8, done
    assert done.mb < 1000, done
    return [(each["code"], each["line"], each["message"]) for each in json.loads(done.printed)]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("a = 1\n" * 1_000_000, "cannot be read: more than 4,194,304 bytes of source: split the file"),
        ("a\n" * 500_000, "cannot be read: more than 750,000 words, signs and line ends of code: split the file"),
        ("a;" * 500_000, "cannot be read: more than 750,000 words, signs and line ends of code: split the file"),
    ],
    ids=["assignments", "names", "one line"],
)
def test_a_source_of_a_million_lines(tmp_path, source, said):
    """Before: more than 6 GB."""
    (tmp_path / "a.py").write_text(HEAD + source)
    [(code, line, message)] = linted(tmp_path)
    assert (code, line) == ("RNN000", 1)
    assert message.startswith(said)


def test_what_was_left_out_is_a_warning_that_strict_counts(tmp_path):
    (tmp_path / "a.py").write_text("a\n" * 500_000)
    assert cost("lint", "a.py", cwd=tmp_path).code == 0
    assert cost("lint", "a.py", "--strict", cwd=tmp_path).code == 1


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    "source",
    [
        "x = f(x, x)\n" * 70_000,
        CALL * 49_000,  # 15 words, signs and line ends a line
        "a\n" * ((MOST_WORDS - 100) // 2),
    ],
    ids=["calls", "passages", "names"],
)
def test_the_largest_source_of_its_kind_is_read(tmp_path, source):
    (tmp_path / "a.py").write_text(HEAD + source)
    assert [message for code, _, message in linted(tmp_path) if code == "RNN000"] == []


@pytest.mark.parametrize(
    "body",
    [
        "a = (g, g)\n" + "a = (a, a)\n" * 60,
        "a = {'x': g}\n" + "a = {'x': a, 'y': a}\n" * 60,
        "a = [g]\n" + "a.append(a)\n" * 60,
        "a = g\n" + "if c:\n    a = (a, a)\nelse:\n    a = [a, a]\n" * 60,
    ],
)
def test_values_within_values_are_not_counted_twice_for_ever(tmp_path, body):
    """Before: time doubled with each line."""
    (tmp_path / "a.py").write_text(HEAD + body)
    assert linted(tmp_path) == []


def test_methods_that_call_each_other_share_the_steps_of_a_file(tmp_path):
    first = (
        "class A:\n    def __init__(self):\n        self.g = GRU(8)\n    def a(self, x):\n"
        + "        x = f(g(x))\n" * 30
        + "        x = f(x)\n" * 3_000
    )
    many = "".join(f"    def d{number}(self, x):\n        g(x)\n" + "        self.a(x)\n" * 30 for number in range(500))
    (tmp_path / "a.py").write_text(HEAD + first + many)
    assert [message for code, _, message in linted(tmp_path) if code == "RNN000" and "only in part" in message]


def test_many_layers_in_one_method_take_linear_time(tmp_path):
    layers = range(9_000)
    source = HEAD + "class M(tf.keras.Model):\n    def __init__(self):\n"
    source += "".join(f"        self.g{k} = GRU(8, return_sequences=True, return_state=True)\n" for k in layers)
    source += "    def call(self, x, s):\n"
    source += "".join(f"        x, s = self.g{k}(x, initial_state=s)\n" for k in layers)
    (tmp_path / "a.py").write_text(source + "        return x, s\n")
    assert len(linted(tmp_path)) == len(layers) - 1  # each layer after the first starts from the state of another


@pytest.mark.parametrize(
    "line",
    [
        "# ruff: noqa: {blank}!",
        "# ruff{blank}: noqa!",
        "\n" * 60_000 + "x = = g",
        "print{blank}(g",
        "except a{blank}(g",
    ],
)
def test_no_expression_backtracks(tmp_path, line):
    """Before: a comment of 60 kB took minutes."""
    (tmp_path / "a.py").write_text(HEAD + line.format(blank=" " * 60_000) + "\n")
    linted(tmp_path)


def test_magics_of_a_notebook(tmp_path):
    source = HEAD + "a, " * 60_000 + "!\nx" + " " * 60_000 + "y\n" + " " * 60_000 + "?"
    (tmp_path / "a.ipynb").write_text(json.dumps({"cells": [{"cell_type": "code", "source": source}]}))
    linted(tmp_path, "a.ipynb")


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("unit", "said"),
    [("{},", "more than 1,048,576 lists and objects"), ('"a",', "more than 4,194,304 quotation marks"), ("1.5,", "")],
)
def test_a_notebook_of_many_values(tmp_path, unit, said):
    text = '{"cells": [], "metadata": [' + unit * ((1 << 26) // len(unit) - 50) + "1]}"
    (tmp_path / "a.ipynb").write_text(text)
    found = linted(tmp_path, "a.ipynb")
    assert [said in message for _, _, message in found] == [True] * bool(said)


def test_links_to_themselves_and_folders_deeper_than_the_stack(tmp_path):
    """Before: OSError (too many levels of symbolic links), RecursionError."""
    (tmp_path / "a.py").symlink_to("a.py")
    (tmp_path / "me").symlink_to(tmp_path)
    (tmp_path / "gone.py").symlink_to("nowhere.py")
    (tmp_path / "b.py").write_text("x = 1\n")
    done = cost("lint", ".", cwd=tmp_path)
    assert (done.code, done.printed, done.said) == (0, "", "")
    with chdir(tmp_path):
        for _ in range(1500):
            Path("d").mkdir()
            os.chdir("d")
        Path("deep.py").write_text("x = = 1\n")
    done = cost("lint", ".", cwd=tmp_path)
    assert (done.code, done.printed.count("RNN000")) == (0, 1), done
    assert "deep.py:1:5: RNN000 cannot be read: invalid syntax" in done.printed
    subprocess.run(["/bin/rm", "-r", tmp_path / "d"], check=True)  # pytest's own cleaning ends at a depth of a thousand


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("a = " + "[" * 5_000, "cannot be read as TOML: it is nested too deeply"),
        ("a = " + "{b=" * 5_000, "cannot be read as TOML: it is nested too deeply"),
        ("a" + ".a" * 80_000 + " = 1", f"more than {MOST_BYTES:,} bytes, or {MOST_DOTS:,} dots in one line"),
        ("#" * (MOST_BYTES + 1), f"more than {MOST_BYTES:,} bytes, or {MOST_DOTS:,} dots in one line"),
        ("a = " + "9" * 5_000, "cannot be read as TOML: Exceeds the limit"),
        ("\0", "cannot be read as TOML: "),
    ],
    ids=["lists", "tables", "dots", "comment", "digits", "zero byte"],
)
def test_settings_that_nest_or_grow(tmp_path, settings, said):
    """Before: RecursionError, and 26 s for 80 kB."""
    (tmp_path / "pyproject.toml").write_text(settings)
    (tmp_path / "a.py").write_text("x = 1\n")
    require_refused(cost("lint", "a.py", cwd=tmp_path), "pyproject.toml: ", said, mb=200)


@pytest.mark.parametrize("settings", ["tool = 3", "[tool]\nrnneval = []", "[tool.rnneval]\nlint = 1"])
def test_settings_that_are_no_tables_are_those_of_others(tmp_path, settings):
    """Before: AttributeError."""
    (tmp_path / "pyproject.toml").write_text(settings)
    assert read_settings(tmp_path).select is None


def test_settings_of_the_most_dots_are_read(tmp_path):
    (tmp_path / "pyproject.toml").write_text(("a" + ".a" * 900 + "{0} = 1\n") * 1 + "[tool.rnneval.lint]\nselect = 1")
    with pytest.raises(UsageError):
        read_settings(tmp_path)


def test_findings_of_a_file_that_is_followed_in_part_stay():
    wrong = """class M(tf.keras.Model):
    def __init__(self):
        self.a = GRU(8, return_sequences=True, return_state=True)
        self.b = GRU(8, return_sequences=True, return_state=True)
    def call(self, x, s):
        x, s = self.a(x, initial_state=s)
        x, s = self.b(x, initial_state=s)
        return x, s
"""
    many = "class N:\n    def __init__(self):\n        self.g = GRU(8)\n"
    many += "    def a(self, x):\n        x = g(x)\n" + "        x = f(x)\n" * 900
    many += "    def b(self, x):\n" + "        self.a(x)\n" * 90
    found = check_bytes("a.py", (HEAD + wrong + many).encode())
    assert [finding.code for finding in found] == ["RNN001", "RNN000"]
    assert found[1].line == (HEAD + wrong + many).split("\n").index("    def b(self, x):") + 1
