"""Records in, one self-contained HTML page out.

`report` reads records, by path or as values, and writes a page to a file. `page_of(given)` decides what the page says:
its title, its claims with the worst first, and its chapters. `draw(page, given)` draws its figures, `html_of(page,
drawn)` writes it: a value, images and text; none of these three touches a disk.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from markupsafe import Markup

from rnneval._version import __version__
from rnneval.errors import RecordError, UsageError
from rnneval.evaluate.sweep_table import FILE, OK, Sweep, best_first, read_table
from rnneval.gates.sides import fields_of, unfit
from rnneval.paths import open_regular, record_files, require_apart, write_text
from rnneval.records import Gate, Gradients, Parity, Run, Server
from rnneval.records.tables import SWEEP
from rnneval.records.wiring import breaks_runs
from rnneval.render.document import KINDS, Block, Claim, Fold, Kind, Picture, Report, Section, Subsection
from rnneval.render.figures import LOSSES, Figure, TidyTable, caution, kind_of, load, source_of, svg
from rnneval.render.figures._base import LOWEST, dark_of
from rnneval.render.html import Drawn, html_of
from rnneval.render.phrasing import counted, file_name, listed, number, told_apart
from rnneval.render.report.chapters import CHAPTERS
from rnneval.render.report.gathered import Gathered, PageRecord, Scored, alike, mapped, tokens_of
from rnneval.text import InMemory, Paths, text_given

__all__ = ["PageRecord", "Report", "draw", "has_losses", "html_of", "page_of", "report", "sources", "with_text"]

WIDTH = 360  # width of a figure in CSS pixels: about that of a phone. It grows and shrinks with its place.
_ORDER: tuple[Kind, ...] = ("fail", "unsure", "pass", "note")
_NAMED = 3
Said = tuple[Kind, str, str]  # A claim: whether it is right, the anchor of its chapter, and its sentence
_UNKNOWN = 0.01  # share of unknown tokens from which numbers do not stand for the text
_ABSOLUTE = re.compile(r"(?:^|(?<=[\s=('\"`]))(?:/|[A-Za-z]:[\\/])[^\s:'\"`)]+")
"""An absolute path at the start of a word, or behind `--option=`; a blank in it ends it."""


def report(
    records: Any,
    out: str | os.PathLike[str],
    *,
    title: str | None = None,
    text: Paths | None = None,
    string: str | None = None,
) -> Path:
    """Write one self-contained HTML page of any mix of records, as `rnneval report` does.

    Args:
        records: Records, the results of a sweep, tables (DataFrames), or paths of these and of folders of them: one,
            or a list.
        out: HTML file to write; only a complete one takes its place.
        title: Title of the page; by default the names of the models.
        text: Files that were scored, to show an excerpt of them coloured by surprise; this needs their losses, too.
        string: The text that was scored, in place of files.

    Returns:
        The path of the page.

    Raises:
        UsageError: `out` is not named `.html`, or is one of the records; or it is another text.
        RecordError: a file is no record of rnneval.

    Example:
        >>> from tempfile import mkdtemp
        >>> from rnneval.evaluate.imported import from_losses
        >>> losses = {"token": [1, 2], "nats": [0.5, 0.7], "byte_start": [1, 2], "byte_end": [2, 3]}
        >>> run = from_losses(losses, string="abc", state="carry")
        >>> report(run, Path(mkdtemp(), "report.html")).name
        'report.html'
    """
    place = Path(out)
    if place.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"{place}: a page is written to a file with the ending .html")
    several: Sequence[Any] = records if isinstance(records, list | tuple) else [records]
    if not several:
        raise UsageError("no record was given: give one or several")
    paths = [os.fspath(each) for each in several if isinstance(each, str | os.PathLike)]
    require_apart({"out": place}, {"records": record_files(paths), "text": text})
    given = sources(several)
    if text is not None or string is not None:
        if not any(map(has_losses, given)):
            raise UsageError("no record is a table of losses, so no text is needed: see evaluate(losses=FILE)")
        given = with_text(given, text_given(text, string))
    page = page_of(given, title)
    write_text(html_of(page, draw(page, given)), place)
    return place


def sources(several: Sequence[Any], skipped: Callable[[Path], object] = lambda _: None) -> list[PageRecord]:
    """Name the records of a page: those of files by their paths, a run by its model, other values by their kinds.

    `skipped` is told of each file of a folder that is not a record.
    """
    named_records: list[tuple[str, Any]] = []
    for each in several:
        if isinstance(each, Sweep | str | os.PathLike):
            paths = _records_at(Path(each.out if isinstance(each, Sweep) else each), skipped)
            named_records += ((str(path), load(path)) for path in paths)
            continue
        source = source_of(each)
        kind = kind_of(source).removeprefix("rnneval.").partition("/")[0]
        named_records.append((source.title if isinstance(source, Run) else kind, source))
    names = told_apart([name for name, _ in named_records], [None] * len(named_records))
    return [PageRecord(name=name, record=record) for name, (_, record) in zip(names, named_records, strict=True)]


def _records_at(path: Path, skipped: Callable[[Path], object]) -> Iterator[Path]:
    """Yield a record, or all records in a folder; a history is one table.

    Of a sweep, these are its table and the record of its best checkpoint. A folder may hold other JSON (a vocabulary,
    settings), which is skipped. A broken record is not skipped.
    """
    if not path.is_dir() or _is_history(path):
        yield path
        return
    if (path / FILE).is_file():
        yield path / FILE
        yield from (path / row["record"] for row in best_first(read_table(path))[:1] if row["status"] == OK)
        return
    found = False
    for each in sorted(path.iterdir()):
        if each.suffix == ".parquet" or _is_history(each) or (each.suffix == ".json" and _is_record(each)):
            found = True
            yield each
        elif each.suffix == ".json":
            skipped(each)
    if not found:
        raise RecordError(f"{path}: no record in this folder: looked for .json and .parquet")


def _is_history(path: Path) -> bool:
    return path.is_dir() and any(path.glob("part-*.parquet"))


def _is_record(path: Path) -> bool:
    """Return whether a file names a schema of rnneval at its beginning, as records do."""
    try:
        with open_regular(path) as file:
            return b'"rnneval.' in file.read(200)
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror or error}") from error


def with_text(records: Sequence[PageRecord], text: Paths | InMemory) -> list[PageRecord]:
    """Add the text to tables of losses; the run of the same text says which part of it was scored."""
    parts = {each.record.text.sha256: each.record.text.part for each in records if isinstance(each.record, Run)}
    return [
        replace(each, record=each.record.with_text(text, parts.get(each.record.metadata.get("rnneval.text", ""))))
        if has_losses(each)
        else each
        for each in records
    ]


def has_losses(record: PageRecord) -> bool:
    """Return whether a record is a table of losses, which can be shown beside its text."""
    return isinstance(record.record, TidyTable) and record.record.schema == LOSSES


# The page


def page_of(records: Sequence[PageRecord], title: str | None = None) -> Report:
    """Say everything that a mix of records says, in their order; the title is by default the names of the models."""
    gathered = Gathered(records)
    if not title and gathered.sweeps:
        title = counted(sum(len(each.record.frame) for each in gathered.sweeps), "checkpoint")
    sections = []
    for make, anchor, heading, lead in CHAPTERS:
        blocks = tuple(make(gathered))
        if blocks or anchor == "made":
            sections.append(Section(anchor=anchor, title=heading, lead=lead, blocks=blocks))
    page = Report(
        title=title or _and(gathered.names or [each.label for each in gathered.records]),
        claims=_claims(gathered),
        sections=tuple(sections),
        records=tuple(each.name for each in records),
        rnneval=__version__,
    )
    # A page is shown to others, and the folders of absolute paths are of one computer.
    return cast("Report", mapped(page, lambda text: _ABSOLUTE.sub(lambda match: file_name(match[0]), text)))


def _and(names: Sequence[str]) -> str:
    if len(names) > _NAMED:
        return f"{len(names)} models"
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


# Drawing


def draw(page: Report, records: Sequence[PageRecord]) -> Mapping[str, Drawn]:
    """Draw the figures of a page, by key: the slow part of a report."""
    wanted = {key for section in page.sections for key in _keys(section.blocks)}
    known = {each.key(figure): figure for each in Gathered(records).records for figure in each.figures}
    return {key: _drawn(figure) for key, figure in known.items() if key in wanted}


def _keys(blocks: Sequence[Block]) -> Iterator[str]:
    for block in blocks:
        if isinstance(block, Picture):
            yield block.key
        elif isinstance(block, Subsection | Fold):
            yield from _keys(block.blocks)


def _drawn(figure: Figure) -> Drawn:
    if figure.html is not None:
        return Drawn(html=Markup(figure.html()))  # noqa: S704 - the figure escapes what comes out of files
    light = svg(figure, (WIDTH / 96, None, 96), clear=True, titled=False)
    light = light[light.index("<svg") :]
    height = round(max(WIDTH, 96 * LOWEST) * figure.height)
    return Drawn(light=light, dark=dark_of(light), width=WIDTH, height=height)


# Claims


def _claims(gathered: Gathered) -> tuple[Claim, ...]:
    """Return every claim, the worst first; faults of the wiring before numbers, numbers before comparisons."""
    found = [*_of_wiring(gathered), *_of_training(gathered), *_of_sweeps(gathered), *_of_runs(gathered.scored)]
    found += _of_gates(gathered)
    for each, parity in gathered.of_kind(Parity):
        found.append((KINDS[parity.verdict], "parity", f"Parity of {each.label}: {parity.verdict}: {parity.reason}."))
    for each, server in gathered.of_kind(Server):
        found.append((KINDS[server.verdict], "servers", f"Server {each.label}: {server.verdict}: {server.reason}."))
    if gathered.unchecked:
        said = f"The wiring of {_and(gathered.unchecked)} was not checked: whether the numbers are valid is not known."
        found.append(("unsure", "wiring", said))
    if passed := [model.name for model, worst in gathered.wirings if worst.verdict == "pass"]:
        found.append(("pass", "wiring", f"The state is wired right in {_and(passed)}: each layer gets its own back."))
    if not found:
        found.append(("note", "made", "These records describe and do not judge: none is of a run, wiring or gate."))
    found.sort(key=lambda claim: _ORDER.index(claim[0]))
    return tuple(Claim(kind=kind, anchor=anchor, sentence=sentence) for kind, anchor, sentence in found)


def _of_wiring(gathered: Gathered) -> Iterator[Said]:
    """Yield what is wrong or not settled."""
    for model, wiring in gathered.wirings:
        if wiring.verdict == "fail":
            error = next((finding for finding in wiring.findings if finding.severity == "error"), None)
            # The message up to its first detail: an explanation, a list, or another sentence.
            fault = re.split(r" \(|: |\. |\.$", error.message, maxsplit=1)[0] if error else wiring.reason
            what = "The state is wired wrong" if breaks_runs(wiring, segment=1) else "Calls that should agree do not"
            yield "fail", "wiring", f"{what} in {model.name}: {fault}."
        elif wiring.verdict != "pass":
            what = f"Whether the state is wired right in {model.name} could not be settled"
            yield "unsure", "wiring", f"{what}: {wiring.reason}."


def _of_training(gathered: Gathered) -> Iterator[Said]:
    """Yield the title of each figure of a history or of gradients that says that a training run diverged."""
    for each in gathered.records:
        if isinstance(each.record, Gradients) or (isinstance(each.record, TidyTable) and each.record.schema != SWEEP):
            yield from (("fail", "inside", f"{each.label}: {f.title}.") for f in each.figures if f.diverged)


def _of_sweeps(gathered: Gathered) -> Iterator[Said]:
    for each in gathered.sweeps:
        rows = best_first(each.rows)
        count = counted(len(rows), "checkpoint")
        if without := [str(row["path"]) for row in rows if row["status"] != OK]:
            named = listed(without, _NAMED)
            yield "fail", "checkpoints", f"{len(without)} of {count} failed or are not valid: {named}."
        for curve in each.figures:
            if curve.diverged:
                yield "fail", "checkpoints", f"{count}: {curve.title}."
            else:
                yield "pass", "checkpoints", f"Of {count}, {curve.title}."


def _of_runs(evaluations: Sequence[Scored]) -> Iterator[Said]:
    for model, run in evaluations:
        if wrong := _wrong(model.name, run):
            yield "fail", "numbers", wrong
        if (share := _unknown(run)) >= _UNKNOWN:
            does_not = f"{model.name} does not know {100 * share:.2g} % of the {tokens_of(run)} of this text"
            what = "its numbers are of an easier text, and do not compare with those of a model that knows them"
            yield "unsure", "warnings", f"{does_not}: {what}."
    sound = [pair for pair in evaluations if "cross_entropy" in pair[1].scores and not caution(pair[1])]
    best = [min(group, key=lambda pair: pair[1].scores["cross_entropy"].value) for group in alike(sound)]
    if len(best) > 1:
        unlike = "of which not all compare: they are of different texts or tokens"
        yield "note", "numbers", f"{len(sound)} valid evaluations, {unlike}."
    for model, run in best:
        beaten = _beaten(run)
        if len(best) == 1:
            start = f"{model.name} has the lowest loss of {len(sound)}: on" if len(sound) > 1 else f"{model.name}: on"
            kind: Kind = "note" if beaten or _unknown(run) >= _UNKNOWN else "pass"
            yield kind, "numbers", f"{start} this text {_good(run)}."
        if beaten:
            yield "unsure", "baselines", f"{model.name} is worse than {beaten}."


def _beaten(run: Run) -> str:
    """Name the best baseline if it is better than the run, which is not called good then; else ""."""
    loss = run.scores["cross_entropy"].value
    best = min(run.baselines, key=run.baselines.__getitem__, default=None)
    if best is None or run.baselines[best] >= loss:
        return ""
    order = best.removeprefix("ngram-")
    better = f"the baseline {best}" if order == best else f"an n-gram of {order} {tokens_of(run)}"
    return f"{better}: {number(loss)} nats a token against {number(run.baselines[best])}"


def _wrong(name: str, run: Run) -> str:
    """Say why the numbers of a run must not be read as scores; "" for a sound run."""
    if run.total_nats is None:
        return f"The loss of {name} is not a finite number, so it has no scores."
    if not run.valid:
        why = run.why_not_valid.partition("; ")[0]
        return f"The run of {name} is not valid: {why}".removesuffix(": not valid") + "."
    if reason := unfit(run):
        return f"{name} {reason}."
    if caution(run):
        loss = number(run.scores["cross_entropy"].value)
        return f"{name} predicts this text worse than guessing would: {loss} nats a token."
    return ""


def _unknown(run: Run) -> float:
    """Return the share of the text's tokens that a model does not know."""
    skipped = run.tokens.unknown if fields_of(run.signature).get("unk") == "skip" else 0
    return run.tokens.unknown / max(run.tokens.total + skipped, 1)


def _good(run: Run) -> str:
    """Say how good a run is, and what guessing would be."""
    if "perplexity" not in run.scores:
        return f"a prediction costs it {number(run.scores['cross_entropy'].value)} nats"
    good = f"its perplexity is {number(run.scores['perplexity'].value)}"
    size = f"{run.vocabulary.size:,}" if run.vocabulary else ""
    return f"{good}; guessing among {size} {tokens_of(run)} has {size}" if size else good


def _of_gates(gathered: Gathered) -> Iterator[Said]:
    for each, gate in gathered.of_kind(Gate):
        decisive = next((c for c in gate.comparisons if c.verdict == gate.verdict), None)
        sentence = f"{each.name}: {gate.verdict}: {gate.reason}."
        if decisive is not None and decisive.baseline == "limit":
            holds = "holds" if gate.verdict == "pass" else "does not hold"
            sentence = f"The limit {decisive.metric} {holds} for {decisive.candidate}."
        elif decisive is not None:
            compared = f"{decisive.candidate} against {decisive.baseline}"
            sentence = f"{compared}: {decisive.metric} {decisive.reason.partition('; ')[0].partition('. ')[0]}."
        yield KINDS[gate.verdict], "comparisons", sentence
