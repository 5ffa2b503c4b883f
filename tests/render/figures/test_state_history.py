"""The figure of a state history: what is drawn is what stands in the table."""

from dataclasses import replace

import numpy as np
import pandas as pd
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
        lines["held-out perplexity"], [[k, 2 + 0.84 * s] for k, s in enumerate([1, 0.25, 0, 0.5])]
    )
    np.testing.assert_allclose(lines["lstm.h"], [[k, 1 + 0.84 * n / 6] for k, n in enumerate(STATES["lstm.h"])])
    np.testing.assert_allclose(lines["lstm.c"], [[k, 0.84 * n / 8] for k, n in enumerate(STATES["lstm.c"])])
    np.testing.assert_allclose(lines["best"], [[2, 2.0]])
    assert {text.get_text() for text in ax.texts} == {"8.00", "4.00", "6.00", "0"}
    tops = sorted(float(band.get_paths()[0].vertices[:, 1].max()) for band in ax.collections)
    np.testing.assert_allclose(tops, [0.84, 1.84])
    assert ax.get_xlabel() == "epoch (the first is 0)"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "mean norm over the text", "up to the largest", "best perplexity",
    ]  # fmt: skip


NONE = [np.nan] * 4


@pytest.mark.parametrize(
    ("perplexities", "states", "title"),
    [
        ([8.0, 6.0, 5.0, 5.04], {}, "Held-out perplexity is best at epoch 2: 5.00"),
        ([8.0, 6.0, 5.0, 5.06], {}, "Held-out perplexity is best at epoch 2: 5.00, 5.06 at the end"),
        (NONE, STATES, "Training of 4 epochs changes the mean norm of lstm.c most: from 4.00 to 1.00"),
        (NONE, {"gru.h": [1.0, 9.0, 9.0, 1.09]}, "Training of 4 epochs leaves the state norm level"),
        (
            NONE,
            {"gru.h": [1.0, 1.0, 1.0, 1.2]},
            "Training of 4 epochs changes the mean norm of gru.h most: from 1.00 to 1.20",
        ),
        (NONE[:1], {"a.h": [1.0], "b.h": [2.0]}, "Mean norms of 2 states after one epoch"),
    ],
)
def test_titles(perplexities, states, title):
    assert figures.figure_of(made.state_history(perplexities, states)).title == title


@pytest.mark.parametrize("epochs", [[0, 1, 0, 1], [0, 0, 0, 1], [2, 3, 0, 1]])
def test_epochs_of_several_trainings_are_counted_on(epochs, ax):
    lines = drawn(made.state_history([8.0, 5.0, 4.0, 6.0], STATES, epochs=epochs), ax)
    assert lines["lstm.h"][:, 0].tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(lines["lstm.h"][:, 1], 1 + 0.84 * np.array(STATES["lstm.h"]) / 6)
    assert lines["best"][0, 0] == 2
    trainings = {(0, 0, 0, 1): 3}.get(tuple(epochs), 2)
    assert ax.get_xlabel() == f"epoch, counted through {trainings} trainings (the first is 0)"


@pytest.mark.parametrize(
    ("perplexities", "title"),
    [
        ([8.0, 5.0, np.nan, np.nan], "The training run diverged: held-out perplexity is not finite from epoch 2 on, "
                                     "best at epoch 1: 5.00"),
        ([8.0, 5.0, 6.0, np.inf], "The training run diverged: held-out perplexity is not finite from epoch 3 on, "
                                  "best at epoch 1: 5.00"),
        ([np.nan] * 4, "The training run diverged: held-out perplexity was never finite"),
        ([8.0, np.nan, 4.0, 4.0], "Held-out perplexity is not finite in 1 epoch, best at epoch 2: 4.00"),
    ],
)  # fmt: skip
def test_epochs_that_are_not_finite_are_marked_and_said(perplexities, title, ax):
    source = made.state_history(perplexities, {}, kept=True)
    figure = figures.figure_of(source)
    assert (figure.title, figure.diverged, figure.alt.startswith(title)) == (title, True, True)
    lines = drawn(source, ax)
    expected = [k for k, value in enumerate(perplexities) if not np.isfinite(value)]
    assert lines["held-out perplexity, not finite"][:, 0].tolist() == expected
    assert ("best" in lines) == (len(expected) < 4)


@pytest.mark.parametrize(
    ("losses", "title", "diverged"),
    [
        ([1.0, 0.5, 2.5, 9.0], "The training run diverged: held-out cross entropy is 9.00 at the end, worse than "
                               "guessing, best at epoch 1: 0.500", True),
        ([2212.0, 2300.0], "Held-out cross entropy was always worse than guessing, 2,300 at the end", True),
        ([2.3, 2.1], "Held-out cross entropy is best at epoch 1: 2.10", False),
    ],
)  # fmt: skip
def test_a_loss_worse_than_guessing_is_never_best(losses, title, diverged, ax):
    """Among nine tokens guessing costs ln 9 = 2.197 nats."""
    source = made.state_history(losses, {}, metadata={"rnneval.uniform": "2.1972"})
    source.frame["statistic"] = "cross_entropy"
    figure = figures.figure_of(source, metric="cross_entropy")
    assert (figure.title, figure.diverged) == (title, diverged)
    figure.draw(ax=ax)
    assert ("best" in {line.get_gid() for line in ax.get_lines()}) == (min(losses) < 2.1972)


def test_a_perplexity_larger_than_any_float_gives_way_to_the_loss():
    source = made.state_history([np.nan, np.nan], {}, kept=True, metadata={"rnneval.uniform": "4.17"})
    loss = source.frame.assign(statistic="cross_entropy", value=2212.0)
    frame = pd.concat([source.frame, loss]).sort_values("epoch", kind="stable")
    title = "Held-out cross entropy was always worse than guessing, 2,212 at the end"
    assert figures.figure_of(replace(source, frame=frame)).title == title
