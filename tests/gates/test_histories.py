"""Limits on training histories: each summary against a loop of its own, and nothing that is not finite passes."""

import math
import statistics

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rnneval.gates.limits import read_history
from rnneval.gates.verdicts import NamedRecord, gate

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


def gradients(norms):
    """Rows of a layer `gru`, its kernel and the whole model."""
    for step, norm in enumerate(norms, 1):
        for layer, variable, factor in (("gru", "kernel", 1.0), ("gru", "", 2.0), ("", "", 4.0)):
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


def test_every_summary_of_every_window(history):
    for summary, oracle in ORACLES.items():
        for window, values in (("", NORMS), (".last2", NORMS[-2:])):
            found = history.figure(f"grad_norm.gru.kernel{window}.{summary}").value
            assert found == pytest.approx(oracle(values)), (summary, window)
    assert history.figure("grad_norm.gru").value == 18.0  # without a summary the largest
    assert history.figure("grad_norm.last2").value == 4 * 9.0
    assert history.figure("not_finite").value == 0
    assert history.figure("grad_norm.last2.p101").unknown


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_step_that_is_not_finite_passes_nothing(tmp_path, bad):
    record = NamedRecord(name="h", record=read_history(write(tmp_path / "h", list(gradients([1.0, bad, 1.0, 1.0])))))
    assert math.isnan(record.record.figure("grad_norm.gru").value)
    for limit in ("grad_norm.gru<=5", "grad_norm.gru.p50>=0", "grad_norm.gru.p50!=1", "grad_norm<=inf"):
        found = gate([record], require=[limit])
        assert found.verdict == "fail"
        assert "not finite in 1 of 4 steps, first in step 2" in found.reason
    judged = gate([record], require=["not_finite.sum==3", "grad_norm.last2<=4"])
    assert judged.verdict == "pass"  # the last two steps are finite
