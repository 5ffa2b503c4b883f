"""Pictures as files and as SVG: the same bytes each time, nothing from outside gets in, nothing global changes."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import matplotlib as mpl
import msgspec
import numpy as np
import pytest
from PIL import Image

import rnneval
from rnneval.errors import UsageError
from rnneval.pages import page
from rnneval.render import figures
from tests.render.figures import made
from tests.render.figures.test_runs import calibrated

ELEMENTS = {
    "svg", "desc", "metadata", "RDF", "Work", "type", "format", "title", "creator",
    "defs", "style", "g", "path", "use", "clipPath", "rect", "text", "tspan", "image",
}  # fmt: skip


def every(name=made.HOSTILE):
    """A source for each figure, its names hostile."""
    run = msgspec.structs.replace(
        made.run(np.linspace(1, 2, 200), document=[0] * 100 + [1] * 100, checkpoint=name), context=made.curve()
    )
    return {
        "flow_matrix": made.wiring({name: "b", "b": name}),
        "loss_over_text": run,
        "loss_by_context": run,
        "forgetting": run,
        "baselines": run,
        "calibration": calibrated(run, {11: (30, -3.0)}),
        "state_norms": made.trace({f"{name}.h": [1.0, 2.0, 3.0]}),
        "gates": made.trace({}, gates={f"{name}.update": ([1, 2], 0.1, 0.5)}),
        "gradient_history": made.history(
            {name: [0.5, 20.0, 0.4, 0.4], "_b": [0.1, 0.1, 0.2, 0.1]}, clip=1, bad=(5, name)
        ),
        "state_history": made.state_history([5.0, 3.0, 4.0], {f"{name}.h": [1.0, 2.0, 3.0], "_b.h": [1.0, 1.0, 1.0]}),
        "gradient_through_time": made.gradients({f"{name}.h": 0.5, "_b.h": 0.6}),
        "comparison": made.gate(
            made.comparison(), msgspec.structs.replace(made.comparison(), candidate=name, verdict="pass")
        ),
        "learning_curve": made.sweep({name: [3.0, 2.5, 2.7], "_b": [3.0, 2.6]}, failed=1),
        "passage": made.losses(name + " <b>&amp; 日本 $x$", 3.0),
    }  # fmt: skip


DRAWN = [name for name in figures.names() if name != "passage"]  # which is text: see test_passage.py


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", DRAWN)
def test_hostile_names_are_shown_and_nothing_else(name):
    figure = figures.figure_of(every()[name], name)
    text = figures.svg(figure, dark=True)
    root = ET.fromstring(text)  # noqa: S314 - our own
    assert {element.tag.rpartition("}")[2] for element in root.iter()} <= ELEMENTS
    assert not [key for element in root.iter() for key in element.attrib if key.lower().startswith("on")]
    words = "".join(element.text or "" for element in root.iter() if element.tag.endswith("text"))
    assert "\x1b" not in text
    if name not in ("loss_over_text", "loss_by_context", "calibration"):  # these name no layer
        assert "$x" in words or "long_" in words or "script" in words


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", DRAWN)
def test_the_image_says_what_it_shows_and_has_no_ids_but_those_it_needs(name):
    figure = figures.figure_of(every("gru")[name], name)
    light = figures.svg(figure)
    assert figures.svg(figures.figure_of(every("gru")[name], name)) == light  # to the byte
    root = ET.fromstring(light)  # noqa: S314 - our own
    ids = [element.attrib["id"] for element in root.iter() if "id" in element.attrib]
    assert len(ids) == len(set(ids)) == len(set(re.findall(r"(?:url\(#|href=\"#)([^)\"]+)", light)) | set(ids))
    words = {element.tag.rpartition("}")[2]: element.text for element in root.iter()}
    assert (words["title"], words["desc"]) == (figure.title, figure.alt)
    assert (
        figure.alt.startswith(figure.title[:10]) or figure.title.rstrip(".") in figure.alt or figure.alt.endswith(".")
    )
    assert any(character.isdigit() for character in figure.alt)
    assert len(figure.title) < 110


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_the_same_bytes_each_time(tmp_path, ending):
    figure = figures.figure_of(every("gru")["loss_by_context"], "loss_by_context")
    for place in ("a", "b"):
        figures.save(figure, tmp_path / f"{place}.{ending}")
    first, second = (tmp_path / f"{place}.{ending}" for place in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()
    assert b"Date" not in first.read_bytes()


def opened(path):
    with Image.open(path) as image:
        return image.convert("RGB")


def test_sizes(tmp_path):
    figure = figures.figure_of(made.run())
    for size, pixels in (("page", (1950, round(1950 * figure.height))), ("slide", (1920, 1080))):
        figures.save(figure, tmp_path / "f.png", size)
        assert opened(tmp_path / "f.png").size == pixels
    with pytest.raises(UsageError, match="size poster is not known: give page or slide"):
        figures.save(figure, tmp_path / "f.png", "poster")


@pytest.mark.parametrize("path", ["f.jpg", "f", "f.SVGZ"])
def test_other_endings_are_refused(tmp_path, path):
    with pytest.raises(UsageError, match=r"a figure is written to \.png, \.svg or \.pdf"):
        figures.save(figures.figure_of(made.run()), tmp_path / path)


def test_nothing_global_changes_and_a_users_style_stays_out(tmp_path):
    figure = figures.figure_of(made.run())
    plain = figures.svg(figure)
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.fonttype": "path", "xtick.direction": "in"}):
        before = dict(mpl.rcParams)
        assert figures.svg(figure) == plain
        assert dict(mpl.rcParams) == before


def test_plotting_functions_are_as_in_seaborn(ax, tmp_path):
    import matplotlib.pyplot as plt

    run = made.run()
    run.save(tmp_path / "run.json")
    assert rnneval.plot.loss_over_text(run, ax=ax) is ax
    assert rnneval.plot.loss_over_text(tmp_path / "run.json", ax=ax) is ax
    assert rnneval.plot.gates(made.trace({}, gates={"a.update": ([1, 2], 0.1, 0.5)}).frame, ax=ax) is ax
    try:
        assert rnneval.plot.forgetting([run, run]) is plt.gca()
        assert len(plt.get_fignums()) == 1
    finally:
        plt.close("all")
    assert rnneval.plot.gates.__doc__.startswith(page("gates").text)
    assert set(dir(rnneval.plot)) == set(figures.names())
    with pytest.raises(AttributeError, match="there is no figure 'nothing'"):
        rnneval.plot.nothing  # noqa: B018
    with pytest.raises(UsageError, match="a int cannot be plotted"):
        rnneval.plot.gates(3)


def test_a_dark_axes_of_a_user_gets_light_ink(ax):
    from rnneval.render.figures._style import DARK

    ax.set_facecolor("black")
    rnneval.plot.loss_over_text(made.run(), ax=ax)
    assert ax.xaxis.label.get_color() == DARK.ink


def test_figures_are_listed_without_matplotlib_and_drawn_without_tensorflow_and_pyplot(tmp_path):
    made.run().save(tmp_path / "run.json")
    code = f"""
import sys
from rnneval.render import figures
found = figures.figures_of({str(tmp_path / "run.json")!r})
assert not {{"matplotlib", "seaborn", "tensorflow"}} & set(sys.modules), "listing"
figures.save(found[0], {str(tmp_path / "f.png")!r})
assert not {{"tensorflow", "keras"}} & set(sys.modules), "drawing"
from matplotlib import _pylab_helpers
assert not _pylab_helpers.Gcf.figs
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_title_is_no_wider_than_its_axes(ax):
    figure = figures.figure_of(made.wiring({f"a_long_name_{k}": "a_long_name_0" for k in range(4)}))
    figure.draw(ax=ax)
    title = ax._left_title
    assert "\n" in title.get_text()
    assert title.get_text().replace("\n", " ") == figure.title
    assert title.get_window_extent().width <= ax.bbox.width


def test_a_figure_is_laid_out_before_it_is_drawn_and_drawn_once(monkeypatch):
    from matplotlib.axes import Axes

    drawn, real = [], Axes.draw
    monkeypatch.setattr(Axes, "draw", lambda *arguments: drawn.append(1) or real(*arguments))
    figures.svg(figures.figure_of(every("gru")["loss_over_text"], "loss_over_text"))
    assert len(drawn) == 1
