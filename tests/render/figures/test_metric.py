"""The keyword `metric` of `rnneval.plot`: the score that is drawn in place of the usual one."""

import numpy as np
import pandas as pd
import pytest

import rnneval
from rnneval.errors import UsageError
from rnneval.records.tables import SWEEP
from rnneval.render import figures
from tests.render.figures import made


def sweep():
    """Two checkpoints: the first is better by its loss, the second by its accuracy."""
    return pd.DataFrame(
        {
            "path": ["a.keras", "b.keras"], "run": ["", ""], "epoch": [1.0, 2.0], "step": [np.nan, np.nan],
            "status": ["ok", "ok"], "bits_per_char": [2.0, 3.0], "bits_per_char_low": [np.nan] * 2,
            "bits_per_char_high": [np.nan] * 2, "accuracy": [0.25, 0.75], "accuracy_low": [np.nan] * 2,
            "accuracy_high": [np.nan] * 2,
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("metric", "best", "values"), [(None, (1, 2.0), [2.0, 3.0]), ("accuracy", (2, 0.75), [0.25, 0.75])]
)
def test_a_learning_curve_of_another_metric(metric, best, values, ax):
    assert figures.source_of(sweep()).schema == SWEEP
    rnneval.plot.learning_curve(sweep(), ax=ax, metric=metric)
    marked = next(line for line in ax.lines if line.get_gid() == "best")
    assert (*marked.get_xdata(), *marked.get_ydata()) == best
    assert ax.lines[0].get_ydata().tolist() == values
    assert ax.get_ylabel() == (metric or "bits per character")


@pytest.mark.parametrize(
    ("name", "metric", "said"),
    [
        ("calibration", "accuracy", "calibration has no choice of metrics; baselines, comparison, learnin"),
        ("loss_over_text", "calibration_error", "a block of the text has no such score, only cr"),
        ("baselines", "accuracy", "a baseline has no such score, only cross_entropy, perplexity"),
        ("learning_curve", "acuracy", r"no such score \(did you mean accuracy\?\)"),
        ("comparison", "perplexty", r"metric='perplexty' is not known \(did you mean perplexity"),
    ],
)
def test_a_wrong_metric_is_refused_before_anything_is_drawn(name, metric, said, ax):
    source = sweep() if name == "learning_curve" else made.run()
    with pytest.raises(UsageError, match=said):
        getattr(rnneval.plot, name)(source, ax=ax, metric=metric)
    assert not [*ax.lines, *ax.collections, *ax.patches]
    assert ax.get_title(loc="left") == ""
