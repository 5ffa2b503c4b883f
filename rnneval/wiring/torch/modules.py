"""Evidence from inside of a PyTorch model: flow, calls of caches, and the module at fault."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import msgspec
import torch

from rnneval.errors import UsageError
from rnneval.models.step import StepLM
from rnneval.models.torch.causal import CachedStep
from rnneval.models.torch.module import TorchStep
from rnneval.models.torch.recurrent import uncompiled
from rnneval.records.wiring import Finding, Oracle
from rnneval.wiring.evidence import Detection
from rnneval.wiring.facts import OF_A_LAYER, Declarations, Spot
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
_DECLARED = {
    "shared": {"shared-layer"},
    "mixed": {"crossed-state", "shared-state", "swapped-slots"},
    "stateless": {"ignored-state", "stale-state", "shared-state"},
}
"""The findings that a declaration of a layer takes away."""
_OF_CUTS = ("chunked", "mixed", "stateless")  # declarations of layers for which the cut into calls matters
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
    meant: "_Meant"

    def is_right_by_token(self, oracles: Mapping[str, Oracle]) -> bool:
        """Return whether only calls of several tokens after a state were seen to be wrong; `oracles` of behaviour."""
        wrong = {name for name, oracle in oracles.items() if oracle.verdict != "pass"}
        in_long_calls = "chunk" in wrong and wrong <= _OF_LONG_CALLS
        return in_long_calls and self.flow.right_by_token and self.calls.right_by_token

    def findings(self, of_behaviour: Iterable[Finding]) -> list[Finding]:
        """Return all findings: what is wrong with an array explains what is wrong with the predictions."""
        found = [*filter(self.meant.allows, self.flow.findings)]
        for key, oracle in self.calls.oracles.items():
            if oracle.verdict == "fail":
                fault = next(name for name, tests in _FAULTS.items() if key in tests)
                said = f"{oracle.detail[0].upper()}{oracle.detail[1:]}"
                detection = Detection(seen=said, severity="warning" if key in _WARNINGS else None)
                found.append(_with_module(finding_of(fault, detection), self.calls.divergences.get(key)))
        for finding in of_behaviour:
            of_model = msgspec.structs.replace(finding, file=self.at.file, line=self.at.line)
            placed = _with_module(of_model, self.divergences.get(_TESTS.get(finding.rule, "")))
            by_design = placed.rule == "chunk-variance" and self.meant.covers(placed.layer, *_OF_CUTS)
            found.append(msgspec.structs.replace(placed, severity="warning") if by_design else placed)
        return found


class _Meant:
    """The modules of a model that its author declared."""

    def __init__(self, declared: Declarations, module: torch.nn.Module) -> None:
        self._declared, self._module = declared, module

    def covers(self, layer: str | None, *keys: str) -> bool:
        """Return whether a module, or one around or inside of it, is declared in one of these ways."""
        names = {_path(self._module, name) for key in keys for name in getattr(self._declared, key)}
        own = _path(self._module, layer or "")
        return any(_is_inside(own, name) or _is_inside(name, own) for name in names)

    def allows(self, finding: Finding) -> bool:
        """Return whether a finding about an array, or about a layer, is not what the author declared."""
        own = _path(self._module, finding.layer or "")
        keys = [key for key, rules in _DECLARED.items() if finding.rule in rules]
        names = (_path(self._module, name) for key in keys for name in getattr(self._declared, key))
        return not any(_is_inside(own, name) for name in names)


def _is_inside(path: str, other: str) -> bool:
    return path == other or not other or path.startswith(f"{other}.")


def _path(module: torch.nn.Module, name: str) -> str:
    """Return the first path of a module; the whole model may go by the name of its class."""
    if name in {"", type(module).__name__}:
        return ""
    part = module.get_submodule(name)
    return next(path for path, each in module.named_modules() if each is part)


def require_modules(declared: Declarations, step: TorchStep, width: int) -> None:
    """Refuse a declaration about a module that the model does not have: it would be believed to hold."""
    known = {type(step.module).__name__, *(name for name, _ in step.module.named_modules(remove_duplicate=False))}
    if unknown := sorted({name for key in OF_A_LAYER for name in getattr(declared, key)} - known):
        layers = ", ".join(layer.name for layer in flow_of(step, width).layers) or "none"
        raise UsageError(
            f"--declare: the model has no module {', '.join(unknown)}; any of its modules can be declared by its path, "
            f"and those that keep a state are: {layers}"
        )


def module_evidence(
    lm: StepLM, step: TorchStep, failed: Collection[str], declared: Declarations, *, seed: int
) -> ModuleEvidence:
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
    at, meant = spot_of(step.module, ("",)), _Meant(declared, step.module)
    return ModuleEvidence(flow=flow, calls=calls, divergences=divergences, at=at, meant=meant)


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
