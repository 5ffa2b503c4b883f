"""Adapters that call a model with its state, one for each way in which a model takes and returns it.

An adapter maps ids and a state, in the container in which the model itself returned it, to logits and the new state;
None stands for the model's own start. The *state contract* is the way in which the author's model passes its state:

```text
StateContract     what the author wrote                          recognise            adapters_for
ARGUMENT          call(ids, states) → logits, states             SignatureAdapter     SignatureAdapter
GRAPH_INPUTS      Model([ids, s1, s2], [logits, n1, n2])         GraphAdapter         GraphAdapter
STATEFUL_LAYERS   Sequential([…, GRU(…, stateful=True), …])      LayerStatesAdapter   GraphAdapter
STATELESS_GRAPH   Sequential([…, GRU(…), …])                     LayerStatesAdapter   GraphAdapter
WINDOW            Model(the last N ids → one prediction)         WindowAdapter        not called
```

`recognition.py` chooses the adapter of a model.
"""

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any, Literal, NamedTuple, get_args

import keras
import tensorflow as tf

from rnneval.errors import CheckpointError
from rnneval.models.keras.layers import RecurrentUnit, overridden
from rnneval.models.keras.state_tap import UnitRun, record_runs
from rnneval.models.protocol import CARRIED, IDS, ONE_HOT, SCALED

STATE_NAME = re.compile(r"((initial|hidden|rnn|prev)_)?states?|hiddens?|memory|carry|cache|hx?|h0")  # with any default
_LOGIT_KEYS = ("logits", "outputs", "output", "predictions", "x", "y")
_STARTS = ("get_initial_state", "initial_state", "zero_state", "init_state", "initial_states", "init_hidden")
_MOST_NUMBERS = 1 << 23  # in the inputs of one call, so that one-hot windows of large vocabularies fit into memory


BesideIds = Literal["ids and state", "ids and states"]


class StateContract(IntEnum):
    """The way in which a model passes its state; the numbers are those of records."""

    ARGUMENT = 1
    GRAPH_INPUTS = 2
    STATEFUL_LAYERS = 3
    STATELESS_GRAPH = 4
    WINDOW = 5


class Answer(NamedTuple):
    """The result of one call or step."""

    logits: Any  # logits `(batch, time, V)`; probabilities where that is what the model returns
    state: Any = None  # the state as the model returned it, None if it returned none; of a `RecurrentLM` its leaves


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The form in which a model reads a token, recognised by the rank of its input alone: the record says so."""

    kind: str = IDS
    width: int = 0  # V, the size of the vocabulary: the length of a one-hot row, or the divisor of an id

    def encode(self, ids: Any) -> Any:
        """Convert ids `(…, time)` to the model's inputs."""
        if self.kind == ONE_HOT:
            return tf.one_hot(ids, self.width)
        if self.kind == SCALED:
            return tf.cast(ids, tf.float32)[..., tf.newaxis] / self.width
        return ids


@dataclass(kw_only=True, eq=False)
class Adapter:
    """A way of calling one model."""

    model: Any
    contract: StateContract
    takes_states: bool = False
    inputs: tuple[Inputs, ...] = (Inputs(),)  # the form of each text that the model reads
    takes_training: bool = True  # whether it can be called with training=True
    training: bool | None = False  # None leaves each layer of a graph as its author called it
    batch: int | None = None  # the only batch size that it takes, where it takes one only
    time: int | None = None  # the number of tokens that its inputs fix, if they do
    _structure: Any = field(default=None, init=False)  # the container of the last state, with 0 for each leaf

    def __call__(self, ids: Sequence[Any], state: Any) -> Answer:
        """Read ids `(batch, time)`, one array for each of the model's texts, from a state as the model returned it."""
        raise NotImplementedError

    def called_again(self, ids: Sequence[Any], state: Any) -> "tuple[Adapter, Answer]":
        """Give a model the state that it returned; return the way in which it took it, and what it answered."""
        return self, self(ids, state)

    def read(self, ids: Any, leaves: Sequence[Any] | None) -> Answer:
        """Read `(batch, time)` ids from a state, given and returned as its tensors; None is the model's own start."""
        state = None
        if leaves is not None:
            rest = iter(leaves)  # a None in the returned container stays None
            state = tf.nest.map_structure(lambda kept: None if kept is None else next(rest), self._structure)
        logits, new = self([ids], state)
        if new is None and isinstance(self, SignatureAdapter):
            takes = f"{type(self.model).__name__}.call takes {' and '.join(self.state_names)}"
            given = f"does not return a state (it returned a {type(logits).__name__})"
            raise CheckpointError(f"{takes} but {given}: return (logits, states)")
        self._structure = tf.nest.map_structure(lambda leaf: None if leaf is None else 0, new)
        return Answer(logits, tuple(tf.convert_to_tensor(leaf) for leaf in tf.nest.flatten(new) if leaf is not None))

    @property
    def texts(self) -> int:
        """The number of arrays of ids that the model reads."""
        return len(self.inputs)

    @property
    def is_stateless_graph(self) -> bool:
        """True if the author's model passes no state."""
        return self.contract is StateContract.STATELESS_GRAPH

    @property
    def sentence(self) -> str:
        """The contract, as a sentence for the record."""
        return CARRIED[self.contract]

    def _encoded(self, ids: Sequence[Any]) -> list[Any]:
        return [how.encode(text) for how, text in zip(self.inputs, ids, strict=True)]

    def _run(self, ids: Any) -> Any:
        named = {"training": self.training} if self.takes_training else {}
        return self.model(self.inputs[0].encode(ids), **named)


@dataclass(kw_only=True, eq=False)
class SignatureAdapter(Adapter):
    """A subclassed model, or any object or function that is called with ids and maybe a state, by its signature."""

    contract: StateContract = StateContract.ARGUMENT
    state_names: tuple[str, ...]  # the arguments that take the state
    required: tuple[str, ...]  # those of them without a default
    flags: tuple[str, ...]  # arguments that are set to True, so that the state is returned
    spread: bool  # whether `*states` takes the state
    more_texts: tuple[str, ...]  # other arguments without a default
    pair_of: Literal["two texts", "ids and state"] | None = None  # what the first argument holds, if it is a pair
    later: BesideIds | None = None
    """What the first argument holds in each call but the first: (ids, state), or (ids, \\*states)."""
    state_at: int | None = None  # which of the values beside the logits is the state; None where all are

    def __call__(self, ids: Sequence[Any], state: Any) -> Answer:
        """Call the model, and divide what it returns into logits and state."""
        logits, values = self._returned(ids, state)
        return Answer(logits, _joined(values) if self.state_at is None else values[self.state_at])

    def called_again(self, ids: Sequence[Any], state: Any) -> tuple[Adapter, Answer]:
        """Give a model the state that it returned; return the way in which it took it, and what it answered.

        Where no argument takes a state, a tuple with the ids may. Beside the state may be attention weights or a second
        output: where the model fails with all values, it is given each of them alone.
        """
        for way in self._ways(ids, state):
            with suppress(Exception):  # the author's code may raise anything where it is not called as it was meant
                return way, way(ids, state if way.state_at is None else way(ids, None).state)
        return super().called_again(ids, state)

    def _ways(self, ids: Sequence[Any], state: Any) -> "Iterator[SignatureAdapter]":
        """Yield the ways in which a model may take what it returned."""
        if self.takes_states:
            yield self
            _, values = self._returned(ids, None)
            yield from (replace(self, state_at=at) for at in range(len(values)) if values[1:])
        elif self.texts == 1 and state is not None:
            yield from (replace(self, later=later, takes_states=True) for later in get_args(BesideIds))

    def _returned(self, ids: Sequence[Any], state: Any) -> tuple[Any, list[Any]]:
        positional, named = self._arguments(ids, state)
        return _divided(call_model(self.model, positional, named), ids[0], self.state_names)

    @property
    def sentence(self) -> str:
        """The contract, as a sentence for the record."""
        said = f"states argument: call takes {' and '.join([*self.state_names, *self.flags])}"
        return said if self.state_at is None else f"{said}; value {self.state_at + 1} beside the logits is the state"

    def _arguments(self, ids: Sequence[Any], state: Any) -> tuple[list[Any], dict[str, Any]]:
        texts, names = self._encoded(ids), self.state_names
        named: dict[str, Any] = dict.fromkeys(self.flags, True)
        if self.takes_training:
            named["training"] = bool(self.training)
        if self.pair_of == "ids and state":
            return [(texts[0], state)], named
        if self.later is not None and state is not None:
            return [(texts[0], *([state] if self.later == "ids and state" else keras.tree.flatten(state)))], named
        positional: list[Any] = [tuple(texts) if self.pair_of == "two texts" else texts[0]]
        named |= dict(zip(self.more_texts, texts[1:], strict=False))
        if state is None and self.required:  # the start that it offers, where it insists on being given one
            makers = [maker for name in _STARTS if callable(maker := getattr(self.model, name, None))]
            state = makers[0](int(ids[0].shape[0])) if makers else None
        several, is_sequence = len(names) > 1, isinstance(state, (list, tuple))
        if state is None:
            named |= dict.fromkeys(self.required)
        elif self.spread:
            positional += state if is_sequence else [state]
        elif several and isinstance(state, Mapping) and set(names) <= set(state):
            named |= {name: state[name] for name in names}
        elif several and is_sequence and len(state) == len(names):
            named |= dict(zip(names, state, strict=True))
        elif names:
            named[names[0]] = state
        return positional, named


@dataclass(kw_only=True, eq=False)
class GraphAdapter(Adapter):
    """A Sequential or functional model, with or without inputs and outputs for states."""

    text_places: tuple[int, ...] = (0,)  # the places of the texts among the inputs
    state_places: tuple[int, ...] = ()  # the places of the states

    def __call__(self, ids: Sequence[Any], state: Any) -> Answer:
        """Call the model; its own start is zeros, since a state input has no default."""
        if state is None:
            tensors = [self.model.inputs[place] for place in self.state_places]
            state = [tf.zeros([int(ids[0].shape[0]), *tensor.shape[1:]], tensor.dtype) for tensor in tensors]
        arguments = self._encoded(ids)
        if self.state_places or self.texts > 1:
            by_place = dict(zip((*self.text_places, *self.state_places), (*arguments, *state), strict=True))
            flat = [by_place[place] for place in range(len(by_place))]
            arguments = [keras.tree.pack_sequence_as(self.model.input, flat)]
        # The call below the outermost check: a graph whose Input fixes the length still runs on another one.
        fits = self.time is None or int(ids[0].shape[1]) == self.time
        named = {} if self.training is None else {"training": self.training}
        returned = call_model(self.model if fits else self.model.call, arguments, named)
        if self.state_places:
            return self._with_states(returned)
        if len(keras.tree.flatten(returned)) == 1:
            return Answer(returned)
        logits, values = _divided(returned, ids[0])
        return Answer(logits, _joined(values))

    def _with_states(self, returned: Any) -> Answer:
        """Divide what a graph with inputs for states returned.

        States are outputs with the names of their inputs, else all outputs but the one with a time axis, in order.
        """
        if isinstance(returned, Mapping) and isinstance(self.model.input, Mapping):
            keys = sorted(self.model.input)  # the order in which Keras flattens it
            wanted = [keys[place] for place in self.state_places]
            if set(wanted) <= set(returned):
                logits = next(value for key, value in returned.items() if key not in wanted)
                return Answer(logits, tuple(returned[key] for key in wanted))
        outputs = keras.tree.flatten(returned)
        logits = outputs.pop(single_place([len(one.shape) == 3 for one in self.model.outputs]))
        return Answer(logits, tuple(outputs))


def call_model(model: Any, positional: Sequence[Any], named: Mapping[str, Any]) -> Any:
    """Call a model; the wiring check knows this function by its name as the end of the author's frames."""
    return model(*positional, **named)


def single_place(wanted: list[bool]) -> int:
    """Return the place of the one that is wanted; the first, as is usual, where none or several are."""
    return wanted.index(True) if sum(wanted) == 1 else 0


def _divided(returned: Any, ids: Any, names: Sequence[str] = ()) -> tuple[Any, list[Any]]:
    """Divide a returned value into logits and other values; `names` are those of the arguments that take the state."""
    if dataclasses.is_dataclass(returned) and not isinstance(returned, type):
        returned = {f.name: getattr(returned, f.name) for f in dataclasses.fields(returned)}
    if isinstance(returned, Mapping):
        return _divided_by_key(returned, ids, names)
    if not isinstance(returned, (tuple, list)) or not returned:
        return returned, []
    at = next((i for i, part in enumerate(returned) if _looks_like_logits(part, ids)), 0)
    return returned[at], [part for i, part in enumerate(returned) if i != at]


def _divided_by_key(returned: Mapping[str, Any], ids: Any, names: Sequence[str]) -> tuple[Any, list[Any]]:
    """Divide a mapping: logits by a usual key, or by their shape; the state is all others, or the one named as such."""
    alike = (key for key, part in returned.items() if _looks_like_logits(part, ids))
    of_logits = next((key for key in _LOGIT_KEYS if key in returned), None) or next(alike, next(iter(returned)))
    others = {key: part for key, part in returned.items() if key != of_logits}
    # Beside the state may be attention weights and the like; h alone is a part of one.
    named = [k for k in others if k in names] or [k for k in others if STATE_NAME.fullmatch(k) and len(k) > 2]
    state: Any = others
    if len(others) == 1 or (len(names) == 1 and len(named) == 1):
        state = others[(named or list(others))[0]]
    return returned[of_logits], [state] if keras.tree.flatten(state) else []


def _joined(values: list[Any]) -> Any:
    """Return the state that values beside the logits are, None if there are none."""
    return (values[0] if len(values) == 1 else values) if values else None


def _looks_like_logits(part: Any, ids: Any) -> bool:
    shape = getattr(part, "shape", None)
    return shape is not None and len(shape) == 3 and tuple(shape[:2]) == tuple(ids.shape[:2])


@dataclass(kw_only=True, eq=False)
class LayerStatesAdapter(Adapter):
    """A model that takes no state: each recurrent layer is given its own through the state tap, all as one tuple.

    Each is run as if it were not stateful, so that its variables stay as they are, and as if it returned sequences.
    """

    units: tuple[RecurrentUnit, ...]
    order: tuple[RecurrentUnit, ...] = field(default=(), init=False)  # at each place, as they run: of the last call

    def __call__(self, ids: Sequence[Any], state: Any) -> Answer:
        """Call the model with each unit's part of the state as its initial state."""
        rest = iter(state or ())
        initial = {} if state is None else {unit: [next(rest) for _ in unit.slots] for unit in self.order}
        with ExitStack() as stack:
            for unit in self.units:
                for attribute, value in (("stateful", False), ("return_sequences", True)):
                    if getattr(unit.layer, attribute, value) != value:
                        stack.enter_context(overridden(unit.layer, attribute, value))
            if not getattr(self.model, "built", True):
                self._run(ids[0])  # Keras builds a subclassed model by running it once more, which is not recorded
            runs = stack.enter_context(record_runs(self.units, starts=initial)).runs
            logits = self._run(ids[0])
        for run in runs:
            _require_one_place(run, ids[0].shape[1])
        self.order = tuple(run.unit.at(run.turn) for run in runs)
        return Answer(logits, tuple(leaf for run in runs for leaf in run.after))


def _require_one_place(run: UnitRun, tokens: int) -> None:
    """Refuse a layer that runs again in one call, at a place whose state cannot be told from that of the first."""
    is_stateful = getattr(run.unit.layer, "stateful", False)
    if run.turn == 1 or (not is_stateful and run.steps == tokens):
        return
    why = f"runs again over {run.steps} of the {tokens} tokens of a call, and there are no states"
    if is_stateful:
        why = "is stateful and runs twice in one call, so its one variable is the state of two places"
    raise CheckpointError(f"layer {run.unit.name} {why}: give the model call(ids, states=None, return_state=False)")


@dataclass(kw_only=True, eq=False)
class WindowAdapter(Adapter):
    """A window model, which predicts one token from the last N; its state is the last N − 1 ids."""

    contract: StateContract = StateContract.WINDOW
    window: int  # N: the model maps `(windows, N)` tokens to `(windows, V)`

    def __call__(self, ids: Sequence[Any], state: Any) -> Answer:
        """Predict after every token of `(batch, time)` ids; before the first there are N − 1 ids 0, or the state."""
        text = ids[0]
        past = tf.zeros([tf.shape(text)[0], self.window - 1], tf.int32) if state is None else state[0]
        both = tf.concat([past, text], axis=1)  # (batch, N − 1 + time)
        windows = tf.signal.frame(both, self.window, 1)  # (batch, time, N)
        output = self._predictions(tf.reshape(windows, [-1, self.window]))
        shape = tf.concat([tf.shape(text), [output.shape[-1]]], axis=0)
        shaped = tf.ensure_shape(tf.reshape(output, shape), [*text.shape, output.shape[-1]])
        return Answer(shaped, (both[:, both.shape[1] - self.window + 1 :],))

    @property
    def sentence(self) -> str:
        """The contract, as a sentence for the record."""
        return f"window: {self.window} tokens in and one prediction out; the window slides by one token"

    def _predictions(self, windows: Any) -> Any:
        """Run the model over `(windows, N)` ids, as many at once as fit into memory."""
        most = max(1, _MOST_NUMBERS // (self.window * (self.inputs[0].width or 1)))
        count = windows.shape[0]
        if count is None or count <= most:
            return self._run(windows)
        return tf.concat([self._run(windows[at : at + most]) for at in range(0, count, most)], axis=0)
