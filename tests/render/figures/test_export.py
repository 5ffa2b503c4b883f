"""Pictures as files and as SVG: the same bytes each time, nothing from outside gets in, nothing global changes."""

import re
import xml.etree.ElementTree as ET

import matplotlib as mpl
import msgspec
import numpy as np
import pytest

import rnneval
from rnneval.errors import UsageError
from rnneval.pages import page
from rnneval.render import figures
from tests.render.figures import made

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
        "how_far": made.collapse(name),
        "baselines": run,
        "loss_by_context": run,
        "state_norms": made.trace({f"{name}.h": [1.0, 2.0, 3.0]}),
        "gradient_history": made.history(
            {name: [0.5, 20.0, 0.4, 0.4], "_b": [0.1, 0.1, 0.2, 0.1]}, clip=1, bad=(5, name)
        ),
        "state_history": made.state_history([5.0, 3.0, 4.0], {f"{name}.h": [1.0, 2.0, 3.0], "_b.h": [1.0, 1.0, 1.0]}),
        "gradient_through_time": made.gradients({f"{name}.h": 0.5, "_b.h": 0.6}),
        "comparison": made.gate(
            made.comparison(), msgspec.structs.replace(made.comparison(), candidate=name, verdict="pass")
        ),
        "learning_curve": made.sweep({name: [3.0, 2.5, 2.7], "_b": [3.0, 2.6]}, failed=1),
        "kl_along_text": made.parity(name),
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
    if name not in ("loss_over_text", "loss_by_context"):  # these name no layer
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
    assert rnneval.plot.state_norms(made.trace({"a.h": [1.0, 2.0]}).frame, ax=ax) is ax
    try:
        assert rnneval.plot.loss_over_text(run) is plt.gca()
        assert len(plt.get_fignums()) == 1
    finally:
        plt.close("all")
    assert rnneval.plot.state_norms.__doc__.startswith(page("state_norms").text)
    assert set(dir(rnneval.plot)) == set(figures.names())
    with pytest.raises(AttributeError, match="there is no figure 'nothing'"):
        rnneval.plot.nothing  # noqa: B018
    with pytest.raises(UsageError, match="a int cannot be plotted"):
        rnneval.plot.state_norms(3)
    with pytest.raises(UsageError, match="loss_over_text takes no text"):
        rnneval.plot.loss_over_text(run, string="a")
