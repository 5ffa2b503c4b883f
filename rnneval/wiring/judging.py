"""From facts to the record: run the finders, join what they see with the faults' pages, give the verdict."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

from msgspec import structs

from rnneval.pages import page
from rnneval.records.wiring import Finding, Wiring
from rnneval.wiring.by_construction import wired_layers
from rnneval.wiring.evidence import Detection, Evidence, evidence, fold
from rnneval.wiring.facts import WiringFacts
from rnneval.wiring.faults import FAULTS, find_faults

_SEVERITIES = ("error", "warning", "info")
_BESIDE = ("alone", "fresh", "training")
"""Tests of other settings: a right model may have none of them, and its table says why."""


def wiring_of(facts: WiringFacts) -> Wiring:
    """Judge the facts of one probing."""
    seen = evidence(facts)
    found = _with_variants(seen)
    verdict, reason = verdict_of(found, _doubts(seen), _right(seen))
    return Wiring(
        verdict=verdict,
        reason=reason,
        layers=wired_layers(seen.units),
        flow=fold(seen),
        findings=found,
        oracles=dict(seen.oracles),
        declared=seen.declared.entries,
        calls=seen.calls,
        wired_by=seen.wired_by,
    )


def findings(evidence: Evidence) -> tuple[Finding, ...]:
    """Return everything that the finders see: errors first, each severity in the order of the faults."""
    return errors_first(finding_of(name, detection) for name, detection in find_faults(evidence))


def _in_cell(file: str | None, line: int | None) -> tuple[str | None, int | None]:
    """Return a file and a line of it; in a notebook, the cell and the line within it, as its author counts them."""
    if file is None or line is None:
        return file, line
    if file.endswith(".ipynb"):  # the cells of a builder's notebook stand one below the other
        from rnneval.lint.document import read_document

        with suppress(OSError):
            cell, within = read_document(file, Path(file).read_bytes()).place(line)
            return f"{file}, cell {cell.number}", within
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    executed = getattr(getattr(shell, "compile", None), "_filename_map", {}).get(file)  # as IPython's tracebacks do
    return (file, line) if executed is None else (f"cell {executed}", line)


def finding_of(fault: str, detection: Detection) -> Finding:
    """Put a finding together: what was seen, and from the fault's page why it matters and what to write instead."""
    about = page(fault)
    file, line = _in_cell(detection.at.file, detection.at.line)
    return Finding(
        rule=fault,
        severity=detection.severity or FAULTS[fault],
        layer=detection.at.layer,
        source_layer=detection.source_layer,
        file=file,
        line=line,
        message=f"{detection.sentence}. {about.paragraph('Why it is wrong')}",
        help=about.paragraph("What to write instead"),
    )


def _with_variants(evidence_of_model: Evidence) -> tuple[Finding, ...]:
    """Return all findings, with the errors that every run of another setting shows, and those of no setting."""

    def key(finding: Finding) -> tuple[str | None, ...]:
        return finding.rule, finding.layer, finding.source_layer

    found = findings(evidence_of_model)
    known = {*map(key, found)}
    more: list[Finding] = []
    for setting, runs in evidence_of_model.variants.items():
        errors = [  # noise belongs to training
            [each for each in findings(evidence(run)) if each.severity == "error" and each.rule != "noisy-state"]
            for run in runs
        ]
        shown = set.intersection(*({*map(key, of_run)} for of_run in errors))
        more += [
            structs.replace(finding, message=f"Only {setting}: {finding.message}")
            for finding in errors[0]
            if key(finding) in shown - known
        ]
    return errors_first([*more, *found])


def errors_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings in the order of their severities."""
    return tuple(sorted(findings, key=lambda finding: _SEVERITIES.index(finding.severity)))


def verdict_of(
    findings: Iterable[Finding], doubts: Iterable[str], right: str
) -> tuple[Literal["pass", "fail", "inconclusive"], str]:
    """Return verdict and reason: any error fails, even where something could not be seen; what is clean passes."""
    if errors := dict.fromkeys(finding.rule for finding in findings if finding.severity == "error"):
        return "fail", ", ".join(errors)
    doubt = "; ".join(doubts)
    return ("inconclusive", doubt) if doubt else ("pass", right)


def _right(evidence: Evidence) -> str:
    """Return the words about a model without a fault."""
    every = dict.fromkeys(map(evidence.named, evidence.arrivals))
    carried = {evidence.named(a) for a in evidence.arrivals if a.kind in {"carried", "carried-transformed"}}
    if evidence.wired_by == "rnneval":
        return f"no state crosses between layers in the author's graph; rnneval carries the {_states(len(every))}"
    if declared := evidence.declared.entries:
        return f"{_states(len(every))} seen over {evidence.calls} calls, and {as_declared(declared)}"
    right = f"{_states(len(carried))} seen carried into the same layer over {evidence.calls} calls"
    if others := [name for name in every if name not in carried]:
        right += f" (and not carried: {', '.join(others)})"
    untested = [name for name, oracle in evidence.oracles.items() if oracle.verdict == "inconclusive"]
    return f"{right}, and the behaviour agrees" + (f"; not tested: {', '.join(untested)}" if untested else "")


def _states(count: int) -> str:
    return f"{count} {'state' if count == 1 else 'states'}"


def as_declared(declared: Sequence[str]) -> str:
    """Return the words about a model that passes by what its author declared."""
    return f"what was found is declared: {', '.join(declared)}"


def _doubts(evidence: Evidence) -> Iterator[str]:
    """Yield what could not be seen, or was seen and proves nothing."""
    if evidence.failure:
        yield evidence.failure
        return
    if not evidence.events:
        yield (
            "no recurrent layer or cell ran that could be watched (a recurrence written by hand, or a loaded "
            "signature): the wiring was not seen, only the behaviour was tested"
        )
    if evidence.trace.uncompared:
        yield evidence.trace.uncompared
    of_kind: dict[str, dict[str, None]] = {}
    for arrival in evidence.arrivals:
        of_kind.setdefault(arrival.kind, {})[evidence.named(arrival)] = None
    if "unknown" in of_kind:
        why = next(arrival.unknown for arrival in evidence.arrivals if arrival.unknown)
        yield f"the sources of {', '.join(of_kind['unknown'])} could not be followed: {why}"
    if "dropped" in of_kind:
        yield (
            f"the model neither takes nor returns states, so {', '.join(of_kind['dropped'])} begins anew at every "
            "call and there is no wiring to prove (declare stateless=LAYER if that is meant)"
        )
    for name, oracle in evidence.oracles.items():
        if oracle.verdict == "inconclusive" and name not in _BESIDE:
            yield f"oracle {name}: {oracle.detail}"
        elif name == "repeat" and oracle.verdict == "fail":
            yield f"the model gives different logits for the same calls: {oracle.detail}"
