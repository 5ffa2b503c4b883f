"""What a name needs, and nothing else: the value that the whole file gives is the oracle."""

# ruff: noqa: E501 - code in one line reads as a table

import inspect
import traceback
from itertools import cycle

import pytest

from rnneval.checkpoints.usercode.plan import plan

# A file without side effects, and the names whose values the slice and the whole file must agree on.
PURE = {
    "globals of a class": (
        "units = 3\nclass M:\n    size = units\n    def get(self): return units + 1\nx = M().get(), M.size\n",
        "x",
    ),
    "closure": (
        "vocab = sorted('hello')\ndef make():\n    def inner(): return len(vocab)\n    return inner\nx = make()()\n",
        "x",
    ),
    "item of a config": ("config = {'a': 1}\nconfig['units'] = 512\nx = dict(config)\n", "x"),
    "append": ("vocab = ['a']\nvocab.append('b')\nx = len(vocab)\n", "x"),
    "augmented": ("a = 1\na += 4\na *= 3\nx = a\n", "x"),
    "tuple": ("(a, *b), c = [1, 2, 3], 4\nx = b + [c]\n", "x"),
    "walrus": ("if (n := 7) > 3:\n    pass\nx = n\n", "x"),
    "try": ("try:\n    import no_such_module_7 as m\nexcept ImportError:\n    m = None\nx = m is None\n", "x"),
    "if": ("deep = True\nif deep:\n    layers = 2\nelse:\n    layers = 1\nx = layers\n", "x"),
    "for": ("table = {}\nfor i in range(3):\n    table[i] = i * i\nx = table\n", "x"),
    "break": ("for i in range(9):\n    if i * i > 10:\n        break\nx = i\n", "x"),
    "with": ("import contextlib\nwith contextlib.nullcontext(4) as held:\n    kept = held + 1\nx = kept, held\n", "x"),
    "match": (
        "kind = ('gru', 3)\nmatch kind:\n    case ('gru', n):\n        units = n\n    case _:\n        units = 0\nx = units\n",
        "x",
    ),
    "loop carried": ("a, b = 0, 1\nfor _ in range(5):\n    a = b\n    b = a + 1\nx = a\n", "x"),
    "default argument": ("units = 4\ndef f(n=units): return n\nunits = 5\nx = f()\n", "x"),
    "base class": ("class A:\n    n = 1\nclass B(A): pass\nx = B.n\n", "x"),
    "call between definitions": ("n = 1\ndef f(): return n\na = f()\nn = 2\nx = a, f()\n", "x"),
    "two definitions": ("def f(): return 1\ndef f(): return 2\nx = f()\n", "x"),
    "star": ("from math import *\nx = floor(2.5)\n", "x"),
    "evaluated annotation": ("Size = int\ndef f(n: Size): return n\nx = f.__annotations__['n']\n", "x"),
    "raise in a branch": ("try:\n    v = int('7')\nexcept ValueError:\n    raise\nx = v\n", "x"),
    "environment": ("import os\nos.environ['RNNEVAL_TEST_7'] = 'a'\nx = os.environ.get('RNNEVAL_TEST_7')\n", "x"),
    "future annotations": ("from __future__ import annotations\ndef f(n: NoSuchName): return n\nx = f(3)\n", "x"),
}


@pytest.mark.parametrize(("case", "file"), list(zip(PURE, cycle(["train.py", "train.ipynb"]))))
def test_the_slice_gives_the_value_of_the_whole_file(user, case, file, monkeypatch):
    monkeypatch.delenv("RNNEVAL_TEST_7", raising=False)
    code, name = PURE[case]
    bystander = "unused = 1 / 0\nprint(unused)\n"
    whole_file = {"__name__": "whole"}
    exec(compile(code, "whole", "exec"), whole_file)  # noqa: S102
    monkeypatch.delenv("RNNEVAL_TEST_7", raising=False)
    made = user.value(name, code, bystander, file=file)
    assert made == whole_file[name]


@pytest.mark.parametrize("file", ["train.py", "train.ipynb"])
def test_sources_and_tracebacks_are_the_users(user, file):
    cells = ["# a comment\nn = 1\nunused = 2\n", "%time\ndef f():\n    return n / 0\nclass M:\n    def g(self): pass\n"]
    if file.endswith(".py"):
        cells[1] = cells[1].replace("%time\n", "\n")
    module = user.run("f", *cells, file=file)
    assert inspect.getsource(module.f) == "def f():\n    return n / 0\n"
    with pytest.raises(ZeroDivisionError) as caught:
        module.f()
    frame = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert (frame.filename, frame.line) == (str(user.folder / file), "return n / 0")
    assert inspect.getsource(user.run("M", *cells, file=file).M) == "class M:\n    def g(self): pass\n"


def test_settings_are_kept_and_those_that_need_a_refused_statement_are_left_out(user):
    code = (
        "import sys, os, random\nsys.path.insert(0, 'more')\nn = os.system('touch canary')\nrandom.seed(n)\n"
        "random.seed(1)\nx = 1\n"
    )
    sliced = plan(user.spec("x", code))
    assert sliced.lines() == [1, 2, 5, 6]
    assert [
        note for note in sliced.notes if "train.py:4" in note and "train.py:3" in note and "calls os.system" in note
    ]
