"""One file a metric, found by being in this folder: add `NAME.py` with a docstring and a `METRIC`, edit nothing else.

The docstring is the text of `rnneval explain NAME` and of the docs page. A name that begins with `_` is no metric.
Importing this package imports neither NumPy nor a metric: `docs` reads source alone.
"""

import ast
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from rnneval.registry import modules

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rnneval.metrics._base import Metric, ScoredTokens, Scores, Totals, UnavailableError

_BASE = ("Metric", "ScoredTokens", "Scores", "Totals", "UnavailableError")

__all__ = [
    "Metric",
    "ScoredTokens",
    "Scores",
    "Totals",
    "UnavailableError",
    "all_metrics",
    "by_name",
    "docs",
    "finish",
    "names",
    "tally",
]


def __getattr__(name: str) -> object:
    if name in _BASE:
        return getattr(import_module("rnneval.metrics._base"), name)
    raise AttributeError(f"module 'rnneval.metrics' has no attribute {name!r}")


@cache
def all_metrics() -> "tuple[Metric, ...]":
    """Import every metric of the folder; sorted by `order`, then by name."""
    found: list[Metric] = [module.METRIC for module in modules(__name__)]
    return tuple(sorted(found, key=lambda metric: (metric.order, metric.name)))


def by_name() -> "dict[str, Metric]":
    """Return every metric by its name, in the order of `all_metrics`."""
    return {metric.name: metric for metric in all_metrics()}


def names() -> tuple[str, ...]:
    """Name every metric, in the order of `all_metrics`."""
    return tuple(metric.name for metric in all_metrics())


def docs(name: str) -> str:
    """Give a metric's text, in Markdown: meaning, formula, unit, how to read it, pitfalls, references.

    Raises:
        KeyError: no metric has this name.
    """
    for folder in __path__:
        path = Path(folder) / f"{name}.py"
        if name.isidentifier() and not name.startswith("_") and path.is_file():
            return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    raise KeyError(name)


def tally(tokens: "ScoredTokens") -> "dict[str, NDArray[np.float64]]":
    """Give every term that some metric sums, `(n,)` float64 each; a name that metrics share is there once.

    The arrays may share memory with `tokens`: add them up, do not write into them.

    >>> import numpy as np
    >>> from rnneval.metrics import ScoredTokens
    >>> one = np.array([1])
    >>> token = ScoredTokens(nats=np.array([0.25]), confidence=np.array([0.75]), rank=np.array([0]),
    ...                      characters=one, bytes=one, words=one, newlines=np.array([0]))
    >>> terms = tally(token)
    >>> {name: float(terms[name].sum()) for name in ("nats", "top1", "top5", "newlines", "calibration_gap_11")}
    {'nats': 0.25, 'top1': 1.0, 'top5': 1.0, 'newlines': 0.0, 'calibration_gap_11': 0.25}
    """
    terms: dict[str, NDArray[np.float64]] = {}
    for metric in all_metrics():
        for name, term in metric.tally(tokens).items():
            terms.setdefault(name, term)
    return terms


def finish(totals: "Totals") -> "Scores":
    """Turn sums into scores; a score that cannot be had is missing, with the reason.

    Raises:
        UnavailableError: no token was scored, so that there is nothing to say at all.

    >>> from rnneval.metrics import Totals
    >>> scores = finish(Totals(tokens=2, characters=2, bytes=2, words=0, lossless=True, sums={"nats": 0.0}))
    >>> scores.values["perplexity"], scores.missing["word_perplexity"]
    (1.0, 'no word was scored')
    """
    from rnneval.metrics._base import Scores, UnavailableError

    if not totals.tokens > 0:
        raise UnavailableError("no token was scored: the text is empty, or holds only first tokens of documents")
    values: dict[str, float] = {}
    missing: dict[str, str] = {}
    for metric in all_metrics():
        try:
            values[metric.name] = metric.finish(totals)
        except UnavailableError as reason:
            missing[metric.name] = str(reason)
    return Scores(values=values, missing=missing)
