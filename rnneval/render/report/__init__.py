"""Records in, one self-contained HTML page out.

`page_of(given)` decides what the page says: its title, its claims with the worst first, and its chapters.
`draw(page, given)` draws its figures, `html_of(page, drawn)` writes it: a value, images and text; none of them touches
a disk.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import msgspec

from rnneval._version import __version__
from rnneval.evaluate.sweep_table import OK, best_first
from rnneval.gates.explanation import in_per_cent
from rnneval.gates.explanation import number as in_unit
from rnneval.gates.sides import fields_of
from rnneval.records import Gate, Gradients, Opened, Run, Wiring
from rnneval.records.gate import Comparison
from rnneval.records.run import WiringSummary
from rnneval.records.tables import SWEEP
from rnneval.render.document import KINDS, Claim, Kind, Report, Section
from rnneval.render.figures import Table, caution
from rnneval.render.html import html_of
from rnneval.render.phrasing import counted, file_name, number, short_names
from rnneval.render.report.given import (
    Checked,
    Given,
    Scored,
    alike,
    checked,
    draw,
    of_kind,
    scored,
    subjects,
    sweeps,
    tokens_of,
    with_model_names,
)
from rnneval.render.report.sections import CHAPTERS
from rnneval.render.wiring_document import first_sentence

__all__ = ["Given", "Report", "draw", "html_of", "page_of"]

_ORDER: tuple[Kind, ...] = ("fail", "unsure", "pass", "note")
_NAMED = 3
_UNKNOWN = 0.01
"""Share of unknown tokens from which numbers do not stand for the text."""
_ABSOLUTE = re.compile(r"(?:^|(?<==))(/|[A-Za-z]:[\\/])")
"""Where an absolute path begins: at the start of a text, or behind `--option=`."""


def page_of(given: Sequence[Given], title: str | None = None) -> Report:
    """Say everything that a mix of records says, in their order; the title is by default the names of the models."""
    named = with_model_names(given)
    if not title and (found := sweeps(named)):
        title = counted(sum(len(each.record.frame) for each in found), "checkpoint")
    sections = []
    for make, anchor, heading, lead in CHAPTERS:
        blocks = tuple(make(named))
        if blocks or anchor == "made":
            sections.append(Section(anchor=anchor, title=heading, lead=lead, blocks=blocks))
    page = Report(
        title=title or _and([model.name for model in subjects(named)] or [each.label for each in named]),
        claims=_claims(named),
        sections=tuple(sections),
        records=tuple(each.name for each in given),
        rnneval=__version__,
    )
    # Without the folders of absolute paths: a page is shown to others, and they are of one computer.
    paths: dict[str, list[str]] = {}
    for path in dict.fromkeys(path for each in given for path in _absolute_paths(each)):
        paths.setdefault(file_name(path), []).append(path)
    short = {path: name for same in paths.values() for path, name in zip(same, short_names(same), strict=True)}
    if not short:
        return page
    known = "|".join(map(re.escape, sorted(short, key=len, reverse=True)))
    pattern = re.compile(rf"(?<![\w./\\-])(?:{known})(?![\w/\\-])")
    return cast("Report", _mapped(page, lambda text: pattern.sub(lambda found: short[found[0]], text)))


def _absolute_paths(given: Given) -> Iterator[str]:
    record = given.record
    texts = [given.name]
    if isinstance(record, Run | Gradients | Wiring):
        texts += record.command or ()
    if isinstance(record, Run | Gradients):
        texts += [*(file.path or "" for file in record.text.files)]
    if isinstance(record, Run | Gradients | Opened) and record.checkpoint:
        texts.append(record.checkpoint.path or "")
    if isinstance(record, Run):
        texts.append(record.vocabulary.source if record.vocabulary else "")
        texts.append((record.imported.path or "") if record.imported else "")
    wiring = record.wiring if isinstance(record, Run) else record
    if isinstance(wiring, Wiring | WiringSummary):
        texts += [finding.file or "" for finding in wiring.findings]
    for text in texts:
        if found := _ABSOLUTE.search(text):
            yield text[found.start() :]


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    """Return a value of the document model with every text changed, except for the keys of pictures."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, tuple):
        return tuple(_mapped(each, change) for each in value)
    if isinstance(value, msgspec.Struct):
        names = [name for name in value.__struct_fields__ if name != "key"]
        return msgspec.structs.replace(value, **{name: _mapped(getattr(value, name), change) for name in names})
    return value


def _and(names: Sequence[str]) -> str:
    if len(names) > _NAMED:
        return f"{len(names)} models"
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


# Claims


def _claims(given: Sequence[Given]) -> tuple[Claim, ...]:
    """Return every claim, the worst first; faults of the wiring before numbers, numbers before comparisons."""
    wirings = checked(given)
    found = [claim for each in wirings for claim in _of_wiring(each)]
    found += [*_of_training(given), *_of_sweeps(given), *_of_runs(scored(given)), *_of_gates(given)]
    if passed := [each.name for each in wirings if each.passes]:
        sentence = f"The state is wired right in {_and(passed)}: each layer gets its own back."
        found.append(Claim(kind="pass", sentence=sentence, anchor="wiring"))
    if not found:
        sentence = "No record was given."
        if given:
            sentence = "These records describe and do not judge: there is no run, wiring or gate record among them."
        found.append(Claim(kind="note", sentence=sentence, anchor="made"))
    return tuple(sorted(found, key=lambda claim: _ORDER.index(claim.kind)))


def _of_wiring(wired: Checked) -> Iterator[Claim]:
    """Yield what is wrong or not settled, once for each verdict."""
    worst = next((finding for finding in wired.findings if finding.severity == "error"), None)
    for wiring in wired.verdicts:
        if wiring.verdict == "pass":
            continue
        sentence = f"Whether the state is wired right in {wired.name} could not be settled: {wiring.reason}."
        if wiring.verdict == "fail":
            fault = first_sentence(worst.message) if worst else wiring.reason
            sentence = f"The state is wired wrong in {wired.name}: {fault}."
        yield Claim(kind=KINDS.get(wiring.verdict, "unsure"), sentence=sentence, anchor="wiring")


def _of_training(given: Sequence[Given]) -> Iterator[Claim]:
    """Yield the title of each figure of a history or of gradients that says that a training run diverged."""
    for each in given:
        if isinstance(each.record, Gradients) or (isinstance(each.record, Table) and each.record.schema != SWEEP):
            for title in (figure.title for figure in each.figures if figure.diverged):
                yield Claim(kind="fail", sentence=f"{each.label}: {title}.", anchor="inside")


def _of_sweeps(given: Sequence[Given]) -> Iterator[Claim]:
    for each in sweeps(given):
        rows = best_first(each.rows)
        without = [str(row["path"]) for row in rows if row["status"] != OK]
        if without:
            named = f"{', '.join(without[:_NAMED])}{', …' if len(without) > _NAMED else ''}"
            sentence = f"{len(without)} of {counted(len(rows), 'checkpoint')} failed or are not valid: {named}."
            yield Claim(kind="fail", sentence=sentence, anchor="checkpoints")
        for curve in each.figures:
            count = counted(len(rows), "checkpoint")
            if curve.diverged:
                yield Claim(kind="fail", sentence=f"{count}: {curve.title}.", anchor="checkpoints")
            else:
                yield Claim(kind="pass", sentence=f"Of {count}, {curve.title}.", anchor="checkpoints")


def _of_runs(evaluations: Sequence[Scored]) -> Iterator[Claim]:
    for model, run in evaluations:
        if not run.valid:
            why = run.why_not_valid.partition("; ")[0]
            sentence = f"The run of {model.name} is not valid: {why}".removesuffix(": not valid") + "."
            if run.total_nats is None:
                sentence = f"The loss of {model.name} is not a finite number, so it has no scores."
            yield Claim(kind="fail", sentence=sentence, anchor="numbers")
        elif caution(run):
            loss = number(run.scores["cross_entropy"].value)
            sentence = f"{model.name} predicts this text worse than guessing would: {loss} nats a token."
            yield Claim(kind="fail", sentence=sentence, anchor="numbers")
        if (share := _unknown(run)) >= _UNKNOWN:
            sentence = (
                f"{model.name} does not know {100 * share:.2g} % of the {tokens_of(run)} of this text: its numbers are "
                "of an easier text, and do not compare with those of a model that knows them."
            )
            yield Claim(kind="unsure", sentence=sentence, anchor="warnings")
    if sound := [pair for pair in evaluations if "cross_entropy" in pair[1].scores and not caution(pair[1])]:
        yield _best(sound)


def _unknown(run: Run) -> float:
    """Return the share of the text's tokens that a model does not know."""
    skipped = run.tokens.unknown if fields_of(run.signature).get("unk") == "skip" else 0
    return run.tokens.unknown / max(run.tokens.total + skipped, 1)


def _best(sound: Sequence[Scored]) -> Claim:
    """Say how good the best is; runs on other texts, or of other tokens, have no order."""
    model, run = min(sound, key=lambda pair: pair[1].scores["cross_entropy"].value)
    if len(alike(sound)) > 1:
        sentence = f"{len(sound)} valid evaluations, of which not all compare: they are of different texts or tokens."
        return Claim(kind="note", sentence=sentence, anchor="numbers")
    good = f"a prediction costs it {number(run.scores['cross_entropy'].value)} nats"
    if "perplexity" in run.scores:
        good = f"its perplexity is {number(run.scores['perplexity'].value)}"
        if run.vocabulary is not None:
            size = f"{run.vocabulary.size:,}"
            good = f"{good}; guessing among {size} {tokens_of(run)} has {size}"
    start = f"{model.name} has the lowest loss of {len(sound)}: on" if len(sound) > 1 else f"{model.name}: on"
    kind: Kind = "note" if _unknown(run) >= _UNKNOWN else "pass"
    return Claim(kind=kind, sentence=f"{start} this text {good}.", anchor="numbers")


def _of_gates(given: Sequence[Given]) -> Iterator[Claim]:
    for each, gate in of_kind(given, Gate):
        decisive = next((c for c in gate.comparisons if c.verdict == gate.verdict), None)
        if decisive is None:
            sentence = f"{each.name}: {gate.verdict}: {gate.reason}."
        elif decisive.baseline == "limit":
            holds = "holds" if gate.verdict == "pass" else "does not hold"
            sentence = f"The limit {decisive.metric} {holds} for {decisive.candidate}."
        else:
            candidate, baseline = decisive.candidate, decisive.baseline
            more = f"worse than {baseline} by more than is allowed{_amount(decisive)}"
            sentence = {
                "pass": f"{candidate} is not {more}.",
                "fail": f"{candidate} is {more}.",
                "inconclusive": f"This text is too short to say whether {candidate} is {more}.",
            }.get(gate.verdict, f"{candidate} and {baseline} cannot be compared: {decisive.reason.partition('; ')[0]}.")
        yield Claim(kind=KINDS[gate.verdict], sentence=sentence, anchor="comparisons")


def _amount(comparison: Comparison) -> str:
    """Write a difference, its bounds and what is allowed."""
    if comparison.difference is None or comparison.allowed is None:
        return ""
    unit = "" if in_per_cent(comparison.metric) else f" {comparison.unit}"
    bounds = ""
    if comparison.low is not None and comparison.high is not None:
        low, high = (in_unit(comparison.metric, n) for n in (comparison.low, comparison.high))
        bounds = f" (one-sided 95 % bounds {low} and {high})"
    difference, allowed = (in_unit(comparison.metric, n) for n in (comparison.difference, comparison.allowed))
    return f": {comparison.metric} {difference}{unit}{bounds}, allowed {allowed}{unit}"
