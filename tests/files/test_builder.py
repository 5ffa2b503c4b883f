"""The user's own code, run because it was named: everything that can be wrong with it, in one line."""

import sys

import pytest

import rnneval

CODE = """\
import keras

def stack(vocab_size, rnn_units=6):
    return keras.Sequential([keras.layers.Embedding(vocab_size, 5), keras.layers.GRU(rnn_units, return_sequences=True),
                             keras.layers.Dense(vocab_size)])

def raises(vocab_size):
    colours = {}
    return colours["red"]

def leaves():
    raise SystemExit(3)

def nothing(vocab_size):
    pass

def text():
    return "model"

def a_class():
    return keras.Model

def needs(vocab_size, depth, rnn_units):
    return stack(vocab_size, rnn_units)

def with_tokens(vocabulary, *, rnn_units=6):
    return stack(len(vocabulary), rnn_units)

def keywords(vocab_size, **sizes):
    return stack(vocab_size, **sizes)

class Nested:
    build = staticmethod(stack)

number = 3
made = stack(10)
_hidden = stack
"""


@pytest.fixture
def opening(shelf, tmp_path):
    """Arguments of `open` with a builder out of a file with this code, or out of CODE."""

    def arguments(name, *more, code=CODE, file="code.py"):
        (tmp_path / file).write_text(code)
        weights = shelf / "flat.weights.h5"
        return ["open", weights, "--vocab", shelf / "vocab.json", "--builder", f"{tmp_path / file}:{name}", *more]

    return arguments


@pytest.mark.parametrize("name", ["stack", "with_tokens", "keywords", "Nested.build", "made"])
def test_what_can_be_a_builder(opening, capsys, name):
    from rnneval.cli.main import run

    assert run([str(a) for a in opening(name)]) == 0
    assert "GRU 6" in capsys.readouterr().out


REFUSED = {
    "raises": ("raises", (), "code.py:raises raised KeyError: 'red' (", "code.py:9)"),
    "leaves": ("leaves", (), "code.py:leaves raised SystemExit: 3", "give --builder-global NAME=VALUE in place of"),
    "none": ("nothing", (), "code.py:nothing returned None: a model is needed", ""),
    "text": ("text", (), "code.py:text returned a str: a model is needed", ""),
    "class": ("a_class", (), "code.py:a_class returned ", ": a model is needed"),
    "number": ("number", (), "number is a int: a function, a class or a model is needed", ""),
    "no name": ("stacks", (), "there is no stacks in it; there is stack", ""),
    "no such": ("zzz", (), "there is no zzz in it; there is stack, raises, leaves, nothing, text", ""),
    "needs": ("needs", (), "needs depth, rnn_units: give --builder-arg depth=… --builder-arg rnn_units=…", ""),
    "unknown": ("stack", ("--builder-arg", "colour=1"), "takes no colour; it takes vocab_size, rnn_units", ""),
    "no value": ("stack", ("--builder-arg", "rnn_units"), "'rnn_units': give name=value, such as rnn_units=1024", ""),
    "no identifier": ("stack", ("--builder-arg", "a b=3"), "'a b=3': give name=value", ""),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_line(refused, opening, case):
    name, more, *said = REFUSED[case]
    line = refused(*opening(name, *more))
    assert all(part in line for part in said), line


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import keras\n1 / 0\n", "ZeroDivisionError: division by zero ("),
        ("import no_such_module_of_mine\n", "ModuleNotFoundError: No module named 'no_such_module_of_mine'"),
        ("raise SystemExit('done')\n", "SystemExit: done"),
    ],
)
def test_a_whole_file_that_fails_says_that_importing_runs_it(refused, opening, code, said):
    line = refused(*opening("stack", "--run-module", code=code))
    assert "importing " in line
    assert "code.py (which runs it) failed: " in line
    assert said in line


def test_a_file_that_is_missing_and_specs_that_are_none(refused, shelf, tmp_path):
    weights = shelf / "flat.weights.h5"
    assert refused("open", weights, "--builder", f"{tmp_path}/no.py:f").endswith("no.py is not a file")
    for spec in ("code.py", ":f", "code.py:"):
        said = refused("open", weights, "--builder", spec)
        assert "give FILE.py:NAME, FILE.ipynb:NAME or package.module:NAME" in said
    assert "importing no_such_package.models" in refused("open", weights, "--builder", "no_such_package.models:build")


def test_a_module_and_a_package_of_the_current_folder(shelf, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_module_7").mkdir()
    (tmp_path / "my_module_7" / "__init__.py").touch()
    (tmp_path / "my_module_7" / "models.py").write_text(CODE)
    (tmp_path / "my_single_7.py").write_text(CODE)
    before = list(sys.path)
    for spec in ("my_module_7.models:stack", "my_single_7:stack"):
        lm = rnneval.open(shelf / "flat.weights.h5", builder=spec, vocabulary=shelf / "vocab.json")
        assert lm.width == 10
    assert sys.path == before
