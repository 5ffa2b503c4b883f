"""The report in a real browser: what a parser cannot see."""

from io import BytesIO
from unicodedata import normalize

import pytest

pytestmark = pytest.mark.browser

WIDTHS = (360, 768, 1280)
LOOKS = ("light", "dark")
UNFOLD = "document.querySelectorAll('details').forEach(fold => { fold.open = true; })"

# Boxes of all text, a line each; what scrolls within itself is looked at as a whole, and so is a figure.
BOXES = """
() => {
  const found = [];
  const keep = (what, box) => {
    if (box.width > 0 && box.height > 0) found.push([what, box.x, box.y + scrollY, box.width, box.height]);
  };
  const scrolls = node => node.closest('.scroll, pre');
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode, parent = node.parentElement;
    if (!node.data.trim() || parent.closest('.unseen, legend, .skip') || scrolls(parent)) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const box of range.getClientRects())
      keep(node.data.trim().slice(0, 40), box);
  }
  for (const node of document.querySelectorAll('.scroll, pre, img')) {
    keep(node.className || node.tagName, node.getBoundingClientRect());
  }
  return found;
}
"""

CUT = """
() => [...document.querySelectorAll('body *')].filter(node => {
  const style = getComputedStyle(node);
  if (node.querySelector('figure img')) return false;  // on a phone, figures reach into the page's own margin
  if (node.matches('.unseen, legend, .skip') || node.closest('.scroll, pre')) return false;
  if (style.display === 'inline' || style.display === 'none') return false;
  return node.scrollWidth > node.clientWidth + 1 && node.clientWidth > 0;
}).map(node => node.outerHTML.slice(0, 90))
"""

# On a narrow screen a wide table is a list: it has nothing that must be moved into sight.
SIDEWAYS = """
() => [...document.querySelectorAll('.scroll:has(.listed)')].filter(node => node.scrollWidth > node.clientWidth + 1)
  .map(node => node.textContent.slice(0, 60))
"""
FOCUS = """
() => {
  const node = document.activeElement;
  if (node === document.body) return null;
  const style = getComputedStyle(node.matches('input') ? node.nextElementSibling : node);
  node.dataset.at ??= String(Math.random());
  const seen = parseFloat(style.outlineWidth) > 1 && style.outlineStyle !== 'none';
  return [node.dataset.at, seen, node.outerHTML.slice(0, 60)];
}
"""
PLANTED = """
() => document.body.insertAdjacentHTML('beforeend',
  '<img src="https://example.invalid/x.png" onerror="document.title = 1"><p style="color: red" id="planted">x</p>')
"""


def test_it_opens_from_the_disk_asks_for_nothing_and_complains_of_nothing(opened):
    page = opened()
    assert page.said == []
    assert [url for url in page.asked[1:] if not url.startswith("data:image/svg+xml")] == []
    assert page.asked[0].startswith("file://")
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")


@pytest.mark.parametrize("name", ["kinds", "hostile"])
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_screen(opened, width, name):
    page = opened(name, width=width)
    page.evaluate(UNFOLD)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(CUT) == []
    assert width > 360 or page.evaluate(SIDEWAYS) == []


@pytest.mark.parametrize("width", [360, 1280])
def test_no_text_lies_over_another(opened, width):
    page = opened(width=width)
    page.evaluate(UNFOLD)
    boxes = page.evaluate(BOXES)
    assert len(boxes) > 200
    assert all(x >= 0 and x + w <= width + 1 for _, x, _, w, _ in boxes)
    over = [(a[0], b[0]) for i, a in enumerate(boxes) for b in boxes[i + 1 :] if overlap(a, b)]
    assert over == []


def overlap(one, other):
    """Whether two boxes share more than a hair: lines may touch, and the boxes of fonts reach beyond their letters."""
    _, x, y, w, h = one
    _, x2, y2, w2, h2 = other
    return min(x + w, x2 + w2) - max(x, x2) > 2 and min(y + h, y2 + h2) - max(y, y2) > 0.3 * min(h, h2)


@pytest.mark.parametrize(("system", "chosen"), [("light", "dark"), ("dark", "light")])
def test_a_reader_can_choose_the_look_without_a_script(opened, system, chosen):
    page = opened(color_scheme=system, java_script_enabled=True)
    page.get_by_label(chosen, exact=True).check()
    assert shown_look(page) == chosen


def shown_look(page):
    """Tell the look by the luminance of paper and ink, and by which images are there; they must agree."""
    paper, ink = page.evaluate("(s => [s.backgroundColor, s.color])(getComputedStyle(document.body))")
    look = "dark" if brightness(paper) < brightness(ink) else "light"
    there = page.evaluate(
        "['light', 'dark'].filter(l => [...document.querySelectorAll('.on-' + l)].every(i => i.offsetWidth > 0))"
    )
    hidden = page.evaluate(
        "['light', 'dark'].filter(l => [...document.querySelectorAll('.on-' + l)].every(i => i.offsetWidth === 0))"
    )
    assert (there, hidden) == ([look], [other for other in LOOKS if other != look])
    return look


def brightness(color):
    return sum(int(part) for part in color.removeprefix("rgb(").removesuffix(")").split(","))


def test_all_can_be_reached_by_keyboard_and_is_seen_to_be(opened):
    page = opened()
    wanted = page.evaluate(
        "document.querySelectorAll('a[href], summary, [tabindex=\"0\"]').length"
        " - [...document.querySelectorAll('details:not([open]) .folded *')]"
        ".filter(n => n.matches('a[href], summary, [tabindex=\"0\"]')).length + 1"  # the choice of colours is one stop
    )
    seen, unseen = [], []
    for _ in range(wanted + 5):
        page.keyboard.press("Tab")
        here = page.evaluate(FOCUS)
        if here is None or here[0] in seen:
            break
        seen.append(here[0])
        unseen += [] if here[1] else [here[2]]
    assert len(seen) == wanted
    assert unseen == []


def test_the_first_key_offers_to_skip_to_the_verdict(opened):
    page = opened()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the verdict"
    assert page.evaluate("document.activeElement.getBoundingClientRect().top >= 0")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


@pytest.mark.parametrize("look", LOOKS)
def test_paper_has_everything_unfolded_and_dark_ink(opened, look):
    from pypdf import PdfReader

    page = opened(color_scheme=look)
    texts = page.evaluate("[...document.querySelectorAll('.folded')].map(fold => fold.textContent)")
    folded = [normalize("NFKC", text) for text in texts]
    assert len(folded) > 10
    reader = PdfReader(BytesIO(page.pdf(format="A4", prefer_css_page_size=True)))
    printed = normalize("NFKC", "".join(page.extract_text() for page in reader.pages))  # fi is one sign there, … three
    printed = "".join(printed.split())
    assert {word for fold in folded for word in fold.split() if word not in printed} == set()
    assert "Skiptotheverdict" not in printed
    page.emulate_media(media="print")
    assert shown_look(page) == "light"
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280


@pytest.mark.parametrize(("look", "width", "unfolded"), [("light", 360, True), ("dark", 1280, False)])
def test_axe_finds_nothing_serious(opened, look, width, unfolded):
    page = opened(color_scheme=look, width=width)
    if unfolded:
        page.evaluate(UNFOLD)
    assert serious(page) == []


def serious(page):
    """What axe finds of impact serious or critical: rule, and the elements."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [
        (each["id"], [node["html"][:120] for node in each["nodes"][:3]])
        for each in found
        if each["impact"] in {"serious", "critical"}
    ]


def test_axe_would_see_a_fault(opened):
    page = opened()
    page.evaluate("document.querySelector('img').removeAttribute('alt')")
    assert [rule for rule, _ in serious(page)] == ["image-alt"]


def test_hostile_texts_run_nothing_and_make_no_element(opened):
    page = opened("hostile")
    page.evaluate(UNFOLD)
    page.wait_for_timeout(200)
    assert (page.dialogs, page.said) == ([], [])
    assert [url for url in page.asked[1:] if not url.startswith("data:image/svg+xml")] == []
    assert page.locator("script, iframe, object, embed, form, link, b, [onerror], [onmouseover], [style]").count() == 0
    assert page.locator("style").count() == 1
    assert page.locator("h1").count() == 1
    assert page.evaluate("document.body.innerText").count("<script>alert(1)</script>") > 10
    assert "1337" not in page.content()


def test_the_policy_would_stop_what_got_in(opened):
    page = opened()
    page.evaluate(PLANTED)
    page.wait_for_timeout(200)
    assert page.title() != "1"
    assert page.refused == [("https://example.invalid/x.png", "csp")]
    assert page.evaluate("getComputedStyle(document.getElementById('planted')).color") != "rgb(255, 0, 0)"
    assert len(page.said) >= 2


ENDS = """
() => Object.fromEntries([...document.querySelectorAll('main > section')].map(
  section => [section.id, section.getBoundingClientRect().bottom + scrollY]))
"""


def test_the_verdict_is_on_the_first_screen_and_the_comparison_on_the_third(opened):
    page = opened("three", width=1280, height=900)
    ends = page.evaluate(ENDS)
    assert list(ends)[:4] == ["verdict", "wiring", "numbers", "comparisons"]
    assert ends["verdict"] <= 900
    assert ends["numbers"] <= 2.5 * 900  # the comparison begins there
    assert ends["comparisons"] <= 3.1 * 900
    assert page.evaluate("document.documentElement.scrollHeight") <= 6 * 900
    assert "wrong-stack" in page.locator("#verdict").text_content()
    assert ".json" not in page.locator("#verdict").text_content()
