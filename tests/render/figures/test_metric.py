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


def test_a_comparison_by_another_metric(ax):
    runs = [made.run([1.0] * 200), made.run([1.5] * 200)]
    rnneval.plot.comparison(runs, ax=ax, metric="cross_entropy")
    assert "cross entropy" in ax.get_xlabel()
    gate = figures.load("docs/records/gate.json")
    ax.clear()
    rnneval.plot.comparison(gate, ax=ax, metric="accuracy")
    assert [label.get_text() for label in ax.get_yticklabels()] == ["accuracy"]


def test_the_accuracy_along_the_text(ax):
    """Blocks of 100 tokens in two documents: the last window of the first has blocks of accuracy 0.4 and 0.6."""
    accuracy = [0.2, 0.4, 0.6, 1.0, 0.8, 0.6]
    run = made.run([1.0] * 6, document=[0, 0, 0, 1, 1, 1], tokens=[100] * 6, accuracy=accuracy)
    rnneval.plot.loss_over_text(run, ax=ax, metric="accuracy")
    dots = next(line for line in ax.lines if line.get_marker() == ".")
    np.testing.assert_allclose(dots.get_ydata(), accuracy)
    running = [line for line in ax.lines if line.get_gid() == "running mean"]
    np.testing.assert_allclose(running[0].get_ydata(), [0.3, 0.4, 0.5])
    np.testing.assert_allclose(running[1].get_ydata(), [0.9, 0.8, 0.7])
    assert ax.get_ylabel() == "accuracy (share)"
    assert ax.get_title(loc="left") == "Accuracy 0.600 over 6 blocks of text"


def test_baselines_by_another_metric(ax):
    """Two blocks of 256 bytes, the first without its first: 511 characters in 100 tokens, of 2 nats each."""
    run = made.run([2.0, 2.0], tokens=[50, 50], baselines={"uniform": 3.0})
    assert rnneval.plot.baselines(run, ax=ax).get_xlabel() == "loss (nats a token; less is better)"
    ax.clear()
    rnneval.plot.baselines(run, ax=ax, metric="bits_per_char")
    widths = [bar.get_width() for bar in ax.patches if bar.get_width()]
    np.testing.assert_allclose(sorted(widths), np.array([200.0, 300.0]) / (np.log(2) * 511))
    assert ax.get_xlabel() == "bits per char (bits a character; less is better)"
    title = " ".join(ax.get_title(loc="left").split())
    assert title == "model is better than uniform: bits per char 0.565 against 0.847"


def test_a_state_history_of_another_score(ax):
    frame = made.state_history([8.0, 5.0, 6.0], {"gru.h": [1.0, 2.0, 3.0]}).frame
    more = frame[frame["statistic"] == "perplexity"].assign(statistic="bits_per_char", value=[3.0, 2.5, 2.0])
    both = pd.concat([frame, more]).sort_values("epoch", kind="stable")
    rnneval.plot.state_history(both, ax=ax, metric="bits_per_char")
    assert ax.get_title(loc="left") == "Held-out bits per char is best at epoch 2: 2.00"
    line = next(line for line in ax.lines if line.get_gid() == "held-out bits per char")
    np.testing.assert_allclose(line.get_ydata(), [1 + 0.84, 1 + 0.42, 1])
    with pytest.raises(UsageError, match="metric='accuracy': the history has no such score, only perplexity"):
        figures.figure_of(frame, "state_history", metric="accuracy")


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
