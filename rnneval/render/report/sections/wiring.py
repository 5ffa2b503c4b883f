"""Is each layer's state given back to the same layer?"""

from collections.abc import Iterator, Sequence

from rnneval.records.run import Run
from rnneval.records.wiring import Finding, Oracle, Slot, Wiring
from rnneval.render.report.anchors import anchor
from rnneval.render.report.blocks import Block, Cell, Fold, Found, Notice, Part, Section, Table
from rnneval.render.report.given import Given, Subject, is_told, subjects, wirings
from rnneval.render.report.pictures import pictures
from rnneval.render.report.words import KINDS, place_of, rule_text
from rnneval.render.wiring_table import runs_of_calls

ORDER = 10
_FOLDED = 6
_MOST_SLOTS = 24
_RIGHT = {"carried", "carried-transformed", "handoff", "declared", "initial", "uncarried"}
_SAID = {
    "pass": "Each layer gets its own state back",
    "fail": "A state goes where it does not belong",
    "inconclusive": "This could not be settled",
}
_ORACLES = {
    "chunk": "Does a text read in pieces give what it gives in one?",
    "causal": "Does a later token leave earlier predictions alone?",
    "batch": "Does one row of a batch leave the others alone?",
    "used": "Does the past make a difference at all?",
    "repeat": "Does the same text give the same twice?",
}


def section(given: Sequence[Given]) -> Section | None:
    """Every wiring that was checked, by itself or before an evaluation."""
    parts = [_checked(number, each, wiring) for number, (each, wiring) in enumerate(wirings(given))]
    parts += [part for number, model in enumerate(subjects(given)) for part in _evaluated(number, model, given)]
    if not parts:
        return None
    parts.sort(key=_is_right)  # what is wrong first, else as given
    return Section(
        anchor="wiring",
        title="Wiring",
        lead="Each recurrent layer has a state of its own, and must get it back at the next piece of text.",
        blocks=tuple(parts),
    )


def _is_right(part: Part) -> bool:
    return not any(isinstance(block, Notice) and block.kind == "fail" for block in part.blocks)


def _checked(number: int, given: Given, wiring: Wiring) -> Part:
    blocks: list[Block] = [Notice(kind=KINDS[wiring.verdict], title=_SAID[wiring.verdict], text=wiring.reason)]
    blocks += pictures(given)
    blocks += findings(wiring.findings)
    tables = [*([_matrix(wiring)] if wiring.flow else []), *([_oracles(wiring.oracles)] if wiring.oracles else [])]
    if tables and wiring.verdict == "pass":
        blocks.append(Fold(title="As a table, and the tests of behaviour", blocks=tuple(tables)))
    else:
        blocks += tables
    return Part(anchor=anchor("wiring", number), title=given.name, blocks=tuple(blocks))


def _evaluated(which: int, model: Subject, given: Sequence[Given]) -> Iterator[Part]:
    """What a run says of its model's wiring; said once where all runs of it, or a wiring record, say the same."""
    seen = {run.wiring: run for run in model.scored if run.wiring is not None}
    for number, (wiring, run) in enumerate(seen.items()):
        title = f"{model.name}, when it was evaluated"
        said = Notice(
            kind=KINDS.get(wiring.verdict, "unsure"),
            title=_SAID.get(wiring.verdict, wiring.verdict),
            text=wiring.reason,
        )
        known = () if is_told(wiring, given) else (said, *findings(wiring.findings))
        blocks = (*known, *_token_by_token(run))
        if blocks:
            yield Part(anchor=anchor("wiring", "run", which, number), title=title, blocks=blocks)


def _token_by_token(run: Run) -> Iterator[Notice]:
    if run.token_by_token is None or run.total_nats is None or not run.tokens.scored:
        return
    whole, single = (nats / run.tokens.scored for nats in (run.total_nats, run.token_by_token.total_nats))
    yield Notice(
        kind="fail",
        title="What the leak is worth",
        text=f"Read in segments it pays {whole:.4g} nats a token; one token at a time, when it cannot look ahead, "
        f"{single:.4g}.",
    )


def findings(found: Sequence[Finding]) -> Iterator[Block]:
    """Every finding; from a certain number on they are folded."""
    shown = [_finding(finding) for finding in found]
    yield from shown[:_FOLDED]
    if shown[_FOLDED:]:
        yield Fold(title=f"{len(shown) - _FOLDED} more findings", blocks=tuple(shown[_FOLDED:]))


def _finding(finding: Finding) -> Found:
    text = rule_text(finding.rule)
    return Found(
        kind=KINDS[finding.severity],
        rule=finding.rule,
        severity=finding.severity,
        place=place_of(finding),
        layer=finding.layer,
        message=finding.message,
        # The rules of the inside give their whole text as help: it is shown folded, below.
        help=None if "## " in finding.help else finding.help,
        about=text,
    )


def _matrix(wiring: Wiring) -> Table:
    slots = [Slot(layer=layer.name, slot=slot) for layer in wiring.layers for slot in layer.slots]
    if len(slots) > _MOST_SLOTS:
        wrong = {end for flow in wiring.flow if flow.kind not in _RIGHT for end in (flow.into, flow.source)}
        slots = ([slot for slot in slots if slot in wrong] or slots)[:_MOST_SLOTS]
    words = list(dict.fromkeys(flow.source for flow in wiring.flow if isinstance(flow.source, str)))[:_MOST_SLOTS]
    columns: list[Slot | str] = [*slots, *words]
    return Table(
        caption="What went into each state, and where it came from",
        head=("into", *(f"from {_name(column)}" for column in columns)),
        rows=tuple(_row(wiring, slot, columns) for slot in slots),
        right=(),
        matrix=True,
        note=f"Right is what comes from the same name, after the first call. {wiring.calls} calls were made, counted "
        "from 0: the numbers say in which of them.",
    )


def _row(wiring: Wiring, into: Slot, columns: Sequence[Slot | str]) -> tuple[Cell, ...]:
    return (Cell(text=_name(into), code=True), *(_cell(wiring, into, column) for column in columns))


def _cell(wiring: Wiring, into: Slot, source: Slot | str) -> Cell:
    flows = [flow for flow in wiring.flow if (flow.into, flow.source) == (into, source)]
    if not flows:
        return Cell(text="–")
    kinds = [flow.kind for flow in flows]
    if set(kinds) <= _RIGHT:
        kind = KINDS["pass"] if into == source else KINDS["info"]
    else:
        kind = KINDS["warning"] if set(kinds) <= {*_RIGHT, "unknown"} else KINDS["fail"]
    return Cell(text="; ".join(f"{flow.kind} ({runs_of_calls(flow.calls)})" for flow in flows), kind=kind)


def _name(end: Slot | str) -> str:
    return end if isinstance(end, str) else f"{end.layer}.{end.slot}"


def _oracles(oracles: dict[str, Oracle]) -> Table:
    rows = tuple(
        (
            Cell(text=_ORACLES.get(name, name)),
            Cell(text=oracle.verdict, kind=KINDS[oracle.verdict]),
            Cell(text=oracle.detail),
        )
        for name, oracle in oracles.items()
    )
    return Table(
        caption="Tests of behaviour",
        head=("question", "answer", "what was seen"),
        rows=rows,
        right=(),
        note="Here no layer is looked into: the whole model ran, and only its predictions were compared.",
    )
