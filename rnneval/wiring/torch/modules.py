"""What can be seen in a model of PyTorch beside its behaviour: flow, calls of caches, and the module at fault."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from types import ModuleType

import msgspec
import numpy as np

from rnneval.models.step import StepLM
from rnneval.models.torch.module import TorchStep
from rnneval.records.wiring import Finding, Flow, Oracle, WiredLayer
from rnneval.wiring.behaviour import special_ids
from rnneval.wiring.evidence import Detection, Severity
from rnneval.wiring.facts import Spot
from rnneval.wiring.faults import cache_operation, chunk_variance, packing_leak, padding_leak
from rnneval.wiring.judging import finding_of
from rnneval.wiring.torch.diverging import Divergence, first_diverging, in_calls
from rnneval.wiring.torch.flow import flow_of
from rnneval.wiring.torch.readers import awake

_FAULTS: Mapping[str, tuple[ModuleType, Severity | None]] = {
    "train": (chunk_variance, None),
    "shapes": (chunk_variance, None),
    "special": (chunk_variance, None),
    "padding": (padding_leak, None),
    "right_padding": (padding_leak, "warning"),  # no model of transformers passes it
    "packed": (packing_leak, "warning"),
    "restore": (cache_operation, None),
    "rollback": (cache_operation, None),
    "reset": (cache_operation, None),
    "reorder": (cache_operation, None),
}
"""The fault that each test of calls finds, with a severity that is not that of the fault's page."""
_CUTS = ((3, 10), (1, 12), (13,), (4, 25))
"""Calls of which the first to part from calls of one token shows the module at fault; sums are rare sizes."""


@dataclass(frozen=True, kw_only=True)
class ModuleEvidence:
    """What was seen, as it goes into the record."""

    layers: tuple[WiredLayer, ...]
    flow: tuple[Flow, ...]
    findings: tuple[Finding, ...]
    oracles: Mapping[str, Oracle]
    untested: tuple[str, ...]
    """What was not tested, and why, a sentence each."""
    script: str | None
    """Code without rnneval that shows the first fault of a cached model."""
    divergence: Divergence | None
    """The first module at which calls of several tokens part from calls of one, if the chunk test failed."""
    calls: int


def module_evidence(lm: StepLM, step: TorchStep, failed: Collection[str], *, seed: int) -> ModuleEvidence:
    """Look into a model of PyTorch whose behaviour failed some tests, by key."""
    seen = flow_of(step, lm.width, seed=seed)
    oracles: dict[str, Oracle] = {}
    findings, untested, script = list(seen.findings), list(seen.untested), None
    if hasattr(step, "cache_name"):
        from rnneval.wiring.torch.calls import run_calls

        newline = lm.vocabulary.id_of("\n") if lm.vocabulary else None
        tested = run_calls(step, width=lm.width, newline=newline, seed=seed)
        oracles |= tested.oracles
        untested += tested.untested
        findings += _of_calls(tested.oracles, tested.patterns)
        script = next(iter(tested.scripts.values()), None)
    parted = "chunk" in failed or any(finding.rule == chunk_variance.NAME for finding in findings)
    divergence = _divergence(step, lm.width, seed) if parted else None
    if divergence is not None:
        findings = [located(finding, divergence) for finding in findings]
    return ModuleEvidence(
        layers=seen.layers,
        flow=seen.flow,
        findings=tuple(findings),
        oracles=oracles,
        untested=tuple(untested),
        script=script,
        divergence=divergence,
        calls=seen.calls,
    )


def _of_calls(oracles: Mapping[str, Oracle], patterns: Mapping[str, tuple[str, ...]]) -> Iterator[Finding]:
    """Yield a finding for each test of calls that failed."""
    for key, oracle in oracles.items():
        if oracle.verdict == "fail":
            fault, severity = _FAULTS[key]
            pattern = f"{', '.join(patterns[key])}: " if patterns.get(key) else ""
            said = f"{pattern}{oracle.detail}"
            yield finding_of(fault, Detection(seen=f"{said[0].upper()}{said[1:]}", severity=severity))


def _divergence(step: TorchStep, width: int, seed: int) -> Divergence | None:
    """Return where a call of several tokens parts from calls of one token each."""
    _, ordinary = special_ids(width)
    ids = np.random.default_rng([seed, 2]).choice(np.array(ordinary, np.int32), (1, max(map(sum, _CUTS))))
    with step.evaluating(), awake(step.module, seed):
        for first, *rest in _CUTS:
            one_by_one = (first, *[1] * sum(rest)) if rest else (1,) * first
            found = first_diverging(step.module, in_calls(step, ids, (first, *rest)), in_calls(step, ids, one_by_one))
            if found is not None:
                return found
    return None


def located(finding: Finding, divergence: Divergence) -> Finding:
    """Add the module at fault to a finding that names none."""
    if finding.rule != chunk_variance.NAME or finding.layer is not None:
        return finding
    message, _, why = finding.message.partition(". ")
    return msgspec.structs.replace(
        finding,
        layer=divergence.module or None,
        file=divergence.at.file,
        line=divergence.at.line,
        message=f"{message}; {replace(divergence, at=Spot())}. {why}",
    )
