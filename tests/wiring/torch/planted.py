"""Faults planted into right models by a patch of a layer's forward: one array of its state, wrong in one way."""

import functools
import inspect
import re
from dataclasses import dataclass

import numpy as np
import torch
from transformers.cache_utils import Cache

from rnneval.models.torch.causal import CachedStep
from rnneval.wiring.torch.diverging import first_diverging, in_calls, module_of_test
from rnneval.wiring.torch.fingerprints import WatchedReading
from rnneval.wiring.torch.flow import flow_of
from rnneval.wiring.torch.fresh import awake
from rnneval.wiring.torch.readers import Interventions
from tests.wiring.torch.tiny import V, made

KINDS = (
    "zeroed",
    "zeroed in calls of several tokens",
    "not written in calls of several tokens",
    "one call old",
    "exchanged between layers",
    "slots exchanged",
    "boundary",
    "beyond eight tokens",
    "padding",
)
SLOTS = ("conv_states", "recurrent_states", "keys", "values")


@dataclass(frozen=True)
class Fault:
    """A fault and its place."""

    model: str
    kind: str
    module: str
    array: str
    other: str = ""  # the module, or the array, that it is exchanged with

    @property
    def modules(self):
        return {self.module, self.other} if self.kind == "exchanged between layers" else {self.module}

    def result(self, found):
        """Return `right`, `module` (and not the array), `near` (a module around or inside), `wrong` or `unseen`."""
        if found is None:
            return "unseen"
        if found.module in self.modules:
            return "right" if self.names(found.arrays) else "module"
        around = any(found.module.startswith(f"{m}.") or m.startswith(f"{found.module}.") for m in self.modules)
        return "near" if around or not found.module else "wrong"

    def names(self, arrays):
        """Whether the array is named, and no array of a layer that has nothing to do with it."""
        slots = [self.array, *([self.other] if self.kind == "slots exchanged" else [])]
        ends = tuple({"h": "[0]", "c": "[1]"}.get(slot, slot) for slot in slots)
        numbers = {re.search(r"layers\.(\d+)", name)[1] for name in self.modules}
        own = [array for array in arrays if set(re.findall(r"(?:layers|state|returned)\[(\d+)\]", array)) & numbers]
        if self.kind == "padding":
            return len(own) == len(arrays)
        return own == list(arrays) and any(
            re.sub(r"(_states)\[0\]$|['\]]*$", r"\1", x).endswith(ends) or x.endswith(ends) for x in own
        )

    def __str__(self):
        return f"{self.model}: {self.kind}, {self.array} of {self.module}{f' with {self.other}' if self.other else ''}"


def sites(step):
    """Return the modules that keep a state, with the names of their arrays and their shapes after five tokens."""
    found = {}
    handles = []
    for name, module in step.module.named_modules():

        def look(module, args, kwargs, result, name=name):
            arrays = _arrays(module, args, kwargs, result)
            if arrays:
                found[name] = {slot: tuple(array.shape) for slot, array in arrays.items()}

        if hasattr(module, "layer_idx") or (name.startswith("layers.") and name.count(".") == 1):
            handles.append(module.register_forward_hook(look, with_kwargs=True))
    step(torch.arange(3, 8)[None].numpy(), None)
    for handle in handles:
        handle.remove()
    # Blocks pass the cache on to the layer inside of them: the innermost module is meant.
    return {n: a for n, a in found.items() if not any(o.startswith(f"{n}.") and set(found[o]) & set(a) for o in found)}


def _arrays(module, args, kwargs, result=None):
    """Return the arrays of a module's state: those in the cache, or given (or returned) beside the sequence."""
    cache = next((value for value in [*args, *kwargs.values()] if isinstance(value, Cache)), None)
    if cache is not None and hasattr(module, "layer_idx") and module.layer_idx < len(cache.layers):
        layer = cache.layers[module.layer_idx]
        attention = "ttention" in type(module).__name__
        arrays = {}
        for slot in SLOTS[2:] if attention else SLOTS[:2]:
            value = getattr(layer, slot, None)
            value = value.get(0) if isinstance(value, dict) else value
            if isinstance(value, torch.Tensor) and value.numel():
                arrays[slot] = value
        return arrays
    state = result[1] if isinstance(result, tuple) and len(result) == 2 else args[1] if len(args) == 2 else None
    if isinstance(state, dict):
        return dict(state)
    return dict(zip("hc", state, strict=True)) if isinstance(state, tuple) else {}


def _put(module, args, kwargs, state, **arrays):
    """Put arrays into the cache or the state that a module is given or returns; return the new state."""
    cache = next((value for value in [*args, *kwargs.values()] if isinstance(value, Cache)), None)
    if cache is None:
        return (
            {**state, **arrays}
            if isinstance(state, dict)
            else tuple({**dict(zip("hc", state, strict=True)), **arrays}.values())
        )
    layer = cache.layers[module.layer_idx]
    for slot, array in arrays.items():
        if isinstance(getattr(layer, slot), dict):
            getattr(layer, slot)[0] = array
        else:
            setattr(layer, slot, array)
    return None


def plant(fault, seed=0):
    """Return the step of a model with a fault."""
    step = made(fault.model, seed)
    if fault.kind == "exchanged between layers":
        _wrap(step.module, functools.partial(_exchange, step, fault))
    else:
        module = step.module.get_submodule(fault.module)
        module.older = None
        _wrap(module, functools.partial(_err, fault))
    step.find_held(np.ones((2, 3), np.int32))
    return step


def _wrap(module, around):
    """Give a module a forward that calls `around(forward, module, args, kwargs)`, and its class the same name."""
    plain = type(module)

    @functools.wraps(plain.forward)
    def forward(self, *args, **kwargs):
        return around(functools.partial(plain.forward, self), self, args, kwargs)

    module.__class__ = type(plain.__name__, (plain,), {"forward": forward, "__module__": plain.__module__})


def _exchange(step, fault, forward, _, args, kwargs):
    """Exchange an array of two layers after every call."""
    seen = {}
    handles = [
        step.module.get_submodule(name).register_forward_hook(
            lambda part, args, kwargs, _, name=name: seen.__setitem__(name, (part, args, kwargs)), with_kwargs=True
        )
        for name in (fault.module, fault.other)
    ]
    result = forward(*args, **kwargs)
    for handle in handles:
        handle.remove()
    (a, *in_a), (b, *in_b) = seen[fault.module], seen[fault.other]
    if isinstance(result, tuple):  # a stack of layers: a list of states
        logits, states = result
        i, j = (int(name.rpartition(".")[2]) for name in (fault.module, fault.other))
        states = [*states]
        one, two = (_arrays(None, (), {}, (None, states[k]))[fault.array] for k in (i, j))
        states[i] = _put(None, (), {}, states[i], **{fault.array: two})
        states[j] = _put(None, (), {}, states[j], **{fault.array: one})
        return logits, states
    one, two = _arrays(a, *in_a)[fault.array], _arrays(b, *in_b)[fault.array]
    _put(a, *in_a, None, **{fault.array: two})
    _put(b, *in_b, None, **{fault.array: one})
    return result


def _err(fault, forward, module, args, kwargs):
    """Run a module with a fault in what it reads or in what it leaves."""
    if fault.kind == "padding":
        return forward(*args, **{**kwargs, "attention_mask": None})
    x = args[0] if args else kwargs["hidden_states"]
    several = x.shape[1] > 1
    given = {slot: array.clone() for slot, array in _arrays(module, args, kwargs).items()}
    before = {slot: array.clone() for slot, array in given.items()}  # a cache is changed in place
    if fault.array not in given:
        module.older = torch.zeros(1) if fault.kind == "one call old" else None
    else:
        array = given[fault.array]
        if fault.kind == "zeroed" or (several and fault.kind == "zeroed in calls of several tokens"):
            given[fault.array] = torch.zeros_like(array)
        elif fault.kind == "one call old":
            if module.older is not None and module.older.shape == array.shape:
                given[fault.array] = module.older
            module.older = array.clone()
        state = _put(module, args, kwargs, args[1] if len(args) == 2 else None, **given)
        if state is not None:
            args = (args[0], state)
    result = forward(*args, **kwargs)
    after = _arrays(module, args, kwargs, result)
    changed = _left(fault, after, before, several, x.shape[1])
    if not changed:
        return result
    state = _put(module, args, kwargs, result[1] if isinstance(result, tuple) else None, **changed)
    return result if state is None else (result[0], state)


def _left(fault, after, before, several, tokens):
    """Return the arrays that a fault leaves other than they should be."""
    array = after.get(fault.array)
    if array is None:
        return {}
    if fault.kind == "slots exchanged":
        return {fault.array: after[fault.other], fault.other: array}
    if fault.kind == "not written in calls of several tokens" and several and fault.array in before:
        return {fault.array: before[fault.array]}
    if fault.kind == "boundary" and several:
        return {fault.array: torch.roll(array, 1, 1 if fault.array == "window" else -1)}
    if fault.kind == "beyond eight tokens" and tokens > 8:
        return {fault.array: 0.9 * array}
    return {}


def faults_of(name):
    """Return all faults that can be planted into a model."""
    step = made(name)
    places = sites(step)
    found = []
    for module, arrays in places.items():
        for slot in arrays:
            grows = slot in SLOTS[2:]
            kinds = ["zeroed", "zeroed in calls of several tokens", "boundary", "beyond eight tokens"]
            kinds += [] if grows else ["one call old", "not written in calls of several tokens"]
            found += [Fault(name, kind, module, slot) for kind in kinds]
            found += [
                Fault(name, "exchanged between layers", module, slot, other)
                for other in places
                if other > module and places[other].get(slot) == arrays[slot]
            ]
            found += [
                Fault(name, "slots exchanged", module, slot, other)
                for other in arrays
                if other > slot and arrays[other] == arrays[slot]
            ]
        if "attention_mask" in inspect.signature(step.module.get_submodule(module).forward).parameters:
            found.append(Fault(name, "padding", module, ""))
    return found


@dataclass(frozen=True)
class Found:
    """The first finding about a model."""

    by: str
    rule: str
    module: str
    arrays: tuple[str, ...]
    text: str

    def __str__(self):
        return self.text


def array_flows(step, width, seed):
    """Return what reads and what wrote each array of the state."""
    with torch.no_grad(), awake(step.module, seed):
        return tuple(Interventions(step, width, seed).arrays())


def locate(step, width=V):
    """Return the first finding about a model: of the flow matrix, else of readings that part; None if all is right."""
    flow = flow_of(step, width)
    for finding in flow.findings:
        named = tuple(array.path for array in array_flows(step, width, 0) if array.path in finding.message)
        return Found("flow", finding.rule, finding.layer, named, finding.message)
    parted = module_of_test("chunk", step, width)
    if parted is None and isinstance(step, CachedStep) and "attention_mask" in step.accepts:
        ids = np.random.default_rng(1).integers(3, width - 1, (1, 13), dtype=np.int32)
        with awake(step.module):
            parted = first_diverging(step.module, in_calls(step, ids, (13,)), padded(step, ids, 4))
    if parted is None:
        return None
    arrays = array_flows(step, width, 0)
    own = tuple(each.path for each in arrays if parted.module in (*(each.reader or ()), *(each.writer or ())))
    return Found("readings", "", parted.module, own, str(parted))


def padded(step, ids, pads):
    """Return the reading of a row that is padded on the left, beside one that is not."""
    rows = np.concatenate([np.pad(ids, ((0, 0), (pads, 0))), np.pad(ids[:, ::-1], ((0, 0), (pads, 0)), "reflect")])
    mask = torch.ones(rows.shape, dtype=torch.long)
    mask[0, :pads] = 0
    given = {"attention_mask": mask}
    if "position_ids" in step.accepts:
        given["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)

    def calls():
        with step.evaluating(), step.holding():
            made = {step.cache_name: step.first_cache(len(rows)), "use_cache": True}
            yield step.module(torch.as_tensor(rows).long(), **made, **given)

    return WatchedReading(calls=calls, tokens=(rows.shape[1],), rows=2, row=0, start=pads)
