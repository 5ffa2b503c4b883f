"""A smaller SVG is the same picture: read as XML, element by element, with its styles resolved by hand."""

import re
import xml.etree.ElementTree as ET

import pytest

from rnneval.render.figures import svg
from rnneval.render.figures._export import compact
from tests.render.report.making import all_kinds, full_run, given, wrong_wiring

# One of each kind.
FIGURES = {figure.name: figure for each in [*all_kinds(), *given(full=full_run())] for figure in each.figures}.values()
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def elements(text):
    return list(ET.fromstring(text).iter())  # noqa: S314 - made by us


def styles_of(text):
    """Give each element's style: its own, or that of its class."""
    rules = dict(re.findall(r"\.(s\d+)\{([^}]*)\}", text))
    return [rules.get(e.get("class", ""), e.get("style")) for e in elements(text) if not e.tag.endswith("}svg")]


def targets(text):
    """Give the element that each reference points at, by its place."""
    order = {e.get("id"): number for number, e in enumerate(elements(text)) if e.get("id")}
    return [order[name] for name in re.findall(r'(?:url\(#|href="#)([^)"]+)', text)]


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.name)
def test_it_is_the_same_picture_in_fewer_bytes(figure):
    whole = svg(figure, width=500, titled=False)
    small = compact(whole)
    assert len(small) < 0.75 * len(whole)
    before, after = elements(whole), elements(small)
    assert [e.tag for e in before] == [e.tag for e in after]
    words = [(e.text or "").strip() for e in before if not e.tag.endswith("style")]
    assert words == [(e.text or "").strip() for e in after if not e.tag.endswith("style")]
    assert styles_of(whole) == styles_of(small)
    assert targets(whole) == targets(small)
    for one, other in zip(before, after, strict=True):
        for name in ("d", "x", "y", "width", "height", "transform"):
            assert numbers(one.get(name)) == pytest.approx(numbers(other.get(name)), abs=0.0051)


def numbers(places):
    return [float(number) for number in NUMBER.findall(places or "")]


@pytest.mark.parametrize("text", [' style="}*{display:none"', ' id="a" d="1.23456"', ".s0{}</style>", "url(#a)"])
def test_words_in_a_figure_are_left_as_they_are(text):
    layers = wrong_wiring().layers
    named = tuple(type(layer)(name=text, path=text, kind="GRU", slots=("h",)) for layer in layers[:1])
    wiring = wrong_wiring(layers=named, flow=wrong_wiring().flow)
    for figure in given(w=wiring)[0].figures:
        whole = svg(figure, width=500, titled=False)
        small = compact(whole)
        assert [e.text for e in elements(small) if e.tag.endswith("}text")] == [
            e.text for e in elements(whole) if e.tag.endswith("}text")
        ]
        (style,) = [e.text for e in elements(small) if e.tag.endswith("}style")]
        assert "display" not in style
