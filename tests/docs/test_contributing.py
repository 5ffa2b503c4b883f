"""The metric, the rule, the figure and the option of the recipes are real: they are taken from the page and used."""

import doctest
import importlib.util
import inspect
import re
import zipfile
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner

from rnneval import options, pages
from rnneval.checkpoints import zips
from rnneval.checkpoints.rules import refused
from rnneval.cli.command import from_function
from rnneval.errors import UsageError
from rnneval.lint import check, rules
from rnneval.metrics import Totals, UnavailableError
from rnneval.render.figures import loss_over_text
from tests.hostile.plain import keras_file
from tests.render.figures import made

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


def test_the_option_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = re.search(r"Add this field to `TextGroup`:\n\n```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert source is not None
    head = "from rnneval.option import option\nfrom rnneval.options import TextGroup\n"
    head += "class WithLimit(TextGroup):\n"
    (tmp_path / "own_options.py").write_text(f"{head}{source[1]}", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    group: Any = import_module("own_options").WithLimit

    def printing(*, options: Any) -> None:
        click.echo(repr((options.limit, options.part)))

    printing.__annotations__["options"] = group
    command = from_function("--limit 1")(printing)

    def printed(*arguments: str) -> str:
        return CliRunner().invoke(command, arguments, catch_exceptions=False).output

    assert printed("--limit", "7").strip() == "(7, None)"
    assert "--limit N" in printed("--help")
    assert "Number of characters to read. [default: all of them]" in " ".join(printed("--help").split())
    with pytest.raises(UsageError, match="limit=0 is not allowed: give at least 1"):
        printed("--limit", "0")

    @options.by_keyword(group)
    def read(lm: int, text: str, options: Any) -> int:
        """Read.

        Args:
            lm: Model.
            options: Keyword arguments.
        """
        return int(lm + options.limit)

    assert read(1, "a", limit=2) == 3
    assert inspect.signature(read).parameters["limit"].default is None
    assert (
        "    limit: Number of characters to read. By default: all of them." in (inspect.getdoc(read) or "").splitlines()
    )


def test_the_metric_is_one(tmp_path: Path) -> None:
    module = _taken("rnneval/metrics", tmp_path)
    ran = doctest.testmod(module)
    assert (ran.failed, ran.attempted) == (0, 1)
    assert module.METRIC.name == module.__name__
    totals = Totals(tokens=4, characters=4, bytes=4, words=1, lossless=True, sums={"sure": 3.0})
    assert np.isclose(module.METRIC.finish(totals), 0.75)
    assert module.sure_share([[0.25, 0.5], [0.75, 1.0]]) == 0.75
    for nothing in ([], [0.75, np.nan]):
        with pytest.raises(UnavailableError):
            module.sure_share(nothing)


def test_the_rule_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = re.search(r"`rnneval/pages/unread-state\.md`:\n\n````markdown\n(.*?)^````$", PAGE, re.MULTILINE | re.DOTALL)
    code = re.search(r"to `rnneval/lint/rules\.py`; .*?:\n\n```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert page is not None
    assert code is not None
    known = pages.page("stale-state").text
    (tmp_path / "unread-state.md").write_text(page[1], encoding="utf-8")
    monkeypatch.setattr("rnneval.pages.files", lambda _: tmp_path)
    monkeypatch.setattr(rules, "RULES", [])
    exec(code[1], dict(vars(rules)))  # noqa: S102 - the page's own code
    (rule,) = rules.RULES
    own = pages.page.__wrapped__(rule.name)
    assert (own.name, own.code) == (rule.name, rule.code)
    headings = re.findall(r"^## (.*)$", own.text, re.MULTILINE)
    assert headings == re.findall(r"^## (.*)$", known, re.MULTILINE)
    monkeypatch.setattr(check, "RULES", [rule])
    found = check.check_bytes("model.py", MODEL.encode())
    assert [(finding.line, finding.code) for finding in found] == [(8, "RNN099")]


def test_the_rule_about_files_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = re.search(r"`rnneval/pages/zip-assets\.md`:\n\n````markdown\n(.*?)^````$", PAGE, re.MULTILINE | re.DOTALL)
    code = re.search(r"`member_faults` in `zips\.py`:\n\n```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert page is not None
    assert code is not None
    (tmp_path / "zip-assets.md").write_text(page[1], encoding="utf-8")
    monkeypatch.setattr("rnneval.pages.files", lambda _: tmp_path)
    source = f"{inspect.getsource(zips.member_faults)}\n{code[1]}"
    names = dict(vars(zips))
    exec(source, names)  # noqa: S102 - the page's own

    def faults(count: int) -> list[tuple[str, str]]:
        with zipfile.ZipFile(keras_file(tmp_path / "m.keras"), "a") as archive:
            for number in range(count):
                archive.writestr(f"assets/{number}", "x")
            return list(names["member_faults"](archive))

    assert faults(100) == []
    ((name, seen),) = faults(101)
    assert str(refused(name, Path("m.keras"), seen)) == (
        "m.keras: refused by rule zip-assets: it has 101 assets; up to 100 are read: save the vocabulary as one file"
    )


def test_the_figure_is_one(tmp_path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    module = _taken("rnneval/render/figures", tmp_path)
    # Two documents of 512 bytes; the first byte of the text has no prediction.
    run = made.run((1.0, 2.0, 4.0, 4.0), document=[0, 0, 1, 1])
    figure = module.figure(run)
    canvas = Figure()
    FigureCanvasAgg(canvas)
    ax = figure.draw(canvas.add_subplot())
    assert ax.lines[0].get_xdata().tolist() == [0, 1]
    assert np.allclose(ax.lines[0].get_ydata(), [(255 + 512) / 511, 4.0])
    assert figure.title == ax.get_title(loc="left") == "Document 1 is the hardest: 4.00 nats a token"
    assert figure.alt.endswith("Losses of the documents in order: 1.50, 4.00.")
    assert module.figure(made.run()) is None
    assert module.KINDS[0] in loss_over_text.KINDS
