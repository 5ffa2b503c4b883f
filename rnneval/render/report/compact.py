"""Smaller SVG of the same picture: a page holds every figure twice, once for each look.

matplotlib writes six places of a point and every mark's whole style. Here coordinates get two places (a hundredth of a
point), a style that is there again becomes a class, and names become short ones. That is right for an image of its
own alone: in a page, classes and names would meet those of other figures.
"""

import re
from collections import Counter
from collections.abc import Mapping

_TAG = re.compile(r"<[^>]*>")  # text is escaped: it holds neither < nor >, and is left as it is
_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_PLACES = re.compile(r'(?<= )(d|x|y|width|height|transform)="([^"]*)"')
_STYLE = re.compile(r' style="([^"]*)"')
_NAMED = re.compile(r' id="([^"]+)"')
_POINTS_AT = re.compile(r'(?<=url\(#)[^)]+|(?<=href="#)[^"]+|(?<= id=")[^"]+')


def compact(svg: str) -> str:
    """Give the same picture in fewer bytes."""
    tags = "".join(_TAG.findall(svg))
    styles = [style for style, times in Counter(_STYLE.findall(tags)).items() if times > 1]
    classes = {style: f"s{number}" for number, style in enumerate(styles)}
    names = {name: f"n{number}" for number, name in enumerate(_NAMED.findall(tags))}
    smaller = _TAG.sub(lambda tag: _tag(tag[0], classes, names), re.sub(r">\s*\n\s*<", "><", svg))
    rules = "".join(f".{name}{{{style}}}" for style, name in classes.items())
    return smaller.replace("</style>", f"{rules}</style>", 1)


def _tag(tag: str, classes: Mapping[str, str], names: Mapping[str, str]) -> str:
    tag = _PLACES.sub(_rounded, tag)
    tag = _STYLE.sub(lambda style: f' class="{classes[style[1]]}"' if style[1] in classes else style[0], tag)
    tag = re.sub(r' (?:role|aria-labelledby)="[^"]*"', "", tag)  # an image is named by its element in the page
    return _POINTS_AT.sub(lambda name: names.get(name[0], name[0]), tag)


def _rounded(places: re.Match[str]) -> str:
    numbers = _NUMBER.sub(lambda number: f"{float(number[0]):.2f}".rstrip("0").rstrip("."), places[2])
    return f'{places[1]}="{" ".join(numbers.split())}"'
