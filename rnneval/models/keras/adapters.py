"""Adapters: how a model is called with its state, one for each state contract, and in what form it reads a token.

An adapter maps `(ids, leaves)` to `(output, leaves)`. The leaves are the flat parts of the state as the model itself
returns it; None stands for the model's own start. The *state contract* is the way in which a model takes and returns
its state: 1 as an argument of `call`, 2 as inputs of a graph, 3 in stateful layers, 4 not at all (a stateless graph), 5
not at all (a window of fixed length). `recognise` finds it.

The adapters here refuse what they cannot call without a guess. The wiring check has to run models that are wrong: its
tolerant adapters (`rnneval.wiring.keras.subject`) share the reading of signatures and the packing of states.
"""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from rnneval.errors import CheckpointError
from rnneval.models.keras.layers import Unit, is_graph, recurrent_units, sublayers
from rnneval.models.keras.state_tap import overridden, record_runs

IDS, ONE_HOT, SCALED = "ids", "one-hot", "scaled"
STATE_NAMES = (
    "states", "state", "initial_states", "initial_state", "hidden_states", "hidden_state", "hiddens", "hidden",
    "rnn_states", "rnn_state", "prev_states", "prev_state", "memory", "carry", "cache", "h", "hx", "h0",
)  # fmt: skip
LOGIT_KEYS = ("logits", "outputs", "output", "predictions", "x", "y")
_STATE_WORDS = ("state", "hidden", "carry", "memory", "cell")
_STATE_LETTERS = re.compile(r"[hc]x?_?\d*")  # h and c, hx and cx, h1 and h2
_MOST_NUMBERS = 1 << 23  # in the inputs of one call, so that one-hot windows of large vocabularies fit into memory
# Layers that look at more than one position at a time: with them, a carried state does not hold all of the past.
_MIX_TIME = (
    "Bidirectional", "Conv1D", "SeparableConv1D", "DepthwiseConv1D", "Conv1DTranspose", "Conv2D", "ConvLSTM1D",
    "ConvLSTM2D", "Attention", "AdditiveAttention", "MultiHeadAttention", "GroupQueryAttention", "MaxPooling1D",
    "AveragePooling1D", "GlobalMaxPooling1D", "GlobalAveragePooling1D", "UpSampling1D", "ZeroPadding1D",
    "Cropping1D",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The form in which a model reads a token, recognised by the rank of its input alone: the record says so."""

    kind: str = IDS
    width: int = 0  # V, the size of the vocabulary: the length of a one-hot row, or the divisor of an id
    dtype: str = "float32"

    @property
    def said(self) -> str:
        """The assumption, as a sentence."""
        return {
            IDS: "inputs are integer ids",
            ONE_HOT: f"inputs are one-hot rows of {self.width} numbers (its input has a third axis of that length)",
            SCALED: f"inputs are ids divided by {self.width}, the number of outputs (its input has a third axis of 1)",
        }[self.kind]

    def encode(self, ids: Any) -> Any:
        """Convert ids `(…, time)` to the model's inputs."""
        if self.kind == ONE_HOT:
            return tf.one_hot(ids, self.width, dtype=self.dtype)
        if self.kind == SCALED:
            return tf.cast(ids, self.dtype)[..., tf.newaxis] / tf.cast(self.width, self.dtype)
        return ids


class Called(NamedTuple):
    """The result of one call."""

    output: Any  # logits or probabilities as the model returns them, `(batch, time, V)`
    leaves: tuple[Any, ...]


@dataclass(kw_only=True, eq=False)
class Adapter:
    """One way of calling a model."""

    model: Any
    inputs: Inputs
    contract: int
    takes_training: bool = True
    training: bool | None = False  # None leaves each layer of a graph as its author called it

    def __call__(self, ids: Any, leaves: Sequence[Any] | None) -> Called:
        """Run the model over `(batch, time)` ids from a state, or from its own start where leaves is None."""
        raise NotImplementedError

    def _run(self, ids: Any) -> Any:
        given = self.inputs.encode(ids)
        return self.model(given, training=self.training) if self.takes_training else self.model(given)


@dataclass(frozen=True, kw_only=True)
class Convention:
    """The names under which a model's `call` takes its state, and the arguments that make it return the state."""

    state_names: tuple[str, ...]
    required: tuple[str, ...] = ()  # state arguments without a default: they get None at the start
    flags: tuple[str, ...] = ()  # arguments that are set to True
    takes_training: bool = False

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

    Recognised are the usual argument names, arguments with such a word or letter for a name and None as their default
    (`h` and `c`, `lstm_state`), and flags that begin with `return_`.
    """
    parameters = call_parameters(model)

    def is_state(parameter: inspect.Parameter) -> bool:
        name = parameter.name
        if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}:
            return False
        like_one = any(word in name for word in _STATE_WORDS) or _STATE_LETTERS.fullmatch(name)
        return name in STATE_NAMES or (parameter.default is None and bool(like_one))

    given = [parameter for parameter in parameters if is_state(parameter)]
    if not given:
        return None
    names = [parameter.name for parameter in parameters]
    flags = [name for name in names if name.startswith("return_") and any(word in name for word in _STATE_WORDS)]
    return Convention(
        state_names=tuple(parameter.name for parameter in given),
        required=tuple(parameter.name for parameter in given if parameter.default is parameter.empty),
        flags=tuple(flags[:1]),
        takes_training="training" in names,
    )


@dataclass(kw_only=True, eq=False)
class StatesArgumentAdapter(Adapter):
    """Adapter of `call(ids, states=None, return_state=False, training=False)` or the like, with states in any nest."""

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
        output, state = self._split(self.model(self.inputs.encode(ids), **self.convention.options(), **given))
        self.structure = tf.nest.map_structure(lambda leaf: None if leaf is None else 0, state)
        returned = [tf.convert_to_tensor(leaf) for leaf in tf.nest.flatten(state) if leaf is not None]
        return Called(output, tuple(returned))

    def _split(self, returned: Any) -> tuple[Any, Any]:
        """Divide the returned value into the output and the state: the only or the named entry, else all the rest."""
        convention = self.convention
        if isinstance(returned, dict):
            key = next((key for key in LOGIT_KEYS if key in returned), None)
            if key is not None and len(returned) > 1:
                rest = {name: part for name, part in returned.items() if name != key}
                names = convention.state_names
                named = [name for name in rest if name in names] or [name for name in rest if name in STATE_NAMES]
                if len(rest) == 1 or (len(names) == 1 and len(named) == 1):
                    return returned[key], rest[(named or list(rest))[0]]
                return returned[key], rest
        elif isinstance(returned, (tuple, list)) and len(returned) > 1:
            return returned[0], returned[1] if len(returned) == 2 else list(returned[1:])
        hint = f"{convention.flags[0]}=True" if convention.flags else "a state"
        raise CheckpointError(
            f"{type(self.model).__name__}.call takes {' and '.join(convention.state_names)} but does not return a "
            f"state (called with {hint} it returned {type(returned).__name__}): return (logits, states)"
        )


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
class StateInputsAdapter(Adapter):
    """Adapter of a graph with inputs and outputs for its states, in the same order (of dictionaries: of sorted keys).

    The ids are the input of whole numbers or of open length, the logits the output that has a time axis.
    """

    contract: int = 2

    def __call__(self, ids: Any, leaves: Sequence[Any] | None) -> Called:
        """Call the model; its own start is zeros."""
        given, returned = self.model.inputs, self.model.outputs
        place = _only(["int" in str(one.dtype) or (len(one.shape) == 2 and one.shape[1] is None) for one in given])
        places = tuple(other for other in range(len(given)) if other != place)
        ends = GraphInputs(model=self.model, texts=(place,), states=places)
        states = ends.zero_states(tf.shape(ids)[0]) if leaves is None else leaves
        packed = ends.packed([self.inputs.encode(ids)], states)
        outputs = keras.tree.flatten(self.model(packed, training=self.training))
        output = outputs.pop(_only([len(one.shape) == 3 for one in returned]))
        return Called(output, tuple(outputs))


def _only(wanted: list[bool]) -> int:
    """Return the place of the one that is wanted; the first, as is usual, where none or several are."""
    return wanted.index(True) if sum(wanted) == 1 else 0


@dataclass(kw_only=True, eq=False)
class LayerStatesAdapter(Adapter):
    """Adapter of a model that takes no state: each recurrent layer is given its own through the state tap.

    A layer that is stateful is run as if it were not, so that its variables stay as they are; one that reads one token
    a call and makes one prediction is run as if it returned sequences.
    """

    units: tuple[Unit, ...]
    contract: int = 4
    order: tuple[Unit, ...] = field(default=(), init=False)
    """The units at each of their places, in the order in which they run: learned at the first call."""

    def __call__(self, ids: Any, leaves: Sequence[Any] | None) -> Called:
        """Call the model with each unit's part of the leaves as its initial state."""
        rest = iter(leaves or ())
        given = {} if leaves is None else {unit: [next(rest) for _ in unit.slots] for unit in self.order}
        with ExitStack() as stack:
            for unit in self.units:
                for attribute, value in (("stateful", False), ("return_sequences", True)):
                    if getattr(unit.layer, attribute, value) != value:
                        stack.enter_context(overridden(unit.layer, attribute, value))
            if not getattr(self.model, "built", True):
                self._run(ids)  # Keras builds a subclassed model by running it once more, which is not recorded
            for layer in sublayers(self.model):
                if isinstance(layer, keras.layers.CategoryEncoding) and layer.output_mode == "one_hot":
                    stack.enter_context(overridden(layer, "call", partial(_one_hot_rows, layer, layer.call)))
            seen = stack.enter_context(record_runs(self.units, given))
            output = self._run(ids)
        for run in seen:
            if run.turn > 1:
                _require_second_place(run.unit, run.steps, ids.shape[1])
        self.order = tuple(run.unit.at(run.turn) for run in seen)
        return Called(output, tuple(leaf for run in seen for leaf in run.after))


def _one_hot_rows(layer: Any, original: Callable[[Any], Any], inputs: Any) -> Any:
    """Keep the time axis of one-hot rows where there is one token: CategoryEncoding drops an axis of length one."""
    if len(inputs.shape) != 2:
        return original(inputs)
    return keras.ops.one_hot(inputs, layer.num_tokens, dtype=layer.dtype)


def _require_second_place(unit: Unit, steps: int | None, tokens: int | None) -> None:
    """Refuse a unit that runs again in one call without being at another place, with a state of its own."""
    if getattr(unit.layer, "stateful", False):
        raise CheckpointError(
            f"layer {unit.name} is stateful and runs twice in one call, so its one variable is the state of two "
            "places: call it with initial_state, and give call(ids, states=None, return_state=False)"
        )
    if tokens != steps:
        raise CheckpointError(
            f"layer {unit.name} runs again in one call over {steps} of {tokens} tokens, and the model takes "
            "no states: give it call(ids, states=None, return_state=False) so that its state can be carried"
        )


@dataclass(kw_only=True, eq=False)
class WindowAdapter(Adapter):
    """Adapter of a window model, which predicts one token from the last N; its state is the last N − 1 ids.

    All positions of all rows are one batch, however the text is cut.
    """

    window: int  # N: the model maps `(windows, N)` tokens to `(windows, V)`
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
        most = max(1, _MOST_NUMBERS // (self.window * (self.inputs.width or 1)))
        count = windows.shape[0]
        if count is None or count <= most:
            return self._run(windows)
        parts = tf.split(windows, [*[most] * (count // most), *([count % most] if count % most else [])])
        return tf.concat([self._run(part) for part in parts], axis=0)


def recognise(
    model: Any, *, vocabulary_width: int | None = None, window: int | None = None
) -> tuple[Adapter, tuple[Unit, ...]]:
    """Find how a model is called, and its recurrent units; `vocabulary_width` is how many ids its vocabulary has."""
    if not callable(model):
        raise CheckpointError(f"a {type(model).__name__} cannot be called: a Keras model is needed")
    units = recurrent_units(model)
    inputs = _inputs_of(model, units, vocabulary_width)
    return _drive(model, units, inputs, window), units


def _inputs_of(model: Any, units: Sequence[Unit], vocabulary_width: int | None) -> Inputs:
    """Recognise the inputs of a model: of a graph by its input; of another by whether it has an embedding.

    The one-hot rows of a model that was never built and has no embedding are as long as the vocabulary.
    """
    if is_graph(model) and getattr(model, "inputs", None):
        shape = tuple(model.inputs[0].shape)
        if len(shape) != 3:
            return Inputs()
        width, outputs = shape[2], next(t.shape[-1] for t in model.outputs if len(t.shape) in {2, 3})
        if width == 1:
            return Inputs(kind=SCALED, width=int(outputs))
        if width is None or width != outputs:
            raise CheckpointError(
                f"its input has rows of {width} numbers and its output {outputs}: one-hot rows are as long as the "
                "output, and numbers of another meaning cannot be made from a text: put the Embedding into the model"
            )
        return Inputs(kind=ONE_HOT, width=int(width))
    if any(isinstance(layer, keras.layers.Embedding) for layer in sublayers(model)):
        return Inputs()
    first = units[0].cell if units else None
    kernel = getattr(first, "kernel", None) if getattr(first, "built", False) else None
    known = vocabulary_width if kernel is None else int(kernel.shape[0])
    return Inputs() if known is None else Inputs(kind=SCALED if known == 1 else ONE_HOT, width=known)


def _drive(model: Any, units: tuple[Unit, ...], inputs: Inputs, window: int | None) -> Adapter:
    graph, stateful = is_graph(model), any(getattr(unit.layer, "stateful", False) for unit in units)
    if graph:
        into, out = (len(getattr(model, ends, None) or [None]) for ends in ("inputs", "outputs"))
        if into != out:
            raise CheckpointError(
                f"a functional model that takes {into} and gives {out} tensors: with states it takes ids and the "
                "states, and gives logits and as many states"
            )
        if into > 1:
            return StateInputsAdapter(model=model, inputs=inputs)
        length = (window or _window_length(model)) if predicts_once(model) else None
    else:
        convention = convention_of(model)
        if convention is not None:
            return StatesArgumentAdapter(model=model, inputs=inputs, convention=convention)
        length = window
    one_step = graph and stateful and length == 1
    if length is not None and not one_step:
        if not units:
            raise CheckpointError(
                f"{type(model).__name__} has no recurrent layer: rnneval evaluates recurrent language models"
            )
        return WindowAdapter(model=model, inputs=inputs, window=length, takes_training=graph)
    _require_carriable(model, units, one_step=one_step)
    contract = 3 if stateful else 4
    return LayerStatesAdapter(model=model, inputs=inputs, units=units, contract=contract, takes_training=graph)


def _window_length(model: Any) -> int | None:
    inputs = getattr(model, "inputs", None)
    length = inputs[0].shape[1] if inputs and len(inputs[0].shape) > 1 else None
    return None if length is None else int(length)


def _require_carriable(model: Any, units: tuple[Unit, ...], *, one_step: bool) -> None:
    """Refuse a model that takes no states and whose layers cannot be given theirs; `one_step`: one token a call."""
    cells = [unit.name for unit in units if not unit.is_layer]
    if not one_step and (not units or cells):
        what = f"only cells ({', '.join(cells)}) called by hand" if cells else "no recurrent layer"
        raise CheckpointError(
            f"{type(model).__name__} has {what} and takes no states: give it call(ids, states=None, "
            "return_state=False) so that its state can be carried"
        )
    mixing = [
        *(unit.name for unit in units if getattr(unit.layer, "go_backwards", False)),
        *(f"{layer.name} ({type(layer).__name__})" for layer in sublayers(model) if type(layer).__name__ in _MIX_TIME),
    ]
    if mixing:
        raise CheckpointError(
            f"{', '.join(mixing)}: looks at more than one position at a time, so this model's state cannot be carried "
            "from one segment to the next, and what it gives is not a probability of the next token given the past"
        )
    once = next((unit.name for unit in units if not one_step and not unit.layer.return_sequences), None)
    if once is not None:
        raise CheckpointError(
            f"layer {once} has return_sequences=False: a window model (the last N tokens in, one prediction out), "
            "whose input does not say how long the window is: give --window N"
        )


def predicts_once(model: Any) -> bool:
    """Return whether a graph makes one prediction per call, `(batch, V)`, rather than one per token."""
    outputs = getattr(model, "outputs", None) or []
    return len(outputs) == 1 and len(outputs[0].shape) == 2


def numbers_of(thing: Any) -> Any:
    """Return a tensor's values as an array, for the eager probes on opening."""
    return keras.ops.convert_to_numpy(thing)
