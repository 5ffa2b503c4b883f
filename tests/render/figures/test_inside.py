"""Figures of traces and gradients: norms, history, through time."""

import numpy as np
import pytest

from rnneval.render import figures
from tests.render.figures import made


def line(ax, gid):
    return next(each for each in ax.lines if each.get_gid() == gid)


def test_each_slot_has_a_lane_on_its_own_scale(ax):
    figure = figures.figure_of(made.trace({"a.h": [1.0, 2.0, 4.0], "b.h": [10.0, 10.0, 20.0]}), "state_norms")
    figure.draw(ax=ax)
    assert line(ax, "a.h").get_xdata().tolist() == [0, 16, 32]
    # The first lane lies above the second; the largest norm of each reaches 0.84 of its lane.
    assert line(ax, "a.h").get_ydata().tolist() == pytest.approx([1 + 0.21, 1 + 0.42, 1 + 0.84])
    assert line(ax, "b.h").get_ydata().tolist() == pytest.approx([0.42, 0.42, 0.84])
    assert {text.get_text() for text in ax.texts} == {"4.00", "20.0", "0"}
    assert [text.get_text() for text in ax.get_yticklabels()] == ["a.h", "b.h"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("position in the text (tokens)", "state norm ‖s‖₂")


def test_the_title_says_from_where_to_where_a_norm_grows():
    figure = figures.figure_of(made.trace({"a.h": [1.0, 2.0, 3.0, 3.0, 9.0], "b.h": [5.0] * 5}), "state_norms")
    assert figure.title == "Along the text, the norm of a.h grows from 1.00 to 9.00"


def test_gradients_a_layer_on_a_logarithmic_axis(ax):
    figure = figures.figure_of(made.history({"a": [3.0, 3.0, 0.3], "b": [4.0, 4.0, 0.4]}, clip=1.0))
    figure.draw(ax=ax)
    assert ax.get_yscale() == "log"
    assert line(ax, "a").get_ydata().tolist() == [3.0, 3.0, 0.3]
    assert line(ax, "a").get_xdata().tolist() == [1, 2, 3]
    assert line(ax, "").get_ydata().tolist() == pytest.approx([5.0, 5.0, 0.5])
    marks = {each.get_label(): each for each in ax.lines}
    assert marks["clipped (2 steps)"].get_xdata().tolist() == [1, 2]
    assert marks["clipped to 1.00"].get_ydata()[0] == pytest.approx(1.0)
    assert figure.title == "Gradients were clipped in 67 % of 3 steps"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("training step", "gradient norm ‖g‖₂")
    named = {text.get_text(): text.get_position()[1] for text in ax.texts}
    assert named["whole model"] > named["b"] > named["a"]


def test_a_jump_is_named_and_marked_where_it_was(ax):
    norms = np.full(2000, 0.5)
    norms[777] = 50.0
    figure = figures.figure_of(made.history({"a": norms}))
    figure.draw(ax=ax)
    assert figure.title == "The gradient norm jumped to 50.0 at step 778, 100 times its median"
    peak = next(each for each in ax.lines if each.get_label() == "largest, 50.0")
    assert (peak.get_xdata()[0], peak.get_ydata()[0]) == (778, 50.0)
    assert max(band.get_paths()[0].vertices[:, 1].max() for band in ax.collections) == 50.0


def test_large_first_steps_are_no_jump_and_a_jump_among_them_is(ax):
    """A training begins with gradients a hundred times those at its end."""
    falling = 0.5 + 50 * 0.9 ** np.arange(2000)
    title = figures.figure_of(made.history({"a": falling})).title
    assert title == "Gradient norms fell from 50.5 at step 1 to a median of 0.500"
    falling[20] *= 40
    figure = figures.figure_of(made.history({"a": falling}))
    figure.draw(ax=ax)
    assert figure.title.startswith("The gradient norm jumped to 263 at step 21, 526 times its median")
    assert "largest, 263" in [each.get_label() for each in ax.lines]


def test_gradient_through_time(ax):
    # 0.5^k < 0.01 from k = 7 (0.0078), 0.8^k from k = 21 (0.0092).
    figure = figures.figure_of(made.gradients({"a.h": 0.5, "a.c": 0.8}, lags=60, truncation=30))
    figure.draw(ax=ax)
    assert figure.title == "99 % of the gradient is gone after 21 tokens (a.c lasts longest)"
    assert ax.get_yscale() == "log"
    for name, decay, gone in (("a.h", 0.5, 7), ("a.c", 0.8, 21)):
        drawn = line(ax, name)
        assert drawn.get_ydata().tolist() == pytest.approx([decay**k for k in drawn.get_xdata()])
        assert drawn.get_xdata()[drawn.get_markevery()[0]] == gone
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a.h: 7", "a.c: 21"]
    assert any(each.get_xdata()[0] == 30 for each in ax.lines)
    assert "truncation: 30 tokens " in {text.get_text() for text in ax.texts}
    assert any(each.get_ydata()[0] == 0.01 and each.get_linestyle() == "--" for each in ax.lines)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("lag (tokens back)", "gradient, share of the first")
