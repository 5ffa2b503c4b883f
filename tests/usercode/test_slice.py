"""What a name needs, and nothing else: the value that the whole file gives is the oracle."""

# ruff: noqa: E501 - code in one line reads as a table

import ast
import inspect
import traceback
from itertools import cycle

import pytest

from rnneval.checkpoints.usercode.plan import plan
from rnneval.errors import CheckpointError, UsageError
from tests.usercode.tutorial import CELLS, NOTEBOOK, SCRIPT

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


def test_what_only_uses_the_name_is_left_out(user):
    code = "made = [1]\nprint(made)\nfitted = made.fit(3)\nmade.save('a')\nlen(made)\nassert made\nother = 1\n"
    sliced = plan(user.spec("made", code))
    assert ast.unparse(sliced.tree()) == "made = [1]"


def test_a_dead_definition_is_not_run(user):
    code = "import os\nmade = os.system('touch canary')\nmade = 3\n"
    assert user.value("made", code) == 3
    assert user.files() == {"train.py"}


def test_the_tutorials_model_with_the_size_given(user):
    sliced = plan(user.spec("model", *CELLS), {"vocab_size": 66})
    assert [line.split(" ")[0] for line in ast.unparse(sliced.tree()).splitlines() if line and not line.startswith((" ", ")"))] == [
        "import", "embedding_dim", "rnn_units", "class", "model",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["MyModel", "model"])
def test_the_notebook_needs_the_same_as_the_script(user, name):
    (user.folder / "t.ipynb").write_text(NOTEBOOK)
    script = plan(f"{user.write(SCRIPT)}:{name}", {"vocab_size": 66})
    cells = plan(f"{user.folder / 't.ipynb'}:{name}", {"vocab_size": 66})
    assert ast.unparse(script.tree()) == ast.unparse(cells.tree())
    # The text cell is the first, the cell of %%bash the third, that of %%time and the model the sixth.
    assert cells.shown_lines().startswith("cell 2 (4), cell 6 (")


def test_a_value_in_place_of_the_statements_that_compute_it(user):
    code = "import os\nn = os.system('touch canary')\nn += 1\na, b = n, 2\nfor k in range(3):\n    n = k\nx = n, a, b\n"
    assert user.value("x", code, given={"n": 5, "a": 7}) == (5, 7, 2)
    assert user.files() == {"train.py"}


def test_a_value_for_a_name_that_is_not_there(user):
    with pytest.raises(
        UsageError, match=r"builder_globals vocab_sise: .*train.py has no such name.*did you mean vocab_size"
    ):
        plan(user.spec("x", "vocab_size = 3\nx = vocab_size"), {"vocab_sise": 3})


def test_magics_are_dropped_and_continued_lines_are_not(user):
    cells = [
        "%matplotlib inline\n!touch canary\n%%time\n",
        "%%writefile canary\nhello",
        "%time\ntext = '''\n% not a magic\n! neither'''\nn = (7\n  % 4)\nx = text, n\n?x\n",
    ]
    cells[2] = cells[2].replace("%time\n", "").replace("?x\n", "")
    assert user.value("x", *cells, file="n.ipynb") == ("\n% not a magic\n! neither", 3)
    assert user.files() == {"n.ipynb"}


def test_a_cell_that_cannot_be_read_is_left_out_and_said(user):
    path = user.write("def f(:\n", "x = 3", name="n.ipynb")
    sliced = plan(f"{path}:x")
    assert any("cell 2 of" in note and "was left out" in note for note in sliced.source.notes)
    with pytest.raises(CheckpointError, match="there is no y in it"):
        plan(f"{path}:y")


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


KERAS_SETTINGS = """\
import keras
import tensorflow as tf
from tensorflow.keras import mixed_precision
mixed_precision.set_global_policy("mixed_float16")
keras.utils.set_random_seed(1)
tf.experimental.numpy.experimental_enable_numpy_behavior()
keras.config.set_floatx("float32")
tf.keras.utils.get_custom_objects()["a"] = len
tf.keras.utils.get_custom_objects().update({"b": len})
tf.random.set_seed(2)
tf.constant(3)
x = 1
"""


def test_settings_of_keras_are_kept_without_importing_it(user):
    assert plan(user.spec("x", KERAS_SETTINGS)).lines() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12]


def test_a_name_under_the_main_guard(user):
    with pytest.raises(CheckpointError, match='model is bound under if __name__ == "__main__" alone'):
        plan(user.spec("model", 'if __name__ == "__main__":\n    model = 1'))


def test_all_classes_that_may_be_run_for_a_whole_model(user):
    code = (
        "import os\nclass A: pass\ndef act(x): return x\nn = os.system('touch canary')\nclass B:\n    size = n\n"
        "def train(): return n\nclass C(A): pass\n"
    )
    sliced = plan(user.spec("A", code), everything=True)
    names = {name for unit in sliced.units for name in unit.names.binds}
    assert names == {"A", "act", "C"}
    assert plan(user.spec("no_such_name", code), everything=True).lines() == sliced.lines()
