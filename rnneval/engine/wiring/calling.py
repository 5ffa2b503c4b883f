"""How a model of any kind is called for the check: one more segment, with the state exactly as it gave it back.

The check must run models that are wrong, so it asks for less than `rnneval.models.adapters` does: a model that takes a
state and never returns one, that keeps it in an attribute, or that returns it in a container of its own, is called too.
The names of arguments are read by the same code.
"""

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from rnneval.models.adapters import convention_of
from rnneval.models.layers import is_graph, sublayers

_PLAIN = ("training", "mask", "return_sequences", "self")
_LOGITS = ("logits", "outputs", "output", "predictions", "y", "x")
_OLD_STYLE = re.compile(r"^(h|c|s|hx|cx|state|carry|prev|past|mem|hid)")

_RESET = re.compile(
    r"(reset|clear|forget|begin|start|new)(_all|_rnn|_my|_own|_new)?"
    r"(_(hidden_)?(state|states|memory|memories|cache|caches|hidden|carry|context|document|text|session|sequence))?"
)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one call gave."""

    logits: Any
    state: Any = None
    """As the model returned it; None where it returned none."""


@dataclass(kw_only=True, eq=False)
class Call:
    """A way of calling one model."""

    model: Any
    takes_states: bool
    batch: int | None = None
    """The only batch size that it takes, where it takes one only."""
    time: int | None = None
    contract_4: bool = False
    training: bool = False
    """Whether it is called as a training loop calls it."""

    def __call__(self, ids: Sequence[Any], state: Any) -> Answer:
        """Read ids, one array for each of the model's texts, from a state (None for the model's own start)."""
        raise NotImplementedError

    @property
    def takes_training(self) -> bool:
        """Whether the model can be called with training=True."""
        return True

    @property
    def texts(self) -> int:
        """How many arrays of ids it reads."""
        return 1


@dataclass(kw_only=True, eq=False)
class SignatureCall(Call):
    """A subclassed model, or any object or function that is called with ids and maybe a state."""

    state_names: tuple[str, ...] = ()
    spread: bool = False
    """Whether `*states` takes it."""
    required: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    more_texts: tuple[str, ...] = ()
    paired: str = ""
    """Whether the first argument is a pair: of `texts`, or of ids and `state`."""

    @property
    def texts(self) -> int:
        """How many arrays of ids it reads."""
        return 2 if self.paired == "texts" else 1 + len(self.more_texts)

    @property
    def takes_training(self) -> bool:
        """Whether `call` has an argument `training`."""
        return "training" in self.options

    def __call__(self, ids: Sequence[Any], state: Any) -> Answer:
        """Call it, and divide what it returns into logits and state."""
        positional, named = self._arguments(ids, state)
        return divided(call_model(self.model, positional, named), ids[0])

    def _arguments(self, ids: Sequence[Any], state: Any) -> tuple[list[Any], dict[str, Any]]:
        named: dict[str, Any] = dict(self.options) | ({"training": self.training} if self.takes_training else {})
        if self.paired == "state":
            return [(ids[0], state)], named
        positional: list[Any] = [tuple(ids) if self.paired == "texts" else ids[0]]
        named |= dict(zip(self.more_texts, ids[1:], strict=False))
        if state is None:
            state = self._start(int(ids[0].shape[0])) if self.required else None
        if state is None:
            return positional, named | ({self.state_names[0]: None} if self.required else {})
        if self.spread:
            return [*positional, *_as_list(state)], named
        return positional, named | self._named(state)

    def _named(self, state: Any) -> dict[str, Any]:
        names = self.state_names
        if not names:
            return {}
        if len(names) > 1 and isinstance(state, Mapping) and set(names) <= set(state):
            return {name: state[name] for name in names}
        if len(names) > 1 and isinstance(state, (list, tuple)) and len(state) == len(names):
            return dict(zip(names, state, strict=True))
        return {names[0]: state}

    def _start(self, batch: int) -> Any:
        """The start that the model itself offers, where it insists on being given one."""
        for name in ("get_initial_state", "initial_state", "zero_state", "init_state", "initial_states", "init_hidden"):
            maker = getattr(self.model, name, None)
            if callable(maker):
                return maker(batch)
        return None


@dataclass(kw_only=True, eq=False)
class GraphCall(Call):
    """A Sequential or functional model, with or without inputs and outputs for states."""

    text_inputs: tuple[int, ...] = (0,)
    state_inputs: tuple[int, ...] = ()

    @property
    def texts(self) -> int:
        """How many arrays of ids it reads."""
        return len(self.text_inputs)

    def __call__(self, ids: Sequence[Any], state: Any) -> Answer:
        """Call it; its own start is zeros, since a state input has no default."""
        flat = self._flat_inputs(ids, state)
        struct = getattr(self.model, "_inputs_struct", None)
        given = keras.tree.pack_sequence_as(struct, flat) if struct is not None and len(flat) > 1 else flat[0]
        # The call below the outermost check: a graph whose Input fixes the length still runs on another one.
        fits = self.time is None or int(ids[0].shape[1]) == self.time
        target = self.model if fits else self.model.call
        # Without `training`, which would override what the author set for a layer: training=True stays on as written.
        returned = call_model(target, [given], {"training": True} if self.training else {})
        if not self.state_inputs:
            return divided(returned, ids[0]) if len(keras.tree.flatten(returned)) > 1 else Answer(logits=returned)
        return self._answer(returned)

    def _flat_inputs(self, ids: Sequence[Any], state: Any) -> list[Any]:
        inputs = list(self.model.inputs) if getattr(self.model, "inputs", None) else [None]
        flat: list[Any] = [None] * len(inputs)
        for place, text in zip(self.text_inputs, ids, strict=True):
            flat[place] = _encoded(text, inputs[place])
        batch = int(ids[0].shape[0])
        states = list(state) if state is not None else [_zeros(inputs[place], batch) for place in self.state_inputs]
        for place, leaf in zip(self.state_inputs, states, strict=True):
            flat[place] = leaf
        return flat

    def _answer(self, returned: Any) -> Answer:
        if isinstance(returned, Mapping):
            keys = list(self.model._inputs_struct) if isinstance(self.model._inputs_struct, Mapping) else []
            wanted = [keys[place] for place in self.state_inputs] if keys else []
            if wanted and set(wanted) <= set(returned):
                logits = next(value for key, value in returned.items() if key not in wanted)
                return Answer(logits=logits, state=tuple(returned[key] for key in wanted))
        logits, *states = keras.tree.flatten(returned)
        return Answer(logits=logits, state=tuple(states))


def call_model(model: Any, positional: Sequence[Any], named: Mapping[str, Any]) -> Any:
    """The one place where a model is called; its name tells `source` where the author's frames end."""
    return model(*positional, **named)


def ways_of_calling(model: Any) -> Iterator[Call]:
    """The ways in which a model may want to be called, the likeliest first."""
    if is_graph(model):
        yield _graph_call(model)
        return
    plain = _signature_call(model)
    yield plain
    if not plain.more_texts:
        yield dataclasses.replace(plain, paired="texts")
        if not plain.state_names and not plain.spread:
            yield dataclasses.replace(plain, paired="state", takes_states=True)


def _graph_call(model: Any) -> GraphCall:
    inputs = list(getattr(model, "inputs", None) or [])
    outputs = len(getattr(model, "outputs", None) or [None])
    states = tuple(range(len(inputs)))[len(inputs) - (outputs - 1) :] if 1 < outputs <= len(inputs) else ()
    texts = tuple(place for place in range(len(inputs)) if place not in states) or (0,)
    shape = tuple(inputs[texts[0]].shape) if inputs else (None, None)
    recurrent = recurrent_layers(model)
    return GraphCall(
        model=model,
        takes_states=bool(states),
        batch=shape[0] or fixed_batch(model),
        time=shape[1] if len(shape) > 1 else None,
        contract_4=not states and not any(layer.stateful for layer in recurrent),
        text_inputs=texts,
        state_inputs=states,
    )


def _signature_call(model: Any) -> SignatureCall:
    parameters = _parameters(model)
    names = _state_names(model, parameters)
    options = {p.name: True for p in parameters if _is_flag(p)}
    if any(p.name == "training" for p in parameters):
        options["training"] = False
    needed = [p for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    spread = any(p.kind is p.VAR_POSITIONAL for p in parameters) and not names
    return SignatureCall(
        model=model,
        takes_states=bool(names) or spread,
        batch=fixed_batch(model),
        state_names=names,
        spread=spread,
        required=any(p.name in names for p in needed),
        options=options,
        more_texts=tuple(p.name for p in needed if p.name not in names and p.name not in options),
    )


def _parameters(model: Any) -> list[inspect.Parameter]:
    target = model.call if isinstance(model, keras.layers.Layer) else getattr(model, "call", model)
    target = getattr(target, "python_function", target)
    try:
        parameters = list(inspect.signature(target).parameters.values())
    except (TypeError, ValueError):
        return []
    if parameters and parameters[0].name == "self":
        parameters = parameters[1:]
    return parameters[1:]


def _state_names(model: Any, parameters: Sequence[inspect.Parameter]) -> tuple[str, ...]:
    convention = convention_of(model)
    parameters = [
        p for p in parameters
        if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and not isinstance(p.default, (dict, list))
    ]  # fmt: skip
    found = convention.state_names if convention else ()
    if not found:
        found = tuple(p.name for p in parameters if _OLD_STYLE.match(p.name))
    taken = tuple(p.name for p in parameters if p.name in found and not _is_flag(p) and p.name not in _PLAIN)
    alike = tuple(p.name for p in parameters if p.default is None and _OLD_STYLE.match(p.name) and not _is_flag(p))
    return tuple(dict.fromkeys([p.name for p in parameters if p.name in {*taken, *alike}]))


def _is_flag(parameter: inspect.Parameter) -> bool:
    word = re.search(r"state|hidden|carry|memory", parameter.name)
    asks = parameter.name.startswith(("return_", "with_", "output_", "give_"))
    return bool(word) and (asks or isinstance(parameter.default, bool))


def divided(returned: Any, ids: Any) -> Answer:
    """Divide what a model returned into logits and state, in whatever container."""
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
    key = next((name for name in _LOGITS if name in returned), None)
    if key is None:
        key = next((name for name, part in returned.items() if _looks_like_logits(part, ids)), next(iter(returned)))
    rest = {name: part for name, part in returned.items() if name != key}
    return Answer(logits=returned[key], state=(next(iter(rest.values())) if len(rest) == 1 else rest) or None)


def _looks_like_logits(part: Any, ids: Any) -> bool:
    shape = getattr(part, "shape", None)
    return shape is not None and len(shape) == 3 and tuple(shape[:2]) == tuple(ids.shape[:2])


def fixed_batch(model: Any) -> int | None:
    """The batch size that a stateful layer was built for."""
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
    """Ids as this input wants them: as they are, as one-hot rows, or as numbers in (0, 1)."""
    if tensor is None or len(tensor.shape) < 3:
        return ids
    width = int(tensor.shape[-1] or 1)
    return tf.one_hot(ids, width) if width > 1 else tf.cast(ids, tf.float32)[..., tf.newaxis] / 16.0


def _zeros(tensor: Any, batch: int) -> Any:
    return tf.constant(np.zeros([batch, *tensor.shape[1:]]), tensor.dtype)


def _as_list(state: Any) -> list[Any]:
    return list(state) if isinstance(state, (list, tuple)) else [state]
