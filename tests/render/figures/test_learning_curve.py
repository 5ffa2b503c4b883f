"""The learning curve of a sweep: what is drawn is what stands in the table."""

import numpy as np

from rnneval.render import figures
from tests.render.figures import made


def curve(**options):
    return figures.figure_of(made.sweep(**options), "learning_curve")


def test_a_line_a_run_with_its_band_and_the_best_ringed(ax):
    figure = curve(runs={"gru": [3.0, 2.5, 2.7], "lstm": [2.9, 2.6]}, failed=2)
    figure.draw(ax=ax)
    lines = {line.get_gid(): line for line in ax.get_lines()}
    np.testing.assert_array_equal(lines["gru"].get_xydata(), [[1, 3.0], [2, 2.5], [3, 2.7]])
    np.testing.assert_array_equal(lines["lstm"].get_xydata(), [[1, 2.9], [2, 2.6]])
    np.testing.assert_array_equal(lines["best"].get_xydata(), [[2, 2.5]])
    bands = [band.get_paths()[0].vertices[:, 1] for band in ax.collections]
    assert [(float(band.min()), float(band.max())) for band in bands] == [(2.4, 3.1), (2.5, 3.0)]
    assert figure.title == "gru/ckpt_2.keras is best, at epoch 2: 2.50 bits per character"
    assert figure.alt.endswith(
        "lstm: 2 checkpoints, first 2.90, best 2.60, last 2.60. 2 checkpoints failed or not valid."
    )
    assert "2 checkpoints failed or not valid" in ax.get_xlabel()


def test_where_all_failed_there_is_no_curve():
    assert figures.figures_of(made.sweep({}, failed=3)) == []
