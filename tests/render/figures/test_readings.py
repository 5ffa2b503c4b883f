"""How to read a figure: a caption speaks of the marks that are in the picture, and of no others."""

import msgspec
import numpy as np
import pytest

from rnneval.pages import page
from rnneval.render import figures
from rnneval.render.figures import Table
from tests.render.figures import made

STEP = {"a": [1.0, 1.1, 0.9]}
LONG_STEP = {"a": [1.0] * 400}


def without_intervals(table):
    frame = table.frame.drop(columns=[name for name in table.frame if name.endswith(("_low", "_high"))])
    return Table(schema=table.schema, frame=frame.assign(bits_per_char_low=np.nan, bits_per_char_high=np.nan))


def reading(source, name):
    return figures.figure_of(source, name).reading


@pytest.mark.parametrize(
    ("name", "words", "drawn", "absent"),
    [
        ("state_norms", "band", made.trace({"a.h": np.ones(400)}), made.trace({"a.h": np.ones(40)})),
        ("state_history", "ring", made.state_history([3.0, 2.0], {}), made.state_history([np.nan], {"a.h": [1.0]})),
        ("learning_curve", "band", made.sweep({"a": [3.0]}), without_intervals(made.sweep({"a": [3.0]}))),
        ("learning_curve", "failed", made.sweep({"a": [3.0]}, failed=1), made.sweep({"a": [3.0]})),
        ("gradient_history", "clipped", made.history(STEP, clip=0.5), made.history(STEP)),
        ("gradient_history", "vertical line", made.history(STEP, bad=(4, "a")), made.history(STEP)),
        ("gradient_history", "the band", made.history(LONG_STEP), made.history(STEP)),
        (
            "gradient_through_time", "bands",
            made.gradients({"a.h": 0.5}), made.gradients({"a.h": 0.5, "b.h": 0.6, "c.h": 0.7}),
        ),
        ("loss_over_text", "Ticks", made.run(document=[0, 0, 1, 1]), made.run()),
        ("loss_over_text", "shaded bands", made.run([1.0] * 700), made.run()),
        ("loss_over_text", "Each dot", made.run(), made.run([1.0] * 700)),
        ("passage", "Underlined", made.losses("abcd", 9.0), made.losses("abcd", 2.0)),
        ("passage", "in grey", made.losses("abcd", 2.0), made.losses("abcd", 2.0, first=0)),
        ("flow_matrix", "cross", made.wiring({"a": "b", "b": "b"}), made.wiring({"a": "a"}, verdict="pass")),
        ("flow_matrix", "round", made.wiring({"a": "a"}, verdict="pass"), made.wiring({"a": "b", "b": "a"})),
        (
            "baselines", "unigram",
            made.run(baselines={"uniform": 4.0, "unigram": 3.0}), made.run(baselines={"uniform": 4.0}),
        ),
        ("forgetting", "Several runs", [made.run(), made.run()], made.run()),
        (
            "loss_by_context", "forgetting length",
            msgspec.structs.replace(made.run(), context=made.curve()),
            msgspec.structs.replace(made.run(), context=made.curve(), streams=None),
        ),
    ],
)  # fmt: skip
def test_a_mark_that_is_not_drawn_is_not_explained(name, words, drawn, absent):
    assert words in reading(drawn, name)
    assert words not in reading(absent, name)


def test_what_is_left_out_of_a_reading_stands_in_the_text_of_the_figure():
    """A misspelt word would leave out nothing."""
    sources = [
        made.run(baselines={"uniform": 4.0}),
        made.trace({"a.h": np.ones(40)}),
        made.state_history([np.nan], {"a.h": [1.0]}),
        made.state_history([3.0], {}),
        without_intervals(made.sweep({"a": [3.0]})),
        made.history(STEP),
        made.gradients({"a.h": 0.5, "b.h": 0.6, "c.h": 0.7}),
        made.losses("abcd", 2.0, first=0),
        made.wiring({"a": "a"}, verdict="pass"),
        made.wiring({"a": "b", "b": "a"}),
        made.run([1.0] * 700),
        msgspec.structs.replace(made.run(), context=made.curve(), streams=None),
    ]
    found = [figure for source in sources for figure in figures.figures_of(source)]
    unknown = [
        (figure.name, words)
        for figure in found
        for words in figure.marks
        if words not in page(figure.name).paragraph("How to read the figure")
    ]
    assert unknown == []
    left_out = {figure.name for figure in found if not all(figure.marks.values())}
    assert left_out >= {"state_norms", "passage", "loss_over_text"}


@pytest.mark.parametrize("name", figures.names())
def test_every_figure_has_a_page(name):
    assert page(name).summary.endswith((".", "?"))
    assert page(name).paragraph("How to read the figure").endswith(".")


def test_the_titles_of_norms_in_training_and_along_a_text_are_told_apart():
    along = figures.figure_of(made.trace({"gru.h": np.linspace(1, 3, 100)}))
    training = figures.figure_of(made.state_history([np.nan] * 3, {"gru.h": [1.0, 2.0, 3.0]}))
    assert along.title.startswith("Along the text, ")
    assert training.title.startswith("Training of 3 epochs ")
