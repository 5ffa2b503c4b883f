"""Scripts and notebooks that train, as their authors have them: in `scripts.txt`, each under `=== FILE: BUILDER`.

The cells of a notebook are parted by lines `--- cell`. TensorFlow's text-generation tutorial is both.
"""

import json
import re
from pathlib import Path


def notebook(*cells: str) -> str:
    """A notebook with these code cells, a text cell before them."""
    code = [
        {"cell_type": "code", "source": cell.splitlines(keepends=True), "outputs": [], "execution_count": None}
        for cell in cells
    ]
    text = {"cell_type": "markdown", "source": ["# Text generation"]}
    return json.dumps({"cells": [text, *code], "nbformat": 4, "nbformat_minor": 5, "metadata": {}})


def _read() -> dict[str, tuple[str, list[str]]]:
    parts = re.split(r"^=== (.*)\n", Path(__file__).with_suffix(".txt").read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = {}
    for head, text in zip(parts[1::2], parts[2::2], strict=True):
        file, _, builder = head.partition(": ")
        found[file] = (builder, text.split("--- cell\n"))
    return found


_READ = _read()
_SETUP, _DATA, _IDS, _MODEL, _TRAIN, _GENERATE = _READ.pop("tutorial")[1]
SCRIPT = "\n".join([_SETUP, _DATA, _IDS, _MODEL, _TRAIN, _GENERATE])
NOTEBOOK = notebook(
    "%load_ext autoreload\n%matplotlib inline\n!pip install -q tensorflow\n" + _SETUP,
    "%%bash\ntouch canary\n",
    "!touch canary\n" + _DATA,
    _IDS,
    "%%time\n" + _MODEL,
    _TRAIN,
    _GENERATE,
)
NEIGHBOURS = {file: cells[0] for file, (builder, cells) in _READ.items() if not builder}
"""Modules that one of the scripts imports."""
SCRIPTS = {"tutorial.py": ("MyModel", SCRIPT), "tutorial.ipynb": ("model", NOTEBOOK)} | {
    file: (builder, notebook(*cells) if file.endswith(".ipynb") else cells[0])
    for file, (builder, cells) in _READ.items()
    if builder
}
"""File → the name of its builder, and its text."""
