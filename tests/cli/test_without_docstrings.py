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


@pytest.fixture
def optimized(tmp_path):
    def run(*arguments, code=0):
        command = [sys.executable, "-OO", "-m", "rnneval", *map(str, arguments)]
        ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
        assert ran.returncode == code, ran.stderr
        return ran.stdout

    return run


def test_explain_shows_the_text_of_each_kind(optimized):
    texts = {entry["name"]: entry["text"] for entry in json.loads(optimized("explain", "--format", "json"))}
    for name, section in {
        "perplexity": "## By hand",
        "unigram": "## Formula",
        "dead-units": "## Why it matters",
        "shared-state": "## What it finds",
        "gates": "## How to read the figure",
    }.items():
        assert section in texts[name]


def test_a_figure_is_drawn(optimized, tmp_path):
    said = optimized("plot", RECORDS / "run.json", "--figure", "calibration", "--out", "f.svg")
    assert said.startswith("f.svg: The model is ")
    assert "perfectly calibrated" in (tmp_path / "f.svg").read_text(encoding="utf-8")


def test_a_report_has_its_captions_and_the_texts_of_rules(optimized, tmp_path):
    optimized("report", RECORDS / "wiring.json", RECORDS / "trace.json", "--out", "r.html")
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "A row is a state that a value went into" in page  # how to read the flow matrix
    assert "the number of equally likely tokens between which the model is undecided" in page  # a score's meaning
    (finding, *_) = json.loads((RECORDS / "wiring.json").read_text(encoding="utf-8"))["findings"]
    assert f"More about {finding['rule']}" in page


def test_a_model_is_checked(optimized, tmp_path):
    (tmp_path / "train.py").write_text(MODEL, encoding="utf-8")
    found = json.loads(optimized("check", "train.py:build", "--format", "json"))
    assert found["verdict"] == "pass"
