"""Limits on training histories: each summary against a loop of its own, and nothing that is not finite passes."""

import math
import statistics
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rnneval.cli.main import run
from rnneval.errors import UsageError
from rnneval.gates import NamedRecord, judge
from rnneval.gates.limits import ABSENT, read_history

RECORDS = Path(__file__).resolve().parents[2] / "docs" / "records"
NORMS = [3.0, 1.0, 4.0, 1.5, 9.0, 2.5]


def write(folder, rows, index="step", schema="rnneval.gradient-history/1", parts=1):
    """A history as the callbacks write it; rows: (step, layer, variable, statistic, value)."""
    folder.mkdir()
    names = [index, "layer", "variable", "statistic", "value"]
    kinds = [pa.int64(), *[pa.dictionary(pa.int32(), pa.string())] * 3, pa.float64()]
    fields = pa.schema(list(zip(names, kinds, strict=True)), metadata={"rnneval.schema": schema})
    for part, chosen in enumerate(np.array_split(np.arange(len(rows)), parts)):
        columns = zip(*(rows[i] for i in chosen), strict=True) if len(chosen) else [[]] * 5
        arrays = [pa.array(column, field.type) for column, field in zip(columns, fields, strict=True)]
        pq.write_table(pa.table(arrays, schema=fields), folder / f"part-{part:06}.parquet", write_page_checksum=True)
    return folder


def gradients(norms, first=1, left_out=False):
    """Rows of a layer `gru`, its kernel and the whole model; older histories left out norms that are not finite."""
    for step, norm in enumerate(norms, first):
        for layer, variable, factor in (("gru", "kernel", 1.0), ("gru", "", 2.0), ("", "", 4.0)):
            if not left_out or math.isfinite(norm):
                yield step, layer, variable, "grad_norm", factor * norm
            yield step, layer, variable, "not_finite", 0.0 if math.isfinite(norm) else 3.0


@pytest.fixture
def history(tmp_path):
    return read_history(write(tmp_path / "h", list(gradients(NORMS)), parts=2))


def percentile(values, q):
    """Linear between the two neighbours in order, as by default in NumPy, R (type 7) and spreadsheets."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * q / 100
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


ORACLES = {
    "max": max,
    "min": min,
    "mean": statistics.fmean,
    "median": statistics.median,
    "sum": math.fsum,
    "last": lambda values: values[-1],
    **{f"p{q}": (lambda values, q=q: percentile(values, q)) for q in (0, 1, 37, 50, 99, 100)},
}


@pytest.mark.parametrize("summary", ORACLES)
@pytest.mark.parametrize("last", [None, 2])
@pytest.mark.parametrize(("place", "factor"), [("", 4.0), (".gru.kernel", 1.0)])
def test_every_summary_of_every_window(history, summary, last, place, factor):
    window = "" if last is None else f".last{last}"
    values = [factor * norm for norm in (NORMS if last is None else NORMS[-last:])]
    assert history.figure(f"grad_norm{place}{window}.{summary}").value == pytest.approx(ORACLES[summary](values))


def test_without_a_summary_it_is_the_largest(history):
    assert history.figure("grad_norm.gru").value == 18.0
    assert history.figure("grad_norm.last2").value == 4 * 9.0
    assert history.figure("not_finite").value == 0


def test_words_that_are_names_of_layers_are_quoted(tmp_path):
    rows = [(1, name, "", "grad_norm", value) for name, value in (("max", 1.0), ("last2", 2.0), ("stack[1].gru", 3.0))]
    history = read_history(write(tmp_path / "h", [*rows, (1, "", "", "grad_norm", 9.0)]))
    assert history.figure('grad_norm."max".min').value == 1
    assert history.figure('grad_norm."last2"').value == 2
    assert history.figure("grad_norm.stack[1].gru.p99").value == 3
    assert history.figure('grad_norm."stack[1].gru"').value == 3
    assert history.figure("grad_norm.max").value == 9


def test_a_training_that_was_appended_comes_later(tmp_path):
    rows = [*gradients([1.0, 2.0, 3.0]), *gradients([7.0, 8.0])]  # its steps are 1 and 2 again
    history = read_history(write(tmp_path / "h", rows))
    assert history.figure("grad_norm.gru.kernel.last").value == 8
    assert history.figure("grad_norm.gru.kernel.last3.min").value == 3
    assert history.figure("grad_norm.gru.kernel.last5.mean").value == pytest.approx(21 / 5)


@pytest.mark.parametrize(("bad", "left_out"), [(math.nan, False), (math.inf, False), (math.nan, True)])
@pytest.mark.parametrize("summary", ["max", "p50"])
def test_a_step_that_is_not_finite_passes_nothing(tmp_path, bad, left_out, summary):
    folder = write(tmp_path / "h", list(gradients([1.0, bad, 1.0, 1.0], left_out=left_out)))
    found = read_history(folder).figure(f"grad_norm.gru.{summary}")
    assert math.isnan(found.value)
    assert found.note == "not finite in 1 of 4 steps, first in step 2"
    for limit in ("<=5", ">=0", "!=1", "<=inf"):
        verdict = judge(
            [NamedRecord(name="h", record=read_history(folder))], require=[f"grad_norm.gru.{summary}{limit}"]
        )
        assert verdict.verdict == "fail"
        assert "first in step 2" in verdict.reason
    judged = judge(
        [NamedRecord(name="h", record=read_history(folder))], require=["not_finite.sum==3", "grad_norm.last2<=4"]
    )
    assert judged.verdict == "pass"  # the last two steps are finite


def test_an_epoch_whose_score_is_missing_is_not_finite(tmp_path):
    scores = [(epoch, "", "", "perplexity", value) for epoch, value in ((0, 9.0), (1, 5.0), (3, 4.0))]
    states = [(epoch, "gru", "h", "saturated", 0.1 * epoch) for epoch in range(4)]
    folder = write(tmp_path / "s", sorted([*scores, *states]), "epoch", "rnneval.state-history/1")
    history = read_history(folder)
    assert history.figure("saturated.gru.h.last").value == pytest.approx(0.3)
    assert history.figure("perplexity.last").note == "not finite in 1 of 4 epochs, first in epoch 2"
    assert history.figure("perplexity.last1").value == 4


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize(
    "limit", ["perplexity.last<=50", "perplexity.min<=50", "perplexity>=0", "perplexity.last<=inf"]
)
def test_a_score_that_is_not_finite_after_a_good_epoch_passes_nothing(tmp_path, bad, limit, capsys):
    rows = [(epoch, "", "", "perplexity", value) for epoch, value in enumerate((9.0, 5.0, bad))]
    folder = write(tmp_path / "s", rows, "epoch", "rnneval.state-history/1")
    assert run(["gate", str(folder), "--require", limit]) == 1
    assert "not finite in 1 of 3 epochs, first in epoch 2" in capsys.readouterr().out.replace("\n", " ")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("grad_nrm.gru", "no statistic 'grad_nrm'; did you mean grad_norm? There are grad_norm, not_finite"),
        ("grad_norm.gruu.p99", "no grad_norm of 'gruu'; did you mean gru? There are gru.kernel, gru, the whole model"),
        ("grad_norm.gru.kernal", "did you mean gru.kernel?"),
        ("grad_norm.gru.p101", "then max, min, mean, median, sum, last or p0 to p100"),
        ("grad_norm.gru.last0", "no grad_norm of 'gru.last0'"),
        ("grad_norm.gru.p99.last5", "no grad_norm of 'gru.p99'"),
        ("perplexity", "no statistic 'perplexity'; there are grad_norm, not_finite"),
        ("", "no statistic ''"),
    ],
)
def test_an_unknown_name_is_answered_with_what_there_is(history, name, said):
    found = history.figure(name)
    assert said in found.unknown
    assert found.value is ABSENT
    if name:
        with pytest.raises(UsageError, match=r"^--require .*: h: no "):
            judge([NamedRecord(name="h", record=history)], require=[f"{name}<=5"])


def test_a_history_without_enough_steps_is_inconclusive_and_says_why(tmp_path, history):
    (tmp_path / "empty").mkdir()
    no_rows = write(tmp_path / "no-rows", [])
    for folder in (tmp_path / "empty", no_rows):
        found = judge([NamedRecord(name="h", record=read_history(folder))], require=["grad_norm.p99<=5"])
        assert found.verdict == "inconclusive"
        assert "the history has no step" in found.reason
    found = judge([NamedRecord(name="h", record=history)], require=["grad_norm.last7<=100"])
    assert (found.verdict, "has 6 steps, and 7 were asked for" in found.reason) == ("inconclusive", True)


def test_the_command_reads_folders_files_and_gradient_records(tmp_path, capsys, refused):
    folder = write(tmp_path / "h", list(gradients(NORMS)))
    assert run(["gate", str(folder), "--require", "grad_norm.gru.p99<=18", "--require", "not_finite<=0"]) == 0
    assert run(["gate", str(folder / "part-000000.parquet"), "--require", "grad_norm.gru.p50<=1"]) == 1
    assert run(["gate", str(folder), "--require", "grad_norm.last99<=18"]) == 3
    assert run(["gate", str(folder), "--require", "grad_norm.last99<=18", "--strict"]) == 1
    record = str(RECORDS / "gradients.json")
    assert run(["gate", record, "--require", "variables.lstm_1.kernel.norm_max<=1e9", "--require", "loss>=0"]) == 0
    assert run(["gate", record, "--require", "through_time.lstm_1.h.decay<=0"]) == 1
    capsys.readouterr()
    assert run(["gate", record, "--require", "los<=1"]) == 1
    assert "did you mean loss" in " ".join(capsys.readouterr().out.split())
    assert "is no run record" in refused("gate", str(RECORDS / "run.json"), "--baseline", str(folder))
    assert "rnneval.sweep/1" in refused("gate", str(RECORDS / "sweep.parquet"), "--require", "x<=1")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").touch()
    assert "no part-" in refused("gate", str(tmp_path / "other"), "--require", "grad_norm<=1")


def test_the_norms_of_a_real_training(capsys):
    """Oracle: pandas, on the history that the docs show."""
    import pandas as pd

    table = pd.read_parquet(RECORDS / "grads.parquet")
    chosen = table[(table.layer == "gru_1") & (table.statistic == "grad_norm")].sort_values("step")["value"]
    history = read_history(RECORDS / "grads.parquet")
    assert history.figure("grad_norm.gru_1.p99").value == pytest.approx(chosen.quantile(0.99))
    assert history.figure("grad_norm.gru_1.last100.mean").value == pytest.approx(chosen.tail(100).mean())
    broken = read_history(RECORDS / "broken.parquet")
    assert math.isnan(broken.figure("grad_norm.p99").value)
