"""Labels that differ, legends that cover nothing, letters that can be read: of every figure, whatever it shows."""

import re
from itertools import combinations

import matplotlib.pyplot as plt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnneval.pages import page
from rnneval.render import figures
from rnneval.render.figures._export import dark_of
from rnneval.render.figures._style import crowded, labels
from rnneval.render.report.given import COLUMN, WIDTH
from tests.render.figures import made
from tests.render.figures.test_export import DRAWN, every

NAMES = [
    "experiments_of_november_gru_64_units_dropout.keras",
    "experiments_of_november_gru_128_units_dropout.keras",
    "experiments_of_november_lstm_64_units_dropout.keras",
]


def figure_of(name, record=None):
    return figures.figure_of(every("gru")[name] if record is None else record, name)


# Labels


def test_what_names_share_is_left_out_up_to_whole_words():
    assert labels(NAMES) == ["…gru_64…", "…gru_128…", "…lstm_64…"]
    assert labels(["a.keras", "b.keras"]) == ["a.keras", "b.keras"]
    assert labels(["x" * 40]) == ["xxxxxxxxxxxx…xxxxxxxxxxx"]


@settings(max_examples=300, deadline=None)
@given(
    st.text("ab_", max_size=40),
    st.lists(st.text("ab_/", max_size=40), min_size=1, max_size=6),
    st.text("ab_", max_size=40),
    st.integers(9, 40),
)
def test_labels_differ_exactly_where_names_differ_and_are_short(begin, middles, end, most):
    names = [f"{begin}{middle}{end}" for middle in middles]
    found = labels(names, most)
    for (one, label), (other, label_of_other) in combinations(list(zip(names, found, strict=True)), 2):
        assert (label == label_of_other) is (one == other)
    assert all(len(label) <= most for label in found)


def test_models_in_folders_with_one_file_name_have_different_rows(ax):
    runs = [
        made.run([loss] * 128, checkpoint=f"/data/runs/{size}_units/model.keras", baselines={"uniform": 4.0})
        for size, loss in ((64, 1.5), (128, 1.25))
    ]
    for name in ("comparison", "baselines", "forgetting"):
        figures.figure_of(runs, name).draw(ax=ax)
        rows = [text.get_text() for text in ax.get_yticklabels()]
        assert {"64_units/model", "128_units/model"} <= set(rows)
        ax.clear()


@pytest.mark.parametrize("name", ["comparison", "baselines", "forgetting"])
def test_long_names_of_models_stay_different(ax, name):
    runs = [
        made.run([1.5 + k / 8] * 128, checkpoint=checkpoint, baselines={"uniform": 4.0})
        for k, checkpoint in enumerate(NAMES)
    ]
    figure = figures.figure_of(runs, name)
    figure.draw(ax=ax)
    rows = [text.get_text() for text in ax.get_yticklabels()]
    assert len(set(rows)) == len(rows) >= 3
    assert sum("gru_64" in row for row in rows) == sum("lstm_64" in row for row in rows) == 1
    assert "gru_64" in figure.title or "lstm_64" in figure.title


def test_long_names_of_states_stay_different_in_lanes_and_legends(ax):
    names = [f"encoder_block_with_a_long_name_{k}/recurrent_layer.h" for k in (1, 2)]
    figures.figure_of(made.gradients(dict.fromkeys(names, 0.5))).draw(ax=ax)
    shown = [text.get_text() for text in ax.get_legend().get_texts()]
    assert len(set(shown)) == 2
    ax.clear()
    figures.figure_of(made.trace({name: [1.0, 2.0, 3.0] for name in names}), "state_norms").draw(ax=ax)
    assert len({text.get_text() for text in ax.get_yticklabels()}) == 2


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


def test_a_band_of_another_share_is_not_drawn(ax):
    import msgspec

    record = made.gradients({"a.h": 0.5})
    older = {name: msgspec.structs.replace(state, band=None) for name, state in record.through_time.items()}
    figures.figure_of(msgspec.structs.replace(record, through_time=older)).draw(ax=ax)
    assert len(ax.collections) == 0


# Captions and intervals


def test_a_figure_of_ranked_runs_has_a_caption_of_its_own():
    from rnneval.render.report.given import Given, pictures

    runs = [made.run([loss] * 128, checkpoint=f"{loss}.keras") for loss in (1.5, 1.25)]
    (ranked,) = pictures(Given(name="r", record=runs), only=("comparison",))
    (judged,) = pictures(Given(name="g", record=every("gru")["comparison"]))
    assert ranked.reading == "A row is a run, and the dot its difference to the best one."
    assert judged.reading == "A row is a metric that a gate judged; to the right is worse."
    assert "gate" not in ranked.reading + ranked.more


@pytest.mark.parametrize("name", figures.names())
def test_bars_and_bands_are_of_95_per_cent(name):
    said = page(name).text + figure_of(name).alt
    assert not re.search(r"90 %|one standard error|two standard errors|two-sigma|68 %", said)


# Legends


def boxes(ax):
    """Places of the data of Axes: lines and points within them, in dots."""
    area = ax.get_window_extent()
    found = []
    for line in ax.lines:
        points = line.get_transform().transform(line.get_xydata())
        found += [point for point in points if area.contains(*point)]
    for collection in ax.collections:
        offsets = collection.get_offset_transform().transform(collection.get_offsets())
        found += [point for point in offsets if area.contains(*point)]
    return found


@pytest.mark.sampled(3)
@pytest.mark.parametrize("layout", ["constrained", None])
@pytest.mark.parametrize("width", [7, 12])
@pytest.mark.parametrize("name", DRAWN)
def test_on_half_width_axes_a_legend_covers_neither_data_nor_the_neighbour(name, width, layout):
    figure, (ax, neighbour) = plt.subplots(1, 2, figsize=(width, 4), layout=layout)
    try:
        neighbour.plot([1, 2])
        figure_of(name).draw(ax=ax)
        figure.canvas.draw()
        if ax.get_legend() is None:
            return
        legend = ax.get_legend().get_window_extent()
        assert not legend.overlaps(neighbour.get_window_extent())
        assert [point for point in boxes(ax) if legend.contains(*point)] == []
        assert not legend.overlaps(ax._left_title.get_window_extent())
        assert not legend.overlaps(ax.xaxis.label.get_window_extent())
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
    assert min(sizes) >= 9
    assert box[3] * scale >= 100


def test_axes_are_crowded_where_they_are_narrow_or_have_a_neighbour():
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4))
    assert (crowded(left), crowded(right)) == (True, False)
    plt.close(figure)
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4), layout="constrained")
    assert (crowded(left), crowded(right)) == (False, False)
    plt.close(figure)
    figure, (left, _) = plt.subplots(1, 2, figsize=(7, 4), layout="constrained")
    assert crowded(left)
    plt.close(figure)


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


@pytest.mark.parametrize("name", DRAWN)
def test_long_names_leave_room_for_the_picture(name):
    """Where they take all of it, matplotlib warns, which fails a test."""
    figure = figures.figure_of(every()[name], name)
    assert "<svg" in figures.svg(figure, COLUMN, clear=True, titled=False)
