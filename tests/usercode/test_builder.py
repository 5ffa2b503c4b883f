"""Builders by themselves, without TensorFlow."""

from pathlib import Path

import pytest

from rnneval.checkpoints.usercode import Builder
from rnneval.errors import CheckpointError


def test_the_slice_of_an_unchanged_file_is_run_once(user):
    made = Builder(spec=user.spec("make", "ran = [1]\ndef make(): return ran\n"), everything=True)
    made.preflight()
    assert made.run() is made.run()
    user.write("ran = [1, 2]\ndef make(): return ran\n")
    assert Builder(spec=made.spec).run().ran == [1, 2]


def test_arguments_that_the_code_asks_for_are_named(user):
    spec = user.spec("Made", "class Made:\n    def __init__(self, units, width=2, *, cell, vocab_size): pass\n")
    with pytest.raises(
        CheckpointError, match=r"Made needs units, cell, vocab_size: give builder_arguments=.*units.*vocabulary"
    ):
        Builder(spec=spec).build(None)


def test_the_training_text_is_the_longest_text_that_the_code_holds(user, tmp_path):
    (tmp_path / "train.txt").write_text("ab" * 1000)
    (tmp_path / "short.txt").write_text("ab" * 600)
    code = f"""
from pathlib import Path
text = Path({str(tmp_path / "train.txt")!r}).read_text()
other = Path({str(tmp_path / "short.txt")!r}).read_text()
def make(): return lambda: (text, other)
"""
    spec = user.spec("make", code)
    made = Builder(spec=spec)
    assert [path for path, _ in made.text_read(vars(made.run()))] == [str(tmp_path / "train.txt")]


def test_a_file_too_large_for_the_text_is_not_read(user, tmp_path, monkeypatch):
    (tmp_path / "train.txt").write_text("\N{GRINNING FACE}" * 1000, encoding="utf-8")
    (tmp_path / "weights.bin").write_bytes(bytes(4001))
    code = f"""
from pathlib import Path
text = Path({str(tmp_path / "train.txt")!r}).read_text(encoding="utf-8")
weights = {str(tmp_path / "weights.bin")!r}
def make(): return lambda: (text, weights)
"""
    made = Builder(spec=user.spec("make", code))
    read, real = [], Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read.append(path) or real(path))
    assert [path for path, _ in made.text_read(vars(made.run()))] == [str(tmp_path / "train.txt")]
    assert tmp_path / "weights.bin" not in read
