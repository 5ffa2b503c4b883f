"""Comparison, page and lessons of the demo: made from the records of the models, without TensorFlow."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import matplotlib.figure  # noqa: F401 - figures import it late, and this module is imported while the models train
from msgspec import structs

from rnneval.demo.files import ONE, RIGHT, WRONG, Files
from rnneval.evaluate.executor import Pool, Task, WorkerDiedError
from rnneval.gates.explanation import number as in_unit
from rnneval.gates.sides import NamedRecord
from rnneval.gates.verdicts import judge
from rnneval.records import Gate, Gradients, Run, Wiring, read, read_run, write, write_text
from rnneval.render.figures import load
from rnneval.render.html import Drawn
from rnneval.render.phrasing import number
from rnneval.render.report import Given, Report, draw, html_of, page_of

R = TypeVar("R", Run, Wiring, Gate, Gradients)
_ELSEWHERE = 2
"""Sections, wiring and numbers, whose figures a worker draws, which has to import what draws first: about a third."""


def compare(files: Files) -> None:
    """Judge whether the second layer helped."""
    candidate, baseline = (NamedRecord(name=name, record=read_run(files.of(name).run)) for name in (RIGHT, ONE))
    write(judge([candidate], [baseline]), files.comparison)


def report(files: Files, pool: Pool) -> None:
    """Write one page with all records; a worker draws some of the figures."""
    page, given = _page(files)
    with ThreadPoolExecutor(1) as thread:
        elsewhere = thread.submit(_drawn_by, pool, files)
        here = draw(structs.replace(page, sections=page.sections[_ELSEWHERE:]), given)
        write_text(html_of(page, {**elsewhere.result(), **here}), files.page)


def _page(files: Files) -> tuple[Report, list[Given]]:
    given = [Given(name=path.name, record=load(path)) for path in files.records()]
    return page_of(given, "One layer, a wrong stack and a right one"), given


def _drawn_by(pool: Pool, files: Files) -> Mapping[str, Drawn]:
    """Have a worker draw the figures of the first sections."""
    (done,) = pool.run([Task(key="draw", call=_draw, arguments=(files,))])
    if isinstance(done.error, WorkerDiedError):
        return _draw(files)
    if done.error is not None:
        raise done.error
    found: Mapping[str, Drawn] = done.value
    return found


def _draw(files: Files) -> Mapping[str, Drawn]:
    page, given = _page(files)
    return draw(structs.replace(page, sections=page.sections[:_ELSEWHERE]), given)


def lessons(files: Files) -> tuple[str, ...]:
    """Return five lines, each read from the records: on wiring, a leak, the score, the second layer, and memory."""
    wrong, right = (_read(Run, files.of(name).run) for name in (WRONG, RIGHT))
    gradients = _read(Gradients, files.of(RIGHT).gradients)
    return _wiring(files), _leak(wrong, right), _score(right), _layer(files), _memory(right, gradients)


def _read(kind: type[R], path: Path) -> R:
    record = read(path)
    assert isinstance(record, kind)  # noqa: S101 - a step of the demo has just written it
    return record


def _wiring(files: Files) -> str:
    one, wrong, right = (_read(Wiring, files.of(name).wiring) for name in (ONE, WRONG, RIGHT))
    named = next((found for found in wrong.findings if found.severity == "error"), None)
    place = f": {named.rule}, {files.source.name}:{named.line}" if named else ""
    others = f"{ONE} {one.verdict}es and {RIGHT} {right.verdict}es"
    return f"{WRONG} hands one layer's state to the other and {wrong.verdict}s the check{place}; {others}."


def _leak(wrong: Run, right: Run) -> str:
    if wrong.streams is None or wrong.total_nats is None or wrong.token_by_token is None or right.total_nats is None:
        return f"{WRONG} has no number that could be shown: {'; '.join(each.message for each in wrong.warnings)}"
    seen, true = (number(total / wrong.tokens.scored) for total in (wrong.total_nats, wrong.token_by_token.total_nats))
    return (
        f"Its loss hides that: {seen} nats a character in segments of {wrong.streams.segment}, {true} one at a time "
        f"(it had seen ahead); {RIGHT} {number(right.total_nats / right.tokens.scored)} either way."
    )


def _score(run: Run) -> str:
    perplexity, bits = run.scores["perplexity"], run.scores["bits_per_char"]
    between = ""
    if perplexity.low is not None and perplexity.high is not None:
        between = f" (95 %: {number(perplexity.low)} to {number(perplexity.high)})"
    score = f"a held-out perplexity of {number(perplexity.value)}{between}, {number(bits.value)} bits a character"
    guessing = (
        f"guessing would have {run.vocabulary.size}" if run.vocabulary else "nothing says what guessing would have"
    )
    return f"{RIGHT} has {score}; {guessing}."


def _layer(files: Files) -> str:
    gate = _read(Gate, files.comparison)
    compared = gate.comparisons[0]
    asked = f"Did the second layer help? {RIGHT} against {ONE}"
    if compared.difference is None or compared.low is None or compared.high is None:
        return f"{asked}: {gate.verdict}: {compared.reason}."
    helped = "this text is too short to tell"
    if compared.high < 0:
        helped = "yes"
    elif compared.low > 0:
        helped = "no, it made it worse"
    words = (in_unit(compared.metric, value) for value in (compared.difference, compared.low, compared.high))
    difference, low, high = words
    return f"{asked}: perplexity {difference} ({low} to {high}): {helped}."


def _memory(run: Run, gradients: Gradients) -> str:
    length = run.forgetting
    forgets = f"forgets within {length.median:,.0f} characters" if length else "was never seen to forget"
    gone = [course.gone for course in gradients.through_time.values()]
    known = [lag for lag in gone if lag is not None]
    back = f"{max(known)}" if len(known) == len(gone) and known else f"more than {gradients.lags}"
    cut = f"training cuts it after {gradients.truncation}"
    return f"{RIGHT} {forgets}; 99 % of its gradient is gone after {back}, and {cut}."
