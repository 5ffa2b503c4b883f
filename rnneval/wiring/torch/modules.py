"""Evidence from inside of a PyTorch model: flow, calls of caches, and the module at fault."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import msgspec

from rnneval.models.step import StepLM
from rnneval.models.torch.causal import CachedStep
from rnneval.models.torch.module import TorchStep
from rnneval.models.torch.recurrent import uncompiled
from rnneval.records.wiring import Finding, Oracle
from rnneval.wiring.evidence import Detection
from rnneval.wiring.facts import Spot
from rnneval.wiring.judging import finding_of
from rnneval.wiring.torch.calls import CallTests, run_calls
from rnneval.wiring.torch.diverging import Divergence, module_of_test
from rnneval.wiring.torch.flow import StateFlow, flow_of
from rnneval.wiring.torch.hooks import spot_of

_FAULTS = {
    "call-variance": ("train", "shapes", "special"),
    "padding-leak": ("padding", "right_padding"),
    "packing-leak": ("packed",),
    "cache-operation": ("restore", "rollback", "reset", "reorder"),
}
"""The tests of calls that find each fault."""
_TESTS = {"chunk-variance": "chunk", "future-leak": "causal", "batch-leak": "batch", "always-random": "repeat"}
"""The test of behaviour whose readings part at the module of each fault."""
_WARNINGS = ("right_padding", "packed")  # no model of transformers passes the first
_OF_LONG_CALLS = frozenset({"chunk", "leaves", "used"})
"""Tests of behaviour that a model fails whose calls of several tokens lose the state."""


@dataclass(frozen=True, kw_only=True)
class ModuleEvidence:
    """Evidence from inside of a model."""

    flow: StateFlow
    calls: CallTests  # of a cached model; of another one nothing
    divergences: Mapping[str, Divergence]  # by tests of behaviour that failed, where a module can be named
    at: Spot  # the `forward` of the model

    def is_right_by_token(self, oracles: Mapping[str, Oracle]) -> bool:
        """Return whether only calls of several tokens after a state were seen to be wrong; `oracles` of behaviour."""
        wrong = {name for name, oracle in oracles.items() if oracle.verdict != "pass"}
        in_long_calls = "chunk" in wrong and wrong <= _OF_LONG_CALLS
        return in_long_calls and self.flow.right_by_token and self.calls.right_by_token

    def findings(self, of_behaviour: Iterable[Finding]) -> list[Finding]:
        """Return all findings: what is wrong with an array explains what is wrong with the predictions."""
        found = [*self.flow.findings]
        for key, oracle in self.calls.oracles.items():
            if oracle.verdict == "fail":
                fault = next(name for name, tests in _FAULTS.items() if key in tests)
                said = f"{oracle.detail[0].upper()}{oracle.detail[1:]}"
                detection = Detection(seen=said, severity="warning" if key in _WARNINGS else None)
                found.append(_with_module(finding_of(fault, detection), self.calls.divergences.get(key)))
        for finding in of_behaviour:
            of_model = msgspec.structs.replace(finding, file=self.at.file, line=self.at.line)
            found.append(_with_module(of_model, self.divergences.get(_TESTS.get(finding.rule, ""))))
        return found


def module_evidence(lm: StepLM, step: TorchStep, failed: Collection[str], *, seed: int) -> ModuleEvidence:
    """Look into a model of PyTorch whose behaviour failed some tests; a compiled one runs uncompiled meanwhile."""
    newline = lm.vocabulary.id_of("\n") if lm.vocabulary else None
    flow, calls = StateFlow(calls=0), CallTests()
    with uncompiled():
        named = {test: module_of_test(test, step, lm.width, seed=seed) for test in _TESTS.values() if test in failed}
        if "repeat" not in failed:
            of_cuts = named.get("chunk")
            parting = None if of_cuts is None else of_cuts.module
            flow = flow_of(step, lm.width, seed=seed, cut_matters="chunk" in failed, parting=parting)
            if isinstance(step, CachedStep):
                calls = run_calls(step, width=lm.width, newline=newline, seed=seed)
    divergences = {test: divergence for test, divergence in named.items() if divergence is not None}
    return ModuleEvidence(flow=flow, calls=calls, divergences=divergences, at=spot_of(step.module, ("",)))


def _with_module(finding: Finding, divergence: Divergence | None) -> Finding:
    """Return a finding with the module at which its readings part."""
    if divergence is None:
        return finding
    message, _, why = finding.message.partition(". ")
    at = divergence.at
    message = f"{message}; {divergence}. {why}"
    return msgspec.structs.replace(
        finding, layer=divergence.module or None, file=at.file, line=at.line, message=message
    )
