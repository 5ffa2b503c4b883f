"""Wiring check of a step function: by its behaviour, and if it is a model of PyTorch, by its modules, too."""

import inspect
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from rnneval.errors import failure_of
from rnneval.models.state import as_array, filled, leaves_of, made_like
from rnneval.models.step import StepLM
from rnneval.models.torch import step_of
from rnneval.pages import page
from rnneval.records.wiring import Finding, Slot, TestResult, Wiring
from rnneval.wiring.behaviour import TESTS, run_behaviour
from rnneval.wiring.difference import EPSILON, HALF_TYPES, MOST_TOLERANCE
from rnneval.wiring.evidence import Detection
from rnneval.wiring.facts import Declarations, Spot, parse_declarations, require_known
from rnneval.wiring.faults import FAULTS
from rnneval.wiring.judging import as_declared, errors_first, finding_of, verdict_of
from rnneval.wiring.subject import LONG, Ids, Outputs, Pieces, Subject, special_ids

if TYPE_CHECKING:
    from rnneval.models.torch.module import TorchStep
    from rnneval.wiring.torch.flow import StateFlow
    from rnneval.wiring.torch.modules import ModuleEvidence

_OF_SCALES = {"future-leak", "batch-leak", "chunk-variance", "call-variance", "padding-leak", "cache-operation"}
"""Faults that a model shows whose numbers share a scale with all others of a call."""
_SCALED = (
    "dynamic int8 has one scale for all numbers of a call, so each changes the rounding of the others: --streams 1 "
    "reads one row at a time; declare scaled=call if that is meant"
)


def check(lm: StepLM, *, declare: Iterable[str] = (), seed: int = 0) -> Wiring:
    """Test whether a step function carries its state right.

    A model may be declared to look ahead (`causal=false`), to depend on how the text is cut (`chunked=true`), or to
    have a scale for all numbers of a call, as dynamic int8 has (`scaled=call`).
    """
    declared = parse_declarations(declare)
    if (step := step_of(lm)) is None:
        require_known(declared, ())
    else:
        from rnneval.wiring.torch.modules import require_modules

        require_modules(declared, step, lm.width)
    lm, precision, oracles = _tested(lm, seed, scaled=declared.scaled_by_call)
    failed = {name for name, oracle in oracles.items() if oracle.verdict == "fail"}
    if not declared.causal:
        failed.discard("causal")
    if "fresh" in failed:  # what an earlier text leaves behind changes equal calls, too
        failed.discard("repeat")
    in_order = sorted(TESTS, key=lambda name: [*FAULTS].index(TESTS[name].fault))
    findings = [_finding(lm, name, oracles[name], declared) for name in in_order if name in failed]
    untested = [] if lm.carrier.is_nest else ["whether each part of the state is used: it is carried as it is"]
    inside, right_by_token = None, False
    step = step_of(lm)
    if step is not None and step.keeps_all:
        untested.append("a second text without a reset: the module keeps all of its state itself")
    if step is not None and (oracles["repeat"].verdict == "pass" or "repeat" in failed):
        evidence = _inside(lm, step, failed, seed)
        if isinstance(evidence, str):
            untested.append(f"which module reads and writes each array: {evidence}")
        else:
            inside, right_by_token = evidence, evidence.is_right_by_token(oracles)
            oracles |= inside.calls.oracles
            untested = [*inside.flow.untested, *inside.calls.untested, *untested]
            findings = inside.findings(findings, declared, step.module)
    if declared.depends_on_cuts:
        meant = _OF_SCALES if declared.scaled_by_call else {"call-variance"}
        findings = [structs.replace(f, severity="warning") if f.rule in meant else f for f in findings]
    if step is not None:
        findings = [
            structs.replace(each, help=page(each.rule).paragraph("In PyTorch") or each.help) for each in findings
        ]
    doubts = dict.fromkeys(oracle.detail for oracle in oracles.values() if oracle.verdict == "inconclusive")
    verdict, reason = verdict_of(findings, doubts, _right(oracles, declared, untested) + precision)
    return Wiring(
        verdict=verdict,
        reason=reason,
        **(_named(lm, inside.flow) if inside else {"layers": (), "flow": ()}),
        findings=errors_first(findings),
        oracles=oracles,
        declared=declared.entries,
        calls=max(map(len, LONG.cuts)) + (inside.flow.calls if inside else 0),
        wired_by="author",
        right_by_token=(verdict == "fail" and right_by_token) or None,
        script=next(iter(inside.calls.scripts.values()), None) if inside else None,
    )


def _tested(lm: StepLM, seed: int, *, scaled: bool) -> tuple[StepLM, str, dict[str, TestResult]]:
    """Run the tests of behaviour; return the model that was tested, words about its precision, and the results.

    Half precision hides faults, and so does rounding that grows; a difference that is small may be the rounding of a
    long scan. A copy of a module in a wider type is tested then.
    """
    step, types = step_of(lm), [str(getattr(leaf.like, "dtype", "")) for leaf in lm.leaves]
    half = next((half for half in HALF_TYPES if any(half in each for each in types)), "") or (step.half if step else "")
    scaled = scaled or getattr(lm.function.step, "scales_calls", False)
    if half and step is not None and (wide := step.widened(lm, "float32")) is not None:
        why = f"; tested as a copy in float32, since {half} hides faults"
        return wide, why, run_behaviour(_subject(wide, seed, scaled=scaled))
    oracles = run_behaviour(_subject(lm, seed, half, scaled=scaled))
    results, largest = oracles.values(), oracles["repeat"].tolerance or 0.0
    if half:
        return lm, f"; faults below {largest:.2g} of the context spread cannot be seen in {half}", oracles
    small = any(each.verdict == "fail" and 0 < (each.largest_difference or 0) < MOST_TOLERANCE for each in results)
    if step is not None and (largest > MOST_TOLERANCE or small) and (wide := step.widened(lm, "float64")) is not None:
        why = "rounding grows" if largest > MOST_TOLERANCE else "a small difference may be rounding"
        return wide, f"; tested as a copy in float64, since {why}", run_behaviour(_subject(wide, seed, scaled=scaled))
    return lm, "", oracles


def _inside(lm: StepLM, step: "TorchStep", failed: Collection[str], seed: int) -> "ModuleEvidence | str":
    """Look into a model of PyTorch; return why nothing can be seen where it cannot be watched, or raises an error."""
    from rnneval.wiring.torch.modules import module_evidence

    if step.is_scripted:
        return "torch.jit lets no call of a module be watched"
    try:
        return module_evidence(lm, step, failed, seed=seed)
    except Exception as error:  # calls of one row are watched, which a model may refuse
        return failure_of(error)


def _named(lm: StepLM, flow: "StateFlow") -> dict[str, Any]:
    """Return layers and flow with the names that modules of PyTorch give their states: `h` and `c`, as in a trace."""
    named = {re.sub(r"\['(\w+)'\]", r".\1", path): names[0] for path, names in lm.names.items() if len(names) == 1}
    taken = [f"{each.name}.{slot}" for each in flow.layers for slot in each.slots]
    uses = Counter([*named.values(), *taken])  # a module may hold one state for each of its places
    names = {path: name for path, name in named.items() if uses[name] == 1}

    def slot_of(layer: str, slot: str) -> str:
        ours = (name.rpartition(".") for path, name in names.items() if path.endswith(slot))
        return next((other for module, _, other in ours if module == layer), slot)

    def renamed(slot: Slot | str) -> Slot | str:
        return slot if isinstance(slot, str) else Slot(layer=slot.layer, slot=slot_of(slot.layer, slot.slot))

    layers = (
        structs.replace(each, slots=tuple(slot_of(each.name, slot) for slot in each.slots)) for each in flow.layers
    )
    rows = (structs.replace(each, into=renamed(each.into), source=renamed(each.source)) for each in flow.flow)
    return {"layers": tuple(layers), "flow": tuple(rows)}


def _right(oracles: Mapping[str, TestResult], declared: Declarations, untested: Sequence[str]) -> str:
    """Return the words about a model without a fault."""
    agreeing = sum(oracle.verdict == "pass" for name, oracle in oracles.items() if name != "chunk")
    right = (
        f"the behaviour of the step function is right: {LONG.tokens} tokens give the same logits however they are cut "
        f"into calls, and {agreeing} other tests agree"
    )
    if declared.entries:
        right = f"{agreeing} tests of the step function agree, and {as_declared(declared.entries)}"
    return f"{right}; not tested: {'; '.join(untested)}" if untested else right


def _finding(lm: StepLM, name: str, oracle: TestResult, declared: Declarations) -> Finding:
    """Return the finding of a failed test, at file and line of the user's function, where they are known."""
    step, seen = lm.function.step, oracle.detail
    by_design = name == "chunk" and (declared.depends_on_cuts or not declared.causal)  # what is seen ends with a call
    if name == "chunk":
        seen = f"{TESTS[name].words}: {seen}{'' if by_design else ' (declare chunked=true if that is meant)'}"
    if TESTS[name].fault in _OF_SCALES and not declared.scaled_by_call and getattr(step, "scales_calls", False):
        seen += f" ({_SCALED})"
    sentence = seen if seen.startswith("state") else f"{seen[0].upper()}{seen[1:]}"  # a path stays as it is
    module = getattr(step, "module", None)  # of PyTorch: the line of its class says more than one of ours
    function: Any = step if module is None else getattr(type(module), "forward", None)  # TorchScript shows none
    function = inspect.unwrap(function)
    code = getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None)
    ours = str(getattr(function, "__module__", "")).startswith("rnneval.")  # a graph's step is no line of its author
    spot = Spot() if code is None or ours else Spot(file=code.co_filename, line=code.co_firstlineno)
    return finding_of(
        TESTS[name].fault, Detection(sentence=sentence, severity="warning" if by_design else None, at=spot)
    )


def _subject(lm: StepLM, seed: int, half: str = "", *, scaled: bool = False) -> Subject:
    """Return a step function as the suite of behaviour calls it; where a call has a scale, its noise is no rounding."""
    step = step_of(lm)
    special, ordinary = special_ids(lm.width, lm.vocabulary.id_of("\n") if lm.vocabulary else None)

    def read(pieces: Pieces) -> Outputs:
        return _read(lm, pieces, lm.initial_state(len(pieces[0])))

    def read_after(before: Pieces, pieces: Pieces) -> Outputs:
        with nullcontext() if step is None else step.as_called():
            if before:
                read(before)
            return read(pieces)

    subject = Subject(
        read=read,
        read_after=read_after,
        rows=2 if lm.batched else 1,
        alone=2 if lm.batched else 0,
        ordinary=ordinary,
        special=special,
        plan=LONG,
        seed=seed,
        half=half,
    )
    if not lm.carrier.is_nest:
        return subject
    full = EPSILON if step is None or lm.checkpoint.dtype != "float64" else float(np.finfo(np.float64).eps)
    unit = HALF_TYPES.get(half, full)
    return replace(
        subject,
        read_moved=None if scaled else partial(_read_moved, lm, unit),
        moved="state",
        exchanged=partial(_exchanged, lm) if lm.leaves else None,
    )


def _read(lm: StepLM, pieces: Pieces, state: Any) -> list[NDArray[Any]]:
    """Read pieces from a state, which is handed on as it was returned."""
    outputs = []
    for ids in pieces:
        logits, state = lm.step(ids, state)
        outputs.append(logits)
    return outputs


def _read_moved(lm: StepLM, unit: float, pieces: Pieces, draw: int) -> Outputs:
    """Read pieces; each number of the state that a call writes is moved once, by ± one unit in its last place."""
    generator, outputs = np.random.default_rng(draw), []
    state = lm.initial_state(len(pieces[0]))
    for ids in pieces:
        before = leaves_of(state)
        logits, state = lm.step(ids, state)
        outputs.append(logits)
        state = filled(state, state_moved(state, before, ids.shape[1], unit, generator))
    return outputs


def _exchanged(lm: StepLM, text: Ids, other: Ids, later: Ids) -> tuple[Outputs, Iterator[tuple[str, Outputs]]]:
    """Return the logits of `later` after a text, and those with one array of the state from another text."""
    after, after_other = (lm.step(ids, lm.initial_state(len(ids)))[1] for ids in (text, other))
    mine, others = leaves_of(after), leaves_of(after_other)

    def exchanges() -> Iterator[tuple[str, Outputs]]:
        for path in (leaf.path for leaf in lm.leaves if leaf.kind in {"state", "memory"}):
            array = as_array(mine[path], path)
            if np.array_equal(array, as_array(others[path], path)):  # as a position is
                yield f"{path}{'' if array.any() else ' (all zero)'}", []
            else:
                yield path, _read(lm, [later], filled(after, iter((mine | {path: others[path]}).values())))

    return _read(lm, [later], after), exchanges()


def state_moved(
    state: Any, before: Mapping[str, Any], tokens: int, unit: float, generator: np.random.Generator
) -> Iterator[Any]:
    """Yield the arrays of a state with each number that a call wrote moved; whole numbers stay, and what it was given.

    A cache keeps what earlier calls wrote: moved after every call, old keys would seem to have much more rounding.
    """
    for path, leaf in leaves_of(state).items():
        array = as_array(leaf, path)
        if array.dtype.kind not in "fc":
            yield leaf
            continue
        signs = generator.choice([-1, 1], array.shape)
        if path in before:
            signs[_unwritten(array, as_array(before[path], path), tokens)] = 0
        yield made_like(np.asarray(array * (1 + unit * signs)), leaf)


def _unwritten(array: NDArray[Any], before: NDArray[Any], tokens: int) -> Any:
    """Return the places of an array whose numbers stood in the one before, there or as many places on as tokens."""
    if before.ndim != array.ndim:
        return np.zeros(array.shape, np.bool_)
    for axis, size in enumerate(array.shape):
        old, along = max(size - tokens, 0), (slice(None),) * axis
        earlier = before[(*along, slice(max(before.shape[axis] - old, 0), None))]
        if old and np.array_equal(array[(*along, slice(old))], earlier):
            return (*along, slice(old))
    return array == before if array.shape == before.shape else np.zeros(array.shape, np.bool_)
