"""The figure of a state history: what is drawn is what stands in the table."""

import numpy as np
import pytest

from rnneval.render import figures
from tests.render.figures import made

STATES = {"lstm.h": [1.0, 2.0, 3.0, 3.0], "lstm.c": [4.0, 4.0, 2.0, 1.0]}


def drawn(source, ax):
    """Draw, and return the lines by their names."""
    figures.figure_of(source, "state_history").draw(ax=ax)
    return {line.get_gid(): line.get_xydata() for line in ax.get_lines()}


def test_each_lane_holds_the_values_of_the_table_on_its_scale(ax):
    lines = drawn(made.state_history([8.0, 5.0, 4.0, 6.0], STATES), ax)
    # From the top: perplexity from its smallest (4) to its largest (8), norms from 0 to the largest (2 · 3, 2 · 4).
    np.testing.assert_allclose(
        lines["held-out perplexity"], [[k, 2 + 0.84 * s] for k, s in enumerate([1, 0.25, 0, 0.5], 1)]
    )
    np.testing.assert_allclose(lines["lstm.h"], [[k, 1 + 0.84 * n / 6] for k, n in enumerate(STATES["lstm.h"], 1)])
    np.testing.assert_allclose(lines["lstm.c"], [[k, 0.84 * n / 8] for k, n in enumerate(STATES["lstm.c"], 1)])
    np.testing.assert_allclose(lines["best"], [[3, 2.0]])
    assert {text.get_text() for text in ax.texts} == {"8.00", "4.00", "6.00", "0"}
    tops = sorted(float(band.get_paths()[0].vertices[:, 1].max()) for band in ax.collections)
    np.testing.assert_allclose(tops, [0.84, 1.84])
    assert ax.get_xlabel() == "epoch"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "mean norm over the text", "up to the largest", "best perplexity",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("perplexities", "title"),
    [
        ([8.0, 5.0, np.nan, np.nan], "The training run diverged: held-out perplexity is not finite from epoch 3 on, "
                                     "best at epoch 2: 5.00"),
        ([8.0, 5.0, 6.0, np.inf], "The training run diverged: held-out perplexity is not finite from epoch 4 on, "
                                  "best at epoch 2: 5.00"),
        ([np.nan] * 4, "The training run diverged: held-out perplexity was never finite"),
        ([8.0, np.nan, 4.0, 4.0], "Held-out perplexity is not finite in 1 epoch, best at epoch 3: 4.00"),
    ],
)  # fmt: skip
def test_epochs_that_are_not_finite_are_marked_and_said(perplexities, title, ax):
    source = made.state_history(perplexities, {}, kept=True)
    figure = figures.figure_of(source)
    assert (figure.title, figure.diverged, figure.alt.startswith(title)) == (title, True, True)
    lines = drawn(source, ax)
    expected = [k for k, value in enumerate(perplexities, 1) if not np.isfinite(value)]
    assert lines["held-out perplexity, not finite"][:, 0].tolist() == expected
    assert ("best" in lines) == (len(expected) < 4)
