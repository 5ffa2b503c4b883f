"""Metrics, one file each: `rnneval.metrics.perplexity(nats)` and the scores of every run record.

Add `NAME.py` to this folder and the page `rnneval/pages/NAME.md`; nothing else has to be edited. Its function `NAME`,
if it has one, becomes `rnneval.metrics.NAME`. A score of runs also has a `METRIC`. A file whose name begins with `_` is
no metric.
"""

from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rnneval import registry
from rnneval.metrics._base import LossesAlone, Metric, NotTalliedError, ScoredTokens, Scores, Totals, UnavailableError

if TYPE_CHECKING:
    # Types alone: a metric works without a line here, but type checkers then take its name for the module.
    from rnneval.metrics.accuracy import accuracy as accuracy
    from rnneval.metrics.accuracy_top5 import accuracy_top5 as accuracy_top5
    from rnneval.metrics.bits_per_byte import bits_per_byte as bits_per_byte
    from rnneval.metrics.bits_per_char import bits_per_char as bits_per_char
    from rnneval.metrics.calibration_error import calibration_error as calibration_error
    from rnneval.metrics.cross_entropy import cross_entropy as cross_entropy
    from rnneval.metrics.gradient_norms import gradient_norms as gradient_norms
    from rnneval.metrics.perplexity import perplexity as perplexity
    from rnneval.metrics.state_norms import state_norms as state_norms
    from rnneval.metrics.word_perplexity import word_perplexity as word_perplexity
    from rnneval.metrics.word_perplexity_eos import word_perplexity_eos as word_perplexity_eos

__all__ = [
    "LossesAlone", "Metric", "ScoredTokens", "Scores", "Totals", "UnavailableError",
    "all_metrics", "by_name", "finish", "names", "tally",
]  # fmt: skip

# The import of a file sets its name in this package to the module; here its function takes that place.
for _name, _module in zip(registry.names(__name__), registry.modules(__name__), strict=True):
    globals()[_name] = getattr(_module, _name)


def __dir__() -> list[str]:
    return sorted([*__all__, *registry.names(__name__)])


@cache
def all_metrics() -> tuple[Metric, ...]:
    """Return every metric that is a score of runs; sorted by `order`, then by name."""
    metrics: list[Metric] = [module.METRIC for module in registry.modules(__name__) if hasattr(module, "METRIC")]
    return tuple(sorted(metrics, key=lambda metric: (metric.order, metric.name)))


def by_name() -> dict[str, Metric]:
    """Return every score of runs by its name, in the order of `all_metrics`."""
    return {metric.name: metric for metric in all_metrics()}


def names() -> tuple[str, ...]:
    """Name every score of runs, in the order of `all_metrics`."""
    return tuple(by_name())


def tally(tokens: ScoredTokens) -> dict[str, NDArray[np.float64]]:
    """Return every term that some metric sums, `(n,)` float64 each; a name that metrics share is there once.

    A metric that needs what was not observed has no term. The arrays may share memory with `tokens`.
    """
    terms: dict[str, NDArray[np.float64]] = {}
    for metric in all_metrics():
        with suppress(NotTalliedError):
            terms = {**metric.tally(tokens), **terms}
    return terms


def finish(totals: Totals) -> Scores:
    """Turn sums into scores; one that cannot be computed is missing, one whose sums were not tallied is in neither.

    Raises:
        UnavailableError: no token was scored, so that there is no score at all.

    >>> scores = finish(Totals(tokens=2, characters=2, bytes=2, words=0, lossless=True, sums={"nats": 0.0}))
    >>> scores.values["perplexity"], scores.missing["word_perplexity"]
    (1.0, 'no word was scored')
    """
    if not totals.tokens > 0:
        raise UnavailableError("no token was scored: the text is empty, or holds only first tokens of documents")
    values: dict[str, float] = {}
    missing: dict[str, str] = {}
    for metric in all_metrics():
        try:
            values[metric.name] = metric.finish(totals)
        except NotTalliedError:
            continue
        except UnavailableError as reason:
            missing[metric.name] = str(reason)
    return Scores(values=values, missing=missing)
