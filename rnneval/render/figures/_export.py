"""Figures as files and as SVG text: off screen, without pyplot's global state, the same bytes every time.

A user's own style has no effect: matplotlib reads some of its settings (fonts in SVG, the salt of its ids) when a
picture is written, and has its own defaults and ours meanwhile.
"""

import html
import io
import os
import re
import warnings
from pathlib import Path
from typing import Any

from rnneval.errors import UsageError
from rnneval.records import whole_file, write_text
from rnneval.render.figures._base import Figure
from rnneval.render.figures._style import DARK, LIGHT, Look, fill
from rnneval.render.phrasing import visible

ENDINGS = ("png", "svg", "pdf")
Size = tuple[float, float | None, int]
"""Width and height in inches, and dots an inch; without a height it is the figure's own."""
SIZES: dict[str, Size] = {"page": (6.5, None, 300), "slide": (6.4, 3.6, 300)}
"""A slide has 1920 × 1080 dots, and larger text than a page."""
LOWEST = 440 / 96
"""Inches: no picture is lower than one that is as wide."""
_FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"
_TAG = re.compile(r"<[^>]*>")  # text is escaped: it holds neither < nor >, and is left as it is
_OURS = {
    "axes.formatter.min_exponent": 7,  # powers of ten would be too small to read
    "axes.linewidth": 0.7,
    "axes.unicode_minus": True,
    "font.family": ["DejaVu Sans"],
    "font.size": 10.0,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
}
_DATED = {"png": ("Software",), "pdf": ("CreationDate", "Creator", "Producer"), "svg": ("Date", "Creator")}
"""Metadata that would make each file differ."""


def svg(
    figure: Figure, size: Size = SIZES["page"], *, dark: bool = False, clear: bool = False, titled: bool = True
) -> str:
    """Return a figure as an SVG image with its text alternative, on a ground that may be `clear`."""
    # Text stays text, in the reader's own font; it is laid out for DejaVu, which is as wide as any of these.
    image = _written(figure, "svg", size, DARK if dark else LIGHT, clear=clear, titled=titled).decode()
    image = image.replace("'DejaVu Sans'", _FONTS)
    # Ids that nothing refers to are names of matplotlib or of layers.
    needed = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', image))
    image = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in needed else "", image)
    image = image.replace("<metadata>", f"<desc>{html.escape(figure.alt)}</desc>\n <metadata>", 1)
    # Ids and titles are made of the names of layers: characters that XML or UTF-8 cannot hold are shown as escapes.
    return "\n".join(map(visible, image.split("\n")))


def save(figure: Figure, path: str | os.PathLike[str], size: str = "page", *, dark: bool = False) -> None:
    """Write the figure to a file by its ending: PNG, SVG or PDF."""
    form = ending_of(path)
    if figure.paint is None:
        raise UsageError(f"{os.fspath(path)}: the figure {figure.name} is text: leave --out out, or make a report")
    if form == "svg":
        write_text(svg(figure, SIZES[size], dark=dark), path)
        return
    with whole_file(path) as temporary:
        temporary.write_bytes(_written(figure, form, SIZES[size], DARK if dark else LIGHT))


def ending_of(path: str | os.PathLike[str]) -> str:
    """Return the format that the ending of a path asks for, or refuse it."""
    ending = Path(path).suffix.lower().removeprefix(".")
    if ending not in ENDINGS:
        seen = f"ends in .{ending}" if ending else "has no ending"
        raise UsageError(f"{os.fspath(path)}: {seen}: a figure is written to .png, .svg or .pdf")
    return ending


def _written(figure: Figure, form: str, size: Size, look: Look, *, clear: bool = False, titled: bool = True) -> bytes:
    """Draw the figure by itself, and return the file."""
    import matplotlib as mpl

    theirs = {key: value for key, value in mpl.rcParamsDefault.items() if not key.startswith("backend")}
    written = io.BytesIO()
    metadata = {"Title": visible(figure.title), **dict.fromkeys(_DATED[form])}
    with mpl.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        warnings.filterwarnings("ignore", message=".*deprecat", category=mpl.MatplotlibDeprecationWarning)
        mpl.rcParams.update(theirs | _OURS | {"svg.hashsalt": figure.name})
        canvas = _drawn(figure, size, look, clear=clear, titled=titled)
        canvas.savefig(written, format=form, dpi=size[2], metadata=metadata)
    return written.getvalue()


def _drawn(figure: Figure, size: Size, look: Look, *, clear: bool, titled: bool) -> Any:
    """Draw on a matplotlib Figure of its own."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import to_rgb
    from matplotlib.figure import Figure as Canvas
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    width, height, dpi = size
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08)
    canvas = Canvas((width, height or max(width, LOWEST) * figure.height), dpi, layout=layout)
    FigureCanvasAgg(canvas)
    canvas.set_facecolor((0, 0, 0, 0) if clear else look.paper)
    ax = canvas.add_subplot()
    ax.set_facecolor((*to_rgb(look.paper), 0.0 if clear else 1.0))
    if titled and figure.title:  # over the whole width, in as many lines as it needs
        shown = canvas.suptitle("", x=0.1 / width, ha="left", fontsize=11, fontweight="bold", color=look.ink)
        fill(shown, figure.title, (width - 0.2) * 72)
    layout.execute(canvas)  # what is drawn next may ask how large the Axes are
    figure.draw(ax)
    ax.set_title("", loc="left")
    layout.execute(canvas)
    canvas.set_layout_engine(None)  # else savefig draws everything once more, for the layout alone
    return canvas


def dark_of(svg: str) -> str:
    """Return a picture in the light look in the colours of the dark one, as it would be drawn.

    Drawing takes a hundred times as long, and figures take every colour from their look.
    """
    colors = {getattr(LIGHT, name): getattr(DARK, name) for name in ("paper", "ink", "muted", "grid", "hot")}
    colors |= dict(zip(LIGHT.palette, DARK.palette, strict=True))
    pattern = re.compile("|".join(colors))
    return _TAG.sub(lambda tag: pattern.sub(lambda found: colors[found[0]], tag[0]), svg)
