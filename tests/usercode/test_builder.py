"""Builders by themselves: the place of an error, and all of a file for a full model; no TensorFlow."""

import pytest

from rnneval.checkpoints.usercode import Builder, builder
from rnneval.errors import CheckpointError


def test_all_of_a_file_whose_name_does_not_exist(user):
    spec = user.spec("NoSuchModel", "class A: pass\ndef act(x): return x\n")
    found = Builder(spec=spec).everything()
    assert {"A", "act"} <= set(vars(found))


def test_the_place_of_an_error_is_in_the_users_file_and_not_in_one_whose_name_ends_alike(user):
    user.write("\n\n\n\ndef fails():\n    raise KeyError('red')\n", name="pretrain.py")
    spec = user.spec("make", "import pretrain\ndef make():\n    pretrain.fails()\n")
    with pytest.raises(CheckpointError, match=r"raised KeyError: 'red' \(.*train\.py:3\)$"):
        Builder(spec=spec).build(None)


def test_the_place_of_an_error_while_all_of_a_file_is_run(user):
    spec = user.spec("NoSuchModel", "class A:\n    size = {}['red']\n")
    with pytest.raises(CheckpointError, match=r"KeyError: 'red' \(.*train\.py:2\)$"):
        Builder(spec=spec).everything()


def test_a_syntax_error_of_another_file_has_no_line_of_the_users_file(user):
    user.write("def (:\n", name="helper.py")
    spec = user.spec("make", "import helper\ndef make(): pass\n")
    with pytest.raises(CheckpointError, match=r"SyntaxError: .*\(helper\.py, line 1\) \(.*train\.py:1\)$"):
        Builder(spec=spec, run_module=True).build(None)


def test_the_file_is_read_once(user, monkeypatch):
    made = Builder(spec=user.spec("make", "def make(): return list\n"))
    read, real = [], builder.read_file
    monkeypatch.setattr(builder, "read_file", lambda spec: read.append(spec) or real(spec))
    made.preflight(everything=True)
    made.everything()
    made.parameters()
    assert read == [made.spec]


def test_preflight_refuses_before_anything_is_run(user):
    spec = user.spec("made", "import os\nmade = os.system('touch canary')\n")
    with pytest.raises(CheckpointError, match="was not run"):
        Builder(spec=spec).preflight()
    assert user.files() == {"train.py"}


NEEDS = "units, cell"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("class Made:\n    def __init__(self, units, width=2, *, cell): pass\n", NEEDS),
        ("def Made(units, cell, width=2): pass\n", NEEDS),
        ("class Made:\n    def __new__(cls, units, cell): pass\n    def __init__(self, *a): pass\n", ""),
        ("class Made(metaclass=type):\n    def __init__(self, units, cell): pass\n", ""),
        ("import functools\n@functools.cache\ndef Made(units, cell): pass\n", ""),
        ("def Made(units, cell): pass\ndef Made(): pass\n", ""),
        ("def Made(units, cell): pass\nMade = Made\n", ""),
        ("import functools\ndef make(units, cell): pass\nMade = functools.partial(make, 1, 2)\n", ""),
    ],
)
def test_arguments_that_the_source_asks_for_are_missed_before_anything_is_run(user, code, said):
    spec = user.spec("Made", code)
    if not said:
        Builder(spec=spec).preflight()
        return
    with pytest.raises(CheckpointError, match=rf"Made needs {said}: give --builder-arg units=… --builder-arg cell=…$"):
        Builder(spec=spec).preflight()
    Builder(spec=spec, arguments={"units": 1}).preflight(offered=("cell",))
    Builder(spec=spec).preflight(everything=True)  # classes of a full model: nothing is called
