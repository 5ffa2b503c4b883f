"""Tolerant adapters: call a model of any kind for the check, with the state exactly as it returned it.

The check must run models that are wrong, so these adapters ask for less than those of `rnneval.models.adapters`, whose
base they share: a model that takes a state and never returns one, that keeps it in an attribute, or that returns it in
a container of its own, is called too.
"""

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from rnneval.models.adapters import (
    LOGIT_KEYS,
    ONE_HOT,
    SCALED,
    Convention,
    GraphInputs,
    Inputs,
    call_parameters,
    convention_of,
)
from rnneval.models.layers import is_graph, sublayers

_PLAIN = ("training", "mask", "return_sequences", "self")
_OLD_STYLE = re.compile(r"^(h|c|s|hx|cx|state|carry|prev|past|mem|hid)")
_STARTS = ("get_initial_state", "initial_state", "zero_state", "init_state", "initial_states", "init_hidden")
_SCALE = 16
"""The divisor of ids for an input of single numbers: any that keeps the few ids of a probe apart."""

_RESET = re.compile(
    r"(reset|clear|forget|begin|start|new)(_all|_rnn|_my|_own|_new)?"
    r"(_(hidden_)?(state|states|memory|memories|cache|caches|hidden|carry|context|document|text|session|sequence))?"
)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The result of one call."""

    logits: Any
    state: Any = None
    """The state as the model returned it; None if it returned none."""


@dataclass(kw_only=True, eq=False)
class TolerantAdapter:
    """A way of calling one model."""

    model: Any
    takes_states: bool
    batch: int | None = None
    """The only batch size that it takes, where it takes one only."""
    time: int | None = None
    is_stateless_graph: bool = False
    training: bool = False
    """Whether it is called as a training loop calls it."""

    def __call__(self, ids: Sequence[Any], state: Any) -> Answer:
        """Read ids, one array for each of the model's texts, from a state (None for the model's own start)."""
        raise NotImplementedError

    @property
    def takes_training(self) -> bool:
        """True if the model can be called with training=True."""
        return True

    @property
    def texts(self) -> int:
        """The number of arrays of ids that the model reads."""
        return 1


@dataclass(kw_only=True, eq=False)
class TolerantSignature(TolerantAdapter):
    """A subclassed model, or any object or function that is called with ids and maybe a state."""

    convention: Convention
    spread: bool = False
    """Whether `*states` takes the state."""
    more_texts: tuple[str, ...] = ()
    paired: str = ""
    """`texts` or `state` where the first argument is a pair: of two texts, or of ids and the state."""

    @property
    def texts(self) -> int:
        """The number of arrays of ids that the model reads."""
        return 2 if self.paired == "texts" else 1 + len(self.more_texts)

    @property
    def takes_training(self) -> bool:
        """True if `call` has an argument `training`."""
        return self.convention.takes_training

    def __call__(self, ids: Sequence[Any], state: Any) -> Answer:
        """Call the model, and divide what it returns into logits and state."""
        positional, named = self._arguments(ids, state)
        return divided(call_model(self.model, positional, named), ids[0])

    def _arguments(self, ids: Sequence[Any], state: Any) -> tuple[list[Any], dict[str, Any]]:
        """Return the positional and named arguments of a call with these texts and this state."""
        convention, named = self.convention, self.convention.options(training=self.training)
        if self.paired == "state":
            return [(ids[0], state)], named
        positional: list[Any] = [tuple(ids) if self.paired == "texts" else ids[0]]
        named |= dict(zip(self.more_texts, ids[1:], strict=False))
        if state is None and convention.required:
            state = self._start(int(ids[0].shape[0]))
            if state is None:
                return positional, named | {convention.state_names[0]: None}
        if state is None:
            return positional, named
        if self.spread:
            return [*positional, *(state if isinstance(state, (list, tuple)) else [state])], named
        names = convention.state_names
        if len(names) > 1 and isinstance(state, Mapping) and not set(names) <= set(state):
            return positional, named | {names[0]: state}  # a part that no argument takes must not be dropped unseen
        return positional, named | convention.state_arguments(state)

    def _start(self, batch: int) -> Any:
        """Return the start that the model itself offers, where it insists on being given one."""
        makers = (getattr(self.model, name, None) for name in _STARTS)
        maker = next((maker for maker in makers if callable(maker)), None)
        return None if maker is None else maker(batch)


@dataclass(kw_only=True, eq=False)
class TolerantGraph(TolerantAdapter):
    """A Sequential or functional model, with or without inputs and outputs for states."""

    inputs: GraphInputs

    @property
    def texts(self) -> int:
        """The number of arrays of ids that the model reads."""
        return len(self.inputs.texts)

    def __call__(self, ids: Sequence[Any], state: Any) -> Answer:
        """Call the model; its own start is zeros."""
        tensors = list(getattr(self.model, "inputs", None) or [None])
        texts = [_encoded(text, tensors[place]) for text, place in zip(ids, self.inputs.texts, strict=True)]
        states = self.inputs.zero_states(int(ids[0].shape[0])) if state is None else list(state)
        given = self.inputs.packed(texts, states) if len(tensors) > 1 else texts[0]
        # The call below the outermost check: a graph whose Input fixes the length still runs on another one.
        fits = self.time is None or int(ids[0].shape[1]) == self.time
        target = self.model if fits else self.model.call
        # Without `training`, which would override what the author set for a layer: training=True stays on as written.
        returned = call_model(target, [given], {"training": True} if self.training else {})
        if not self.inputs.states:
            return divided(returned, ids[0]) if len(keras.tree.flatten(returned)) > 1 else Answer(logits=returned)
        return self._answer(returned)

    def _answer(self, returned: Any) -> Answer:
        """Divide what a graph returns: states by the names of their inputs, else all outputs but the first."""
        if isinstance(returned, Mapping):
            keys = list(self.model.input) if isinstance(self.model.input, Mapping) else []
            wanted = [keys[place] for place in self.inputs.states] if keys else []
            if wanted and set(wanted) <= set(returned):
                logits = next(value for key, value in returned.items() if key not in wanted)
                return Answer(logits=logits, state=tuple(returned[key] for key in wanted))
        logits, *states = keras.tree.flatten(returned)
        return Answer(logits=logits, state=tuple(states))


def call_model(model: Any, positional: Sequence[Any], named: Mapping[str, Any]) -> Any:
    """Call a model; `source` knows this function by its name as the end of the author's frames."""
    return model(*positional, **named)


def adapters_for(model: Any) -> Iterator[TolerantAdapter]:
    """Yield the ways in which a model may want to be called, the likeliest first."""
    if is_graph(model):
        yield _graph_adapter(model)
        return
    plain = _signature_adapter(model)
    yield plain
    if not plain.more_texts:
        yield dataclasses.replace(plain, paired="texts")
        if not plain.takes_states:
            yield dataclasses.replace(plain, paired="state", takes_states=True)


def _graph_adapter(model: Any) -> TolerantGraph:
    """Return the way to call a graph of Keras: the last inputs are states, one fewer than there are outputs."""
    inputs = list(getattr(model, "inputs", None) or [])
    outputs = len(getattr(model, "outputs", None) or [None])
    states = tuple(range(len(inputs)))[len(inputs) - (outputs - 1) :] if 1 < outputs <= len(inputs) else ()
    texts = tuple(place for place in range(len(inputs)) if place not in states) or (0,)
    shape = tuple(inputs[texts[0]].shape) if inputs else (None, None)
    return TolerantGraph(
        model=model,
        takes_states=bool(states),
        batch=shape[0] or fixed_batch(model),
        time=shape[1] if len(shape) > 1 else None,
        is_stateless_graph=not states and not any(layer.stateful for layer in recurrent_layers(model)),
        inputs=GraphInputs(model=model, texts=texts, states=states),
    )


def _signature_adapter(model: Any) -> TolerantSignature:
    """Return the way to call a model as the signature of its `call` says."""
    parameters = call_parameters(model)
    names = _state_names(model, parameters)
    options = {p.name for p in parameters if _is_flag(p) or p.name == "training"}
    needed = [
        p.name for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    ]
    spread = any(p.kind is p.VAR_POSITIONAL for p in parameters) and not names
    return TolerantSignature(
        model=model,
        takes_states=bool(names) or spread,
        batch=fixed_batch(model),
        convention=Convention(
            state_names=names,
            required=tuple(name for name in needed if name in names),
            flags=tuple(p.name for p in parameters if _is_flag(p) and p.name != "training"),
            takes_training="training" in options,
        ),
        spread=spread,
        more_texts=tuple(name for name in needed if name not in names and name not in options),
    )


def _state_names(model: Any, parameters: Sequence[inspect.Parameter]) -> tuple[str, ...]:
    """Return the names of the parameters that take a state: usual names, or names that begin like one."""
    convention = convention_of(model)
    usual = convention.state_names if convention else ()

    def takes_state(p: inspect.Parameter) -> bool:
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) or isinstance(p.default, (dict, list)) or _is_flag(p):
            return False
        begins_alike = bool(_OLD_STYLE.match(p.name))
        named = (p.name in usual if usual else begins_alike) and p.name not in _PLAIN
        return named or (p.default is None and begins_alike)

    return tuple(p.name for p in parameters if takes_state(p))


def _is_flag(parameter: inspect.Parameter) -> bool:
    word = re.search(r"state|hidden|carry|memory", parameter.name)
    asks = parameter.name.startswith(("return_", "with_", "output_", "give_"))
    return bool(word) and (asks or isinstance(parameter.default, bool))


def divided(returned: Any, ids: Any) -> Answer:
    """Divide what a model returned into logits and state, whatever the container."""
    if dataclasses.is_dataclass(returned) and not isinstance(returned, type):
        returned = {f.name: getattr(returned, f.name) for f in dataclasses.fields(returned)}
    if isinstance(returned, Mapping):
        return _divided_mapping(returned, ids)
    if isinstance(returned, (tuple, list)) and len(returned) > 1:
        at = next((i for i, part in enumerate(returned) if _looks_like_logits(part, ids)), 0)
        rest = [part for i, part in enumerate(returned) if i != at]
        return Answer(logits=returned[at], state=rest[0] if len(rest) == 1 else rest)
    if isinstance(returned, (tuple, list)) and returned:
        returned = returned[0]
    return Answer(logits=returned)


def _divided_mapping(returned: Mapping[str, Any], ids: Any) -> Answer:
    key = next((name for name in LOGIT_KEYS if name in returned), None)
    if key is None:
        key = next((name for name, part in returned.items() if _looks_like_logits(part, ids)), next(iter(returned)))
    rest = {name: part for name, part in returned.items() if name != key}
    return Answer(logits=returned[key], state=(next(iter(rest.values())) if len(rest) == 1 else rest) or None)


def _looks_like_logits(part: Any, ids: Any) -> bool:
    shape = getattr(part, "shape", None)
    return shape is not None and len(shape) == 3 and tuple(shape[:2]) == tuple(ids.shape[:2])


def fixed_batch(model: Any) -> int | None:
    """Return the batch size that a stateful layer was built for."""
    for layer in recurrent_layers(model):
        leaves = keras.tree.flatten(getattr(layer, "states", None) or ()) if layer.stateful else []
        if leaves:
            return int(leaves[0].shape[0])
    return None


def reset_of(model: Any) -> Callable[[], Any] | None:
    """Return the method by which the model's author begins a new document, such as `reset_state`; None without one."""
    for name in dir(type(model)):
        method: Callable[[], Any] | None = getattr(model, name, None) if _RESET.fullmatch(name) else None
        if callable(method) and not any(p.default is p.empty for p in inspect.signature(method).parameters.values()):
            return method
    return None


def recurrent_layers(model: Any) -> list[Any]:
    """Return the recurrent layers of a model, at any depth."""
    return [layer for layer in sublayers(model) if isinstance(layer, keras.layers.RNN)]


def _encoded(ids: Any, tensor: Any) -> Any:
    """Return ids as an input wants them: as they are, as one-hot rows, or as numbers in (0, 1)."""
    if tensor is None or len(tensor.shape) < 3:
        return ids
    width = int(tensor.shape[-1] or 1)
    return Inputs(kind=ONE_HOT if width > 1 else SCALED, width=width if width > 1 else _SCALE).encode(ids)
