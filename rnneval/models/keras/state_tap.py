"""The state tap: see and replace what goes into recurrent layers, and what comes out, while a model runs.

For a recurrent layer the tap replaces `inner_loop`, which Keras calls after `call` has resolved the initial state: an
argument, a variable of a stateful layer, or the layer's own default. For a *free cell*, which is called outside of a
layer, it replaces `call`. Each run goes to an observer, which may run it with other inputs or states, or return another
result. Taps may be nested: the innermost block sees a run first. A tap on an object is put into its `__dict__`, past
Keras' attribute tracking; a tap on classes also reaches layers that no attribute leads to.

A unit's *turn* counts its runs in a block, from 1. A unit that reads the tokens of one call several times has one
*place* per reading, each with a state of its own (`places_of`). Where every run reads all tokens, the k-th turn is
place k, `unit.at(k)`; a cell that runs once per token in a loop has many turns and one place.
"""

import functools
import inspect
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from types import MethodType
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from rnneval.models.keras.layers import KERAS_CELLS, RecurrentUnit, overridden
from rnneval.models.protocol import places_of


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerRun:
    """One run of a recurrent layer over a segment, or of a cell over one token."""

    layer: Any
    inputs: Any  # the inputs of a layer, `(batch, time, …)`, or of a cell, `(batch, …)`
    state: Any  # the initial state, in the container in which Keras passes it
    arguments: tuple[Any, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)  # further arguments of the call, positional and by name
    every_step: bool = False  # whether the observer asks for `LayerResult.states`
    nudge: Any = None  # numbers to add to a layer's states after every step, `(batch, time, units of all states)`

    @property
    def is_layer(self) -> bool:
        """True if a layer runs, false if a cell does."""
        return isinstance(self.layer, keras.layers.RNN)

    @property
    def steps(self) -> int | None:
        """The number of tokens; None if the shape leaves it open."""
        return self.inputs.shape[1] if self.is_layer else 1

    @property
    def mask(self) -> Any:
        """The mask of a layer's run."""
        return self.options.get("mask", self.arguments[0] if self.arguments else None)

    @property
    def training(self) -> Any:
        """The argument `training` of a layer's run."""
        return self.options.get("training", self.arguments[1] if len(self.arguments) > 1 else False)


class LayerResult(NamedTuple):
    """The result of a run."""

    output: Any  # the last output, `(batch, units)`
    outputs: Any  # the outputs as the layer collects them, `(batch, time, units)`; None for a cell
    state: Any  # the new state, in the container in which Keras returns it
    states: tuple[Any, ...] = ()  # each part of the state after every step, `(batch, time, units)`, if asked for


Proceed = Callable[[LayerRun], LayerResult]
Observer = Callable[[LayerRun, Proceed], LayerResult]  # (a run, what executes it) → the result that the model gets


_LAYERS = (keras.layers.RNN, keras.layers.GRU, keras.layers.LSTM, keras.layers.SimpleRNN)


def leaves_of(state: Any) -> tuple[Any, ...]:
    """Return the parts of a state, in Keras' order."""
    return tuple(keras.tree.flatten(state))


@contextmanager
def tap(target: Any, observer: Observer) -> Iterator[None]:
    """Pass every run of a layer or cell, or of all objects of a class, through an observer while the block runs."""
    is_class = isinstance(target, type)
    is_layer = issubclass(target if is_class else type(target), keras.layers.RNN)
    attribute = "inner_loop" if is_layer else "call"
    original = vars(target)[attribute] if is_class else getattr(target, attribute)
    parameters = list(inspect.signature(original).parameters)[is_class:]
    names = ("sequences", "initial_state") if is_layer else ("inputs", *parameters[1:2], "states")[:2]
    below = partial(_execute, original, is_class)

    @functools.wraps(original)
    def replacement(layer: Any, *arguments: Any, **options: Any) -> Any:
        rest = list(arguments)
        inputs, state = (rest.pop(0) if rest else options.pop(name, None) for name in names)
        run = LayerRun(layer=layer, inputs=inputs, state=state, arguments=tuple(rest), options=options)
        result = observer(run, below)
        return (result.output, result.outputs, result.state) if is_layer else (result.output, result.state)

    with overridden(target, attribute, replacement if is_class else MethodType(replacement, target)):
        yield


@contextmanager
def tap_classes(cells: Sequence[Any], observer: Observer) -> Iterator[None]:
    """Pass the runs of every recurrent layer, and of every cell of the classes of Keras and of `cells`, through one."""
    owners, waiting = dict[type, None](), [keras.layers.RNN]
    while waiting:  # every class at or below RNN that defines a loop itself
        owner = waiting.pop()
        waiting += owner.__subclasses__()
        if "inner_loop" in vars(owner):
            owners[owner] = None
    for kind in (*KERAS_CELLS, *map(type, cells)):
        owner = next((base for base in kind.__mro__ if "call" in vars(base)), keras.layers.Layer)
        if owner is not keras.layers.Layer:
            owners[owner] = None
    with ExitStack() as stack:
        for owner in owners:
            stack.enter_context(tap(owner, observer))
        # To shape its dropout masks, Keras runs stacked cells once before the loop: that would be seen as another run.
        stack.enter_context(overridden(keras.layers.RNN, "_maybe_config_dropout_masks", lambda *_: None))
        # Bidirectional's fused paths compute both directions without calling either layer: nothing would be seen.
        for fused in ("_can_attempt_fused_lstm", "_can_attempt_fused_gru"):
            if hasattr(keras.layers.Bidirectional, fused):
                stack.enter_context(overridden(keras.layers.Bidirectional, fused, lambda *_, **__: False))
        yield


@contextmanager
def compiled_loops() -> Iterator[None]:
    """Run the loops of Keras' own recurrent layers as graphs while the block runs, wherever they are called.

    Eagerly, a layer takes milliseconds a token, nearly all of them in Python. Its graph is made once, for any number of
    rows and tokens, and reads the layer's variables in each call. Layers and cells of the model's author run as they
    are, and so do unrolled layers, and dropout.
    """
    graphs: dict[Any, tuple[Any, Any]] = {}

    def observe(run: LayerRun, proceed: Proceed) -> LayerResult:
        by_time = (run.inputs,) if run.mask is None else (run.inputs, run.mask)
        leaves = [*by_time, *keras.tree.flatten(run.state)]
        if not _is_plain(run) or any(not tf.is_tensor(leaf) or tf.is_symbolic_tensor(leaf) for leaf in leaves):
            return proceed(run)
        own = keras.tree.map_structure(lambda leaf: tf.TensorSpec([None, *leaf.shape[1:]], leaf.dtype), run.state)
        given = [tf.TensorSpec([None, None, *leaf.shape[2:]], leaf.dtype) for leaf in by_time]
        key = (id(run.layer), run.layer.dtype_policy.name, *given, *keras.tree.flatten(own))
        if key not in graphs:

            def loop(state: Any, inputs: Any, *mask: Any) -> LayerResult:
                arguments = (mask[0] if mask else None, run.training)
                return proceed(replace(run, inputs=inputs, state=state, arguments=arguments, options={}))

            made = tf.function(loop, autograph=False).get_concrete_function(own, *given)
            graphs[key] = made, run.layer  # the layer: its id stays its own
        return LayerResult(*graphs[key][0](run.state, *by_time))

    with ExitStack() as stack:
        for owner in _LAYERS:
            if "inner_loop" in vars(owner):
                stack.enter_context(tap(owner, observe))
        yield


def _is_plain(run: LayerRun) -> bool:
    """Return whether a run is Keras' own code alone, and the same for every length and in training."""
    layer = run.layer
    if type(layer) not in _LAYERS or layer.unroll:
        return False
    cells = layer.cell.cells if type(layer.cell) is keras.layers.StackedRNNCells else [layer.cell]
    own = all(type(cell) in KERAS_CELLS and "call" not in vars(cell) for cell in cells)
    return own and not (run.training and any(cell.dropout or cell.recurrent_dropout for cell in cells))


def _execute(original: Any, is_unbound: bool, run: LayerRun) -> LayerResult:
    call = partial(original, run.layer) if is_unbound else original
    if run.is_layer and (run.every_step or run.nudge is not None):
        return _execute_by_steps(call, run)
    returned = call(run.inputs, run.state, *run.arguments, **run.options)
    if run.is_layer:
        return LayerResult(*returned)
    output, new = returned
    states = tuple(leaf[:, None] for leaf in leaves_of(new)) if run.every_step else ()
    return LayerResult(output, None, new, states)


def _execute_by_steps(loop: Callable[..., Any], run: LayerRun) -> LayerResult:
    """Run the layer's own loop with a probe in place of its cell, which outputs the states beside the cell's output.

    With nudges (zeros will do) the gradient with respect to them is ∂loss/∂h_t and ∂loss/∂c_t for every t at once.
    """
    layer, cell, fed, width = run.layer, run.layer.cell, run.inputs, int(run.inputs.shape[-1])
    options = {"training": run.training} if getattr(cell, "_call_has_training_arg", False) else {}
    sizes: list[int] = []  # widths of the cell's own output and of every state
    if run.nudge is not None:
        fed = tf.concat([fed, tf.cast(run.nudge, fed.dtype)], axis=-1)

    def probe(inputs: Any, states: Any) -> tuple[Any, Any]:
        output, new = cell(inputs[:, :width], states, **options)
        flat = keras.tree.flatten(new)
        if run.nudge is not None:
            same = next((k for k, state in enumerate(flat) if state is output), None)
            nudges = tf.split(inputs[:, width:], [int(state.shape[-1]) for state in flat], axis=-1)
            flat = [state + tf.cast(nudge, state.dtype) for state, nudge in zip(flat, nudges, strict=True)]
            new = keras.tree.pack_sequence_as(new, flat)
            output = output if same is None else flat[same]
        sizes[:] = [int(part.shape[-1]) for part in (output, *flat)]
        return tf.concat([output, *flat], axis=-1), new

    with ExitStack() as stack:
        for attribute, value in (("cell", probe), ("return_sequences", True), ("use_cudnn", False)):
            stack.enter_context(overridden(layer, attribute, value))
        last, outputs, new = loop(fed, run.state, *run.arguments, **run.options)
    own, *parts = tf.split(outputs, sizes, axis=-1)
    starts = leaves_of(run.state)
    states = tuple(_held_over_masked_steps(part, run.mask, s) for part, s in zip(parts, starts, strict=True))
    return LayerResult(tf.split(last, sizes, axis=-1)[0], own, new, states)


def _held_over_masked_steps(states: Any, mask: Any, start: Any) -> Any:
    """Repeat at each masked step, which the loop does not, the state of the last that was not masked, or `start`."""
    if mask is None:
        return states
    mask = tf.cast(mask[0] if isinstance(mask, (list, tuple)) else mask, tf.bool)
    steps = tf.range(1, tf.shape(mask)[1] + 1)
    last = tf.scan(tf.maximum, tf.transpose(tf.where(mask, steps, 0)))  # the last step that was not masked; 0: none yet
    return tf.gather(tf.concat([start[:, None], states], axis=1), tf.transpose(last), batch_dims=1)


class UnitRun(NamedTuple):
    """The states of one run of a unit, or of the joined runs of one of its places; tensors."""

    unit: RecurrentUnit
    turn: int  # the number of this run among the unit's runs in the block, from 1
    steps: int | None  # the number of tokens; None if the shape leaves it open
    before: tuple[Any, ...]  # each part of the state before the first step, `(batch, units)`
    after: tuple[Any, ...]  # each part of the state as the unit returned it, `(batch, units)`
    inputs: Any  # inputs of the unit, `(batch, time, inputs)`
    states: tuple[Any, ...]  # each part of the state after every step, `(batch, time, units)`, if they are recorded


@dataclass(kw_only=True)
class Recorded:
    """The runs of all units in one call, and why some units have no states after every step."""

    runs: list[UnitRun] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)  # the reason why a unit has none, by the unit's name

    def by_unit(self, time: int) -> dict[RecurrentUnit, UnitRun]:
        """Return a trajectory of `time` tokens for each place of each unit; a place without one goes to `missing`."""
        whole: dict[RecurrentUnit, UnitRun] = {}
        units = placed(self.runs, [run.states[0].shape[1] or time for run in self.runs], time)
        for unit in dict.fromkeys(units):
            first, *more = runs = [run for run, of_run in zip(self.runs, units, strict=True) if of_run == unit]
            if reason := _why_none(runs, time):
                self.missing[unit.name] = reason
            elif more:  # it is called step by step
                states = tuple(tf.concat(part, axis=1) for part in zip(*(run.states for run in runs), strict=True))
                whole[unit] = first._replace(inputs=tf.concat([run.inputs for run in runs], axis=1), states=states)
            else:
                whole[unit] = first
        return whole


@contextmanager
def record_runs(
    units: Sequence[RecurrentUnit],
    *,
    starts: Mapping[RecurrentUnit, Sequence[Any]] | None = None,
    nudges: Mapping[RecurrentUnit, Any] | None = None,
    every_step: bool = False,
) -> Iterator[Recorded]:
    """Record each run of the units while the block runs; with `every_step` the states after every step, h *and* c.

    A run begins with its state among `starts`, if any. `nudges` are added to the states after each step, `(batch,
    time, units)`; the last axis holds the units of h, then those of c. A key `unit.at(k)` of both is the unit's k-th
    run in the block, which is its place k only if every run reads all tokens.
    """
    recorded, states, added, turns = Recorded(), starts or {}, nudges or {}, Counter[RecurrentUnit]()

    def observe(unit: RecurrentUnit, run: LayerRun, proceed: Proceed) -> LayerResult:
        turns[unit] += 1
        place = unit.at(turns[unit]) if states or added else unit
        own, nudge = states.get(place), added.get(place)
        if own is not None:
            run = replace(run, state=keras.tree.pack_sequence_as(run.state, list(own)))
        before = leaves_of(run.state)
        if every_step and unit.is_layer:
            odd = [s for s in before if len(s.shape) != 2 or not tf.as_dtype(s.dtype).is_floating]
            if odd:  # not rows of numbers
                recorded.missing[unit.name] = f"a state of shape {tuple(odd[0].shape)} and type {odd[0].dtype}"
                return proceed(run)
            if unit in added and (nudge is None or run.steps != nudge.shape[1]):
                recorded.missing[unit.name] = "it is called step by step: nothing can be added to its state"
                return proceed(run)
        result = proceed(replace(run, every_step=every_step, nudge=nudge))
        inputs, after = run.inputs if unit.is_layer else run.inputs[:, None], leaves_of(result.state)
        recorded.runs.append(UnitRun(unit, turns[unit], run.steps, before, after, inputs, result.states))
        return result if own is None else _with_masked_outputs(run, before[0], result)

    with ExitStack() as stack:
        for unit in units:
            if unit.place == 1:  # the other places are the same layer, which is tapped once
                stack.enter_context(tap(unit.layer, partial(observe, unit)))
        yield recorded


def _with_masked_outputs(run: LayerRun, before: Any, result: LayerResult) -> LayerResult:
    """Put the state before a segment where rows begin with masked positions, for which Keras puts zeros.

    The output of Keras' own layers is their state, and a masked position repeats the output before it.
    """
    layer, repeats = run.layer, isinstance(run.layer, (keras.layers.GRU, keras.layers.LSTM, keras.layers.SimpleRNN))
    if not repeats or run.mask is None or not layer.return_sequences or layer.zero_output_for_mask:
        return result
    begun = keras.ops.cumsum(keras.ops.cast(run.mask, "int32"), axis=1) > 0  # (batch, time)
    return result._replace(outputs=keras.ops.where(begun[..., None], result.outputs, before[:, None, :]))


def placed(runs: Sequence[UnitRun], steps: Sequence[int], tokens: int) -> tuple[RecurrentUnit, ...]:
    """Return for each run in a call over `tokens` tokens its unit at the place where it ran; run k read `steps[k]`."""
    units: dict[int, RecurrentUnit] = {}

    def linked(indices: Sequence[int], earlier: int, later: int) -> bool:
        """Return whether a run begins with a state that an earlier one returned, the very tensor."""
        return any(a is b for a in runs[indices[earlier]].after for b in runs[indices[later]].before)

    for unit in dict.fromkeys(run.unit for run in runs):
        indices = [k for k, run in enumerate(runs) if run.unit == unit]
        places = places_of([steps[k] for k in indices], tokens, partial(linked, indices))
        units |= {k: unit.at(place) for k, place in zip(indices, places, strict=True)}
    return tuple(units[k] for k in range(len(runs)))


def _why_none(runs: Sequence[UnitRun], time: int) -> str | None:
    """Return why the runs of a place make no trajectory; None if they do, with one step for each token."""
    if not tf.executing_eagerly():
        # A loop or a `tf.function` of the author's own has a graph of its own, whose tensors end with it.
        outer = tf.compat.v1.get_default_graph()
        if any(state.graph is not outer for run in runs for state in (run.inputs, *run.before, *run.states)):
            return "it runs inside a loop or a tf.function of the author's own, which shows nothing of itself"
    steps = [run.states[0].shape[1] for run in runs]
    if None in steps or sum(steps) == time:
        return None
    return f"it makes {sum(steps)} steps in a call over {time} tokens"
