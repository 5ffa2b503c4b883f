"""The SVG text that matplotlib writes, rewritten as an element of a page, as a file, or as a small image.

An element needs ids that no other picture of its page has. An image of its own need not be told apart: a page holds
every figure twice, once for each look, so `compact` shortens names and coordinates and turns styles into classes.
"""

import hashlib
import html
import re
from collections import Counter
from collections.abc import Callable, Mapping

from rnneval.render.phrasing import visible

# Text in an SVG stays text, in the reader's own font; it is laid out for DejaVu, which is as wide as any of these.
SANS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"
_TAG = re.compile(r"<[^>]*>")  # text is escaped: it holds neither < nor >, and is left as it is
_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_PLACES = re.compile(r'(?<= )(d|x|y|width|height|transform)="([^"]*)"')
_STYLE = re.compile(r' style="([^"]*)"')
_NAMED = re.compile(r' id="([^"]+)"')
_POINTS_AT = re.compile(r'(?<=url\(#)[^)]+|(?<=href="#)[^"]+|(?<= id=")[^"]+')


def file_text(written: str, alt: str) -> str:
    """Return an SVG file with the reader's fonts and the text alternative."""
    head, _, rest = _cleaned(written).partition("<metadata>")
    return _printable(f"{head}<desc>{html.escape(alt)}</desc>\n <metadata>{rest}")


def element(written: str, *, name: str, title: str, alt: str, width: float) -> str:
    """Return an SVG element for a page: with title and description, and with ids that no other picture has."""
    printable = _printable(written)
    body = _cleaned(printable[printable.index("<svg") :])
    body = re.sub(r"\s*<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    prefix = f"{name}-{hashlib.sha256(body.encode()).hexdigest()[:8]}-"
    head, rest = _renamed(body, lambda known: prefix + known).split(">", 1)
    head = re.sub(r' (?:width|height|version|xmlns:xlink)="[^"]*"', "", head)
    xlink = ' xmlns:xlink="http://www.w3.org/1999/xlink"' if "xlink:" in rest else ""
    words = f'<title id="{prefix}title">{html.escape(visible(title))}</title>'
    words += f'<desc id="{prefix}desc">{html.escape(visible(alt))}</desc>'
    about = f'role="img" aria-labelledby="{prefix}title {prefix}desc" style="width: 100%; max-width: {width:g}px"'
    return f"{head}{xlink} {about}>{words}{rest}"


def compact(svg: str) -> str:
    """Return the same picture in fewer bytes, as an image of its own.

    Coordinates get two decimal places (a hundredth of a point), a style that occurs again becomes a class, and names
    become short ones: in a page they would meet those of other figures.
    """
    tags = "".join(_TAG.findall(svg))
    styles = [style for style, times in Counter(_STYLE.findall(tags)).items() if times > 1]
    classes = {style: f"s{number}" for number, style in enumerate(styles)}
    names = {name: f"n{number}" for number, name in enumerate(_NAMED.findall(tags))}
    smaller = _TAG.sub(lambda tag: _small_tag(tag[0], classes, names), re.sub(r">\s*\n\s*<", "><", svg))
    rules = "".join(f".{name}{{{style}}}" for style, name in classes.items())
    return smaller.replace("</style>", f"{rules}</style>", 1)


def ratio(svg: str) -> float:
    """Return the height of a picture as a share of its width."""
    box = re.search(r'viewBox="[\d.]+ [\d.]+ ([\d.]+) ([\d.]+)"', svg)
    return float(box.group(2)) / float(box.group(1)) if box else 0.6


def _printable(svg: str) -> str:
    """Show characters that XML or UTF-8 cannot hold as escapes: ids and titles are made of the names of layers."""
    return "\n".join(map(visible, svg.split("\n")))


def _cleaned(svg: str) -> str:
    """Put in the reader's fonts, and remove ids that nothing refers to: names of matplotlib or of layers."""
    needed = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', svg))
    with_fonts = svg.replace("'DejaVu Sans'", SANS)
    return re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in needed else "", with_fonts)


def _renamed(svg: str, name: Callable[[str], str]) -> str:
    """Rename every id and every reference to one, within tags."""
    return _TAG.sub(lambda tag: _POINTS_AT.sub(lambda found: name(found[0]), tag[0]), svg)


def _small_tag(tag: str, classes: Mapping[str, str], names: Mapping[str, str]) -> str:
    tag = _PLACES.sub(_rounded, tag)
    tag = _STYLE.sub(lambda style: f' class="{classes[style[1]]}"' if style[1] in classes else style[0], tag)
    tag = re.sub(r' (?:role|aria-labelledby)="[^"]*"', "", tag)  # an image is named by its element in the page
    return _renamed(tag, lambda known: names.get(known, known))


def _rounded(places: re.Match[str]) -> str:
    numbers = _NUMBER.sub(lambda number: f"{float(number[0]):.2f}".rstrip("0").rstrip("."), places[2])
    return f'{places[1]}="{" ".join(numbers.split())}"'
