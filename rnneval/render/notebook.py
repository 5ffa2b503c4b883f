"""Values in a notebook and in `print`: the document that the terminal prints.

`rnneval.records` calls `fragment` and `plain` and knows no more of this package.
"""

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

from rnneval.gates.ranking import Ranking
from rnneval.gates.token_losses import LossComparison
from rnneval.records import Gate, Gradients, Opened, Run, Wiring
from rnneval.render.document import Block
from rnneval.render.gate_document import gate_document, losses_document, ranking_document
from rnneval.render.run_document import gradients_document, opened_document, run_document, trace_document
from rnneval.render.terminal import as_text
from rnneval.render.wiring_document import wiring_document


def fragment(value: Any) -> str:
    """Return the HTML that a notebook shows of a record, a verdict or compared runs."""
    from rnneval.render.html import fragment_of

    return fragment_of(document_of(value))


def plain(wiring: Wiring) -> str:
    """Return a wiring record as text without colour, for `print(wiring)` and the message of a failing test."""
    return as_text(wiring_document(wiring), 100).rstrip()


def document_of(value: Any) -> Iterator[Block]:
    """Return the document of a record, a verdict or compared runs: of a traced run, its diagnostics, too."""
    if isinstance(value, Run) and (value.gates is not None or value.context is not None or value.lyapunov is not None):
        return chain(run_document(value), trace_document(value))
    for kind, document in _DOCUMENTS.items():
        if isinstance(value, kind):
            return document(value)
    raise TypeError(f"there is no table of a {type(value).__name__}")


_DOCUMENTS: dict[type, Callable[[Any], Iterator[Block]]] = {
    Run: run_document,
    Wiring: wiring_document,
    Gate: gate_document,
    Gradients: gradients_document,
    Opened: opened_document,
    Ranking: ranking_document,
    LossComparison: losses_document,
}
