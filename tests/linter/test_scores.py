"""Losses and perplexities: the gate that keeps most files unread, the numbers of the pages, and hostile sources."""

import math
from itertools import pairwise

import pytest

from rnneval.linter import scores
from rnneval.linter.check import check_bytes
from rnneval.linter.finding import all_rules
from tests.linter.written import snippets

PAGES = {rule.NAME: rule.__doc__ for rule in all_rules()}
SCORED = [snippet for snippet in snippets("wrong") if snippet.name.startswith("wrong_scores")]


def test_numbers_of_the_pages_are_those_of_the_formulas() -> None:
    """Token losses are taken one by one, so that no formula of the page is used again."""
    two, six = 2.0, 6.0
    assert f"exp(4) = {math.exp((two + six) / 2):.1f}" in PAGES["mean-of-perplexities"]
    assert f"exp(2) and exp(6) is {(math.exp(two) + math.exp(six)) / 2:.1f}" in PAGES["mean-of-perplexities"]
    losses = [two] * 99 + [six]
    assert f"exp(2.04) = {math.exp(math.fsum(losses) / len(losses)):.1f}" in PAGES["mean-of-batch-means"]
    assert f"mean of 2 and 6 is {math.exp((two + six) / 2):.1f}" in PAGES["mean-of-batch-means"]
    probability = math.exp(-4.0)
    assert f"exp(4) = {1 / probability:.1f}, and 2 ** 4 is {2**4}" in PAGES["log2-for-ln"]


def test_files_of_other_matters_are_not_read() -> None:
    assert not scores.mentions("import numpy\nx = apply(support(numpy.exp(y)))\nloss = x - y\n")
    assert not scores.mentions("perplexity = None\nloss = cross_entropy(a, b)\n")
    assert all(scores.mentions(snippet.source) for snippet in SCORED)


@pytest.mark.parametrize("snippet", SCORED, ids=lambda snippet: snippet.name)
def test_each_fault_is_silenced_by_its_name(snippet) -> None:
    lines = snippet.source.splitlines()
    names = {rule.CODE: rule.NAME for rule in all_rules()}
    for number, code in snippet.expected:
        lines[number - 1] = f"{lines[number - 1].partition('  # !')[0]}  # rnneval: ignore[{names[code]}]"
    assert not check_bytes("a.py", "\n".join(lines).encode())


def test_a_right_file_with_a_recurrent_layer_beside_a_wrong_score() -> None:
    """Both readers see one file, and findings come in the order of the lines."""
    source = (
        "import math\nimport torch.nn.functional as F\nfrom torch import nn\nrnn = nn.GRU(3, 3)\n"
        "def ppl(x, y):\n    return 2 ** F.cross_entropy(rnn(x)[0], y)\n"
        "def go(x):\n    x, h = rnn(x)\n    x, h = rnn(x, h)\n    return x\n"
    )
    found = [(finding.line, finding.code) for finding in check_bytes("a.py", source.encode())]
    assert found == [(6, "RNN015"), (9, "RNN007")]


def test_findings_of_a_notebook_count_within_cells() -> None:
    import json

    cells = ["import math\nimport torch.nn.functional as F\n", "loss = F.cross_entropy(a, b)\nppl = 2 ** loss\n"]
    notebook = {"cells": [{"cell_type": "code", "source": text} for text in cells], "nbformat": 4}
    (finding,) = check_bytes("a.ipynb", json.dumps(notebook).encode())
    assert (finding.code, finding.cell, finding.line, finding.column) == ("RNN015", 2, 2, 7)


@pytest.mark.parametrize(
    "source",
    [
        "def ppl(x):\n    return math.exp(ppl(x))\n",
        "perplexity = np.mean([])\nnp.exp()\nnp.log2()\npow()\nrange()\nmodel.compile(metrics=[])\n",
        "class A:\n    def __init__(self):\n        self.ppl = self.ppl(2 ** self.loss)\n",
        "(loss, *ppl), x[0].y = math.exp(2), lambda: math.exp(loss)\n",
        "perplexity = " + "math.exp(" * 90 + "loss" + ")" * 90 + "\n",
        "for perplexity in range(0, len(x), 2):\n    for a[0] in b:\n        ppl += math.exp(ppl)\n",
        "perplexity = " + "pow(2, " * 60 + "loss" + ")" * 60 + "\n",
        "ppl = math.exp(" + "[x for x in " * 60 + "losses" + "]" * 60 + ")\n",
        "".join(f"{' ' * depth}for ppl in [math.exp(x) for x in y]:\n" for depth in range(18)) + " " * 18 + "pass\n",
        "ppl = [math.exp(loss) for loss in x for (a, b) in loss if 2 ** ppl]\n",
    ],
)
def test_odd_sources_are_read_without_an_error(source: str) -> None:
    assert all(finding.severity == "warning" for finding in check_bytes("a.py", source.encode()))


def test_snippets_of_one_kind_differ() -> None:
    sources = sorted(snippet.source for snippet in SCORED)
    assert all(one != other for one, other in pairwise(sources))
