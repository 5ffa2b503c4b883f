"""Evidence from inside of a PyTorch model: flow, calls of caches, and the module at fault."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import ModuleType

import msgspec

from rnneval.models.step import StepLM
from rnneval.models.torch.causal import CachedStep
from rnneval.models.torch.module import TorchStep
from rnneval.models.torch.recurrent import uncompiled
from rnneval.records.wiring import Finding, Oracle
from rnneval.wiring.evidence import Detection, Severity
from rnneval.wiring.facts import Spot
from rnneval.wiring.faults import cache_operation, call_variance, chunk_variance, packing_leak, padding_leak
from rnneval.wiring.judging import finding_of
from rnneval.wiring.torch.calls import CallTests, run_calls
from rnneval.wiring.torch.diverging import Divergence, module_of_calls
from rnneval.wiring.torch.flow import StateFlow, flow_of

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
_OF_LONG_CALLS = frozenset({"chunk", "leaves", "used"})
"""Tests of behaviour that a model fails whose calls of several tokens lose the state."""


@dataclass(frozen=True, kw_only=True)
class ModuleEvidence:
    """Evidence from inside of a model."""

    flow: StateFlow
    calls: CallTests  # of a cached model; of another one nothing
    divergence: Divergence | None  # between calls of several tokens and calls of one, if the chunk test failed

    def is_right_by_token(self, oracles: Mapping[str, Oracle]) -> bool:
        """Return whether only calls of several tokens after a state were seen to be wrong; `oracles` of behaviour."""
        wrong = {name for name, oracle in oracles.items() if oracle.verdict != "pass"}
        in_long_calls = "chunk" in wrong and wrong <= _OF_LONG_CALLS
        return in_long_calls and self.flow.right_by_token and self.calls.right_by_token

    def findings(self, of_behaviour: Iterable[Finding]) -> list[Finding]:
        """Return all findings: what is wrong with an array explains what is wrong with the predictions."""
        return [*self.flow.findings, *self._of_calls(), *map(self._located, of_behaviour)]

    def _of_calls(self) -> Iterator[Finding]:
        """Yield a finding for each test of calls that failed, with the module at fault where it is known."""
        for key, oracle in self.calls.oracles.items():
            if oracle.verdict == "fail":
                fault, severity = _FAULTS[key]
                said = f"{oracle.detail[0].upper()}{oracle.detail[1:]}"
                finding = finding_of(fault, Detection(seen=said, severity=severity))
                yield _with_module(finding, self.calls.divergences.get(key))

    def _located(self, finding: Finding) -> Finding:
        """Add the module at fault to a finding of calls that names none."""
        is_of_calls = finding.rule == chunk_variance.NAME and finding.layer is None
        return _with_module(finding, self.divergence) if is_of_calls else finding


def module_evidence(lm: StepLM, step: TorchStep, failed: Collection[str], *, seed: int) -> ModuleEvidence:
    """Look into a model of PyTorch whose behaviour failed some tests, by key.

    A compiled model runs uncompiled meanwhile: its modules are not called one by one.
    """
    newline = lm.vocabulary.id_of("\n") if lm.vocabulary else None
    with uncompiled():
        flow = flow_of(step, lm.width, seed=seed, cut_matters="chunk" in failed)
        if isinstance(step, CachedStep):
            calls = run_calls(step, width=lm.width, newline=newline, seed=seed)
        else:
            calls = CallTests()
        divergence = module_of_calls(step, lm.width, seed=seed) if "chunk" in failed else None
    return ModuleEvidence(flow=flow, calls=calls, divergence=divergence)


def _with_module(finding: Finding, divergence: Divergence | None) -> Finding:
    if divergence is None:
        return finding
    message, _, why = finding.message.partition(". ")
    return msgspec.structs.replace(
        finding,
        layer=divergence.module or None,
        file=divergence.at.file,
        line=divergence.at.line,
        message=f"{message}; {replace(divergence, at=Spot())}. {why}",
    )
