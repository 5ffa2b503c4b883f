"""Evidence from inside of a PyTorch model: flow, calls of caches, and the module at fault."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import torch
from msgspec import structs

from rnneval.errors import UsageError, failure_of
from rnneval.models.step import StepLM
from rnneval.models.torch.causal import CachedStep
from rnneval.models.torch.module import TorchStep
from rnneval.models.torch.recurrent import uncompiled
from rnneval.records.wiring import Finding, TestResult
from rnneval.wiring.behaviour import TESTS
from rnneval.wiring.evidence import Detection
from rnneval.wiring.facts import OF_A_LAYER, Declarations
from rnneval.wiring.faults import CALL_TESTS
from rnneval.wiring.judging import finding_of
from rnneval.wiring.torch.calls import CallTests, run_calls
from rnneval.wiring.torch.diverging import Divergence, module_of_test
from rnneval.wiring.torch.flow import StateFlow, flow_of
from rnneval.wiring.torch.hooks import spot_of

_PLACED = frozenset({"chunk", "causal", "batch", "alone", "repeat"})
"""The tests of behaviour whose readings part at the module of their fault."""
_DECLARED = {
    "chunk-variance": ("chunked", "mixed", "stateless"),
    "crossed-state": ("mixed",),
    "ignored-state": ("stateless",),
    "shared-layer": ("shared",),
    "shared-state": ("mixed", "stateless"),
    "stale-state": ("stateless",),
    "swapped-slots": ("mixed",),
}
"""The declarations of a layer that take away each finding."""
_WARNINGS = ("right_padding", "packed")  # no model of transformers passes the first
_OF_LONG_CALLS = frozenset({"chunk", "leaves", "used"})
"""Tests of behaviour that a model fails whose calls of several tokens lose the state."""


@dataclass(frozen=True, kw_only=True)
class ModuleEvidence:
    """Evidence from inside of a model."""

    flow: StateFlow
    calls: CallTests  # of a cached model; of another one nothing
    divergences: Mapping[str, Divergence]  # by tests of behaviour that failed, where a module can be named

    def is_right_by_token(self, oracles: Mapping[str, TestResult]) -> bool:
        """Return whether only calls of several tokens after a state were seen to be wrong; `oracles` of behaviour."""
        wrong = {name for name, oracle in oracles.items() if oracle.verdict != "pass"}
        in_long_calls = "chunk" in wrong and wrong <= _OF_LONG_CALLS
        return in_long_calls and self.flow.right_by_token and self.calls.right_by_token

    def findings(
        self, of_behaviour: Iterable[Finding], declared: Declarations, model: torch.nn.Module
    ) -> list[Finding]:
        """Return all findings: what is wrong with an array explains what is wrong with the predictions."""
        found = [each for each in self.flow.findings if not _is_declared(each, declared, model)]
        for key, oracle in self.calls.oracles.items():
            if oracle.verdict == "fail":
                said = f"{oracle.detail[0].upper()}{oracle.detail[1:]}"
                detection = Detection(sentence=said, severity="warning" if key in _WARNINGS else None)
                found.append(_with_module(finding_of(CALL_TESTS[key], detection), self.calls.divergences.get(key)))
        at = spot_of(model, ("",))
        for finding in of_behaviour:
            of_model = structs.replace(finding, file=at.file, line=at.line)
            tests = (test for test in TESTS if TESTS[test].fault == finding.rule)
            parted = (self.divergences[test] for test in tests if test in self.divergences)
            placed = _with_module(of_model, next(parted, None))
            severity = "warning" if _is_declared(placed, declared, model) else placed.severity
            found.append(structs.replace(placed, severity=severity))
        return found


def _is_declared(finding: Finding, declared: Declarations, model: torch.nn.Module) -> bool:
    """Return whether the module of a finding, or one around it, is declared; where cuts matter, also one inside."""
    own = _around(model, finding.layer or "")
    named = [name for key in _DECLARED.get(finding.rule, ()) for name in getattr(declared, key)]
    meant = (_around(model, name) for name in named)
    return any(m[-1] in own or (finding.rule == "chunk-variance" and own[-1] in m) for m in meant)


def _around(model: torch.nn.Module, name: str) -> list[torch.nn.Module]:
    """Return the modules from a model, which may go by the name of its class, down to one of its modules."""
    steps = [] if name in {"", type(model).__name__} else name.split(".")
    return [model.get_submodule(".".join(steps[:depth])) for depth in range(len(steps) + 1)]


def require_modules(declared: Declarations, step: TorchStep, width: int) -> None:
    """Refuse a declaration about a module that the model does not have: it would be believed to hold."""
    known = {type(step.module).__name__, *(name for name, _ in step.module.named_modules(remove_duplicate=False))}
    if unknown := sorted({name for key in OF_A_LAYER for name in getattr(declared, key)} - known):
        layers = ", ".join(layer.name for layer in flow_of(step, width).layers) or "none"
        raise UsageError(
            f"--declare: the model has no module {', '.join(unknown)}; any of its modules can be declared by its path, "
            f"and those that keep a state are: {layers}"
        )


def module_evidence(lm: StepLM, step: TorchStep, failed: Collection[str], *, seed: int) -> ModuleEvidence:
    """Look into a model of PyTorch whose behaviour failed some tests; a compiled one runs uncompiled meanwhile."""
    newline = lm.vocabulary.id_of("\n") if lm.vocabulary else None
    flow, calls = StateFlow(calls=0), CallTests()
    with uncompiled():
        named = {test: module_of_test(test, step, lm.width, seed=seed) for test in _PLACED.intersection(failed)}
        if "repeat" not in failed:
            cut_matters, of_cuts = "chunk" in failed, named.get("chunk")
            parting = step.module.get_submodule(of_cuts.module if of_cuts else "") if cut_matters else None
            try:
                flow = flow_of(step, lm.width, seed=seed, cut_matters=cut_matters, parting=parting)
            except Exception as error:  # a model may raise any in calls of one row
                flow = StateFlow(untested=(f"where states come from: {failure_of(error)}",))
            if isinstance(step, CachedStep):
                calls = run_calls(step, width=lm.width, newline=newline, seed=seed)
    return ModuleEvidence(flow=flow, calls=calls, divergences={test: each for test, each in named.items() if each})


def _with_module(finding: Finding, divergence: Divergence | None) -> Finding:
    """Return a finding with the module at which its readings part."""
    if divergence is None:
        return finding
    message, _, why = finding.message.partition(". ")
    at, message = divergence.at, f"{message}; {divergence}. {why}"
    return structs.replace(finding, layer=divergence.module or None, file=at.file, line=at.line, message=message)
