"""The documentation in a real browser: on a phone no page scrolls sideways, and pictures have the look of the theme."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser

DOCS = Path(__file__).parents[2] / "docs"
SIDEWAYS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
HIDDEN = """
() => [...document.querySelectorAll('article pre, article .table-wrapper')].filter(node =>
  node.scrollWidth > node.clientWidth + 1 && getComputedStyle(node).overflowX !== 'auto'
).map(node => node.textContent.slice(0, 60))
"""
SHOWN = """
() => [...document.querySelectorAll('article img')].filter(image => image.getBoundingClientRect().width > 0)
  .map(image => image.currentSrc.split('/').pop())
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The pages, as .ci/run built them, or built here."""
    if "RNNEVAL_HTML" in os.environ:
        return Path(os.environ["RNNEVAL_HTML"])
    pytest.importorskip("sphinx")
    folder = tmp_path_factory.mktemp("html")
    build = [sys.executable, "-m", "sphinx", "-q", "-b", "html", str(DOCS), str(folder)]
    subprocess.run(build, check=True, capture_output=True)
    return folder


@pytest.mark.parametrize("look", ["light", "dark"])
def test_a_page_fits_a_phone_and_what_is_wider_scrolls_in_its_box(chromium, built, look):
    context = chromium.new_context(viewport={"width": 390, "height": 844}, color_scheme=look)
    page = context.new_page()
    for name in ("index", "tutorial", "plots", "gate"):
        page.goto((built / f"{name}.html").as_uri())
        assert page.evaluate(SIDEWAYS) <= 0, name
        assert page.evaluate(HIDDEN) == [], name
    page.goto((built / "index.html").as_uri())
    page.wait_for_function(f"() => ({SHOWN.strip()})().every(Boolean)")  # lazy pictures
    assert page.evaluate(SHOWN) == [f"flow_matrix{'-dark' if look == 'dark' else ''}.svg"]
    context.close()
