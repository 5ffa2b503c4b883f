"""`rnneval demo`: a tiny recipe by default; the whole of it, as a person runs it, by marker."""

import json

import numpy as np
import pytest

from rnneval import recordfile
from rnneval.cli.main import run
from rnneval.demo import first, training
from rnneval.demo.text import topics_text

TINY = training.Recipe(embedding=8, units=(8, 6), rows=4, segment=8, steps=3)


@pytest.fixture
def short(monkeypatch):
    """A short text and a tiny recipe in place of the demo's."""
    monkeypatch.setattr(first, "topics_text", lambda: topics_text()[:3000])
    monkeypatch.setattr(training, "Recipe", lambda **_: TINY)


def test_it_trains_saves_opens_evaluates_and_names_what_it_wrote(short, tmp_path, capsys):
    folder = tmp_path / "a folder"
    assert run(["demo", "--out", str(folder)]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert {path.name for path in folder.iterdir()} == {"topics.txt", "vocab.json", "model.keras", "run.json"}
    assert all(str(folder / name) in captured.out for name in ("topics.txt", "vocab.json", "model.keras", "run.json"))
    found = recordfile.read(folder / "run.json")
    text = topics_text()[:3000]
    assert (folder / "topics.txt").read_text(encoding="utf-8") == text
    assert json.loads((folder / "vocab.json").read_text()) == sorted(set(text))
    assert (found.text.part, found.text.characters, found.tokens.scored) == ("90%:", 300, 299)
    assert [layer.units for layer in found.checkpoint.layers] == [8, 6]
    assert found.valid
    command = captured.out.splitlines()[-1].strip()
    assert command.startswith("rnneval evaluate '")  # quoted: the folder has a space
    assert command.endswith("--part 90%: --out '" + str(folder / "run.json") + "'")


def test_a_folder_that_cannot_be_made(refused, tmp_path):
    (tmp_path / "file").touch()
    said = refused("demo", "--out", tmp_path / "file" / "below")
    assert "cannot be made: Not a directory: give another --out FOLDER" in said


@pytest.mark.slow
def test_the_same_seed_trains_the_same_model():
    ids = np.arange(400, dtype=np.int32) % 7
    told = []
    first_time = training.train(ids, 7, TINY, lambda done, total: told.append((done, total))).get_weights()
    assert told == [(1, 3), (2, 3), (3, 3)]
    for one, two in zip(first_time, training.train(ids, 7, TINY).get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.slow
def test_the_whole_demo_learns(tmp_path, capsys):
    assert run(["demo", "--out", str(tmp_path), "--quiet", "--format", "json"]) == 0
    found = recordfile.read(tmp_path / "run.json")
    assert (
        found.total_nats / found.tokens.scored < 2.2
    )  # untrained: ln 96 = 4.6; by the frequency of letters alone: 3.2
    assert recordfile.decode(capsys.readouterr().out) == found
