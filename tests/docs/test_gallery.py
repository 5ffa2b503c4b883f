"""The gallery: every figure is there, and says what its record says today."""

import hashlib
import html
import importlib.util
import json
from pathlib import Path

import pytest

from rnneval.render import figures
from tests.render.reading import Reader

DOCS = Path(__file__).resolve().parents[2] / "docs"


def _load():
    import sys

    spec = importlib.util.spec_from_file_location("gallery", DOCS / "_ext" / "gallery.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault("gallery", module)  # a dataclass looks its module up
    spec.loader.exec_module(module)
    return module


gallery = _load()


def test_every_figure_is_in_it():
    assert {shown.figure for shown in gallery.GALLERY} == set(figures.names())


@pytest.mark.parametrize("shown", gallery.DRAWN, ids=lambda shown: shown.stem)
def test_a_picture_says_what_its_record_says_today(shown):
    figure = shown.drawn()
    for ending in ("", "-dark"):
        written = html.unescape((gallery.PICTURES / f"{shown.stem}{ending}.svg").read_text(encoding="utf-8"))
        assert f"<desc>{figure.alt}</desc>" in written
        assert f"<dc:title>{figure.title}</dc:title>" in written


def test_it_starts_with_a_thumbnail_and_a_title_of_each_figure():
    page = (DOCS / "plots.md").read_text(encoding="utf-8")
    assert page.split("\n\n")[1] == "<!-- from code: thumbnails -->"
    cards, sections = Reader(gallery.thumbnails()), gallery.gallery()
    assert len(cards.all("a")) == len(figures.names())
    for link in cards.all("a"):
        assert f"({link['href'].removeprefix('#')})=\n## " in sections
    for name, title in gallery.TITLES.items():
        assert title in cards.said
        assert f"\n## {title} (`{name}`)\n" in sections
        assert len(title.split()) >= 3
    (words,) = [each for each in cards.all("span") if "words" in (each.get("class") or "")]
    assert words == {"class": "words surprise", "aria-hidden": "true"}  # a text in its colours
    assert '<span class="s8">' in gallery.thumbnails()
    assert len(set(gallery.TITLES.values())) == len(figures.names()) == len(gallery.TITLES)
    assert all((DOCS / image["src"]).exists() for image in cards.all("img"))


def test_a_page_shows_a_picture_in_its_look():
    section = Reader(gallery.gallery().partition("## Loss along the text")[2].partition("\n## ")[0])
    stem = "_static/plots/loss_over_text"
    assert [each["class"] for each in section.all("img")] == ["only-light", "only-dark"]
    assert [each["src"] for each in section.all("img")] == [f"{stem}.svg", f"{stem}-dark.svg"]
    assert all("nats" in each["alt"] for each in section.all("img"))
    light, dark = (gallery.PICTURES / f"loss_over_text{look}.svg" for look in ("", "-dark"))
    assert "#1b1e23" in light.read_text()
    assert "#1b1e23" not in dark.read_text()
    assert "#eceff3" in dark.read_text()


def test_a_passage_stands_in_the_page_as_text_in_the_colours_of_its_theme():
    (shown,) = [shown for shown in gallery.GALLERY if shown not in gallery.DRAWN]
    section = gallery.gallery().partition(f"(`{shown.figure}`)")[2].partition("\n## ")[0]
    assert shown.figure == "passage"
    assert shown.drawn().html() in section
    assert "\n\n" not in shown.drawn().html()  # a blank line would end the element in Markdown
    assert "body[data-theme=dark] .surprise { --hot: 168 80 12; color: #eceff3; }" in section
    assert shown.command.endswith("--out passage.html")


def test_pictures_are_those_that_were_drawn_and_no_others():
    made = json.loads(gallery.MADE.read_text())["sha256"]
    there = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in gallery.PICTURES.glob("*.svg")}
    assert there == made
    endings = ("", "-dark")
    assert set(made) == {f"{shown.stem}{ending}.svg" for shown in gallery.DRAWN for ending in endings}


def test_records_and_pictures_are_small():
    files = [path for folder in (gallery.RECORDS, gallery.PICTURES) for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 1_500_000


@pytest.mark.slow
@pytest.mark.parametrize("shown", gallery.DRAWN, ids=lambda shown: shown.stem)
def test_a_picture_is_drawn_again_to_the_byte(shown):
    if json.loads(gallery.MADE.read_text())["versions"] != gallery.versions():
        pytest.skip("another version of matplotlib draws other bytes")
    for name, svg in shown.files().items():
        assert (gallery.PICTURES / name).read_bytes() == svg.encode()
