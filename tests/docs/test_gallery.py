"""The gallery: every figure is there, and says what its record says today."""

import hashlib
import html
import importlib.util
import json
from pathlib import Path

import pytest

from rnneval.render import figures

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


def test_a_figure_that_is_text_is_shown_by_a_picture_with_its_words():
    (shown,) = [shown for shown in gallery.GALLERY if shown not in gallery.DRAWN]
    section = gallery.gallery().partition(f"(`{shown.figure}`)")[2].partition("\n## ")[0]
    assert f'alt="{html.escape(" ".join(shown.drawn().alt.split()))}"' in section
    assert 'srcset="_static/plots/passage-dark.png"' in section
    assert shown.command.endswith("--text passage.txt")


def test_pictures_are_those_that_were_drawn_and_no_others():
    made = json.loads(gallery.MADE.read_text())["sha256"]
    there = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in gallery.PICTURES.glob("*.svg")}
    assert there == made
    endings = ("", "-dark")
    assert set(made) == {f"{shown.stem}{ending}.svg" for shown in gallery.DRAWN for ending in endings}


@pytest.mark.slow
@pytest.mark.parametrize("shown", gallery.DRAWN, ids=lambda shown: shown.stem)
def test_a_picture_is_drawn_again_to_the_byte(shown):
    if json.loads(gallery.MADE.read_text())["versions"] != gallery.versions():
        pytest.skip("another version of matplotlib draws other bytes")
    for name, svg in shown.files().items():
        assert (gallery.PICTURES / name).read_bytes() == svg.encode()
