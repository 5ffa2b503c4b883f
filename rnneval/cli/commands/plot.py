"""`rnneval plot RECORD…`."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rnneval.cli.command import from_function
from rnneval.cli.output import require, require_places, tell
from rnneval.option import Options, option

if TYPE_CHECKING:
    from rnneval.render.figures import Figure

_ALL = "all"


class PlotOptions(Options):
    """Options of `rnneval plot`."""

    out: str | None = option(
        None, metavar="FILE|FOLDER", path=True, unset="required, but for --list and text", heading="Output"
    )
    """File to write, PNG, SVG or PDF by its ending; for several figures, a folder."""
    figure: str | None = option(None, metavar="NAME|all", unset="the record's first")
    """Figure to draw, or all figures of the record."""
    size: str = option("page", choices=("page", "slide"))
    """Size of a figure: page is 6.5 inches wide; slide is 1920 × 1080 pixels, with larger text."""
    dark: bool = option(False)
    """Draw on a dark background."""
    text: tuple[str, ...] = option((), metavar="TEXT", path=True, repeated=True)
    """For the figure passage: the text that was scored."""
    part: str | None = option(None, metavar="SLICE", unset="the whole text")
    """For the figure passage: the part that was scored, as in evaluate."""
    list: bool = option(False)
    """List the figures of each record and draw nothing."""
    quiet: bool = option(False, short="-q", heading="Output")
    """Do not print the titles of the figures."""


@from_function("run.json --out loss.png")
def command(*, records: Annotated[tuple[str, ...], "RECORD..."], options: PlotOptions) -> int:
    """Draw a figure of each RECORD.

    RECORD is a JSON record, a Parquet table, or the folder of a history. Several records are drawn one by one, into the
    folder --out. The figure passage (of losses) is coloured text: it is printed, and reports show it.
    """
    from rnneval.render.figures import figures_of, load, save
    from rnneval.render.terminal import show

    sources: dict[str, Any] = {path: load(path) for path in records}
    for path, source in sources.items() if options.text else ():
        if _wants_text(source):
            sources[path] = source.with_text(options.text, options.part)
    wanting = [path for path, source in sources.items() if _wants_text(source)]
    if options.list:
        for path, source in sources.items():
            found = figures_of(source)
            width = max((len(figure.name) for figure in found), default=0)
            none = "passage: give the text (--text)" if path in wanting else "none"
            lines = [f"{figure.name:<{width}}  {figure.title}" for figure in found] or [none]
            tell("\n".join([f"{path}:", *lines] if len(sources) > 1 else lines))
        return 0
    message = f"{', '.join(wanting)}: losses have positions and no text: give the text that was scored (--text, --part)"
    require(options.figure not in (None, "passage") or not wanting, message)
    pictures = list(_chosen(sources, Path(options.out) if options.out else None, options.figure))
    places = [place for place, _ in pictures if place is not None]
    require_places({"--out": places}, {"RECORD": records, "--text": options.text})
    for place, picture in pictures:
        if place is None:
            tell(picture.title)
            show(picture.draw())
            continue
        save(picture, place, options.size, dark=options.dark)
        if not options.quiet:
            tell(f"{place}: {picture.title}")
    return 0


def _wants_text(source: Any) -> bool:
    from rnneval.render.figures import LOSSES, TidyTable

    return isinstance(source, TidyTable) and source.schema == LOSSES and source.text is None


def _chosen(sources: Mapping[str, Any], out: Path | None, name: str | None) -> Iterator[tuple[Path | None, "Figure"]]:
    """Yield every figure and the file that it is written to; None: it is text and is printed."""
    from rnneval.render.figures import ENDINGS, figure_of

    is_file = out is not None and out.suffix.lower().removeprefix(".") in ENDINGS and not out.is_dir()
    if out is None:
        figures = [figure_of(source, name) for source in sources.values() if name != _ALL]
        printed = figures and all(figure.text is not None for figure in figures)
        require(printed, "--out is needed: FILE.png, .svg or .pdf (or --list, to list the figures)")
        yield from ((None, figure) for figure in figures)
    elif name == _ALL or (len(sources) > 1 and not is_file):
        require(not is_file, f"{out}: several pictures, and one file: give a folder")
        yield from _in_folder(sources, out, name)
    else:
        require(len(sources) == 1, f"{out}: one file for {len(sources)} records: give a folder")
        yield from ((out, figure_of(source, name)) for source in sources.values())


def _in_folder(sources: Mapping[str, Any], folder: Path, name: str | None) -> Iterator[tuple[Path, "Figure"]]:
    """Make the folder, and yield each figure and its file, numbered where several would have one name."""
    from rnneval.paths import make_folder
    from rnneval.render.figures import figure_of, figures_of

    figures = [
        (Path(path).name.partition(".")[0] or "record", figure)
        for path, source in sources.items()
        for figure in (figures_of(source) if name == _ALL else [figure_of(source, name)])
        if figure.paint or name != _ALL
    ]
    make_folder(folder)
    counts: Counter[str] = Counter()
    for record, figure in figures:
        stem = f"{record}-{figure.name}"
        counts[stem] += 1
        number = f"-{counts[stem]}" if counts[stem] > 1 else ""
        yield folder / f"{stem}{number}.png", figure
