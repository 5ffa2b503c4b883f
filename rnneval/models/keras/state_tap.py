"""The state tap: see and replace what goes into recurrent layers, and what comes out, while a model runs.

For a recurrent layer the tap replaces `inner_loop`, which Keras calls after `call` has resolved the initial state: an
argument, a variable of a stateful layer, or the layer's own default. For a *free cell*, which is called outside of a
layer, it replaces `call`. Each run goes to an observer, which may run it with other inputs or states, or return another
result. Taps may be nested: the innermost block sees a run first. A tap on an object is put into its `__dict__`, past
Keras' attribute tracking; a tap on classes also reaches layers that no attribute leads to. Every tap is removed when
its block ends.

`record_runs` uses the tap to record the states of all units, after every step where that is asked for.

A *unit* is a recurrent layer or a free cell (`rnneval.models.keras.layers`). Its *turn* counts its runs in a block,
from 1. A unit that reads the tokens of one call several times has one *place* per reading, each with a state of its
own; place k is `unit.at(k)` (`rnneval.models.places`). Where every run reads all tokens, the k-th turn is place k; a
cell that runs once per token in a loop has many turns and one place.
"""

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from types import MethodType
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from rnneval.models.keras.layers import RecurrentUnit, overridden
from rnneval.models.places import places_of


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerRun:
    """One run of a recurrent layer over a segment, or of a cell over one token."""

    layer: Any
    inputs: Any  # the inputs of a layer, `(batch, time, …)`, or of a cell, `(batch, …)`
    state: Any  # the initial state, in the container in which Keras passes it
    arguments: tuple[Any, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)  # further arguments of the call, positional and by name
    turn: int = 0  # the number of this run among those of the same layer since the tap was installed, from 1
    every_step: bool = False  # whether the observer asks for `LayerResult.states`
    nudge: Any = None
    """Numbers to add to the states after every step, `(batch, time, all units of all states)`; for layers only."""

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
    states: tuple[Any, ...] | None = None
    """Each part of the state after every step, `(batch, time, units)`, if the run asked for it."""


Proceed = Callable[[LayerRun], LayerResult]
Observer = Callable[[LayerRun, Proceed], LayerResult]
"""(a run, the function that executes it) → the result that the model gets"""


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
    parameters = list(inspect.signature(original).parameters)[1 if is_class else 0 :]
    names = ("sequences", "initial_state") if is_layer else ("inputs", *parameters[1:2], "states")
    # A tap that is installed already gets the `LayerRun` itself: Keras' arguments have no place for its further fields.
    below: Proceed = getattr(original, "observed", None) or partial(_execute, original, is_class)
    turns: dict[int, int] = {}

    def observed(run: LayerRun) -> LayerResult:
        turns[id(run.layer)] = turns.get(id(run.layer), 0) + 1
        return observer(replace(run, turn=turns[id(run.layer)]), below)

    @functools.wraps(original)
    def replacement(layer: Any, *arguments: Any, **options: Any) -> Any:
        rest = list(arguments)
        inputs, state = (rest.pop(0) if rest else options.pop(name, None) for name in names[:2])
        result = observed(LayerRun(layer=layer, inputs=inputs, state=state, arguments=tuple(rest), options=options))
        return (result.output, result.outputs, result.state) if is_layer else (result.output, result.state)

    vars(replacement)["observed"] = observed
    with overridden(target, attribute, replacement if is_class else MethodType(replacement, target)):
        yield


@contextmanager
def tap_classes(cells: Sequence[Any], observer: Observer) -> Iterator[None]:
    """Pass the runs of every recurrent layer, and of every cell of the classes of Keras and of `cells`, through one."""
    classes = [keras.layers.GRUCell, keras.layers.LSTMCell, keras.layers.SimpleRNNCell, *map(type, cells)]
    owners_of_call = [
        next((base for base in kind.__mro__ if "call" in vars(base)), keras.layers.Layer) for kind in classes
    ]
    loops, waiting = dict[type, None](), [keras.layers.RNN]
    while waiting:  # every class at or below RNN that defines a loop itself
        owner = waiting.pop()
        waiting += owner.__subclasses__()
        if "inner_loop" in vars(owner):
            loops[owner] = None
    with ExitStack() as stack:
        for owner in loops:
            stack.enter_context(tap(owner, observer))
        for owner in dict.fromkeys(owners_of_call):
            if owner is not keras.layers.Layer:
                stack.enter_context(tap(owner, observer))
        # To shape its dropout masks, Keras runs stacked cells once before the loop: that would be seen as another run.
        stack.enter_context(overridden(keras.layers.RNN, "_maybe_config_dropout_masks", lambda *_: None))
        # Bidirectional's fused paths compute both directions without calling either layer: nothing would be seen.
        for fused in ("_can_attempt_fused_lstm", "_can_attempt_fused_gru"):
            if hasattr(keras.layers.Bidirectional, fused):
                stack.enter_context(overridden(keras.layers.Bidirectional, fused, lambda *_, **__: False))
        yield


def _execute(original: Any, is_unbound: bool, run: LayerRun) -> LayerResult:
    call = partial(original, run.layer) if is_unbound else original
    if not run.is_layer:
        output, new = call(run.inputs, run.state, *run.arguments, **run.options)
        states = tuple(leaf[:, None] for leaf in leaves_of(new)) if run.every_step else None
        return LayerResult(output, None, new, states)
    if run.every_step or run.nudge is not None:
        return _execute_by_steps(call, run)
    return LayerResult(*call(run.inputs, run.state, *run.arguments, **run.options))


def _execute_by_steps(loop: Callable[..., Any], run: LayerRun) -> LayerResult:
    """Run the layer's own loop with a probe in place of its cell, so that it collects the states after every step.

    An LSTM layer shows c only at the end of a call, so the probe outputs the cell's output and all its new states side
    by side, and they are taken apart here. With nudges (zeros will do) the gradient with respect to them is ∂loss/∂h_t
    and ∂loss/∂c_t for every t at once.
    """
    layer, inputs = run.layer, run.inputs
    nudged = run.nudge is not None
    probe = _ProbeCell(layer, training=run.training, inputs=int(inputs.shape[-1]), nudged=nudged)
    fed = tf.concat([inputs, tf.cast(run.nudge, inputs.dtype)], axis=-1) if nudged else inputs
    with ExitStack() as stack:
        for attribute, value in (("cell", probe), ("return_sequences", True), ("use_cudnn", False)):
            stack.enter_context(overridden(layer, attribute, value))
        last, outputs, new = loop(fed, run.state, *run.arguments, **run.options)
    parts = probe.apart(outputs)
    parts_and_starts = zip(parts[probe.states_at :], leaves_of(run.state), strict=True)
    states = tuple(_held_over_masked_steps(part, run.mask, start) for part, start in parts_and_starts)
    return LayerResult(probe.apart(last)[probe.output_at], parts[probe.output_at], new, states)


class _ProbeCell:
    """The layer's own cell, which outputs its new states at every step, side by side."""

    def __init__(self, layer: Any, *, training: bool, inputs: int, nudged: bool) -> None:
        cell = layer.cell
        self._cell, self._inputs, self._nudged = cell, inputs, nudged
        self._options = {"training": training} if getattr(cell, "_call_has_training_arg", False) else {}
        self.state_size = cell.state_size
        self.sizes: list[int] = []
        """Widths of the outputs: the cell's own output first unless it is one of the states, then every state."""
        self.output_at = self.states_at = 0  # places of the cell's own output and of the first state among the outputs

    def __call__(self, inputs: Any, states: Any, **_: Any) -> tuple[Any, Any]:
        """Run one step of the cell, and output its new states beside its own output."""
        x = inputs[:, : self._inputs] if self._nudged else inputs
        output, new = self._cell(x, states, **self._options)
        flat = keras.tree.flatten(new)
        same = next((k for k, state in enumerate(flat) if state is output), None)
        if self._nudged:
            nudges = tf.split(inputs[:, self._inputs :], [int(state.shape[-1]) for state in flat], axis=-1)
            flat = [state + tf.cast(nudge, state.dtype) for state, nudge in zip(flat, nudges, strict=True)]
            new = keras.tree.pack_sequence_as(new, flat)
            output = output if same is None else flat[same]
        parts = flat if same is not None else [output, *flat]
        self.sizes = [int(part.shape[-1]) for part in parts]
        self.output_at, self.states_at = same or 0, int(same is None)
        return tf.concat(parts, axis=-1) if len(parts) > 1 else parts[0], new

    def apart(self, outputs: Any) -> list[Any]:
        """Split the outputs into their parts, `(…, units)` each."""
        return list(tf.split(outputs, self.sizes, axis=-1))


def _held_over_masked_steps(states: Any, mask: Any, start: Any) -> Any:
    """Repeat at each masked step the state of the last step that was not masked, or `start` if there is none.

    The layer's loop does not: for masked steps it collects the last output, or zeros.
    """
    if mask is None:
        return states
    mask = tf.cast(mask[0] if isinstance(mask, (list, tuple)) else mask, tf.bool)
    steps = tf.range(1, tf.shape(mask)[1] + 1)
    last = tf.scan(tf.maximum, tf.transpose(tf.where(mask, steps, 0)))  # the last step that was not masked; 0: none yet
    return tf.gather(tf.concat([start[:, None], states], axis=1), tf.transpose(last), batch_dims=1)


@dataclass(frozen=True, kw_only=True, eq=False)
class UnitRun:
    """The states of one run of a unit, or of the joined runs of one of its places; tensors."""

    unit: RecurrentUnit
    turn: int  # the number of this run among the unit's runs in the block, from 1
    steps: int | None  # the number of tokens; None if the shape leaves it open
    before: tuple[Any, ...]  # each part of the state before the first step, `(batch, units)`
    after: tuple[Any, ...] = ()
    """Each part of the state as the unit returned it, `(batch, units)`; empty for joined runs."""
    inputs: Any = None  # inputs of the unit, `(batch, time, inputs)`, if they are recorded
    states: tuple[Any, ...] = ()
    """Each part of the state after every step, `(batch, time, units)`, if they are recorded."""


@dataclass(kw_only=True)
class Recorded:
    """The runs of all units in one call, and why some units have no states after every step."""

    runs: list[UnitRun] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)  # the reason why a unit has none, by the unit's name

    def by_unit(self, time: int) -> dict[RecurrentUnit, UnitRun]:
        """Return one trajectory for each place of each unit, joined along time where it is called step by step.

        A place whose states cannot be read, or are not one after each of `time` tokens, goes to `missing` in its place.
        """
        found: dict[RecurrentUnit, UnitRun] = {}
        units = placed(self.runs, [run.states[0].shape[1] or time for run in self.runs], time)
        for unit in dict.fromkeys(units):
            runs = [run for run, own in zip(self.runs, units, strict=True) if own is unit]
            reason = _why_none(runs, time)
            if reason:
                self.missing[unit.name] = reason
            elif len(runs) == 1:
                found[unit] = runs[0]
            else:
                parts = zip(*(run.states for run in runs), strict=True)
                states = tuple(tf.concat(part, axis=1) for part in parts)
                inputs = tf.concat([run.inputs for run in runs], axis=1)
                found[unit] = replace(runs[0], inputs=inputs, states=states, after=())
        return found


@contextmanager
def record_runs(
    units: Sequence[RecurrentUnit],
    *,
    given: Mapping[RecurrentUnit, Sequence[Any]] | None = None,
    nudges: Mapping[RecurrentUnit, Any] | None = None,
    every_step: bool = False,
) -> Iterator[Recorded]:
    """Record each run of the units while the block runs; with `every_step` the states after every step, h *and* c.

    A run begins with the state that is `given`, if any. `nudges` are added to the states after each step, `(batch,
    time, units)`; the last axis holds the units of h, then those of c. A key `unit.at(k)` of both is the unit's k-th
    run in the block, which is its place k only if every run reads all tokens.
    """
    seen, states, added = Recorded(), given or {}, nudges or {}

    def observe(unit: RecurrentUnit, run: LayerRun, proceed: Proceed) -> LayerResult:
        place = unit.at(run.turn) if states or added else unit
        own, nudge = states.get(place), added.get(place)
        if own is not None:
            run = replace(run, state=keras.tree.pack_sequence_as(run.state, list(own)))
        if every_step and unit.is_layer:
            odd = [s for s in leaves_of(run.state) if len(s.shape) != 2 or not tf.as_dtype(s.dtype).is_floating]
            if odd:  # not rows of numbers
                seen.missing[unit.name] = f"a state of shape {tuple(odd[0].shape)} and type {odd[0].dtype}"
                return proceed(run)
            if unit in added and (nudge is None or run.steps != nudge.shape[1]):
                seen.missing[unit.name] = "it is called step by step: nothing can be added to its state"
                return proceed(run)
        result = proceed(replace(run, every_step=every_step, nudge=nudge))
        before = leaves_of(run.state)
        seen.runs.append(
            UnitRun(
                unit=unit,
                turn=run.turn,
                steps=run.steps,
                before=before,
                after=leaves_of(result.state),
                inputs=run.inputs if unit.is_layer else run.inputs[:, None],
                states=result.states or (),
            )
        )
        if own is None or not _repeats_outputs(unit, run):
            return result
        # Its output is its state, and a masked position repeats the output before it: where a row begins with masked
        # positions, that is the state before the segment. Keras knows none there, and puts zeros.
        begun = keras.ops.cumsum(keras.ops.cast(run.mask, "int32"), axis=1) > 0  # (batch, time)
        return result._replace(outputs=keras.ops.where(begun[..., None], result.outputs, before[0][:, None, :]))

    with ExitStack() as stack:
        for unit in units:
            if unit.place == 1:  # the other places are the same layer, which is tapped once
                stack.enter_context(tap(unit.layer, partial(observe, unit)))
        yield seen


def _repeats_outputs(unit: RecurrentUnit, run: LayerRun) -> bool:
    """Return whether a unit gives its state as its output, and repeats it at masked positions."""
    own = isinstance(unit.layer, (keras.layers.GRU, keras.layers.LSTM, keras.layers.SimpleRNN))
    return own and run.mask is not None and unit.layer.return_sequences and not unit.layer.zero_output_for_mask


def placed(runs: Sequence[UnitRun], steps: Sequence[int], tokens: int) -> tuple[RecurrentUnit, ...]:
    """Return for each run in a call over `tokens` tokens its unit at the place where it ran; run k read `steps[k]`."""
    found: dict[int, RecurrentUnit] = {}
    for unit in dict.fromkeys(run.unit for run in runs):
        own = [k for k, run in enumerate(runs) if run.unit is unit]
        linked = partial(_linked, [runs[k] for k in own])
        places = places_of([steps[k] for k in own], tokens, linked)
        found |= {k: unit.at(place) for k, place in zip(own, places, strict=True)}
    return tuple(found[k] for k in range(len(runs)))


def _linked(runs: Sequence[UnitRun], earlier: int, later: int) -> bool:
    """Return whether a run begins with a state that an earlier one returned, the very tensor."""
    return any(given is taken for given in runs[earlier].after for taken in runs[later].before)


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
