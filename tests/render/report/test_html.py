"""The page as HTML: read by a parser of the standard library, which knows nothing of our template."""

import base64
import hashlib
import re

import pytest

from rnneval.render.report import draw, html_of, page_of
from tests.render.reading import Reader
from tests.render.report.making import all_kinds, given, good_run, run_with, wiring_with


def whole(records):
    page = page_of(records)
    return html_of(page, draw(page, records))


def html(records, drawn=None):
    return html_of(page_of(records), {} if drawn is None else drawn)


@pytest.fixture(scope="module")
def page():
    return html(all_kinds())


def test_every_element_is_closed_and_every_link_leads_somewhere(page):
    reader = Reader(page)
    assert reader.open == []
    ids = [attributes["id"] for _, attributes in reader.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {attributes["href"] for attributes in reader.all("a")}
    assert targets <= {f"#{name}" for name in ids}
    assert len(targets) > 5


def test_there_is_nothing_to_load_and_nothing_to_run(page):
    reader = Reader(page)
    assert {tag for tag, _ in reader.elements} & {
        "script",
        "link",
        "iframe",
        "object",
        "embed",
        "form",
        "base",
    } == set()
    assert not any(name.startswith("on") or name == "style" for _, attrs in reader.elements for name in attrs)
    assert all(image["src"].startswith("data:image/svg+xml,") for image in reader.all("img"))


def test_the_policy_allows_our_own_style_and_images_in_the_page_alone(page):
    (policy,) = [meta["content"] for meta in Reader(page).all("meta") if "http-equiv" in meta]
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


HOSTILE = (
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "</style><style>body{display:none}</style>",
    "</title><h1>x</h1>",
    "{{ 7 * 191 }}{% raw %}",
    "`</code><b>x</b>`",
    "javascript:alert(1)",
    "&lt;b&gt;",
    "<!-- -->",
    "]]>",
    "#\"' onmouseover=alert(1) x=",
)


def planted(text):
    return given(**{"run": run_with(text), "wiring": wiring_with(text), text: good_run()})


@pytest.mark.parametrize("text", HOSTILE)
def test_what_comes_out_of_files_is_text_and_nothing_else(text):
    words = re.sub("[^ ]", "h", text)  # as many: each word of a command has an element
    hostile, harmless = Reader(html(planted(text))), Reader(html(planted(words)))

    def shape(reader):
        code = ("code", "em")  # a text may hold backticks
        return [(tag, sorted(attributes)) for tag, attributes in reader.elements if tag not in code]

    assert shape(hostile) == shape(harmless)
    assert hostile.open == []
    if "`" not in text:
        assert hostile.said.count(text) > 20


def test_a_figure_is_there_in_both_looks_with_its_words():
    records = all_kinds()
    page = page_of(records)
    drawn = draw(page, records)
    reader = Reader(html_of(page, drawn))
    images = reader.all("img")
    assert len(images) == 2 * len(re.findall(r"Picture\(", repr(page))) > 2
    assert {image["class"] for image in images} == {"on-light", "on-dark"}
    assert all(image["alt"] for image in images)
    assert all(one.light != one.dark for one in drawn.values())
