"""A SavedModel is a program, and it is never run.

## What it refuses
A SavedModel without `--builder`; a `saved_model.pb` of more than 128 MB.

## Why
Its graph may hold any operation: reading and writing files (`WriteFile`, `ReadFile`), calling Python. Loading it
already runs its initialisation.

## What to do
With `--builder`, weights and vocabulary are read out of it as data.

## References
- TensorFlow's SECURITY.md: models are programs.
- CVE-2026-1462.
"""

from collections.abc import Iterator

from rnneval.files.folder import Graph

NAME, ABOUT, ORDER = "graph-never-run", "graph", 450
ADVICE = (
    "give the code that makes the model, --builder FILE.py:NAME, as in: rnneval evaluate CHECKPOINT TEXT "
    "--builder train.py:MyModel"
)

_MOST_BYTES = 1 << 27


def find(graph: Graph) -> Iterator[str]:
    """Without code for the model there is nothing to do but run the graph."""
    if not graph.has_builder:
        yield "a SavedModel, whose graph is never run"
    if graph.size > _MOST_BYTES:
        yield f"saved_model.pb has {graph.size:,} bytes; up to {_MOST_BYTES:,} are read"
