"""How a model is called: one drive for each state contract.

A drive turns `(ids, leaves)` into `(output, leaves)`, where the leaves are the flat parts of the state as the model
itself returns it, and `None` stands for the model's own start.
"""

import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import keras
import tensorflow as tf

from rnneval.errors import CheckpointError
from rnneval.models.layers import Unit, sublayers
from rnneval.models.state_tap import UnitRun, overridden, record_runs

STATE_NAMES = (
    "states", "state", "initial_states", "initial_state", "hidden_states", "hidden_state", "hiddens", "hidden",
    "rnn_states", "rnn_state", "prev_states", "prev_state", "memory", "carry", "cache", "h", "hx", "h0",
)  # fmt: skip
_STATE_WORDS = ("state", "hidden", "carry", "memory", "cell")
_STATE_LETTERS = re.compile(r"[hc]x?_?\d*")  # h and c, hx and cx, h1 and h2
_LOGIT_KEYS = ("logits", "outputs", "output", "predictions", "x", "y")


class Called(NamedTuple):
    """What one call gave."""

    output: Any
    """`(batch, time, V)`: logits or probabilities, as the model gives them."""
    leaves: tuple[Any, ...]


class Drive(Protocol):
    """One way of calling a model."""

    contract: int

    def __call__(self, ids: Any, leaves: Sequence[Any] | None) -> Called:
        """Run the model over `(batch, time)` ids from a state, or from its own start where leaves is None."""
        ...


@dataclass(frozen=True, kw_only=True)
class Convention:
    """How a subclassed model's `call` names its state, and what makes it give the state back."""

    state_names: tuple[str, ...]
    required: tuple[str, ...] = ()
    """Those without a default: given None at the start."""
    flag: str | None
    takes_training: bool


def convention_of(model: Any) -> Convention | None:
    """Read the convention from the signature of `call`; None where it takes no state.

    Recognised are the usual argument names (`states`, `state`, `initial_state`, `hidden`, …), arguments with such a
    word or letter for a name and None as their default (`h` and `c`, `lstm_state`), and flags that begin with
    `return_`.
    """
    try:
        parameters = list(inspect.signature(getattr(model, "call", model)).parameters.values())[1:]
    except (TypeError, ValueError):
        return None
    given = [parameter for parameter in parameters if _is_state(parameter)]
    names = [parameter.name for parameter in parameters]
    flags = [name for name in names if name.startswith("return_") and any(word in name for word in _STATE_WORDS)]
    if not given:
        return None
    return Convention(
        state_names=tuple(parameter.name for parameter in given),
        required=tuple(parameter.name for parameter in given if parameter.default is inspect.Parameter.empty),
        flag=flags[0] if flags else None,
        takes_training="training" in names,
    )


def _is_state(parameter: inspect.Parameter) -> bool:
    name = parameter.name
    if parameter.kind in {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}:
        return False
    like_one = any(word in name for word in _STATE_WORDS) or _STATE_LETTERS.fullmatch(name)
    return name in STATE_NAMES or (parameter.default is None and bool(like_one))


@dataclass(kw_only=True, eq=False)
class SubclassedDrive:
    """Contract 1: `call(ids, states=None, return_state=False, training=False)` or the like, any container of states."""

    model: Any
    convention: Convention
    contract: int = 1
    structure: Any = field(default=None, init=False)
    """The container of the last returned state, with 0 for each leaf: learned at the first call."""

    def __call__(self, ids: Any, leaves: Sequence[Any] | None) -> Called:
        """Call the model with the state packed as it returned it."""
        output, state = self._split(self.model(ids, **self._arguments(leaves)))
        self.structure = tf.nest.map_structure(lambda leaf: None if leaf is None else 0, state)
        return Called(output, tuple(tf.convert_to_tensor(leaf) for leaf in _present(tf.nest.flatten(state))))

    def _arguments(self, leaves: Sequence[Any] | None) -> dict[str, Any]:
        arguments: dict[str, Any] = {}
        if self.convention.flag:
            arguments[self.convention.flag] = True
        if self.convention.takes_training:
            arguments["training"] = False
        if leaves is None:
            return arguments | dict.fromkeys(self.convention.required)
        return arguments | self._state_arguments(self._packed(leaves))

    def _state_arguments(self, state: Any) -> dict[str, Any]:
        """Give one argument the whole state, or each of several its part: by its name, else by its place."""
        names = self.convention.state_names
        if len(names) > 1 and isinstance(state, dict) and set(state) & set(names):
            return {name: state[name] for name in names if name in state}
        if len(names) > 1 and isinstance(state, (list, tuple)) and len(state) == len(names):
            return dict(zip(names, state, strict=True))
        return {names[0]: state}

    def _packed(self, leaves: Sequence[Any]) -> Any:
        """Put the leaves into the container that the model returned; a None in it stays None."""
        rest = iter(leaves)
        flat = [None if leaf is None else next(rest) for leaf in tf.nest.flatten(self.structure)]
        return tf.nest.pack_sequence_as(self.structure, flat)

    def _split(self, returned: Any) -> tuple[Any, Any]:
        """Divide what the model returned into the output and the state."""
        if isinstance(returned, dict):
            keys = [key for key in _LOGIT_KEYS if key in returned]
            if keys and len(returned) > 1:
                return returned[keys[0]], self._state_in({k: v for k, v in returned.items() if k != keys[0]})
        elif isinstance(returned, (tuple, list)) and len(returned) > 1:
            rest_list = list(returned[1:])
            return returned[0], rest_list[0] if len(rest_list) == 1 else rest_list
        name = type(self.model).__name__
        hint = f"{self.convention.flag}=True" if self.convention.flag else "a state"
        raise CheckpointError(
            f"{name}.call takes {' and '.join(self.convention.state_names)} but does not give a state back "
            f"(called with {hint} it returned {type(returned).__name__}): return (logits, states)"
        )

    def _state_in(self, rest: dict[str, Any]) -> Any:
        """What is the state of a returned dictionary: the one thing, the one named like the argument, or all of it."""
        names = self.convention.state_names
        named = [key for key in rest if key in names] or [key for key in rest if key in STATE_NAMES]
        if len(rest) == 1 or (len(names) == 1 and len(named) == 1):
            return rest[(named or list(rest))[0]]
        return rest


@dataclass(kw_only=True, eq=False)
class RewiredDrive:
    """Contracts 3 and 4: the model has no door for its state, so each recurrent layer is handed its own.

    The same layers run the same code; only the initial state of each is replaced, and its last state kept (see
    `record_runs`). A layer that is stateful is run as if it were not, so that its variables stay as they are.
    """

    model: Any
    units: tuple[Unit, ...]
    contract: int = 4
    takes_training: bool = True
    training: bool | None = False
    """None leaves each layer of a graph as its author called it."""
    order: tuple[Unit, ...] = field(default=(), init=False)
    """The units, each at each of its places, in the order in which they run: learned at the first call."""

    def __call__(self, ids: Any, leaves: Sequence[Any] | None) -> Called:
        """Call the model with each unit's part of the leaves as its initial state."""
        with _not_stateful(self.units):
            if not getattr(self.model, "built", True):
                self._run(ids)  # Keras builds a subclassed model by running it once more, which is no run to record
            with _one_token_is_a_row(self.model), record_runs(self.units, self._given(leaves)) as seen:
                output = self._run(ids)
        self.order = self._order(seen, ids.shape[1])
        return Called(output, tuple(leaf for passage in seen for leaf in passage.state_out))

    def _run(self, ids: Any) -> Any:
        return self.model(ids, training=self.training) if self.takes_training else self.model(ids)

    def _given(self, leaves: Sequence[Any] | None) -> dict[Unit, list[Any]]:
        if leaves is None:
            return {}
        rest = iter(leaves)
        return {unit: [next(rest) for _ in unit.slots] for unit in self.order}

    def _order(self, seen: list[UnitRun], tokens: int | None) -> tuple[Unit, ...]:
        for name, again in ((passage.unit.name, passage) for passage in seen if passage.turn > 1):
            if getattr(again.unit.layer, "stateful", False):
                raise CheckpointError(
                    f"layer {name} is stateful and runs twice in one call, so its one variable is the state of two "
                    "places: call it with initial_state, and give call(ids, states=None, return_state=False)"
                )
            if tokens != again.steps:
                raise CheckpointError(
                    f"layer {name} runs again in one call over {again.steps} of {tokens} tokens, and the model takes "
                    "no states: give it call(ids, states=None, return_state=False) so that its state can be carried"
                )
        return tuple(passage.unit.at(passage.turn) for passage in seen)


@dataclass(kw_only=True, eq=False)
class FunctionalStatesDrive:
    """Contract 2: ids and states go in, logits and the same states in the same order come out.

    Lists, nests and dictionaries are flattened as Keras flattens them (dictionaries by sorted keys, so that equal keys
    meet); the ids are the input of whole numbers or of open length, the logits the output that has a time axis.
    """

    model: Any
    contract: int = 2
    training: bool | None = False
    """None leaves each layer of a graph as its author called it."""

    def __call__(self, ids: Any, leaves: Sequence[Any] | None) -> Called:
        """Call the model; its own start is zeros, since a state input has no default."""
        inputs = list(self.model.inputs)
        place = _place_of(inputs, _is_ids)
        states = [inp for k, inp in enumerate(inputs) if k != place]
        if leaves is None:
            leaves = [tf.zeros([tf.shape(ids)[0], *inp.shape[1:]], inp.dtype) for inp in states]
        given = [*leaves[:place], ids, *leaves[place:]]
        outputs = keras.tree.flatten(
            self.model(keras.tree.pack_sequence_as(self.model.input, given), training=self.training)
        )
        output = outputs.pop(_place_of(self.model.outputs, lambda out: len(out.shape) == 3))
        return Called(output, tuple(outputs))


def _place_of(tensors: Sequence[Any], wanted: Callable[[Any], bool]) -> int:
    """The index of the one tensor that is wanted; the first, as is usual, where none or several are."""
    places = [k for k, tensor in enumerate(tensors) if wanted(tensor)]
    return places[0] if len(places) == 1 else 0


def _is_ids(inp: Any) -> bool:
    return "int" in str(inp.dtype) or (len(inp.shape) == 2 and inp.shape[1] is None)


@contextmanager
def _not_stateful(units: Sequence[Unit]) -> Iterator[None]:
    """Run stateful layers as if they were not, and leave their variables as they are."""
    with ExitStack() as stack:
        for unit in units:
            if getattr(unit.layer, "stateful", False):
                stack.enter_context(overridden(unit.layer, "stateful", value=False))
        yield


@contextmanager
def _one_token_is_a_row(model: Any) -> Iterator[None]:
    """Keep the time axis of one-hot rows where there is one token: CategoryEncoding drops an axis of length one."""
    with ExitStack() as stack:
        for layer in sublayers(model):
            if isinstance(layer, keras.layers.CategoryEncoding) and layer.output_mode == "one_hot":
                stack.enter_context(overridden(layer, "call", _rows_of(layer)))
        yield


def _rows_of(layer: Any) -> Callable[[Any], Any]:
    original = layer.call

    def call(inputs: Any) -> Any:
        if len(inputs.shape) != 2:
            return original(inputs)
        return keras.ops.one_hot(inputs, layer.num_tokens, dtype=layer.dtype)

    return call


def _present(leaves: Sequence[Any]) -> list[Any]:
    return [leaf for leaf in leaves if leaf is not None]


def numbers_of(thing: Any) -> Any:
    """Give a tensor's values as an array, for the eager probes on opening."""
    return keras.ops.convert_to_numpy(thing)
