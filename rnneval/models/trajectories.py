"""Trajectories: the states of each layer after every step, h *and* c, recorded through the state tap.

Words, in the sense of `rnneval.models.layers` and `rnneval.models.state_tap`:

- A *unit* is a recurrent layer, or a cell that is called outside of one.
- A *tap* lets an observer see and replace what goes into the runs of a unit, and what comes out.
- A *run* is one call of a unit: of a layer over a segment, of a cell over one token. Its *turn* is its number, from 1,
  among the runs of the same layer object since the tap was installed.
- A *place* is one of the states that a unit has in one call of the model: a layer that reads two streams has two
  (`rnneval.wiring.places`). One place of a layer called step by step has many runs, which are joined here.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import tensorflow as tf

from rnneval.models.layers import Unit
from rnneval.models.state_tap import Proceed, Result, Run, leaves_of, tap
from rnneval.wiring.places import places_of


@dataclass(frozen=True, kw_only=True, eq=False)
class Trajectory:
    """The states of one run of a unit, or of the joined runs of one of its places; tensors."""

    unit: Unit
    inputs: Any
    """Inputs of the unit, `(batch, time, inputs)`."""
    before: tuple[Any, ...]
    """Each part of the state before the first step, `(batch, units)`."""
    states: tuple[Any, ...]
    """Each part of the state after every step, `(batch, time, units)`."""
    after: tuple[Any, ...] = ()
    """Each part of the state as the unit returned it, `(batch, units)`; empty for joined runs."""


@dataclass(kw_only=True)
class Trajectories:
    """The runs of all units in one call, and why some units have none."""

    runs: list[Trajectory] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    """The reason why a unit has none, by the unit's name."""
    nudged: set[Unit] = field(default_factory=set)
    """The units, each at its place, to whose states a nudge was added."""

    def by_unit(self, time: int | None) -> dict[Unit, Trajectory]:
        """Return one trajectory for each place of each unit, joined along time where it is called step by step.

        A place whose states cannot be read, or are not one after every token, goes to `missing` in its place.

        Args:
            time: The number of tokens that the call of the model read; None where it is not known.
        """
        found: dict[Unit, Trajectory] = {}
        for unit in dict.fromkeys(run.unit for run in self.runs):
            every = [run for run in self.runs if run.unit is unit]
            steps = [run.states[0].shape[1] or time or 1 for run in every]
            places = places_of(steps, time or sum(steps), partial(_goes_on_from, every))
            for place in dict.fromkeys(places):
                runs = [run for run, own in zip(every, places, strict=True) if own == place]
                reason = _why_unreachable(runs) or _why_not_one_per_token(runs, time)
                if reason:
                    self.missing[unit.at(place).name] = reason
                else:
                    found[unit.at(place)] = runs[0] if len(runs) == 1 else _joined(runs)
        return found


@contextmanager
def trajectories_of(units: Sequence[Unit], nudges: Mapping[Unit, Any] | None = None) -> Iterator[Trajectories]:
    """Record the trajectories of units while the block runs the model.

    Args:
        units: Recurrent layers and free cells.
        nudges: For some layers, the nudge to add to their states after each step, `(batch, time, units)`; the last axis
            holds the units of h, then those of c. A layer with several places has a nudge for each.
    """
    seen = Trajectories()
    with ExitStack() as stack:
        # One tap for each layer object. Its places are told apart in `by_unit`, or by turn when each has a nudge.
        for unit in (unit for unit in units if unit.place == 1):
            if not unit.is_layer and unit in (nudges or {}):
                seen.missing[unit.name] = "a cell called by hand: nothing can be added to its state"
            stack.enter_context(tap(unit.layer, partial(_record, unit, nudges or {}, seen)))
        yield seen


def _record(unit: Unit, nudges: Mapping[Unit, Any], seen: Trajectories, run: Run, proceed: Proceed) -> Result:
    """Execute one run, with its nudge if there is one, and record its states at every step."""
    place = unit.at(run.turn) if nudges else unit
    nudge = nudges.get(place) if unit.is_layer else None
    if unit.is_layer:
        reason = _why_not_plain(run.state)
        if unit in nudges and (nudge is None or run.steps != nudge.shape[1]):
            reason = reason or "it is called step by step: nothing can be added to its state"
        if reason:
            seen.missing[unit.name] = reason
            return proceed(run)
    result = proceed(replace(run, every_step=True, nudge=nudge))
    seen.runs.append(
        Trajectory(
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


def _why_not_plain(state: Any) -> str | None:
    """Return the shape and type of a part of a state that is not rows of numbers, as a reason; None without one."""
    odd = [leaf for leaf in leaves_of(state) if len(leaf.shape) != 2 or not tf.as_dtype(leaf.dtype).is_floating]
    return f"a state of shape {tuple(odd[0].shape)} and type {odd[0].dtype}" if odd else None


def _goes_on_from(runs: Sequence[Trajectory], earlier: int, later: int) -> bool:
    """Return whether a state that the earlier run returned is the very tensor from which the later one starts."""
    return any(given is taken for given in runs[earlier].after for taken in runs[later].before)


def _why_unreachable(runs: Sequence[Trajectory]) -> str | None:
    """Return the reason if tensors cannot be read from outside, else None.

    A loop or a `tf.function` of the author's own has a graph of its own, whose tensors end with it.
    """
    if tf.executing_eagerly():
        return None
    outer = tf.compat.v1.get_default_graph()
    inside = any(state.graph is not outer for run in runs for state in (run.inputs, *run.before, *run.states))
    reason = "it runs inside a loop or a tf.function of the author's own, which shows nothing of itself"
    return reason if inside else None


def _why_not_one_per_token(runs: Sequence[Trajectory], time: int | None) -> str | None:
    """Return the reason if the runs of a place are known not to take exactly one step for each token, else None."""
    steps = [run.states[0].shape[1] for run in runs]
    if time is None or None in steps or sum(steps) == time:
        return None
    return f"it makes {sum(steps)} steps in a call over {time} tokens"


def _joined(runs: Sequence[Trajectory]) -> Trajectory:
    """Return the runs of one place as one trajectory, without `after`, which serves only to tell places apart."""
    return Trajectory(
        unit=runs[0].unit,
        inputs=tf.concat([run.inputs for run in runs], axis=1),
        before=runs[0].before,
        states=tuple(tf.concat(parts, axis=1) for parts in zip(*(run.states for run in runs), strict=True)),
    )
