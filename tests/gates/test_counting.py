"""Better than counting? Records whose n-gram has known losses in every block."""

import msgspec
import numpy as np
import pytest

from rnneval.cli.main import run as command
from rnneval.gates import gate
from rnneval.gates.explanation import standing
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


def test_runs_that_cannot_be_judged():
    assert gate(WORSE, baseline=WORSE).verdict == "pass"  # without being asked for, it decides nothing
    invalid = msgspec.structs.replace(BETTER, valid=False)
    assert gate(invalid, better_than_counting=True).verdict == "fail"
    assert gate(invalid, require=["perplexity<=100"]).counting is None
    assert standing(invalid) == ""
    short = make_run(LOSSES[:64])
    tokens = np.array(short.blocks.tokens)
    nats = LOSSES[:64] * tokens + 0.1 * tokens
    best = msgspec.structs.replace(
        BETTER.ngram, nats=tuple(nats.tolist()), change=Score(value=-0.1, unit="nats a token", low=None, high=None)
    )
    short = msgspec.structs.replace(short, ngram=best, baselines={"ngram-5": float(nats.sum() / tokens.sum())})
    found = gate(short, better_than_counting=True)
    assert found.verdict == "inconclusive"
    assert "too little text" in found.reason
    assert found.counting[0].verdict == "inconclusive"


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (1.4, "better than ngram-5, the best n-gram"),
        (1.6, "at least as good as ngram-4, worse than ngram-5"),
        (2.5, "at least as good as ngram-2, worse than ngram-4"),  # its very loss
        (1.8, "at least as good as ngram-2, worse than ngram-4"),
        (3.0, "at least as good as unigram, worse than ngram-2"),
        (5.0, "worse than uniform"),
    ],
)
def test_the_ngram_that_a_model_is_as_good_as(loss, said):
    run = make_run([loss] * 128)
    tokens = np.array(run.blocks.tokens)
    best = msgspec.structs.replace(BETTER.ngram, nats=tuple((1.5 * tokens).tolist()), change=None)
    ladder = {"uniform": 4.17, "unigram": 3.3, "ngram-2": 2.5, "ngram-4": 1.7, "ngram-5": 1.5, "ngram-6": 1.55}
    assert standing(msgspec.structs.replace(run, ngram=best, baselines=ladder)) == said


def test_the_commands(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, record in (("better", BETTER), ("worse", WORSE), ("without", make_run(LOSSES, checkpoint="without"))):
        record.save(f"{name}.json")
    assert command(["gate", "worse.json", "--better-than-counting"]) == 1
    assert "ngram-5" in capsys.readouterr().out
    assert command(["compare", "worse.json", "better.json"]) == 0
    assert "n-gram" in capsys.readouterr().out
    assert command(["gate", "without.json", "--better-than-counting"]) == 2
    assert "without.json: has no n-grams" in capsys.readouterr().err
