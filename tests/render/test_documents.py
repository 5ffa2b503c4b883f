"""One document, several surfaces: whole words at any width, the same cells everywhere, nothing lost in a pipe."""

import re

import msgspec
import pytest

from rnneval import compare, gate
from rnneval.records import Opened
from rnneval.records.run import ContextCurve
from rnneval.records.wiring import WiredLayer
from rnneval.render import notebook
from rnneval.render.document import TableBlock
from rnneval.render.gate_document import gate_document, gate_markdown
from rnneval.render.html import fragment_of
from rnneval.render.markdown import markdown
from rnneval.render.report import PageRecord, html_of, page_of
from rnneval.render.run_document import describe, run_facts
from rnneval.render.terminal import as_text
from rnneval.render.wiring_document import wiring_document
from tests.render.figures import made
from tests.render.reading import Reader
from tests.render.report.making import full_run, good_run, gradients, worse_run, wrong_wiring

VERDICT = gate(worse_run(), baseline=good_run(), allow={"word_perplexity_eos": "+1%", "calibration_error": "+0.01"})
MANY = tuple(WiredLayer(name=f"layer_{k}", path=f"layer_{k}", kind="GRU", slots=("h",)) for k in range(9))


def opened():
    run = good_run()
    fields = {name: getattr(run, name) for name in ("checkpoint", "input", "output", "vocabulary")}
    return Opened(**fields, width=65, assumptions=("ids from 0",))


def traced():
    curve = ContextCurve(lengths=(1, 2), nats=(2.0, 1.5), extra_error=(0.1, 0.1), whole=1.25, anchors=64)
    return msgspec.structs.replace(good_run(), context=curve)


VALUES = {
    "run": good_run(),
    "full run": full_run(vocabulary="v"),
    "traced": traced(),
    "wiring": wrong_wiring(),
    "many layers": wrong_wiring(layers=MANY),
    "gate": VERDICT,
    "gradients": gradients(good_run()),
    "opened": opened(),
    "compared": compare([good_run(), worse_run()], blocks=2),
}
each_value = pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)


def test_what_helps_several_findings_is_said_once():
    (finding,) = wrong_wiring().findings
    others = [msgspec.structs.replace(finding, layer=f"gru_{n}") for n in range(3, 11)]
    last = msgspec.structs.replace(finding, layer="gru_11", help="Something else helps here.")
    wiring = wrong_wiring(findings=(finding, *others, last))
    for text in (as_text(wiring_document(wiring), 10_000), markdown(wiring_document(wiring))):
        assert text.count("help: ") == 2
        assert text.count("Something else helps here.") == 1
    assert [each.help for each in wiring.findings].count(finding.help) == 9  # the record has it with each


# All surfaces


@each_value
def test_a_notebook_has_every_word_of_the_terminal_in_its_order_and_keeps_its_style(value):
    html = value._repr_html_()
    reader = Reader(html)
    assert reader.open == []
    printed = as_text(notebook.document_of(value), 10_000)
    assert reader.said.split() == printed.replace("`", "").split()  # HTML shows what stands between backticks as code
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL).group(1)
    selectors = [one for rule in re.findall(r"([^{}]+)\{", style) for one in rule.split(",")]
    assert all(".rnneval" in selector for selector in selectors)


@each_value
def test_markdown_has_every_word_of_the_terminal(value):
    written = re.sub(r"\\(?=[^a-z\d\s])", "", markdown(notebook.document_of(value)))
    shown = (block for block in notebook.document_of(value) if not (isinstance(block, TableBlock) and block.matrix))
    printed = as_text(shown, 10_000)
    assert set(re.findall(r"[\w.]+", printed)) - set(re.findall(r"[\w.]+", written)) == set()


def test_every_surface_shows_the_cells_of_a_verdict():
    rows = next(block for block in gate_document(VERDICT) if isinstance(block, TableBlock)).rows
    terminal_text = as_text(gate_document(VERDICT), 200)
    notebook_text = Reader(fragment_of(gate_document(VERDICT))).said
    report = Reader(html_of(page_of([PageRecord(name="gate.json", record=VERDICT)]), {})).said
    commented = re.sub(r"\\(?=[^a-z\d\s])", "", gate_markdown(VERDICT))
    for shown in (terminal_text, notebook_text, report, commented):
        assert all(cell.text in shown for row in rows for cell in row)


# The terminal


@pytest.mark.parametrize("width", [80, 40])
@each_value
def test_no_word_or_number_is_broken_and_no_line_is_too_long(value, width):
    text = as_text(notebook.document_of(value), width)
    assert all(len(line) <= width for line in text.splitlines())
    whole = {word for word in as_text(notebook.document_of(value), 1000).split() if len(word) <= width}
    assert {word for word in whole if word not in text.split() and not re.search("[/|]", word)} == set()


def test_a_matrix_with_long_names_is_one_table_of_numbered_rows_and_columns():
    names = [f"backbone.layers.{k}.mixer.recurrent" for k in range(3)]
    wiring = made.wiring(dict(zip(names, [names[0], names[2], names[1]], strict=True)))
    text = as_text(wiring_document(wiring), 90)
    assert [line.split() for line in text.splitlines() if "layers" in line or "from" in line][:4] == [
        ["into", "↓", "from", "→", "1", "2", "3", "initial"],
        ["1", f"{names[0]}.h", "[●", "1–3]", "·", "·", "○", "0"],
        ["2", f"{names[1]}.h", "·", "[", "]", "✗", "1–3", "○", "0"],
        ["3", f"{names[2]}.h", "·", "✗", "1–3", "[", "]", "○", "0"],
    ]


# Runs


def test_no_layer_is_said_to_be_unseen_of_a_model_whose_modules_the_check_shows():
    checkpoint = msgspec.structs.replace(good_run().checkpoint, format="torch", layers=())
    assert describe(checkpoint).startswith(f"{checkpoint.parameters:,} parameters, torch")


def test_facts_say_what_was_and_what_could_be_measured():
    run = made.run(median=64.0, most=64.0, baselines={"uniform": 4.0, "own-unigram": 3.0})
    facts = {fact.name: fact.text for fact in run_facts(run)}
    assert facts["forgets in"] == "within 64 tokens (compared every 64)"
    assert "--fit-on" in facts["n-grams"]
