"""Flow matrix, comparison, baselines, learning curve: what stands where."""

import math

import numpy as np
import pytest

from rnneval.render import figures
from tests.render.figures import made


def drawn(name, source, ax):
    figure = figures.figure_of(source, name)
    assert figure.draw(ax=ax) is ax
    assert ax.get_title(loc="left").replace("\n", " ") == figure.title
    return figure


def marks(ax, gid):
    """Where the marks of one kind are: (column, row), from the top left; the cell (0, 0) reaches from 0 to 1."""
    places = [(line.get_xdata()[0], line.get_ydata()[0]) for line in ax.lines if line.get_gid() == gid]
    assert all(abs(x % 1 - 0.5) < 0.01 and 0.2 <= y % 1 <= 0.5 for x, y in places)  # above the middle: calls below
    return sorted((int(x), int(y)) for x, y in places)


def test_the_matrix_of_crossed_layers(ax):
    figure = drawn("flow_matrix", made.wiring({"a": "b", "b": "a", "c": "c"}), ax)
    assert figure.title == "a gets b's state; b gets a's state"
    assert marks(ax, "crossed") == [(0, 1), (1, 0)]
    assert marks(ax, "carried") == [(2, 2)]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["a.h", "b.h", "c.h"]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["a.h", "b.h", "c.h"]
    assert {text.get_text() for text in ax.texts} == {"1–3"}
    rims = [patch for patch in ax.patches if patch.get_gid() == "diagonal"]
    assert [patch.get_xy() for patch in rims] == [(k + 0.04, k + 0.04) for k in range(3)]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("state came from", "state went into")
    assert "a.h from b.h (crossed, calls 1–3)" in figure.alt


def test_a_difference_is_measured_by_what_is_allowed_and_worse_is_right(ax):
    gate = made.gate(
        made.comparison(difference=0.02, half=0.005, allowed=0.01),
        made.comparison("accuracy", difference=-0.001, half=0.002, allowed=-0.005, verdict="pass", unit="share"),
    )
    figure = drawn("comparison", gate, ax)
    middles = {line.get_gid(): (line.get_xdata()[0], line.get_ydata()[0]) for line in ax.lines if line.get_gid()}
    per_cent = {nats: math.expm1(nats) for nats in (0.01, 0.015, 0.02, 0.025)}  # as the row's text says
    assert middles["perplexity"] == pytest.approx((per_cent[0.02] / per_cent[0.01], 0))
    assert middles["accuracy"] == pytest.approx((0.2, 1))
    assert middles["allowed"] == (1.0, 0)
    bars = [line.get_xdata() for line in ax.lines if len(line.get_xdata()) == 2 and line.get_linestyle() == "-"]
    assert pytest.approx(list(bars[-1])) == [0.2 - 0.4, 0.2 + 0.4]
    assert pytest.approx(list(next(bar for bar in bars if max(bar) > 2))) == [
        per_cent[end] / per_cent[0.01] for end in (0.015, 0.025)
    ]
    assert figure.title == "Perplexity changed by +2.02 %, and +1.01 % is allowed"
    assert ax.get_xlabel() == "difference, in multiples of the allowed change (right: worse)"
    assert any(text.get_text().startswith("+2.02 % [+1.51 %, +2.53 %]") for text in ax.texts)
    low, high = ax.get_xlim()
    assert low < -0.2
    assert high > 2.5


@pytest.mark.parametrize(
    ("scores", "title"),
    [
        ([3000.0, 3191.0], "No checkpoint is better than guessing: gru/ckpt_1.keras has 3,000 bits per character"),
        ([2.0, 3191.0], "gru/ckpt_1.keras is best, at epoch 1: 2.00 bits per character; the last checkpoint is worse "
                        "than guessing, 3,191"),
    ],
)  # fmt: skip
def test_a_checkpoint_worse_than_guessing_is_not_best(scores, title, ax):
    source = made.sweep({"gru": scores})
    source.frame["warnings"] = ["worse-than-uniform" if score > 6 else "" for score in scores]
    figure = figures.figure_of(source)
    assert (figure.title, figure.diverged) == (title, True)
    figure.draw(ax=ax)
    assert ("best" in {line.get_gid() for line in ax.lines}) == (scores[0] < 6)


def test_models_stand_between_the_baselines(ax):
    run = made.run(np.full(4, 1.5), baselines={"uniform": 4.0, "unigram": 3.0})
    figure = drawn("baselines", run, ax)
    names = [text.get_text() for text in ax.get_yticklabels()]
    bars = {round(patch.get_y() + patch.get_height() / 2): patch.get_width() for patch in ax.patches}
    assert [(name, bars[k]) for k, name in enumerate(names)] == [
        ("uniform", 4.0), ("unigram", 3.0), ("model", 1.5),
    ]  # fmt: skip
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the worst is on top
    assert figure.title == "model is 1.50 nats a token better than unigram"
    assert ax.get_xlim()[0] == 0
