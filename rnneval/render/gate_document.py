"""Documents of comparisons: the verdict of a gate, ranked runs, and the verdict as continuous integration reads it.

JUnit XML is valid under both schemas that are in use: Jenkins' `junit-10.xsd` (xunit plugin) and Ant's `JUnit.xsd`
(windyroad), which also requires the host, the time and an empty output. A fail is a `failure`; no verdict is an
`error`, since the exit code is not 0 either.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial
from xml.etree import ElementTree as ET

from rnneval.gates.explanation import in_per_cent, number, scope
from rnneval.gates.noninferiority import LEVEL
from rnneval.records import Gate, Ranking
from rnneval.records.gate import Comparison, Counting, Verdict
from rnneval.render import document as doc
from rnneval.render.markdown import markdown
from rnneval.render.phrasing import Level, annotation, figure, framed, interval, shortened, signed, visible

_HEADINGS = ("metric", "baseline", "candidate", "difference", "one-sided 95 %", "margin", "verdict")
_EXCERPT = 60
_HASH = re.compile(r"\b([0-9a-f]{8})[0-9a-f]{24,}\b")
_SUITE = "rnneval.gate"
_LEVELS: dict[Verdict, Level] = {
    "pass": "notice",
    "fail": "error",
    "inconclusive": "warning",
    "not comparable": "error",
}
_SIGNS = {"pass": "✅", "fail": "❌", "inconclusive": "⚠️", "not comparable": "⛔"}


def gate_document(gate: Gate) -> Iterator[doc.Block]:
    """Write the comparisons, the reason of each, the warnings, and the verdict."""
    if headline(gate):
        yield doc.Paragraph(text=headline(gate))
    yield from gate_blocks(gate)
    yield doc.VerdictBlock(kind=doc.KINDS[gate.verdict], word=gate.word)


def gate_blocks(gate: Gate) -> Iterator[doc.Block]:
    """Yield what every surface shows between the headline and the verdict."""
    note = "Bounds are one-sided: with 95 % certainty the difference is above the lower, and also below the upper."
    if smaller := sorted({each.level for each in gate.comparisons if each.level is not None and each.level < LEVEL}):
        levels = " and ".join(f"{100 * level:.3g} %" for level in smaller)
        note += f" Of several metrics, a fail is tested at a smaller level than 5 %: here {levels}."
    rows: list[list[str | doc.TableCell]] = []
    reasons = []
    for each in gate.comparisons:
        cells = list(line(each).values())[:-1]
        rows.append([*cells, doc.TableCell(text=each.word, kind=doc.KINDS[each.verdict])])
        reasons.append((_title(each), each.reason + framed(" (", "; ".join(_details(each)), ")")))
    yield doc.table("What was compared", _HEADINGS, rows, right=(1, 2, 3, 4, 5), note=note)
    if reasons:
        yield doc.facts(reasons)
    if gate.counting:
        yield counting_table(gate.counting)
    for warning in gate.warnings:
        yield doc.Notice(kind="unsure", title="warning", text=warning)


def counting_table(counted: Sequence[Counting]) -> doc.TableBlock:
    """Return runs beside the best n-gram of each."""
    kinds: dict[str, doc.Kind] = {"better": "pass", "worse": "fail", "inconclusive": "unsure"}
    rows = []
    for each in counted:
        bounds = interval(each.low, each.high, signed, " … ")
        verdict = doc.TableCell(text=each.verdict, kind=kinds[each.verdict])
        rows.append((doc.code(each.run), each.ngram, signed(each.difference), bounds, verdict, each.standing))
    head = ("run", "best n-gram", "nats a token", "95 % interval", "", "mean loss")
    note = "Model − n-gram, paired on the same tokens: below 0, the model is better than n-grams of its training text."
    return doc.table("Better than n-grams?", head, rows, right=(2, 3), note=note)


def line(comparison: Comparison) -> dict[str, str]:
    """Write one comparison, a cell for each heading."""
    is_limit, write = comparison.baseline == "limit", partial(number, comparison.metric)
    unit = "" if is_limit or in_per_cent(comparison.metric) else f" ({comparison.unit})"
    cells = (
        f"{_title(comparison)}{unit}",
        figure(comparison.baseline_value),
        figure(comparison.candidate_value),
        _written(comparison.difference, write),
        interval(comparison.low, comparison.high, write, " … "),
        _written(comparison.allowed, figure if is_limit else write),
        comparison.word,
    )
    return dict(zip(_HEADINGS, cells, strict=True))


def _title(comparison: Comparison) -> str:
    """Return what was compared, with the first eight digits of a hash: all of it stands in the reason."""
    return _HASH.sub(r"\1…", comparison.title)


def _written(value: float | None, write: Callable[[float], str]) -> str:
    return "–" if value is None else write(value)


def headline(gate: Gate) -> str:
    """Name candidate and baseline; "" for limits alone."""
    first = next((each for each in gate.comparisons if each.baseline != "limit"), None)
    return f"{first.candidate} against {first.baseline}" if first else ""


def _details(comparison: Comparison) -> list[str]:
    """Return what a verdict is about, and how the interval was computed, where there is one."""
    method = comparison.method
    if comparison.df is not None:
        method = f"{method}, {comparison.df:.3g} degrees of freedom, level {comparison.level:.3g}"
    return [part for part in (scope(comparison), method) if part not in ("", "none", "limit")]


# Ranking


def ranking_document(ranking: Ranking) -> Iterator[doc.Block]:
    """Write the runs, best first, and the blocks in which the last run given differs most from the first."""
    yield from ranking_blocks(ranking)
    if ranking.blocks:
        changes = changes_table(ranking)
        yield doc.Heading(text=f"{changes.caption}: nats in a block of text")
        yield changes


def ranking_blocks(ranking: Ranking) -> Iterator[doc.Block]:
    """Yield the ranked runs and the warnings about each."""
    rows, write = [], partial(number, ranking.metric)
    for run in ranking.rows:
        marks = "; ".join(mark.split(":")[0] for mark in run.marks)
        difference, bounds = _written(run.difference, write), interval(run.low, run.high, write, " … ")
        size, speed = figure(run.parameters, ","), figure(run.tokens_per_second, ",.0f")
        problems = doc.TableCell(text=marks, kind="fail" if marks else None)
        rows.append((doc.code(run.name), figure(run.value), difference, bounds, size, speed, problems))
    head = ("run", ranking.metric, "to the best", "95 % interval", "parameters", "tokens/s", "")
    yield doc.table("Best first" if ranking.best else "No run counts", head, rows, right=(1, 2, 3, 4, 5))
    for run in ranking.rows:
        yield from (doc.Notice(kind="unsure", title=run.name, text=mark) for mark in run.marks)
    if ranking.counting:
        yield counting_table(ranking.counting)
    methods = dict.fromkeys(f"{run.method} ({run.claim})" for run in ranking.rows if run.method and run.claim)
    if methods:
        unit = "" if in_per_cent(ranking.metric) else f"differences in {ranking.unit}; "
        said = f"{unit}intervals: {'; '.join(methods)}; other seeds were not tested"
        yield doc.Paragraph(text=said, muted=True)


def changes_table(ranking: Ranking) -> doc.TableBlock:
    """Return the blocks of text in which two runs differ most."""
    rows = []
    for block in ranking.blocks:
        text = shortened(" ".join((block.text or "").split()), _EXCERPT)
        differences = signed(block.nats, "+.4g"), signed(block.nats / block.units, "+.3g")
        rows.append((*differences, f"{block.start:,}–{block.end:,}", text))
    caption = f"Where {ranking.candidate} gains (−) and loses (+) most against {ranking.baseline}"
    head = ("nats", "a unit", "bytes", "text" if any(text for *_, text in rows) else "")
    return doc.table(caption, head, rows, right=(0, 1, 2))


# Formats of continuous integration


def gate_markdown(gate: Gate) -> str:
    """Write a heading with the verdict and the names, a table, a list of the reasons, and the warnings."""
    said = ": ".join(filter(None, (gate.word, headline(gate))))
    return markdown([doc.Heading(text=f"{_SIGNS[gate.verdict]} rnneval gate: {said}"), *gate_blocks(gate)])


def gate_github(gate: Gate, *, strict: bool = False) -> str:
    """Write an annotation for each comparison and each warning; with `strict`, inconclusive and warnings are errors."""
    levels = {**_LEVELS, "inconclusive": "error"} if strict else _LEVELS
    lines = []
    for each in gate.comparisons:
        title = f"rnneval gate: {each.metric}: {each.word}"
        lines.append(annotation(levels[each.verdict], each.reason + framed(" (", scope(each), ")"), title=title))
    lines += [annotation(levels["inconclusive"], warning, title="rnneval gate") for warning in gate.warnings]
    return "".join(f"{line}\n" for line in lines)


def gate_junit(gate: Gate, time: datetime) -> str:
    """Write the XML of a verdict and of when it was made: without a time zone, as the schema requires."""
    verdicts = [comparison.verdict for comparison in gate.comparisons]
    undecided = verdicts.count("inconclusive") + verdicts.count("not comparable")
    counts = {"tests": len(verdicts), "failures": verdicts.count("fail"), "errors": undecided, "time": 0}
    about = {"name": _SUITE, "package": "rnneval", "id": "0", "hostname": "localhost"}
    about |= {"timestamp": time.strftime("%Y-%m-%dT%H:%M:%S"), **{name: str(count) for name, count in counts.items()}}
    suites = ET.Element("testsuites")
    suite = _element(suites, "testsuite", **about)
    _element(_element(suite, "properties"), "property", name="verdict", value=gate.verdict)
    for each in gate.comparisons:
        against = "" if each.baseline == "limit" else f" against {each.baseline}"
        name = f"{each.metric} ({each.candidate}{against})"
        case = _element(suite, "testcase", name=name, classname=_SUITE, time="0")
        if each.verdict != "pass":
            kind = "failure" if each.verdict == "fail" else "error"
            cells = [f"{heading}: {cell}" for heading, cell in line(each).items() if cell != "–"]
            _element(case, kind, [*cells, *_details(each)], type=each.verdict, message=each.reason)
    _element(suite, "system-out", gate.warnings)
    _element(suite, "system-err")
    ET.indent(suites)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(suites, encoding="unicode")}\n'


def _element(parent: ET.Element, tag: str, lines: Iterable[str] = (), **attributes: str) -> ET.Element:
    """Add an element; characters that XML cannot hold (most control characters) are shown as escapes."""
    element = ET.SubElement(parent, tag, {name: visible(value) for name, value in attributes.items()})
    element.text = "\n".join(map(visible, lines)) or None
    return element
