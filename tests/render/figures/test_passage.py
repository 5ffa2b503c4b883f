"""A passage coloured by surprise: which characters, which levels, where it begins, and what is shown of it."""

import re

import numpy as np

from rnneval.render import figures
from rnneval.render.figures import passage
from tests.render.figures import made

NOTE = re.compile(r"Bytes ([\d,]+) to ([\d,]+);")


def shown(source):
    """The figure, the bytes that it shows, its text, and the style of each character of it."""
    figure = passage.figure(source)
    text = figure.draw()
    start, stop = (int(place.replace(",", "")) for place in NOTE.search(text.plain).groups())
    excerpt = text.plain.partition("\n\nsurprise in bits:")[0]
    looks = [""] * len(text.plain)
    for span in text.spans:
        looks[span.start : span.end] = [span.style] * (span.end - span.start)
    return figure, (start, stop), excerpt, looks[: len(excerpt)]


def levels(figure):
    """Class and text of each element of the excerpt."""
    excerpt = figure.html().partition("</p>")[0].partition('class="excerpt">')[2]
    return re.findall(r'<span class="(\w+)">([^<]*)</span>|([^<]+)', excerpt)


def test_every_character_has_its_own_surprise():
    figure, place, text, _ = shown(made.losses("ab cd", [1.0, 2.5, 8.0, np.inf]))
    assert text == "ab cd"
    assert levels(figure) == [
        ("none", "a", ""), ("s1", "b", ""), ("s2", " ", ""), ("s8", "c", ""), ("s12", "d", ""),
    ]  # fmt: skip
    assert place == (0, 5)
    assert figure.title == "The text has inf bits a token"
    assert "the largest surprise is inf bits at 'd'" in figure.alt
    assert "The text: ab cd" in figure.alt


def test_the_most_surprising_stretch_is_chosen():
    text = "calm words here " * 400
    bits = np.full(len(text) - 1, 1.0)
    bits[3200:3400] = 9.0
    figure, (start, stop), excerpt, _ = shown(made.losses(text, bits))
    assert start <= 3201
    assert stop >= 3400
    assert text[start - 1] == " "  # at the beginning of a word
    assert excerpt == text[start:stop]
    assert figure.title.startswith("The most surprising excerpt has ")


def test_hostile_text_is_shown_and_nothing_else():
    figure = figures.figure_of(made.losses(made.HOSTILE + " <b>&amp; 日本 $x$", 3.0))
    element = figure.html()
    assert "<script" not in element
    assert "<b>" not in element
    assert "&lt;/text&gt;&lt;script&gt;" in element
    assert "&lt;b&gt;&amp;amp; 日本 $x$" in element
    assert "\x1b" not in element + figure.draw().plain + figure.title
