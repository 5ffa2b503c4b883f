"""Labels that differ, legends that cover nothing, letters that can be read: of every figure, whatever it shows."""

import re
from itertools import combinations

import matplotlib.pyplot as plt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnneval.render import figures
from rnneval.render.figures._export import dark_of
from rnneval.render.figures._style import labels
from rnneval.render.report import COLUMN, WIDTH
from tests.render.figures import made
from tests.render.figures.test_export import DRAWN, every


def figure_of(name, record=None):
    return figures.figure_of(every("gru")[name] if record is None else record, name)


# Labels


@settings(max_examples=300, deadline=None)
@given(
    st.text("ab_", max_size=40),
    st.lists(st.text("ab_/", max_size=40), min_size=1, max_size=6),
    st.text("ab_", max_size=40),
    st.integers(10, 40),
)
def test_labels_differ_exactly_where_names_differ_and_are_short(begin, middles, end, most):
    names = [f"{begin}{middle}{end}" for middle in middles]
    found = labels(names, most)
    for (one, label), (other, label_of_other) in combinations(list(zip(names, found, strict=True)), 2):
        assert (label == label_of_other) is (one == other)
    assert all(len(label) <= most for label in found)


# Gradients through time of two layers


def test_of_two_layers_each_line_and_band_can_be_followed(ax):
    figures.figure_of(made.gradients({"a.h": 0.5, "b.h": 0.8})).draw(ax=ax)
    lines = {line.get_gid(): line for line in ax.lines if line.get_gid() in {"a.h", "b.h"}}
    assert len({(line.get_color(), line.get_linestyle()) for line in lines.values()}) == 2
    assert len(ax.collections) == 2
    for line in lines.values():
        edges = [each for each in ax.lines if each is not line and each.get_color() == line.get_color()]
        assert len(edges) == 2
        assert {each.get_linestyle() for each in edges} == {line.get_linestyle()}


# Legends


@pytest.mark.sampled(3)
@pytest.mark.parametrize("width", [3.5, 6.5])
@pytest.mark.parametrize("name", DRAWN)
def test_a_legend_lies_between_the_title_and_the_data(name, width):
    figure, ax = plt.subplots(figsize=(width, 4), layout="constrained")
    try:
        figure_of(name).draw(ax=ax)
        figure.canvas.draw()
        if ax.get_legend() is not None:
            legend = ax.get_legend().get_window_extent()
            assert legend.y0 >= ax.get_window_extent().y1 - 1
            assert legend.y1 <= ax._left_title.get_window_extent().y0 + 1
    finally:
        plt.close(figure)


# Columns of a report


MANY = [f"layer_{k}.h" for k in range(24)]
RECORDS = {name: lambda name=name: every("gru")[name] for name in DRAWN} | {
    "state_norms of many": lambda: made.trace({name: [1.0, 2.0, 3.0] for name in MANY}),
    "gates of many": lambda: made.trace({}, gates={name: ([1, 2], 0.1, 0.5) for name in MANY}),
    "gradient_through_time of many": lambda: made.gradients(dict.fromkeys(MANY, 0.5)),
    "state_history of many": lambda: made.state_history([5.0, 3.0], {name: [1.0, 2.0] for name in MANY}),
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("record", RECORDS)
def test_letters_have_nine_pixels_at_least(record):
    width = WIDTH
    svg = figures.svg(figure_of(record.partition(" ")[0], RECORDS[record]()), COLUMN, clear=True, titled=False)
    box = [float(number) for number in re.search(r'viewBox="([^"]+)"', svg)[1].split()]
    scale = width / box[2]
    sizes = [float(size) * scale for size in re.findall(r"font(?:-size)?: (?:\w+ )?([\d.]+)px", svg)]
    assert scale == pytest.approx(96 / 72, abs=0.01)  # laid out for that width, and not shrunk to it
    assert sizes
    assert min(sizes) >= 9.5
    assert box[3] * scale >= 100


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", DRAWN)
def test_the_dark_look_is_the_light_one_in_other_colours(name):
    figure = figure_of(name)
    light, dark = (figures.svg(figure, COLUMN, dark=dark, clear=True, titled=False) for dark in (False, True))
    assert numbered(dark_of(light)) == numbered(dark)


def numbered(svg):
    """Name elements by their order: matplotlib names them by their colours."""
    names = {name: str(number) for number, name in enumerate(dict.fromkeys(re.findall(r' id="([^"]+)"', svg)))}
    return re.sub(r'(?<=url\(#)[^)]+|(?<=href="#)[^"]+|(?<= id=")[^"]+', lambda found: names[found[0]], svg)
