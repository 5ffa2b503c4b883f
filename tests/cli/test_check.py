"""`rnneval check` as a person calls it."""

import json
import linecache
import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import pytest

import rnneval
from rnneval.cli.main import run
from rnneval.records import read

ORIGIN = Path(__file__).parents[1] / "wiring" / "corpus" / "origin.py"


def test_the_questions_stack_exits_with_1_and_shows_matrix_and_line(capsys, tmp_path):
    out = tmp_path / "wiring.json"
    assert run(["check", f"{ORIGIN}:question", "--out", str(out)]) == 1
    shown = capsys.readouterr()
    assert shown.err == ""
    assert shown.out.startswith("wiring: fail  shared-state, crossed-state")
    assert "origin.py:" in shown.out
    assert (read(out).verdict, read(out).command[0]) == ("fail", "rnneval")
    first, second = read(out).findings[:2]
    assert (first.rule, first.layer, first.source_layer) == ("shared-state", "gru_2", "gru")
    assert (second.rule, second.layer, second.source_layer) == ("crossed-state", "gru", "gru_2")
    assert "self.gru_2(x, initial_state=states" in ORIGIN.read_text(encoding="utf-8").splitlines()[first.line - 1]


def test_lines_of_a_notebook_are_counted_within_its_cell(tmp_path, capsys, monkeypatch):
    lines = ORIGIN.read_text(encoding="utf-8").splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith(("class", "@", "def")))
    cells = [["# a title"], lines[:start], ["%matplotlib inline", "spare = 1"], lines[start:]]
    kinds = ["markdown", "code", "code", "code"]
    body = [{"cell_type": kind, "source": "\n".join(cell)} for kind, cell in zip(kinds, cells, strict=True)]
    (tmp_path / "origin.ipynb").write_text(json.dumps({"cells": body}))
    assert run(["check", f"{tmp_path / 'origin.ipynb'}:question", "--out", str(tmp_path / "wiring.json")]) == 1
    (finding, *_) = read(tmp_path / "wiring.json").findings
    assert finding.file == f"{tmp_path / 'origin.ipynb'}, cell 4"
    assert "self.gru_2(x, initial_state=states" in cells[3][finding.line - 1]
    assert f"origin.ipynb, cell 4:{finding.line}" in capsys.readouterr().out
    # In a running notebook, IPython knows which file of its own a cell is.
    name, namespace = str(tmp_path / "ipykernel_1" / "2.py"), {"__name__": "__main__"}
    source = ORIGIN.read_text(encoding="utf-8")
    monkeypatch.setitem(linecache.cache, name, (len(source), None, source.splitlines(keepends=True), name))
    shell = SimpleNamespace(compile=SimpleNamespace(_filename_map={name: 7}))
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    exec(compile(source, name, "exec"), namespace)  # noqa: S102 - a file of the corpus
    (finding, *_) = rnneval.check(namespace["question"]()).findings
    assert (finding.file, "self.gru_2(x, initial_state=states" in lines[finding.line - 1]) == ("cell 7", True)


def test_a_right_model_exits_with_0_and_json_is_the_record(capsys):
    assert run(["check", f"{ORIGIN.with_name('right_containers.py')}:SeparateArguments", "--format", "json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["schema"], record["verdict"], record["wired_by"]) == ("rnneval.wiring/1", "pass", "author")
    assert {flow["from"] == flow["into"] for flow in record["flow"] if flow["from"] != "initial"} == {True}
    oracles = {"chunk", "causal", "batch", "used", "repeat", "alone", "fresh"}  # it takes no training=
    assert {name: found["verdict"] for name, found in record["oracles"].items()} == dict.fromkeys(oracles, "pass")


def test_no_verdict_exits_with_3_and_with_strict_1(capsys):
    cells = ORIGIN.with_name("right_cells.py")
    assert run(["check", f"{cells}:ByHand"]) == 3
    assert run(["check", f"{cells}:ByHand", "--strict"]) == 1
    assert "no recurrent layer or cell ran" in capsys.readouterr().out


def test_a_saved_model_that_cannot_be_evaluated_is_judged_all_the_same(tmp_path, capsys):
    both_ways = keras.layers.Bidirectional(keras.layers.GRU(5, return_sequences=True))
    layers = [keras.layers.Embedding(7, 4), both_ways, keras.layers.Dense(7)]
    path = tmp_path / "model.keras"
    keras.Sequential([keras.Input((None,), dtype="int32"), *layers]).save(path)
    assert run(["check", str(path)]) == 1
    assert capsys.readouterr().out.startswith("wiring: fail  future-leak")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([f"{ORIGIN}:nobody"], "there is no nobody in it"),
        ([f"{ORIGIN}:answer", "--declare", "causal"], "allowed are causal=false"),
        (
            [f"{ORIGIN}:answer", "--declare", "stateless=encoder"],
            "no layer encoder; its recurrent layers are: gru1, gru2",
        ),
        (["nowhere.keras"], "nowhere.keras"),
    ],
)
def test_wrong_use_is_one_line_and_2(arguments, said, capsys):
    assert run(["check", *arguments]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert said in shown.err
    assert shown.err.count("\n") == 1
