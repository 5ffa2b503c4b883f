"""Documents of wiring records: verdict, flow matrix, findings and oracles.

The figure `flow_matrix` draws the same states and uses the same sets of kinds.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

from rnneval.pages import page
from rnneval.records.wiring import Finding, Flow, Slot, TestResult, Wiring
from rnneval.render import document as doc

RIGHT = frozenset({"carried", "carried-transformed", "handoff", "declared", "initial", "uncarried"})
"""Kinds of flow that are no fault."""
_MARKS = {
    "carried": "●", "carried-transformed": "◐", "handoff": "→", "declared": "○", "initial": "○", "uncarried": "○",
    "unknown": "?",
}  # fmt: skip
_WRONG = "✗"
NOT_TOLD = "not told"
"""Words for what is `unknown` in a record: a source, or a kind of flow."""
_MOST = 12


def wiring_document(wiring: Wiring) -> Iterator[doc.Block]:
    """Write verdict, declarations, flow matrix, findings and oracles."""
    yield doc.VerdictBlock(kind=doc.KINDS[wiring.verdict], word=wiring.verdict, about="wiring", reason=wiring.reason)
    if wiring.declared:
        yield doc.Paragraph(text=f"declared: {', '.join(wiring.declared)}")
    if wiring.right_by_token:
        yield doc.Paragraph(text="calls of one token are right: evaluate --segment 1 gives a valid number")
    if wiring.flow:
        yield matrix_table(wiring)
        kinds = dict.fromkeys(entry.kind for entry in wiring.flow)
        marks = ", ".join(f"{_MARKS.get(kind, _WRONG)} {kind_name(kind)}" for kind in kinds)
        legend = f"[ ] the diagonal: a layer's own state · {marks} · numbers are calls"
        yield doc.Paragraph(text=legend, muted=True)
    yield from finding_blocks(wiring.findings)
    if wiring.oracles:
        yield oracles_table(wiring.oracles)


def shown_flow(wiring: Wiring) -> tuple[list[Slot], list[Slot | str], int]:
    """Return the states and the sources of a flow matrix, and how many states are left out.

    Of a large model, only states that are not in order are shown.
    """
    states = [Slot(layer=layer.name, slot=slot) for layer in wiring.layers for slot in layer.slots]
    shown = states
    if len(states) > _MOST:
        wrong = {end for flow in wiring.flow if flow.kind not in RIGHT for end in (flow.into, flow.source)}
        shown = ([state for state in states if state in wrong] or states)[:_MOST]
    words = list(dict.fromkeys(flow.source for flow in wiring.flow if isinstance(flow.source, str)))
    return shown, [*shown, *words[:_MOST]], len(states) - len(shown)


def matrix_table(wiring: Wiring) -> doc.TableBlock:
    """Return the flow matrix: marks and calls."""
    states, sources, _ = shown_flow(wiring)
    head = ("into ↓   from →", *map(state_name, sources))
    rows = ((doc.code(state_name(into)), *(_cell(wiring.flow, into, source) for source in sources)) for into in states)
    return doc.table("", head, rows, matrix=True)


def _cell(flow: Sequence[Flow], into: Slot, source: Slot | str) -> doc.TableCell:
    entries = [entry for entry in flow if (entry.into, entry.source) == (into, source)]
    own = into == source
    if not entries:
        return doc.TableCell(text="[ ]" if own else "·")
    marks = " ".join(f"{_MARKS.get(entry.kind, _WRONG)} {runs_of_calls(entry.calls)}" for entry in entries)
    kinds = {entry.kind for entry in entries}
    kind: doc.Kind = "fail"
    if kinds <= RIGHT:
        kind = "pass" if own else "note"
    elif kinds <= {*RIGHT, "unknown"}:
        kind = "unsure"
    return doc.TableCell(text=f"[{marks}]" if own else marks, kind=kind)


def state_name(end: Slot | str) -> str:
    """Write one end of a flow: `gru.h`, or the word for it."""
    return kind_name(end) if isinstance(end, str) else f"{end.layer}.{end.slot}"


def kind_name(kind: str) -> str:
    """Write a kind of flow."""
    return NOT_TOLD if kind == "unknown" else kind


def runs_of_calls(calls: Sequence[int]) -> str:
    """Write the numbers of calls, consecutive ones as a range.

    >>> runs_of_calls((0, 2, 3, 4))
    '0,2–4'
    """
    every = sorted(set(calls))
    firsts, lasts = ([call for call in every if call + step not in every] for step in (-1, 1))
    runs = zip(firsts, lasts, strict=True)
    return ",".join(str(first) if first == last else f"{first}–{last}" for first, last in runs)


def finding_blocks(findings: Iterable[Finding]) -> Iterator[doc.FindingBlock]:
    """Yield findings with their places; what helps several of them stands with the first."""
    helps = set()
    for finding in findings:
        place = finding.file if None in (finding.file, finding.line) else f"{finding.file}:{finding.line}"
        # Diagnostic rules give their whole text as help: a report shows it folded.
        said = finding.help in helps or "## " in finding.help
        helps.add(finding.help)
        yield doc.FindingBlock(
            kind=doc.KINDS[finding.severity], rule=finding.rule, severity=finding.severity, place=place,
            layer=finding.layer, message=finding.message, help=None if said else finding.help,
        )  # fmt: skip


def oracles_table(oracles: dict[str, TestResult]) -> doc.TableBlock:
    """Return the behavioural tests of the whole model."""
    questions = dict(re.findall(r"^- `(\w+)`: (.*)$", page("flow_matrix").section("Tests of behaviour"), re.MULTILINE))
    rows = []
    for name, each in oracles.items():
        verdict = doc.TableCell(text=each.verdict, kind=doc.KINDS[each.verdict])
        rows.append((doc.code(name), questions.get(name, name), verdict, each.detail))
    head = ("test", "question", "verdict", "observation")
    note = "These tests compare predictions of the whole model and look into no layer."
    return doc.table("Tests of behaviour", head, rows, extra=(1,), note=note)
