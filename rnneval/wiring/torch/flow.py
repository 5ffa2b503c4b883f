"""The flow matrix of a PyTorch model: where each array of its state comes from, and what is wrong with it.

`readers.py` observes, this module judges. Of each array the module that reads it is compared with the one that wrote
it, and the calls of one token with those of three. Of two layers `a` and `b` with a state `h` each:

```text
array   reader   writer   made as   unchanged in   judgement
a.h     a        a        a.h       none           carried
a.h     a        b        a.h       none           crossed: the fault crossed-state
a.h     a        a        a.c       none           swapped: swapped-slots
a.h     a        a        a.h       calls of 3     stale in calls of 3, carried in calls of 1: stale-state
a.h     none     a        a.h       none           fresh: ignored-state
```

An array that nothing reads and nothing changes is not judged, and the record says so.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import msgspec
import torch

from rnneval.models.torch.causal import CachedStep
from rnneval.models.torch.module import TorchStep
from rnneval.records.wiring import Finding, Flow, Slot, WiredLayer
from rnneval.wiring.evidence import Detection
from rnneval.wiring.facts import Spot
from rnneval.wiring.judging import finding_of
from rnneval.wiring.torch.fresh import awake
from rnneval.wiring.torch.hooks import Chain, spot_of
from rnneval.wiring.torch.readers import BEFORE, CALLS, ArrayFlow, Interventions
from rnneval.wiring.torch.reuse import reused_layers

_NAMED = 3  # layers that err alike and are named
_NAME_AT_END = re.compile(
    r"""
    (?: \. | \[' (?: [^']* \. )? )  # an attribute, or a key of a mapping up to its last dot
    (\w+)                          # the name
    (?: '\] )?                     # the end of the key
    ( (?: \[ [^'\]]* \] )* ) $     # indices behind it
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, kw_only=True)
class StateFlow:
    """The flow matrix, as it goes into the record."""

    layers: tuple[WiredLayer, ...] = ()
    flow: tuple[Flow, ...] = ()  # calls 0 and 1 make a state; calls 2 and 3 go on from it with one and three tokens
    findings: tuple[Finding, ...] = ()
    untested: tuple[str, ...] = ()  # a sentence for each array about which nothing can be said
    right_by_token: bool = False  # whether no array was seen to be wrong in a call of one token
    calls: int = len(BEFORE) + len(CALLS)


def flow_of(
    step: TorchStep, width: int, *, seed: int = 0, cut_matters: bool = True, parting: torch.nn.Module | None = None
) -> StateFlow:
    """Return which module reads and which wrote each array of the state, and what is wrong with it.

    If the predictions do not depend on how a text is cut (`cut_matters`), an array that no module reads is no fault. If
    they do, and the readings part in a module (`parting`, the model itself if no other is known) whose arrays show no
    fault, nothing is said of what it does with them.
    """
    with torch.no_grad(), awake(step.module, seed):
        calls = Interventions(step, width, seed)
        if not calls.repeat():
            why = "the model gives different numbers for the same calls, so no reaction can be told"
            return StateFlow(untested=(why,))
        arrays = tuple(calls.arrays())
        counters = tuple(calls.lost_counters()) if cut_matters and not isinstance(step, CachedStep) else ()
    flow = _Judge(step.module, arrays, counters, cut_matters=cut_matters, parting=parting).result()
    owners = {array.owner for array in arrays if array.owner and not array.grows}
    again = tuple(_shared_layer(step.module, layer) for layer in reused_layers(step, owners, width, seed))
    return replace(flow, findings=(*flow.findings, *again))


def _shared_layer(module: torch.nn.Module, layer: Chain) -> Finding:
    """Return the finding of a module that stands for several layers, with all names that it has."""
    name, part = layer[-1], module.get_submodule(layer[-1])
    others = [other for other, each in module.named_modules(remove_duplicate=False) if each is part and other != name]
    names = f"{name}, which is also {', '.join(others)}," if others else name
    seen = f"{names} runs more than once for one token and reads what it gave itself: one object stands for several"
    return finding_of("shared-layer", Detection(sentence=f"{seen} layers", at=spot_of(module, layer)))


class _Fault(NamedTuple):
    """Fault of the flow into an array, as a finding names it."""

    rule: str
    message: str
    calls: tuple[int, ...] = CALLS  # the calls, by their numbers of tokens, that show it
    giver: str | None = None  # the layer whose state went to another one; None where none did


class _Judgement(NamedTuple):
    """Source of what goes into an array, and the fault that this is, if it is one."""

    kind: str  # as in the record
    source: Slot | str = "initial"
    fault: _Fault | None = None
    untested: str | None = None  # why nothing can be said of the array


_Judged = tuple[ArrayFlow, _Judgement]
_NOT_TOLD = _Judgement("unknown", "unknown")


class _Judge:
    """Makes layers, rows of the flow matrix and findings of what was seen."""

    def __init__(
        self,
        module: torch.nn.Module,
        arrays: tuple[ArrayFlow, ...],
        counters: tuple[ArrayFlow, ...],
        *,
        cut_matters: bool,
        parting: torch.nn.Module | None,
    ) -> None:
        self._module, self._cut_matters, self._parting = module, cut_matters, parting
        self._arrays = arrays
        self._lost: tuple[ArrayFlow, ...] = ()
        self._slots = {array.path: array.slot or _slot(array.path) for array in (*arrays, *counters)}
        self._moving = {_pattern(array.path) for array in arrays if array.unchanged != CALLS}
        # A counter that nothing reads is lost where it would explain an array that seems to be stale.
        is_stale = any(_is_stale(self._judge(array)) for array in arrays)
        self._lost = tuple(each for each in counters if each.unchanged) or counters * is_stale
        self._arrays += self._lost

    def result(self) -> StateFlow:
        """Judge every array."""
        layers: dict[str, WiredLayer] = {}
        for array in self._arrays:
            name, slot = self._name(array.owner), self._slots[array.path]
            layer = layers.setdefault(name, WiredLayer(name=name, path=name, kind=self._kind(array.owner), slots=()))
            if slot in layer.slots:  # two arrays of one name: the second goes by its path
                slot = self._slots[array.path] = array.path
            layers[name] = msgspec.structs.replace(layer, slots=(*layer.slots, slot))
        judged = self._without_guesses([(array, self._judge(array)) for array in self._arrays])
        return StateFlow(
            layers=tuple(layers.values()),
            flow=tuple(row for array, judgement in judged for row in self._rows(array, judgement)),
            findings=tuple(self._findings(judged)),
            untested=tuple(judgement.untested for _, judgement in judged if judgement.untested),
            right_by_token=not any(judgement.fault and 1 in judgement.fault.calls for _, judgement in judged),
        )

    def _without_guesses(self, judged: list[_Judged]) -> list[_Judged]:
        """Call unknown what goes on inside of the module at fault, where none of its arrays shows the fault."""
        whole, part = self._module, self._module.get_submodule
        inside = [array for array, _ in judged if self._parting in (whole, *map(part, array.owner or ()))]
        if any(judgement.fault for array, judgement in judged if array in inside):
            return judged
        return [(array, _NOT_TOLD if array in inside else judgement) for array, judgement in judged]

    def _judge(self, array: ArrayFlow) -> _Judgement:
        """Return what is to be said of one array; what seems to be stale may follow from a counter that is lost."""
        if array not in self._lost:
            judgement = self._judge_alone(array)
            return _NOT_TOLD if self._lost and _is_stale(judgement) else judgement
        calls = _tokens(CALLS)
        if array.unchanged:
            fault = _Fault("stale-state", f"{array.path} stays as it is in calls of {calls}")
            return _Judgement("stale", fault=fault)
        fault = _Fault("ignored-state", f"{array.path} counts, and no module reacts in calls of {calls}")
        return _Judgement("fresh", fault=fault)

    def _judge_alone(self, array: ArrayFlow) -> _Judgement:
        """Return what is to be said of one array where no counter is lost."""
        silent = tuple(tokens for tokens in CALLS if array.readers[tokens] is None)
        if silent == CALLS and not array.late and (array.unchanged == CALLS or not self._cut_matters):
            return _NOT_TOLD._replace(untested=f"{array.path}: no module reads it")
        foreign = self._unread(array, silent) if silent and self._cut_matters else self._foreign(array)
        if foreign is not None:
            return foreign
        if array.unchanged == CALLS and not array.blank and _pattern(array.path) not in self._moving:
            return _Judgement("initial")  # a constant
        if array.unchanged:
            message = f"{self._name(array.reader)} reads {array.path}, which stays as it is in calls of "
            fault = _Fault("stale-state", message + _tokens(array.unchanged), array.unchanged)
            return _Judgement("stale", fault=fault)
        return _NOT_TOLD if array.writer is None else _Judgement("carried", self._state(array))

    def _foreign(self, array: ArrayFlow) -> _Judgement | None:
        """Return what is to be said of an array that holds what was made elsewhere; None of others."""
        chains = (array.reader, array.writer, array.giver)
        reader, writer, giver = map(self._name, chains)
        path, reads = array.path, f"{reader} reads {array.path}, which"
        if array.other is not None and (array.claimed or self._cut_matters):
            source = self._own_of(array.other[-1], array)
            fault = _Fault("crossed-state", f"{reads} {writer} wrote", giver=source.layer)
            return _Judgement("crossed", source, fault)
        # Layers of one kind share an array: each starts from the state of the one before.
        alike = all(chains) and len({self._kind(chain) for chain in chains}) == 1
        if self._cut_matters and alike and array.reader != array.writer:
            message = f"{writer} starts from the state that {giver} made in the same call, and {reads} {writer} wrote"
            return _Judgement("crossed", writer, _Fault("shared-state", message, giver=giver))
        if array.origin == path:
            return None
        source = Slot(layer=reader, slot=self._slots.get(array.origin, _slot(array.origin)))
        if array.slot[1:] and array.slot[1:] != source.slot[1:]:  # one layer's of a stack: h[0] and h[1]
            message = f"{reader}.{array.slot} reads {path}, which {reader}.{source.slot} wrote"
            return _Judgement("crossed", source, _Fault("crossed-state", message, giver=reader))
        message = f"{reader}: {path} holds what was written as {array.origin}"
        return _Judgement("swapped", source, _Fault("swapped-slots", message))

    def _unread(self, array: ArrayFlow, silent: tuple[int, ...]) -> _Judgement:
        """Return what is to be said of an array to which no module reacts in some calls."""
        path, layer, calls = array.path, self._name(array.owner), _tokens(silent)
        if array.handed:
            siblings = [other for other in self._arrays if other.writer == array.writer]
            start = array.handed[min(siblings.index(array), len(array.handed) - 1)]
            source = self._state(next(other for other in self._arrays if other.path == start))
            message = (
                f"{layer} starts from the state that {source.layer} made in the same call ({start}), and no module"
            )
            fault = _Fault("shared-state", f"{message} reads {path}", silent, source.layer)
            return _Judgement("crossed", source, fault)
        if array.late:
            fault = _Fault("stale-state", f"{path} has an effect one call late only in calls of {calls}", silent)
            return _Judgement("stale", fault=fault)
        others = f"{layer} reads it in calls of {_tokens(set(CALLS) - set(silent))}"
        if silent == CALLS:
            others = "even a thousand times as large" if array.writer is None else f"although {layer} writes it"
        fault = _Fault("ignored-state", f"{path}: no module reacts in calls of {calls} ({others})", silent)
        return _Judgement("fresh", fault=fault)

    def _own_of(self, layer: str, array: ArrayFlow) -> Slot:
        """Return the state of a layer that wrote an array of another one: the array in the same place among its own."""
        arrays = [each for each in self._arrays if layer in (each.owner or ())] or [array]
        place = [each for each in self._arrays if each.owner == array.owner].index(array)
        return self._state(arrays[min(place, len(arrays) - 1)])

    def _rows(self, array: ArrayFlow, judgement: _Judgement) -> Iterator[Flow]:
        """Yield the row of the calls in which an array was as it should be, and that of the others."""
        into, numbers = self._state(array), range(len(BEFORE), len(BEFORE) + len(CALLS))
        tokens_of_kind = judgement.fault.calls if judgement.fault else CALLS
        of_kind = tuple(number for number, tokens in zip(numbers, CALLS, strict=True) if tokens in tokens_of_kind)
        if right := tuple(number for number in numbers if number not in of_kind):
            yield Flow(into=into, source=into, kind="carried", calls=right)
        yield Flow(into=into, source=judgement.source, kind=judgement.kind, calls=of_kind)

    def _findings(self, judged: list[_Judged]) -> Iterator[Finding]:
        """Yield one finding for each fault, class and kind of array: equal layers of a stack err alike."""
        groups: dict[tuple[object, ...], list[tuple[ArrayFlow, _Fault]]] = {}
        for array, judgement in judged:
            if fault := judgement.fault:
                key = (fault.rule, fault.calls, self._kind(array.owner), _pattern(array.path))
                groups.setdefault(key, []).append((array, fault))
        for alike in groups.values():
            array, fault = alike[0]
            within = fault.rule == "crossed-state" and fault.giver == self._name(array.reader)  # layers of one module
            names = (self._name(each.owner) + f".{each.slot}" * within for each, _ in alike)
            _, *others = dict.fromkeys(names)
            more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
            message = fault.message + (f"; likewise in {', '.join(others[:_NAMED])}{more}" if others else "")
            chain = (None if fault.rule == "shared-state" else array.owner) or array.writer
            spot = spot_of(self._module, chain) if chain else Spot()
            finding = finding_of(fault.rule, Detection(sentence=message, at=spot))
            yield msgspec.structs.replace(finding, source_layer=fault.giver)

    def _name(self, chain: Chain | None) -> str:
        """Return the name of the innermost module; for the whole model that of its class."""
        return (chain[-1] or type(self._module).__name__) if chain else "step"

    def _state(self, array: ArrayFlow) -> Slot:
        return Slot(layer=self._name(array.owner), slot=self._slots[array.path])

    def _kind(self, chain: Chain | None) -> str:
        return type(self._module.get_submodule(chain[-1])).__name__ if chain else "function"


def _is_stale(judgement: _Judgement) -> bool:
    return judgement.fault is not None and judgement.fault.rule == "stale-state"


def _tokens(counts: Collection[int]) -> str:
    """Write numbers of tokens: `1 token and of 3 tokens`."""
    return " and of ".join("1 token" if count == 1 else f"{count} tokens" for count in sorted(counts))


def _pattern(path: str) -> str:
    """Return a path with its numbers left out: arrays of different layers are then alike."""
    return re.sub(r"\d+", "#", path)


def _slot(path: str) -> str:
    """Return the name of an array: the end of its path from the last step that has a name, or all of it.

    Example:
        >>> _slot("state.cache.layers[0].conv_states[0]"), _slot("state.attributes['rnn.0.h']"), _slot("state[1]")
        ('conv_states[0]', 'h', 'state[1]')
    """
    named = _NAME_AT_END.search(path)
    return path if named is None else "".join(named.groups())
