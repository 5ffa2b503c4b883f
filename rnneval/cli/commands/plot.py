"""`rnneval plot RECORD…`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rnneval.cli.options import require, require_places
from rnneval.cli.terminal import tell
from rnneval.errors import RecordError, UsageError
from rnneval.recordfile.paths import named, named_records

if TYPE_CHECKING:
    from rnneval.render.figures import Figure

_ALL = "all"
_IN_A_FOLDER = "png"


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The text of a passage, and where to look."""

    text: tuple[str, ...]
    part: str | None
    at: int | None


@click.command("plot", epilog="Example: rnneval plot run.json --out loss.png")
@click.argument("records", nargs=-1, required=True, metavar="RECORD...")
@click.option("--out", metavar="FILE|FOLDER", help="Where to: PNG, SVG or PDF by the ending; of several, a folder.")
@click.option(
    "--figure", metavar="NAME|all", help="Which figure; all: each that there is. [default: the record's first]"
)
@click.option(
    "--size",
    type=click.Choice(["page", "slide"]),
    default="page",
    show_default=True,
    help="page: 6.5 inches wide; slide: 1920 × 1080 dots, with text as large as a slide needs.",
)
@click.option("--dark", is_flag=True, help="On a dark background.")
@click.option("--text", multiple=True, metavar="TEXT", help="For a passage: the text that the losses are of.")
@click.option("--part", metavar="SLICE", help="For a passage: the part that was scored, as in evaluate.")
@click.option("--at", type=click.IntRange(min=0), metavar="BYTE", help="For a passage: where. [default: the hardest]")
@click.option("--list", "listing", is_flag=True, help="Draw nothing: name the figures that each record can give.")
@click.option("--quiet", "-q", is_flag=True, help="Do not say what was drawn.")
@click.option("--seed", type=int, expose_value=False, hidden=True)  # every command takes it; nothing is drawn by lot
def command(
    *,
    records: tuple[str, ...],
    out: str | None,
    figure: str | None,
    size: str,
    dark: bool,
    text: tuple[str, ...],
    part: str | None,
    at: int | None,
    listing: bool,
    quiet: bool,
) -> int:
    """Draw a figure of each RECORD: a JSON record, a Parquet table, or the folder of a history.

    Several records make a picture each, in the folder --out; a figure of several runs (comparison, forgetting,
    baselines) is one picture where --figure names it and --out is a file.
    """
    from rnneval.render.figures import save

    require(listing or out is not None, "--out is needed: FILE.png, .svg or .pdf (or --list, to name the figures)")
    reading = Reading(text=text, part=part, at=at)
    sources = [(path, _loaded(path, reading)) for path in records]
    if listing:
        tell("\n".join(_listed(sources)))
        return 0
    pictures = list(_chosen(sources, Path(str(out)), figure))
    places = named("--out", [place for place, _ in pictures])
    require_places(places, [*named_records("RECORD", records), *named("--text", text)])
    for place, picture in pictures:
        save(picture, place, size, dark=dark)
        if not quiet:
            tell(f"{place}: {_visible(picture.title)}")
    return 0


def _visible(text: str) -> str:
    from rnneval.render.words import visible

    return visible(text)


def _listed(sources: Sequence[tuple[str, Any]]) -> Iterator[str]:
    """Each record's figures with what they show; without the text, a passage is named all the same."""
    from rnneval.render.figures import figures_of

    for path, source in sources:
        found = figures_of(source)
        if len(sources) > 1:
            yield f"{path}:"
        width = max((len(figure.name) for figure in found), default=0)
        yield from (f"{figure.name:<{width}}  {_visible(figure.title)}" for figure in found)
        if not found:
            yield "none" if not _wants_text(source) else "passage: give the text (--text)"


def _chosen(sources: Sequence[tuple[str, Any]], out: Path, name: str | None) -> Iterator[tuple[Path, "Figure"]]:
    """Give every picture and its place."""
    from rnneval.render.figures import ENDINGS, ending_of, figure_of, together

    to_a_file = out.suffix.lower().removeprefix(".") in ENDINGS and not out.is_dir()
    _require_text(sources, name)
    if name == _ALL or (len(sources) > 1 and not to_a_file):
        yield from _in_folder(sources, out, name)
        return
    if len(sources) > 1:
        require(
            name in together(),
            f"{out}: one file for {len(sources)} records: give a folder, or --figure {' or '.join(together())}",
        )
    ending_of(out)
    only = sources[0][1] if len(sources) == 1 else [source for _, source in sources]
    yield out, figure_of(only, name)


def _in_folder(sources: Sequence[tuple[str, Any]], folder: Path, name: str | None) -> Iterator[tuple[Path, "Figure"]]:
    from rnneval.render.figures import ENDINGS, figure_of, figures_of

    one = folder.suffix.lower().removeprefix(".") in ENDINGS and not folder.is_dir()
    require(not one, f"{folder}: several pictures, and one file: give a folder")
    pictures = []
    for path, source in sources:
        found = figures_of(source) if name == _ALL else [figure_of(source, name)]
        stem = Path(path).name.partition(".")[0] or "record"
        pictures += [(f"{stem}-{figure.name}", figure) for figure in found]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RecordError(f"{folder}: cannot be made: {error.strerror or error}") from error
    taken: dict[str, int] = {}
    for stem, figure in pictures:
        taken[stem] = taken.get(stem, 0) + 1
        number = f"-{taken[stem]}" if taken[stem] > 1 else ""
        yield folder / f"{stem}{number}.{_IN_A_FOLDER}", figure


def _wants_text(source: Any) -> bool:
    from rnneval.render.figures import LOSSES, Table

    return isinstance(source, Table) and source.schema == LOSSES and source.text is None


def _require_text(sources: Sequence[tuple[str, Any]], name: str | None) -> None:
    for path, source in sources:
        require(
            name not in (None, "passage") or not _wants_text(source),
            f"{path}: losses say which bytes, not what stands there: give the text that was scored (--text, --part)",
        )


def _loaded(path: str, reading: Reading) -> Any:
    """Read a record or a table; losses get their text."""
    from rnneval.render.figures import LOSSES, Table, load

    source = load(path)
    if not (isinstance(source, Table) and source.schema == LOSSES and reading.text):
        return source
    return replace(source, text=scored_text(source.metadata.get("rnneval.text"), reading), at=reading.at)


def scored_text(sha256: str | None, reading: Reading) -> str:
    """Read the text in the one way that gives the hash of the text that was scored.

    Raises:
        UsageError: none does.
    """
    import hashlib
    from itertools import product

    from rnneval.text.options import TextOptions
    from rnneval.text.pieces import final_text
    from rnneval.text.sources import Sources

    for normalize, newlines in product(("none", "lower", "nfc"), ("keep", "lf")):
        options = TextOptions(part=reading.part, normalize=normalize, newlines=newlines)
        text = "".join(piece.text for piece in final_text(Sources(reading.text), options))
        if sha256 in (None, hashlib.sha256(text.encode()).hexdigest()):
            return text
    raise UsageError(
        f"{', '.join(reading.text)}: not the text that was scored (another hash): give the same files, the same --part"
    )
