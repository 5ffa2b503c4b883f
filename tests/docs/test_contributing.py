"""The metric and the rule of "in ten minutes" are real: they are taken out of the page and used."""

import ast
import doctest
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from rnneval.metrics import Totals
from rnneval.wiring.lint import check
from rnneval.wiring.lint import rules as lint_rules

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "contributing.md").read_text(encoding="utf-8")
MODEL = """
import keras
class M(keras.Model):
    def __init__(self):
        super().__init__()
        self.gru = keras.layers.GRU(3, return_sequences=True, return_state=True)
    def call(self, x, states=None):
        x, _ = self.gru(x, initial_state=states)
        return x
"""


def _taken(folder: str, where: Path) -> ModuleType:
    """Write the page's file of this folder, and import it."""
    found = re.search(rf"`{folder}/(\w+\.py)`:\n\n(`{{3,4}})python\n(.*?)^\2$", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    path = where / found[1]
    path.write_text(found[3], encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_metric_is_one(tmp_path: Path) -> None:
    module = _taken("rnneval/metrics", tmp_path)
    ran = doctest.testmod(module)
    assert (ran.failed, ran.attempted) == (0, 5)
    assert module.METRIC.name == module.__name__
    totals = Totals(tokens=4, characters=4, bytes=4, words=1, lossless=True, sums={"sure": 3.0})
    assert np.isclose(module.METRIC.finish(totals), 0.75)


def test_the_rule_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = _taken("rnneval/wiring/lint/rules", tmp_path)
    headings = re.findall(
        r"^## (.*)$", ast.get_docstring(ast.parse(Path(module.__file__ or "").read_text())) or "", re.MULTILINE
    )
    assert headings[0] == "What it finds"
    assert headings[-1] == "References"
    monkeypatch.setattr(lint_rules, "all_rules", lambda: (module,))
    monkeypatch.setattr(check, "all_rules", lambda: (module,))
    found = check.check_bytes("model.py", MODEL.encode())
    assert [(finding.line, finding.code) for finding in found] == [(8, "RNN099")]
