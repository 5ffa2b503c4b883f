"""States at every step, of any cell: h *and* c, and a door through which a nudge can be added to each.

An LSTM layer shows c only at the end of a call. So while a layer's `inner_loop` runs, its cell is replaced by a probe
that calls the very same cell and puts out its output and all new states side by side; the hook takes them apart again,
and the layer goes on with what it would have had. With nudges given (zeros will do), each new state has its own added:
the gradient with respect to them is ∂loss/∂h_t and ∂loss/∂c_t for every t at once.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from rnneval.models.hoisted import HoistedLoop
from rnneval.models.layers import Unit
from rnneval.models.state_tap import overridden
from rnneval.wiring.places import places_of


@dataclass(frozen=True, kw_only=True, eq=False)
class UnitCourse:
    """What one unit did in one call of the model; tensors."""

    unit: Unit
    inputs: Any
    """`(batch, time, inputs)`."""
    before: tuple[Any, ...]
    """Each slot before the first step, `(batch, units)`."""
    states: tuple[Any, ...]
    """Each slot after every step, `(batch, time, units)`."""
    after: tuple[Any, ...] = ()
    """Each slot as it was handed back, `(batch, units)`."""


@dataclass(kw_only=True)
class Seen:
    """What was seen of one call, and of whom nothing could be seen, with the reason."""

    runs: list[UnitCourse] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    nudged: set[Unit] = field(default_factory=set)
    """The units to whose states something was added, each at its place."""

    def courses(self, time: int | None) -> dict[Unit, UnitCourse]:
        """Return one course for each place of each unit: where its author calls it step by step, joined along time."""
        found: dict[Unit, UnitCourse] = {}
        for unit, runs in self._by_place(time):
            reason = _unreachable(runs) or _not_once(runs, time)
            if reason:
                self.missing[unit.name] = reason
            else:
                found[unit] = runs[0] if len(runs) == 1 else _joined(runs)
        return found

    def _by_place(self, time: int | None) -> Iterator[tuple[Unit, list[UnitCourse]]]:
        for unit in dict.fromkeys(run.unit for run in self.runs):
            runs = [run for run in self.runs if run.unit is unit]
            steps = [run.states[0].shape[1] or time or 1 for run in runs]
            places = places_of(steps, time or sum(steps), partial(_links, runs))
            for place in dict.fromkeys(places):
                yield unit.at(place), [run for run, own in zip(runs, places, strict=True) if own == place]


@contextmanager
def courses_of(units: Sequence[Unit], nudges: Mapping[Unit, Any] | None = None) -> Iterator[Seen]:
    """Watch units while the block runs the model.

    Args:
        units: Recurrent layers and free cells.
        nudges: For some layers, what is added to their states: `(batch, time, all units of all slots)`; a layer with
            several places has one for each.
    """
    seen = Seen()
    with ExitStack() as stack:
        for unit in (unit for unit in units if unit.place == 1):
            hook = _layer_hook if unit.is_layer else _cell_hook
            stack.enter_context(hook(unit, nudges or {}, seen))
        yield seen


def slot_sizes(unit: Unit) -> tuple[int, ...]:
    """Numbers in each slot of one row."""
    cell = unit.layer.cell if unit.is_layer else unit.layer
    return tuple(int(size) for size in keras.tree.flatten(cell.state_size))


class _ProbeCell:
    """The layer's own cell, with its states put out at every step."""

    def __init__(self, layer: Any, *, training: bool, inputs: int, nudged: bool) -> None:
        cell = layer.cell
        self._cell, self._inputs, self._nudged = cell, inputs, nudged
        self._joined = bool(layer.unroll)  # Keras' loop collects several outputs apart; where it is unrolled, only one
        self._options = {"training": training} if getattr(cell, "_call_has_training_arg", False) else {}
        self.state_size = cell.state_size
        self.sizes: list[int] = []
        """Widths of what is put out: the output first where it is no state, then every state."""
        self.output_at = 0

    def __call__(self, inputs: Any, states: Any, **_: Any) -> tuple[Any, Any]:
        """One step."""
        x = inputs[:, : self._inputs] if self._nudged else inputs
        output, new = self._cell(x, states, **self._options)
        flat = keras.tree.flatten(new)
        same = next((k for k, state in enumerate(flat) if state is output), None)
        if self._nudged:
            flat = _added(flat, inputs[:, self._inputs :])
            new = keras.tree.pack_sequence_as(new, flat)
            output = output if same is None else flat[same]
        parts = flat if same is not None else [output, *flat]
        self.sizes = [int(part.shape[-1]) for part in parts]
        self.output_at = same or 0
        self.states_at = 0 if same is not None else 1
        if len(parts) == 1:
            return parts[0], new
        return (tf.concat(parts, axis=-1) if self._joined else tuple(parts)), new

    def apart(self, put_out: Any) -> list[Any]:
        """Take apart what was put out: the parts, `(…, units)` each."""
        if len(self.sizes) == 1:
            return [put_out]
        return tf.split(put_out, self.sizes, axis=-1) if self._joined else list(put_out)


def _added(flat: Sequence[Any], nudge: Any) -> list[Any]:
    parts = tf.split(nudge, [int(state.shape[-1]) for state in flat], axis=-1)
    return [state + tf.cast(part, state.dtype) for state, part in zip(flat, parts, strict=True)]


@contextmanager
def _layer_hook(unit: Unit, nudges: Mapping[Unit, Any], seen: Seen) -> Iterator[None]:
    layer = unit.layer
    original, turn = layer.inner_loop, 0

    def inner_loop(sequences: Any, initial_state: Any, mask: Any = None, training: bool = False) -> Any:
        nonlocal turn
        turn += 1
        place = unit.at(turn) if nudges else unit
        nudge = nudges.get(place)
        reason = _not_plain(initial_state) or _no_nudge(nudge, sequences, wanted=unit in nudges)
        if reason:
            seen.missing[unit.name] = reason
            return original(sequences, initial_state, mask, training)
        if isinstance(original, HoistedLoop) and nudge is None:
            looped = original.loop(sequences, initial_state, mask, training=training, courses=True)
            if looped is not None:  # its states are there anyway
                before = tuple(keras.tree.flatten(initial_state))
                seen.runs.append(
                    UnitCourse(
                        unit=unit, inputs=sequences, before=before, states=looped.courses, after=tuple(looped.new)
                    )
                )
                return looped.last, looped.outputs, looped.new
        probe = _ProbeCell(layer, training=training, inputs=int(sequences.shape[-1]), nudged=nudge is not None)
        fed = sequences if nudge is None else tf.concat([sequences, tf.cast(nudge, sequences.dtype)], axis=-1)
        with ExitStack() as stack:
            for attribute, value in (("cell", probe), ("return_sequences", True), ("use_cudnn", False)):
                stack.enter_context(overridden(layer, attribute, value))
            last, outputs, new = original(fed, initial_state, mask, training)
        # Each slot and the output are parts of what the probe put out; GRU and SimpleRNN put out h alone.
        parts = probe.apart(outputs)
        before = tuple(keras.tree.flatten(initial_state))
        slots = zip(parts[probe.states_at :], before, strict=True)
        states = tuple(_unmasked(part, mask, first) for part, first in slots)
        after = tuple(keras.tree.flatten(new))
        seen.runs.append(UnitCourse(unit=unit, inputs=sequences, before=before, states=states, after=after))
        if nudge is not None:
            seen.nudged.add(place)
        return probe.apart(last)[probe.output_at], parts[probe.output_at], new

    with overridden(layer, "inner_loop", inner_loop):
        yield


@contextmanager
def _cell_hook(unit: Unit, nudges: Mapping[Unit, Any], seen: Seen) -> Iterator[None]:
    original = unit.layer.call

    def call(inputs: Any, states: Any, *rest: Any, **options: Any) -> Any:
        output, new = original(inputs, states, *rest, **options)
        before, after = tuple(keras.tree.flatten(states)), tuple(keras.tree.flatten(new))
        states_after = tuple(state[:, None] for state in after)
        seen.runs.append(UnitCourse(unit=unit, inputs=inputs[:, None], before=before, states=states_after, after=after))
        return output, new

    if unit in nudges:
        seen.missing[unit.name] = "a cell called by hand: nothing can be added to its state"
    with overridden(unit.layer, "call", call):
        yield


def _unmasked(states: Any, mask: Any, first: Any) -> Any:
    """Where a step is masked the state stays as it was; Keras puts out the last output there, or zeros."""
    if mask is None:
        return states
    mask = tf.cast(mask[0] if isinstance(mask, (list, tuple)) else mask, tf.bool)
    steps = tf.range(1, tf.shape(mask)[1] + 1)
    last = tf.scan(tf.maximum, tf.transpose(tf.where(mask, steps, 0)))  # the last step that was not masked; 0: none yet
    return tf.gather(tf.concat([first[:, None], states], axis=1), tf.transpose(last), batch_dims=1)


def _not_plain(state: Any) -> str | None:
    leaves = keras.tree.flatten(state)
    odd = [leaf for leaf in leaves if len(leaf.shape) != 2 or not tf.as_dtype(leaf.dtype).is_floating]
    return f"a state of shape {tuple(odd[0].shape)} and type {odd[0].dtype}" if odd else None


def _no_nudge(nudge: Any, sequences: Any, *, wanted: bool) -> str | None:
    """Return why nothing can be added to the states of one run; None where it can, or where it is not wanted."""
    if wanted and (nudge is None or sequences.shape[1] != nudge.shape[1]):
        return "it is called step by step: nothing can be added to its state"
    return None


def _links(runs: Sequence[UnitCourse], earlier: int, later: int) -> bool:
    return any(given is taken for given in runs[earlier].after for taken in runs[later].before)


def _unreachable(runs: Sequence[UnitCourse]) -> str | None:
    """A loop or function of the author's own keeps its tensors to itself."""
    if tf.executing_eagerly():
        return None
    outer = tf.compat.v1.get_default_graph()
    inside = any(state.graph is not outer for run in runs for state in (run.inputs, *run.before, *run.states))
    reason = "it runs inside a loop or a tf.function of the author's own, which shows nothing of itself"
    return reason if inside else None


def _not_once(runs: Sequence[UnitCourse], time: int | None) -> str | None:
    steps = [run.states[0].shape[1] for run in runs]
    if time is None or None in steps or sum(steps) == time:
        return None
    return f"it makes {sum(steps)} steps in a call over {time} tokens"


def _joined(runs: Sequence[UnitCourse]) -> UnitCourse:
    join: Callable[[Any], Any] = lambda parts: tf.concat(list(parts), axis=1)  # noqa: E731
    return UnitCourse(
        unit=runs[0].unit,
        inputs=join(run.inputs for run in runs),
        before=runs[0].before,
        states=tuple(join(run.states[k] for run in runs) for k in range(len(runs[0].states))),
    )
