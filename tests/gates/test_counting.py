"""Better than counting? Records whose n-gram has known losses in every block."""

import msgspec
import numpy as np
import pytest

from rnneval import gate
from rnneval.records.encoding import require_consistent
from rnneval.records.run import Ngram, Score
from tests.gates.synthetic import ar_losses, make_run, sha

LOSSES = ar_losses(128)
NOISE = 0.02 * np.random.default_rng(0).normal(size=128)
T = 2.364624251592785  # of 7 degrees of freedom at 97.5 %


def beside(run, ngram_losses, *, interval=True, **baselines):
    """Give a run the n-gram that has these mean losses a token in the blocks."""
    tokens = np.array(run.blocks.tokens)
    nats = np.asarray(ngram_losses) * tokens
    mean = float(nats.sum() / tokens.sum())
    differences = np.array(run.blocks.sums["nats"]) - nats
    value = float(differences.sum() / tokens.sum())
    # The jackknife over 8 runs of equally many blocks.
    parts, units = differences.reshape(8, -1).sum(axis=1), tokens.reshape(8, -1).sum(axis=1)
    without = (parts.sum() - parts) / (units.sum() - units)
    error = float(np.sqrt(7 / 8 * np.square(without - without.mean()).sum()))
    low, high = (value - T * error, value + T * error) if interval else (None, None)
    best = Ngram(
        order=5, discounts=("single", *["modified"] * 4), fitted_tokens=1000, fitted_sha256=sha("training"),
        nats=tuple(nats.tolist()), change=Score(value=value, unit="nats a token", low=low, high=high),
    )  # fmt: skip
    found = {"uniform": 4.17, "unigram": 3.3, "ngram-2": 2.5, "ngram-5": mean, "ngram-6": mean + 0.01, **baselines}
    found = msgspec.structs.replace(run, ngram=best, baselines=found)
    require_consistent("run", found)
    return found


BETTER = beside(make_run(LOSSES - 0.05 + NOISE, checkpoint="better"), LOSSES)
WORSE = beside(make_run(LOSSES + 0.05 + NOISE, checkpoint="worse"), LOSSES)
EQUAL = beside(make_run(LOSSES + NOISE, checkpoint="equal"), LOSSES)


@pytest.mark.parametrize(
    ("run", "verdict", "beside_it"),
    [(BETTER, "pass", "better"), (WORSE, "fail", "worse"), (EQUAL, "inconclusive", "inconclusive")],
)
def test_a_gate_fails_where_the_model_is_worse_than_counting(run, verdict, beside_it):
    found = gate(run, better_than_counting=True)
    assert found.verdict == verdict
    (comparison,) = found.comparisons
    assert (comparison.baseline, comparison.metric) == ("ngram-5", "perplexity")
    assert comparison.reason.startswith("against ngram-5: ")
    assert comparison.difference == pytest.approx(run.ngram.change.value, rel=1e-9)
    assert comparison.low > run.ngram.change.low  # one-sided bounds lie within the two-sided interval
    assert comparison.high < run.ngram.change.high
    assert [each.verdict for each in found.counting] == [beside_it]
