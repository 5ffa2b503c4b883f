"""What is said of numbers and models on the page."""

import ast
import inspect
import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from rnneval.gates.comparable import fields_of
from rnneval.records.run import Run, Score
from rnneval.records.wiring import Finding
from rnneval.render.report.blocks import Kind
from rnneval.render.run_table import figure

KINDS: dict[str, Kind] = {
    "pass": "pass",
    "fail": "fail",
    "inconclusive": "unsure",
    "not comparable": "unsure",
    "error": "fail",
    "warning": "unsure",
    "info": "note",
}
_NOUNS = {"char": "characters", "byte": "bytes", "word": "words"}
_RULES = ("wiring/faults", "metrics/diagnostics/findings")


def tokens_of(run: Run) -> str:
    """Name what the model predicts: characters, words or another kind of token."""
    return _NOUNS.get(fields_of(run.signature).get("tok", "").partition("+")[0].partition("-")[0], "tokens")


def interval(score: Score) -> str | None:
    """Write an interval, or nothing where there is none."""
    if score.low is None or score.high is None:
        return None
    return f"{figure(score.low)} – {figure(score.high)}"


def first_sentence(text: str) -> str:
    """Give what stands before the first detail.

    >>> first_sentence("gru_2 starts from the state that gru made (gru_2.h ← gru.h; calls 0 to 3). Each layer …")
    'gru_2 starts from the state that gru made'
    """
    return re.split(r" \(|: |\. |\.$", text, maxsplit=1)[0]


def place_of(finding: Finding) -> str | None:
    """Write where a fault is, as an editor takes it."""
    if finding.file is None:
        return None
    return finding.file if finding.line is None else f"{finding.file}:{finding.line}"


@cache
def rule_text(name: str) -> str | None:
    """Give the text of a rule of this package, in Markdown, without its first line; None where there is none."""
    for folder in _RULES:
        for file in _sources(folder):
            if file.name == f"{name.replace('-', '_')}.py":
                text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
                return inspect.cleandoc(text).partition("\n")[2].strip()
    return None


@cache
def meaning(metric: str) -> str:
    """Give the first sentence of a metric's text; "" for a metric of another version."""
    from rnneval.metrics import docs

    try:
        return docs(metric).partition("\n")[0]
    except KeyError:
        return ""


def _sources(folder: str) -> Iterator[Traversable]:
    return iter(files("rnneval").joinpath(*folder.split("/")).iterdir())
