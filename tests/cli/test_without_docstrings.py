"""`python -OO` drops docstrings and assertions: everything that is explained or drawn is still there."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

RECORDS = Path(__file__).resolve().parents[2] / "docs" / "records"
MODEL = """
import keras

def build():
    inputs = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(5, 3)(inputs)
    x = keras.layers.GRU(4, return_sequences=True)(x)
    return keras.Model(inputs, keras.layers.Dense(5)(x))
"""
COMMANDS = [
    ["explain", "--format", "json", "--out", "e.json", "--quiet"],
    ["plot", str(RECORDS / "run.json"), "--figure", "loss_over_text", "--out", "f.svg"],
    ["report", str(RECORDS / "wiring.json"), str(RECORDS / "trace.json"), "--out", "r.html"],
    ["check", "train.py:build", "--out", "w.json"],
]
RUN = "import json, sys; from rnneval.cli.main import run; sys.exit(max(map(run, json.loads(sys.argv[1]))))"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the commands wrote, one after the other in one process."""
    made = tmp_path_factory.mktemp("optimized")
    (made / "train.py").write_text(MODEL, encoding="utf-8")
    words = [sys.executable, "-OO", "-c", RUN, json.dumps(COMMANDS)]
    ran = subprocess.run(words, capture_output=True, text=True, check=False, cwd=made)
    assert ran.returncode == 0, ran.stderr
    return made


def test_explain_shows_the_text_of_each_kind(folder):
    texts = {entry["name"]: entry["text"] for entry in json.loads((folder / "e.json").read_text(encoding="utf-8"))}
    for name, section in {
        "perplexity": "## By hand",
        "unigram": "## Formula",
        "dead-units": "## Why it matters",
        "shared-state": "## What it finds",
        "flow_matrix": "## How to read the figure",
    }.items():
        assert section in texts[name]


def test_a_figure_is_drawn(folder):
    assert "running mean" in (folder / "f.svg").read_text(encoding="utf-8")


def test_a_report_has_its_captions_and_the_texts_of_rules(folder):
    page = (folder / "r.html").read_text(encoding="utf-8")
    assert "A row is a state that a value went into" in page  # how to read the flow matrix
    assert "the number of equally likely tokens between which the model is undecided" in page  # a score's meaning
    (finding, *_) = json.loads((RECORDS / "wiring.json").read_text(encoding="utf-8"))["findings"]
    assert f"More about {finding['rule']}" in page


def test_a_model_is_checked(folder):
    assert json.loads((folder / "w.json").read_text(encoding="utf-8"))["verdict"] == "pass"
