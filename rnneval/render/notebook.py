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

_PLAIN_WIDTH = 100


def fragment(value: Any) -> str:
    """Return the HTML that a notebook shows of a record, a verdict or compared runs.

    Raises:
        TypeError: there is no document of such a value.
    """
    from rnneval.render.html import fragment_of

    return fragment_of(document_of(value))


def plain(wiring: Wiring) -> str:
    """Return a wiring record as text without colour, for `print(wiring)` and the message of a failing test."""
    return as_text(wiring_document(wiring), _PLAIN_WIDTH).rstrip()


def document_of(value: Any) -> Iterator[Block]:
    """Return the document of a record, a verdict or compared runs.

    Raises:
        TypeError: there is none of such a value.
    """
    for kind, document in _DOCUMENTS.items():
        if isinstance(value, kind):
            return document(value)
    raise TypeError(f"there is no table of a {type(value).__name__}")


def _run(run: Run) -> Iterator[Block]:
    """Write the scores, and the diagnostics of a traced run."""
    traced = run.gates is not None or run.context is not None or run.lyapunov is not None
    return chain(run_document(run), trace_document(run)) if traced else run_document(run)


_DOCUMENTS: dict[type, Callable[[Any], Iterator[Block]]] = {
    Run: _run,
    Wiring: wiring_document,
    Gate: gate_document,
    Gradients: gradients_document,
    Opened: opened_document,
    Ranking: ranking_document,
    LossComparison: losses_document,
}
