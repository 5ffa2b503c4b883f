"""States at every step, of any cell: h *and* c, and a door through which a nudge can be added to each.

An LSTM layer shows c only at the end of a call. So while a layer's `inner_loop` runs, its cell is replaced by a probe
that calls the very same cell and puts out its output and all new states side by side; the hook takes them apart again,
and the layer goes on with what it would have had. With nudges given (zeros will do), each new state has its own added:
the gradient with respect to them is ∂loss/∂h_t and ∂loss/∂c_t for every t at once.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from rnneval.models.layers import Unit
from rnneval.models.state_tap import Proceed, Result, Run, leaves_of, tap
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
    """Record the trajectories of units while the block runs the model.

    Args:
        units: Recurrent layers and free cells.
        nudges: For some layers, what is added to their states: `(batch, time, all units of all slots)`; a layer with
            several places has one for each.
    """
    seen = Seen()
    with ExitStack() as stack:
        for unit in (unit for unit in units if unit.place == 1):
            if not unit.is_layer and unit in (nudges or {}):
                seen.missing[unit.name] = "a cell called by hand: nothing can be added to its state"
            stack.enter_context(tap(unit.layer, partial(_record, unit, nudges or {}, seen)))
        yield seen


def _record(unit: Unit, nudges: Mapping[Unit, Any], seen: Seen, run: Run, proceed: Proceed) -> Result:
    """Execute one run, with its nudge if there is one, and record its states at every step."""
    place = unit.at(run.turn) if nudges else unit
    nudge = nudges.get(place) if unit.is_layer else None
    if unit.is_layer:
        reason = _not_plain(run.state) or _no_nudge(nudge, run.inputs, wanted=unit in nudges)
        if reason:
            seen.missing[unit.name] = reason
            return proceed(run)
    result = proceed(replace(run, every_step=True, nudge=nudge))
    seen.runs.append(
        UnitCourse(
            unit=unit,
            inputs=run.inputs if unit.is_layer else run.inputs[:, None],
            before=leaves_of(run.state),
            states=result.states or (),
            after=leaves_of(result.state),
        )
    )
    if nudge is not None:
        seen.nudged.add(place)
    return result


def slot_sizes(unit: Unit) -> tuple[int, ...]:
    """Numbers in each slot of one row."""
    cell = unit.layer.cell if unit.is_layer else unit.layer
    return tuple(int(size) for size in keras.tree.flatten(cell.state_size))


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
