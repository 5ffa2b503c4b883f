"""Evidence from inside of a PyTorch model: flow, calls of caches, and the module at fault."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from types import ModuleType

import msgspec

from rnneval.models.step import StepLM
from rnneval.models.torch.causal import CachedStep
from rnneval.models.torch.compiled import uncompiled
from rnneval.models.torch.module import TorchStep
from rnneval.records.wiring import Finding, Flow, Oracle, WiredLayer
from rnneval.wiring.evidence import Detection, Severity
from rnneval.wiring.facts import Spot
from rnneval.wiring.faults import cache_operation, call_variance, chunk_variance, packing_leak, padding_leak
from rnneval.wiring.judging import finding_of
from rnneval.wiring.torch.calls import CallTests, run_calls
from rnneval.wiring.torch.diverging import Divergence, module_of_calls
from rnneval.wiring.torch.flow import flow_of

_FAULTS: Mapping[str, tuple[ModuleType, Severity | None]] = {
    "train": (call_variance, None),
    "shapes": (call_variance, None),
    "special": (call_variance, None),
    "padding": (padding_leak, None),
    "right_padding": (padding_leak, "warning"),  # no model of transformers passes it
    "packed": (packing_leak, "warning"),
    "restore": (cache_operation, None),
    "rollback": (cache_operation, None),
    "reset": (cache_operation, None),
    "reorder": (cache_operation, None),
}
"""The fault that each test of calls finds, with a severity that is not that of the fault's page."""


@dataclass(frozen=True, kw_only=True)
class ModuleEvidence:
    """Evidence as it goes into the record."""

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
    """Look into a model of PyTorch whose behaviour failed some tests, by key.

    A compiled model runs uncompiled meanwhile: its modules are not called one by one.
    """
    with uncompiled():
        return _evidence(lm, step, failed, seed=seed)


def _evidence(lm: StepLM, step: TorchStep, failed: Collection[str], *, seed: int) -> ModuleEvidence:
    seen = flow_of(step, lm.width, seed=seed, cut_matters="chunk" in failed)
    oracles: dict[str, Oracle] = {}
    findings, untested, script = list(seen.findings), list(seen.untested), None
    if isinstance(step, CachedStep):
        newline = lm.vocabulary.id_of("\n") if lm.vocabulary else None
        tested = run_calls(step, width=lm.width, newline=newline, seed=seed)
        oracles |= tested.oracles
        untested += tested.untested
        findings += _of_calls(tested)
        script = next(iter(tested.scripts.values()), None)
    divergence = module_of_calls(step, lm.width, seed=seed) if "chunk" in failed else None
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


def _of_calls(tested: CallTests) -> Iterator[Finding]:
    """Yield a finding for each test of calls that failed, with the module at fault where it is known."""
    for key, oracle in tested.oracles.items():
        if oracle.verdict == "fail":
            fault, severity = _FAULTS[key]
            said = f"{oracle.detail[0].upper()}{oracle.detail[1:]}"
            finding = finding_of(fault, Detection(seen=said, severity=severity))
            parted = tested.divergences.get(key)
            yield finding if parted is None else _with_module(finding, parted)


def located(finding: Finding, divergence: Divergence) -> Finding:
    """Add the module at fault to a finding of calls that names none."""
    is_of_calls = finding.rule == chunk_variance.NAME and finding.layer is None
    return _with_module(finding, divergence) if is_of_calls else finding


def _with_module(finding: Finding, divergence: Divergence) -> Finding:
    message, _, why = finding.message.partition(". ")
    return msgspec.structs.replace(
        finding,
        layer=divergence.module or None,
        file=divergence.at.file,
        line=divergence.at.line,
        message=f"{message}; {replace(divergence, at=Spot())}. {why}",
    )
