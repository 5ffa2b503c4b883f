"""Adapters: how a model is called with a state, one for each way in which a model passes its state.

An adapter maps `(ids, leaves)` to `(output, leaves)`. The leaves are the flat parts of the state as the model itself
returns it; None stands for the model's own start. Which adapter a model needs is found in `rnneval.models.recognise`,
which calls the way in which a model passes its state its *contract* and numbers these ways 1 to 5 (`Adapter.contract`).

The adapters here refuse what they cannot call without a guess. The wiring check has to run models that are wrong: its
tolerant adapters (`rnneval.models.wiring.calling`) share the reading of signatures and the packing of states.
"""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
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
LOGIT_KEYS = ("logits", "outputs", "output", "predictions", "x", "y")
_STATE_WORDS = ("state", "hidden", "carry", "memory", "cell")
_STATE_LETTERS = re.compile(r"[hc]x?_?\d*")  # h and c, hx and cx, h1 and h2
_MOST_NUMBERS = 1 << 23  # in the inputs of one call, so that one-hot windows of large vocabularies fit into memory


class Called(NamedTuple):
    """The result of one call."""

    output: Any
    """Logits or probabilities as the model returns them, `(batch, time, V)`."""
    leaves: tuple[Any, ...]


class Adapter(Protocol):
    """One way of calling a model."""

    contract: int
    """1 states argument, 2 state inputs, 3 stateful layers, 4 stateless graph, 5 window."""

    def __call__(self, ids: Any, leaves: Sequence[Any] | None) -> Called:
        """Run the model over `(batch, time)` ids from a state, or from its own start where leaves is None."""
        ...


@dataclass(frozen=True, kw_only=True)
class Convention:
    """The names under which a model's `call` takes its state, and the arguments that make it return the state."""

    state_names: tuple[str, ...]
    required: tuple[str, ...] = ()
    """State arguments without a default: they get None at the start."""
    flags: tuple[str, ...] = ()
    """Arguments that are set to True."""
    takes_training: bool = False

    @property
    def flag(self) -> str | None:
        """The first of the flags."""
        return self.flags[0] if self.flags else None

    def options(self, *, training: bool = False) -> dict[str, Any]:
        """Return the arguments of every call, whatever the state."""
        return dict.fromkeys(self.flags, True) | ({"training": training} if self.takes_training else {})

    def state_arguments(self, state: Any) -> dict[str, Any]:
        """Return the arguments that pass a state: all of it to one name, or its parts by name or in order."""
        names = self.state_names
        if len(names) > 1 and isinstance(state, Mapping) and set(state) & set(names):
            return {name: state[name] for name in names if name in state}
        if len(names) > 1 and isinstance(state, (list, tuple)) and len(state) == len(names):
            return dict(zip(names, state, strict=True))
        return {names[0]: state} if names else {}


def call_parameters(model: Any) -> list[inspect.Parameter]:
    """Return the parameters of a model's `call` (or of a function) after the ids; none where they cannot be read."""
    call = getattr(model, "call", model)
    try:
        parameters = list(inspect.signature(getattr(call, "python_function", call)).parameters.values())
    except (TypeError, ValueError):
        return []
    return parameters[2:] if parameters and parameters[0].name == "self" else parameters[1:]


def convention_of(model: Any) -> Convention | None:
    """Read the convention from the signature of `call`; None where it takes no state.

    Recognised are the usual argument names (`states`, `state`, `initial_state`, `hidden`, …), arguments with such a
    word or letter for a name and None as their default (`h` and `c`, `lstm_state`), and flags that begin with
    `return_`.
    """
    parameters = call_parameters(model)
    given = [parameter for parameter in parameters if _is_state(parameter)]
    names = [parameter.name for parameter in parameters]
    flags = [name for name in names if name.startswith("return_") and any(word in name for word in _STATE_WORDS)]
    if not given:
        return None
    return Convention(
        state_names=tuple(parameter.name for parameter in given),
        required=tuple(parameter.name for parameter in given if parameter.default is inspect.Parameter.empty),
        flags=tuple(flags[:1]),
        takes_training="training" in names,
    )


def _is_state(parameter: inspect.Parameter) -> bool:
    name = parameter.name
    if parameter.kind in {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}:
        return False
    like_one = any(word in name for word in _STATE_WORDS) or _STATE_LETTERS.fullmatch(name)
    return name in STATE_NAMES or (parameter.default is None and bool(like_one))


@dataclass(kw_only=True, eq=False)
class StatesArgumentAdapter:
    """Adapter of `call(ids, states=None, return_state=False, training=False)` or the like, with states in any nest."""

    model: Any
    convention: Convention
    contract: int = 1
    structure: Any = field(default=None, init=False)
    """The container of the last returned state, with 0 for each leaf: learned at the first call."""

    def __call__(self, ids: Any, leaves: Sequence[Any] | None) -> Called:
        """Call the model with the state packed as it returned it."""
        if leaves is None:
            given = dict.fromkeys(self.convention.required)
        else:
            rest = iter(leaves)  # a None in the returned container stays None
            flat = [None if leaf is None else next(rest) for leaf in tf.nest.flatten(self.structure)]
            given = self.convention.state_arguments(tf.nest.pack_sequence_as(self.structure, flat))
        output, state = self._split(self.model(ids, **self.convention.options(), **given))
        self.structure = tf.nest.map_structure(lambda leaf: None if leaf is None else 0, state)
        returned = [tf.convert_to_tensor(leaf) for leaf in tf.nest.flatten(state) if leaf is not None]
        return Called(output, tuple(returned))

    def _split(self, returned: Any) -> tuple[Any, Any]:
        """Divide the returned value into the output and the state."""
        if isinstance(returned, dict):
            keys = [key for key in LOGIT_KEYS if key in returned]
            if keys and len(returned) > 1:
                return returned[keys[0]], self._state_in({k: v for k, v in returned.items() if k != keys[0]})
        elif isinstance(returned, (tuple, list)) and len(returned) > 1:
            rest_list = list(returned[1:])
            return returned[0], rest_list[0] if len(rest_list) == 1 else rest_list
        name = type(self.model).__name__
        hint = f"{self.convention.flag}=True" if self.convention.flag else "a state"
        raise CheckpointError(
            f"{name}.call takes {' and '.join(self.convention.state_names)} but does not return a state "
            f"(called with {hint} it returned {type(returned).__name__}): return (logits, states)"
        )

    def _state_in(self, rest: dict[str, Any]) -> Any:
        """Return the state in a dictionary without its logits: the only or the named entry, else all of it."""
        names = self.convention.state_names
        named = [key for key in rest if key in names] or [key for key in rest if key in STATE_NAMES]
        if len(rest) == 1 or (len(names) == 1 and len(named) == 1):
            return rest[(named or list(rest))[0]]
        return rest


@dataclass(frozen=True, kw_only=True)
class GraphInputs:
    """The inputs of a graph: which of them are texts, and which are states."""

    model: Any
    texts: tuple[int, ...] = (0,)
    states: tuple[int, ...] = ()

    def zero_states(self, rows: Any) -> list[Any]:
        """Return the start of a graph: zeros, since a state input has no default."""
        inputs = [self.model.inputs[place] for place in self.states]
        return [tf.zeros([rows, *tensor.shape[1:]], tensor.dtype) for tensor in inputs]

    def packed(self, texts: Sequence[Any], states: Sequence[Any]) -> Any:
        """Return texts and states in the container that the graph takes."""
        given = dict(zip((*self.texts, *self.states), (*texts, *states), strict=True))
        return keras.tree.pack_sequence_as(self.model.input, [given[place] for place in range(len(given))])


@dataclass(kw_only=True, eq=False)
class StateInputsAdapter:
    """Adapter of a graph with inputs and outputs for its states, in the same order.

    Lists, nests and dictionaries are flattened as Keras flattens them (dictionaries by sorted keys, so that equal keys
    meet); the ids are the input of whole numbers or of open length, the logits the output that has a time axis.
    """

    model: Any
    contract: int = 2
    training: bool | None = False
    """None leaves each layer of a graph as its author called it."""

    def __call__(self, ids: Any, leaves: Sequence[Any] | None) -> Called:
        """Call the model; its own start is zeros."""
        count = len(self.model.inputs)
        place = _place_of(self.model.inputs, _is_ids)
        inputs = GraphInputs(model=self.model, texts=(place,), states=(*range(place), *range(place + 1, count)))
        states = inputs.zero_states(tf.shape(ids)[0]) if leaves is None else leaves
        outputs = keras.tree.flatten(self.model(inputs.packed([ids], states), training=self.training))
        output = outputs.pop(_place_of(self.model.outputs, lambda out: len(out.shape) == 3))
        return Called(output, tuple(outputs))


def _place_of(tensors: Sequence[Any], wanted: Callable[[Any], bool]) -> int:
    """Return the index of the one tensor that is wanted; the first, as is usual, where none or several are."""
    places = [k for k, tensor in enumerate(tensors) if wanted(tensor)]
    return places[0] if len(places) == 1 else 0


def _is_ids(inp: Any) -> bool:
    return "int" in str(inp.dtype) or (len(inp.shape) == 2 and inp.shape[1] is None)


@dataclass(kw_only=True, eq=False)
class LayerStatesAdapter:
    """Adapter of a model that takes no state: each recurrent layer is given its own through the state tap.

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
    """The units at each of their places, in the order in which they run: learned at the first call."""

    def __call__(self, ids: Any, leaves: Sequence[Any] | None) -> Called:
        """Call the model with each unit's part of the leaves as its initial state."""
        rest = iter(leaves or ())
        given = {} if leaves is None else {unit: [next(rest) for _ in unit.slots] for unit in self.order}
        with ExitStack() as stack:
            for unit in self.units:
                if getattr(unit.layer, "stateful", False):
                    stack.enter_context(overridden(unit.layer, "stateful", value=False))
            if not getattr(self.model, "built", True):
                self._run(ids)  # Keras builds a subclassed model by running it once more, which is not recorded
            stack.enter_context(_one_token_is_a_row(self.model))
            seen = stack.enter_context(record_runs(self.units, given))
            output = self._run(ids)
        self.order = self._order(seen, ids.shape[1])
        return Called(output, tuple(leaf for run in seen for leaf in run.state_out))

    def _run(self, ids: Any) -> Any:
        return self.model(ids, training=self.training) if self.takes_training else self.model(ids)

    def _order(self, seen: list[UnitRun], tokens: int | None) -> tuple[Unit, ...]:
        for name, again in ((run.unit.name, run) for run in seen if run.turn > 1):
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
        return tuple(run.unit.at(run.turn) for run in seen)


@contextmanager
def _one_token_is_a_row(model: Any) -> Iterator[None]:
    """Keep the time axis of one-hot rows where there is one token: CategoryEncoding drops an axis of length one."""

    def call(layer: Any, original: Callable[[Any], Any], inputs: Any) -> Any:
        if len(inputs.shape) != 2:
            return original(inputs)
        return keras.ops.one_hot(inputs, layer.num_tokens, dtype=layer.dtype)

    with ExitStack() as stack:
        for layer in sublayers(model):
            if isinstance(layer, keras.layers.CategoryEncoding) and layer.output_mode == "one_hot":
                stack.enter_context(overridden(layer, "call", partial(call, layer, layer.call)))
        yield


@dataclass(kw_only=True, eq=False)
class WindowAdapter:
    """Adapter of a window model, which predicts one token from the last N; its state is the last N − 1 ids.

    All positions of all rows are one batch, however the text is cut.
    """

    model: Any
    """Maps `(windows, N)` ids to `(windows, V)`."""
    window: int
    """N."""
    width: int
    """Count of numbers that one token becomes in the input: 1, or V if it is one-hot."""
    takes_training: bool = True
    contract: int = 5

    def __call__(self, ids: Any, leaves: Sequence[Any] | None) -> Called:
        """Predict after every token of `(batch, time)` ids; before the first there are N − 1 ids 0, or the leaf."""
        past = tf.zeros([tf.shape(ids)[0], self.window - 1], tf.int32) if leaves is None else leaves[0]
        both = tf.concat([past, ids], axis=1)  # (batch, N − 1 + time)
        windows = tf.signal.frame(both, self.window, 1)  # (batch, time, N)
        output = self._predictions(tf.reshape(windows, [-1, self.window]))
        shape = tf.concat([tf.shape(ids), [output.shape[-1]]], axis=0)
        shaped = tf.ensure_shape(tf.reshape(output, shape), [*ids.shape, output.shape[-1]])
        return Called(shaped, (both[:, both.shape[1] - self.window + 1 :],))

    def _predictions(self, windows: Any) -> Any:
        """Run the model over `(windows, N)` ids, as many at once as fit into memory."""
        most = max(1, _MOST_NUMBERS // (self.window * self.width))
        count = windows.shape[0]
        if count is None or count <= most:
            return self._call(windows)
        parts = tf.split(windows, [*[most] * (count // most), *([count % most] if count % most else [])])
        return tf.concat([self._call(part) for part in parts], axis=0)

    def _call(self, windows: Any) -> Any:
        return self.model(windows, training=False) if self.takes_training else self.model(windows)


@dataclass(kw_only=True, eq=False)
class OneStepAdapter(LayerStatesAdapter):
    """Adapter of stateful layers that read one token a call and make one prediction: it makes one for every token."""

    def __call__(self, ids: Any, leaves: Sequence[Any] | None) -> Called:
        """Run every layer as if it returned sequences."""
        with ExitStack() as stack:
            for unit in self.units:
                if not unit.layer.return_sequences:
                    stack.enter_context(overridden(unit.layer, "return_sequences", value=True))
            return super().__call__(ids, leaves)


def window_length(model: Any) -> int | None:
    """Return N where the input of a graph says it."""
    inputs = getattr(model, "inputs", None)
    length = inputs[0].shape[1] if inputs and len(inputs[0].shape) > 1 else None
    return None if length is None else int(length)


def predicts_once(model: Any) -> bool:
    """Return whether a graph makes one prediction per call, `(batch, V)`, rather than one per token."""
    outputs = getattr(model, "outputs", None) or []
    return len(outputs) == 1 and len(outputs[0].shape) == 2


def require_recurrent(model: Any, units: Sequence[Unit]) -> None:
    """Refuse a window model without a recurrent layer.

    Raises:
        CheckpointError: there is none.
    """
    if not units:
        raise CheckpointError(
            f"{type(model).__name__} has no recurrent layer: rnneval evaluates recurrent language models"
        )


def numbers_of(thing: Any) -> Any:
    """Return a tensor's values as an array, for the eager probes on opening."""
    return keras.ops.convert_to_numpy(thing)
