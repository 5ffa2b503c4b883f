"""Records as HTML, for notebooks, and as text, for `print`: the document that the terminal prints."""

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

from rnneval.evaluate.sweep_table import Sweep
from rnneval.models.protocol import LanguageModel, opened
from rnneval.records import Gate, Gradients, Opened, Parity, Ranking, Run, Server, Wiring
from rnneval.render import run_document as runs
from rnneval.render import terminal
from rnneval.render.document import Block
from rnneval.render.gate_document import gate_document, ranking_document
from rnneval.render.parity_document import parity_document
from rnneval.render.server_document import server_document
from rnneval.render.sweep_document import sweep_document
from rnneval.render.wiring_document import wiring_document


def as_html(value: Any) -> str:
    """Return a record, compared runs, a sweep or a model as HTML, without a page around it: what a notebook shows."""
    from rnneval.render.html import fragment_of

    return fragment_of(document_of(value))


def as_text(value: Any) -> str:
    """Return a record, compared runs, a sweep or a model as text without colour, in lines of up to 100 characters."""
    return terminal.as_text(document_of(value), 100).rstrip()


def document_of(value: Any) -> Iterator[Block]:
    """Return the document of a record, a verdict or compared runs: of a traced run, its diagnostics, too."""
    if isinstance(value, Run) and (value.gates is not None or value.context is not None or value.lyapunov is not None):
        return chain(runs.run_document(value), runs.trace_document(value))
    if isinstance(value, LanguageModel):
        value = opened(value)
    documents: dict[type, Callable[[Any], Iterator[Block]]] = {
        Run: runs.run_document, Wiring: wiring_document, Gate: gate_document, Gradients: runs.gradients_document,
        Opened: runs.opened_document, Ranking: ranking_document, Parity: parity_document, Server: server_document,
        Sweep: sweep_document,
    }  # fmt: skip
    for kind, document in documents.items():
        if isinstance(value, kind):
            return document(value)
    raise TypeError(f"there is no table of a {type(value).__name__}")
