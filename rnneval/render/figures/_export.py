"""Figures as files and as SVG text: off screen, without pyplot's global state, the same bytes every time.

matplotlib keeps its settings in one global place, and some (fonts in SVG, the salt of its ids) are read from there
when a picture is written. A lock is held meanwhile, so that threads do not see each other's; a user's own style does
not get in.
"""

import hashlib
import html
import io
import os
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from rnneval.errors import UsageError
from rnneval.recordfile import whole_file
from rnneval.render.figures._base import Figure
from rnneval.render.figures._style import DARK, LIGHT, fill
from rnneval.render.words import visible

_NARROWEST = 520
_LOCK = threading.RLock()
ENDINGS = ("png", "svg", "pdf")
# What stands in an SVG is text, shown in the reader's own font; DejaVu, by which it was laid out, is as wide as any.
_SANS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"
_MONO = "'DejaVu Sans Mono', ui-monospace, Menlo, 'Liberation Mono', 'Courier New', monospace"


class Size(NamedTuple):
    """Of a picture: inches, and dots an inch where it has dots."""

    width: float
    height: float | None
    """`None`: as high as the figure asks for."""
    dpi: int


# A slide is drawn small with many dots: 1920 × 1080, and its text is as large as on a slide.
SIZES = {"page": Size(6.5, None, 300), "slide": Size(6.4, 3.6, 300)}


def svg(figure: Figure, *, width: float = 640, dark: bool = False, titled: bool = True) -> str:
    """Give the figure as an SVG element to put into a page: no XML head, ids of its own, title and text alternative.

    Args:
        figure: From `figures_of`.
        width: In CSS pixels, its largest; the element shrinks with its column, and its letters with it (they are 13
            pixels high at full width). Nothing is laid out for less than 520.
        dark: Whether it stands on a dark page; the background is transparent.
        titled: Whether the title is drawn above the picture.
    """
    with _settings(figure.name):
        canvas = _drawn(figure, Size(max(width, _NARROWEST) / 96, None, 96), dark=dark, clear=True, titled=titled)
        written = io.StringIO()
        canvas.savefig(written, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return _element(_printable(written.getvalue()), figure, width)


def save(figure: Figure, path: str | os.PathLike[str], size: str = "page", *, dark: bool = False) -> None:
    """Write the figure to a file, PNG, SVG or PDF by its ending, whole or not at all.

    Raises:
        UsageError: another ending, or another size.
        RecordError: the file cannot be written.
    """
    form = ending_of(path)
    if size not in SIZES:
        raise UsageError(f"--size {size} is not known: give {' or '.join(SIZES)}")
    dates = {"png": ("Software",), "svg": ("Date", "Creator"), "pdf": ("CreationDate", "Creator", "Producer")}[form]
    metadata: dict[str, str | None] = {"Title": visible(figure.title), **dict.fromkeys(dates)}
    with _settings(figure.name), whole_file(path) as temporary:
        canvas = _drawn(figure, SIZES[size], dark=dark)
        if form == "svg":
            written = io.StringIO()
            canvas.savefig(written, format=form, metadata=metadata)
            temporary.write_text(_printable(_file(written.getvalue(), figure)), encoding="utf-8")
        else:
            canvas.savefig(temporary, format=form, dpi=SIZES[size].dpi, metadata=metadata)


def ending_of(path: str | os.PathLike[str]) -> str:
    """Give the format that the ending of a path asks for.

    Raises:
        UsageError: it is none of PNG, SVG, PDF.
    """
    ending = Path(path).suffix.lower().removeprefix(".")
    if ending not in ENDINGS:
        seen = f"ends in .{ending}" if ending else "has no ending"
        raise UsageError(f"{os.fspath(path)}: {seen}: a figure is written to .png, .svg or .pdf")
    return ending


@contextmanager
def _settings(salt: str) -> Iterator[None]:
    import matplotlib as mpl

    ours = {
        "axes.titlepad": 8.0,
        "axes.unicode_minus": True,
        "font.family": ["DejaVu Sans"],
        "font.size": 10.0,
        "pdf.fonttype": 42,
        "svg.fonttype": "none",
        "svg.hashsalt": salt,
        "xtick.major.width": 0.7,
        "ytick.major.width": 0.7,
        "axes.linewidth": 0.7,
    }
    theirs = {key: value for key, value in mpl.rcParamsDefault.items() if not key.startswith("backend")}
    with _LOCK, mpl.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        warnings.filterwarnings("ignore", message=".*deprecat", category=mpl.MatplotlibDeprecationWarning)
        mpl.rcParams.update(theirs | ours)
        yield


def _drawn(figure: Figure, size: Size, *, dark: bool, clear: bool = False, titled: bool = True) -> Any:
    """Draw on a matplotlib Figure of its own."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    look = DARK if dark else LIGHT
    height = size.height or size.width * figure.height
    canvas = Canvas(figsize=(size.width, height), dpi=size.dpi, layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08))
    FigureCanvasAgg(canvas)
    canvas.set_facecolor((0, 0, 0, 0) if clear else look.paper)
    ax = canvas.add_subplot()
    ax.set_facecolor((*_rgb(look.paper), 0.0 if clear else 1.0))
    if titled:
        _title(canvas, figure.title, look.ink)
    canvas.draw_without_rendering()  # what is drawn next may ask how large the Axes are
    figure.draw(ax=ax)
    ax.set_title("", loc="left")
    return canvas


def _title(canvas: Any, text: str, ink: str) -> None:
    """Put the title over the whole width, in as many lines as it needs."""
    shown = canvas.suptitle("", x=0.1 / canvas.get_figwidth(), ha="left", fontsize=11, fontweight="bold", color=ink)
    fill(shown, text, (canvas.get_figwidth() - 0.2) * canvas.dpi)


def _rgb(color: str) -> tuple[float, float, float]:
    from matplotlib.colors import to_rgb

    return to_rgb(color)


def _element(written: str, figure: Figure, width: float) -> str:
    """Make an element of a whole SVG file: ids that no other picture of the page has, and what it shows in words."""
    body = _with_fonts(written[written.index("<svg") :])
    body = re.sub(r"\s*<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    prefix = f"{figure.name}-{hashlib.sha256(body.encode()).hexdigest()[:8]}-"
    body = _needed_ids(body)
    body = re.sub(r'(?<= id=")|(?<=url\(#)|(?<=href="#)', prefix, body)
    head, rest = body.split(">", 1)
    head = re.sub(r' (?:width|height|version|xmlns:xlink)="[^"]*"', "", head)
    xlink = ' xmlns:xlink="http://www.w3.org/1999/xlink"' if "xlink:" in rest else ""
    words = f'<title id="{prefix}title">{html.escape(visible(figure.title))}</title><desc id="{prefix}desc">'
    words += f"{html.escape(visible(figure.alt))}</desc>"
    about = f'role="img" aria-labelledby="{prefix}title {prefix}desc" style="width: 100%; max-width: {width:g}px"'
    return f"{head}{xlink} {about}>{words}{rest}"


def _printable(svg: str) -> str:
    """Show what XML or UTF-8 cannot hold as escapes: ids and titles are made of the names of layers."""
    return "\n".join(map(visible, svg.split("\n")))


def _needed_ids(svg: str) -> str:
    """Keep the ids that something refers to: the others are names of matplotlib's, or of layers out of a file."""
    needed = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', svg))
    return re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in needed else "", svg)


def _file(written: str, figure: Figure) -> str:
    """Give an SVG file its fonts and its text alternative."""
    head, _, rest = _needed_ids(_with_fonts(written)).partition("<metadata>")
    return f"{head}<desc>{html.escape(figure.alt)}</desc>\n <metadata>{rest}"


def _with_fonts(written: str) -> str:
    """Let the reader's own fonts be used."""
    return written.replace("'DejaVu Sans Mono'", _MONO).replace("'DejaVu Sans'", _SANS)
