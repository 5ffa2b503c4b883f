"""What a notebook shows: every word that the terminal shows, and nothing that reaches out of it."""

import re

import msgspec
import pytest

from rnneval.gates import compare, gate
from rnneval.records import Opened
from rnneval.records.run import ContextCurve
from rnneval.render import notebook
from rnneval.render.terminal import as_text
from tests.render.reading import Reader
from tests.render.report.making import good_run, gradients, worse_run, wrong_wiring


def opened():
    run = good_run()
    fields = {name: getattr(run, name) for name in ("checkpoint", "input", "output", "vocabulary")}
    return Opened(**fields, width=65, assumptions=("ids from 0",))


def traced():
    curve = ContextCurve(lengths=(1, 2), nats=(2.0, 1.5), extra_error=(0.1, 0.1), whole=1.25, anchors=64)
    return msgspec.structs.replace(good_run(), context=curve)


VALUES = {
    "run": good_run(),
    "traced": traced(),
    "wiring": wrong_wiring(),
    "gate": gate(worse_run(), baseline=good_run()),
    "gradients": gradients(good_run()),
    "opened": opened(),
    "compared": compare([good_run(), worse_run()], blocks=2),
}


def words(text):
    return re.findall(r"\S+", text)


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_every_word_of_the_terminals_table_is_there_in_its_order(value):
    reader = Reader(value._repr_html_())
    assert reader.open == []
    printed = as_text(notebook.document_of(value), 10_000)
    assert words(reader.said) == words(printed.replace("`", ""))  # HTML shows what stands between backticks as code


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_the_style_stays_within(value):
    style = re.search(r"<style>(.*?)</style>", value._repr_html_(), re.DOTALL).group(1)
    selectors = [one for rule in re.findall(r"([^{}]+)\{", style) for one in rule.split(",")]
    assert selectors
    assert all(".rnneval" in selector for selector in selectors)


def test_a_trace_shows_the_inside_too():
    assert "context (tokens)" in VALUES["traced"]._repr_html_()
    assert "context (tokens)" not in VALUES["run"]._repr_html_()


def test_styles_are_classes():
    html = VALUES["wiring"]._repr_html_()
    assert '<p class="conclusion is-fail">wiring: <strong>fail</strong>' in html
    assert '<span class="is-pass kept">[● 1–3]</span>' in html
    assert '<span class="is-fail kept">✗ 0–1,3</span>' in html


def test_names_out_of_files_are_text():
    hostile = "<img src=x onerror=alert(1)>\x1b[2J\u202e"
    run = msgspec.structs.replace(good_run(), checkpoint=msgspec.structs.replace(good_run().checkpoint, path=hostile))
    reader = Reader(run._repr_html_())
    assert {tag for tag, _ in reader.elements} <= {
        "div",
        "style",
        "strong",
        "code",
        "ul",
        "li",
        "dl",
        "dt",
        "dd",
        "p",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "span",
    }
    assert "<img src=x onerror=alert(1)>\\x1b[2J\\u202e" in reader.said


def test_what_has_no_table_says_so():
    with pytest.raises(TypeError, match="there is no table of a int"):
        notebook.as_html(3)
