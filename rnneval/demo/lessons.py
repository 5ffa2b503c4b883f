"""Lessons of the demo: five lines that are printed at its end, each read from the records that it wrote."""

from collections.abc import Callable
from typing import TypeVar

from rnneval.demo.files import ONE, RIGHT, WRONG, Files
from rnneval.gates.explanation import number as in_unit
from rnneval.records import Gate, Gradients, Run, Wiring, read
from rnneval.render.phrasing import number

R = TypeVar("R", Run, Wiring, Gate, Gradients)


def lessons(files: Files) -> tuple[str, ...]:
    """Return the lines: on wiring, on a leak, on the score, on the second layer, and on memory."""
    told: tuple[Callable[[Files], str], ...] = (_wiring, _leak, _score, _layer, _memory)
    return tuple(tell(files) for tell in told)


def _read(kind: type[R], path: object) -> R:
    record = read(str(path))
    assert isinstance(record, kind)  # noqa: S101 - a step of the demo has just written it
    return record


def _wiring(files: Files) -> str:
    verdicts = {name: _read(Wiring, files.wiring(name)) for name in (ONE, WRONG, RIGHT)}
    named = next((found for found in verdicts[WRONG].findings if found.severity == "error"), None)
    place = f": {named.rule}, {files.source.name}:{named.line}" if named else ""
    others = " and ".join(f"{name} {verdicts[name].verdict}es" for name in (ONE, RIGHT))
    return f"{WRONG} hands one layer's state to the other and {verdicts[WRONG].verdict}s the check{place}; {others}."


def _leak(files: Files) -> str:
    wrong, right = (_read(Run, files.run(name)) for name in (WRONG, RIGHT))
    if wrong.streams is None or wrong.total_nats is None or wrong.token_by_token is None or right.total_nats is None:
        return f"{WRONG} has no number that could be shown: {'; '.join(each.message for each in wrong.warnings)}"
    seen = f"{_nats(wrong, wrong.total_nats)} nats a character in segments of {wrong.streams.segment}"
    true = f"{_nats(wrong, wrong.token_by_token.total_nats)} one at a time"
    return (
        f"Its loss hides that: {seen}, {true} (it had seen ahead); {RIGHT} {_nats(right, right.total_nats)} either way."
    )


def _nats(run: Run, total: float) -> str:
    return number(total / run.tokens.scored)


def _score(files: Files) -> str:
    run = _read(Run, files.run(RIGHT))
    perplexity, bits = run.scores["perplexity"], run.scores["bits_per_char"]
    between = (
        ""
        if perplexity.low is None or perplexity.high is None
        else f" (95 %: {number(perplexity.low)} to {number(perplexity.high)})"
    )
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
    words = (in_unit(compared.metric, value) for value in (compared.difference, compared.low, compared.high))
    difference, low, high = words
    return f"{asked}: perplexity {difference} ({low} to {high}): {_helped(compared.low, compared.high)}."


def _helped(low: float, high: float) -> str:
    if high < 0:
        return "yes"
    return "no, it made it worse" if low > 0 else "this text is too short to tell"


def _memory(files: Files) -> str:
    run, gradients = _read(Run, files.run(RIGHT)), _read(Gradients, files.gradients(RIGHT))
    length = run.forgetting
    forgets = f"forgets within {length.median:,.0f} characters" if length else "was never seen to forget"
    gone = [course.gone for course in gradients.through_time.values()]
    known = [lag for lag in gone if lag is not None]
    back = f"{max(known)}" if len(known) == len(gone) and known else f"more than {gradients.lags}"
    cut = f"training cuts it after {gradients.truncation}"
    return f"{RIGHT} {forgets}; 99 % of its gradient is gone after {back}, and {cut}."
