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


def test_the_file_is_read_once_and_its_slice_run_once(user, monkeypatch):
    made = Builder(spec=user.spec("make", "ran = [1]\ndef make(): return ran\n"))
    read, real = [], builder.read_file
    monkeypatch.setattr(builder, "read_file", lambda spec: read.append(spec) or real(spec))
    made.preflight(everything=True)
    made.everything()
    with made._running() as first, made._running() as second:
        assert first is second
    assert read == [made.spec]
    user.write("ran = [1, 2]\ndef make(): return ran\n")
    with Builder(spec=made.spec)._running() as edited:
        assert edited.ran == [1, 2]


def test_preflight_refuses_before_anything_is_run(user):
    spec = user.spec("made", "import os\nmade = os.system('touch canary')\n")
    with pytest.raises(CheckpointError, match="was not run"):
        Builder(spec=spec).preflight()
    assert user.files() == {"train.py"}


def test_arguments_that_the_code_asks_for_are_named(user):
    spec = user.spec("Made", "class Made:\n    def __init__(self, units, width=2, *, cell, vocab_size): pass\n")
    with pytest.raises(
        CheckpointError, match=r"Made needs units, cell, vocab_size: give builder_arguments=.*units.*vocabulary"
    ):
        Builder(spec=spec).build(None)
