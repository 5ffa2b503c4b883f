"""Records → page: its title, its claims with the worst first, and its chapters."""

from collections.abc import Iterator, Sequence

from rnneval._version import __version__
from rnneval.gates.explanation import in_per_cent, number
from rnneval.records import Gate, Run, Wiring
from rnneval.records.gate import Comparison
from rnneval.records.run import WiringSummary
from rnneval.render.document import KINDS, Claim, Kind, Page
from rnneval.render.phrasing import counted
from rnneval.render.report.given import Given, Subject, is_told, of_kind, subjects, sweeps, tokens_of
from rnneval.render.report.sections import sections_of
from rnneval.render.wiring_document import first_sentence
from rnneval.sweeps.table import OK, best_first

_ORDER: tuple[Kind, ...] = ("fail", "unsure", "pass", "note")
_NAMED = 3


def page_of(given: Sequence[Given], title: str | None = None) -> Page:
    """Say everything that the records say.

    Args:
        given: Any mix of records, in the order in which the page shows them.
        title: Of the page; by default the names of the models.
    """
    return Page(
        title=title or _title(given),
        claims=_claims(given),
        sections=sections_of(given),
        records=tuple(each.name for each in given),
        rnneval=__version__,
    )


def _title(given: Sequence[Given]) -> str:
    if found := sweeps(given):
        return counted(sum(len(each.record.frame) for each in found), "checkpoint")
    names = [model.name for model in subjects(given)] or [each.label for each in given]
    if len(names) > _NAMED:
        return f"{len(names)} models"
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _claims(given: Sequence[Given]) -> tuple[Claim, ...]:
    """Return every claim, the worst first; wiring before numbers, numbers before comparisons."""
    models = subjects(given)
    found = [*_of_wirings(given, models), *_of_sweeps(given), *_of_models(models)]
    found += [
        Claim(kind=KINDS[gate.verdict], sentence=_gate(each, gate), anchor="comparisons")
        for each, gate in of_kind(given, Gate)
    ]
    if not found:
        sentence = "No record was given."
        if given:
            sentence = "These records describe and do not judge: there is no run, wiring or gate record among them."
        found.append(Claim(kind="note", sentence=sentence, anchor="made"))
    return tuple(sorted(found, key=lambda claim: _ORDER.index(claim.kind)))


def _of_wirings(given: Sequence[Given], models: Sequence[Subject]) -> Iterator[Claim]:
    for each, wiring in of_kind(given, Wiring):
        yield _wiring(each.name, wiring)
    for model in models:
        for run in model.scored:
            if run.wiring is not None and run.wiring.verdict != "pass" and not is_told(run.wiring, given):
                yield _wiring(model.name, run.wiring)


def _wiring(name: str, wiring: Wiring | WiringSummary) -> Claim:
    sentence = {
        "pass": f"The state is wired right in {name}: each layer gets its own back.",
        "fail": f"The state is wired wrong in {name}: {_fault(wiring)}.",
    }.get(wiring.verdict, f"Whether the state is wired right in {name} could not be settled: {wiring.reason}.")
    return Claim(kind=KINDS.get(wiring.verdict, "unsure"), sentence=sentence, anchor="wiring")


def _fault(wiring: Wiring | WiringSummary) -> str:
    worst = next((finding for finding in wiring.findings if finding.severity == "error"), None)
    return first_sentence(worst.message) if worst else wiring.reason


def _of_models(models: Sequence[Subject]) -> Iterator[Claim]:
    for model in models:
        for run in model.scored:
            if not run.valid:
                yield Claim(kind="fail", sentence=_not_valid(model.name, run), anchor="numbers")
    sound = [(model, run) for model in models for run in model.scored if run.valid and "cross_entropy" in run.scores]
    if sound:
        yield _best(sound)


def _not_valid(name: str, run: Run) -> str:
    if run.total_nats is None:
        return f"The loss of {name} is not a finite number, so it has no scores."
    return f"The numbers of {name} do not count: it is shown what it should predict, so none of them is a perplexity."


def _best(sound: Sequence[tuple[Subject, Run]]) -> Claim:
    """Say how good the best is; runs on other texts, or of other tokens, have no order."""
    kinds = {(run.text.sha256, run.signature) for _, run in sound}
    model, run = min(sound, key=lambda pair: pair[1].scores["cross_entropy"].value)
    if len(kinds) > 1:
        sentence = f"{len(sound)} valid evaluations, of which not all compare: they are of different texts or tokens."
        return Claim(kind="note", sentence=sentence, anchor="numbers")
    start = f"{model.name} is the best of {len(sound)}: on" if len(sound) > 1 else f"{model.name}: on"
    return Claim(kind="pass", sentence=f"{start} this text {_how_good(run)}.", anchor="numbers")


def _how_good(run: Run) -> str:
    if "perplexity" not in run.scores:
        return f"a prediction costs it {run.scores['cross_entropy'].value:.3g} nats"
    choices = f"it hesitates as between {run.scores['perplexity'].value:.3g} equally likely {tokens_of(run)}"
    guessing = f"; guessing would be {run.vocabulary.size:,}" if run.vocabulary else ""
    return f"{choices} each time{guessing}"


def _of_sweeps(given: Sequence[Given]) -> Iterator[Claim]:
    for each in sweeps(given):
        rows = best_first(each.rows)
        without = [str(row["path"]) for row in rows if row["status"] != OK]
        if without:
            named = f"{', '.join(without[:_NAMED])}{', …' if len(without) > _NAMED else ''}"
            sentence = f"{len(without)} of {counted(len(rows), 'checkpoint')} failed or are not valid: {named}."
            yield Claim(kind="fail", sentence=sentence, anchor="checkpoints")
        for curve in each.figures:
            sentence = f"Of {counted(len(rows), 'checkpoint')}, {curve.title}."
            yield Claim(kind="pass", sentence=sentence, anchor="checkpoints")


def _gate(given: Given, gate: Gate) -> str:
    decisive = next((c for c in gate.comparisons if c.verdict == gate.verdict), None)
    if decisive is None:
        return f"{given.name}: {gate.verdict}: {gate.reason}."
    if decisive.baseline == "limit":
        holds = "holds" if gate.verdict == "pass" else "does not hold"
        return f"The limit {decisive.metric} {holds} for {decisive.candidate}."
    sides = (decisive.candidate, decisive.baseline)
    return {
        "pass": "{0} is not worse than {1} by more than is allowed{2}.",
        "fail": "{0} is worse than {1} by more than is allowed{2}.",
        "inconclusive": "This text is too short to say whether {0} is worse than {1} by more than is allowed{2}.",
    }.get(gate.verdict, "{0} and {1} cannot be compared: {3}.").format(
        *sides, _amount(decisive), decisive.reason.partition("; ")[0]
    )


def _amount(comparison: Comparison) -> str:
    if comparison.difference is None or comparison.allowed is None:
        return ""
    unit = "" if in_per_cent(comparison.metric) else f" {comparison.unit}"
    difference, allowed = (number(comparison.metric, n) for n in (comparison.difference, comparison.allowed))
    return f": {comparison.metric} {difference}{unit}, allowed {allowed}{unit}"
