"""The provenance of states: from a recording to events, and to the sources of each state that went into them.

Sources are found in three ways: by the tape (`by_tape`), by the numbers alone (`by_values`), and by altering one
emitted state at a time and comparing the runs (`by_intervention`). The tape is the rule. The others are used where
TensorFlow's op callbacks are missing or a tensor went through an opaque op. Intervention is also the oracle of the
tape's tests.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rnneval.models.wiring.probe import Emissions, Op, Recording, Rerun, Returned, StubRun
from rnneval.models.wiring.walk import Trail, Walk
from rnneval.wiring.facts import Arrival, Event, Source


@dataclass(frozen=True, kw_only=True)
class Origins:
    """The sources of every state and every input in a recording; an *event* is one run of a layer or free cell."""

    arrivals: tuple[Arrival, ...]
    """Each part of the state that went into each event."""
    returned: tuple[frozenset[Source], ...]
    """The sources of the states that each call returned."""
    descents: tuple[tuple[frozenset[int], frozenset[str]], ...]
    """The events and the model's inputs that the input sequence of each event was computed from."""


def by_tape(recording: Recording) -> Origins:
    """Walk the ops in the order in which they ran."""
    return _read(recording, recording.texts)


def by_values(recording: Recording) -> Origins:
    """Find sources without ops: elements are known by their numbers alone, and descent is not seen."""
    return _read(recording, ())


def _read(recording: Recording, texts: Iterable[tuple[str, Any]]) -> Origins:
    """Go through the recorded ops in order, and return what went into each state and what each call returned."""
    walk = Walk(recording.emissions)
    for name, tensor in texts:
        walk.seed(tensor, Trail(origins=frozenset({name}), born=0))
    for run in recording.runs:
        origins = frozenset({run.event})
        for tensor, labels in zip(run.emitted, run.labels, strict=True):
            walk.seed(tensor, Trail(planes=(labels,), origins=origins))
        for tensor, marks in run.outputs:
            walk.seed(tensor, Trail(planes=() if marks is None else (marks,), origins=origins))
    arrivals: list[Arrival] = []
    returned: list[frozenset[Source]] = []
    calls: list[int] = []
    descents: list[tuple[frozenset[int], frozenset[str]]] = []
    for item in recording.items:
        if isinstance(item, Op):
            walk.step(item)
        elif isinstance(item, StubRun):
            calls.append(item.call)
            slots = range(len(item.states))
            arrivals += [_arrival(item, slot, walk, recording, calls) for slot in slots]
            _mark_initial(item, walk, recording.emissions)
            descents.append(_descent(walk.trail(item.inputs, item.call), descents))
        else:
            returned.append(_returned(item, walk))
    return Origins(arrivals=tuple(arrivals), returned=tuple(returned), descents=tuple(descents))


def _mark_initial(run: StubRun, walk: Walk, emissions: Emissions) -> None:
    """Mark an initial state, so that it can be told from a new one if it is returned and passed in again."""
    for slot, tensor in enumerate(run.states):
        trail = walk.trail(tensor, run.call)
        if not trail.recurrent and not trail.variable:
            labels = emissions.mark(Source(run.event, slot, incoming=True), tuple(tensor.shape))
            walk.seed(tensor, replace(trail, planes=(labels,)))


def _returned(item: Returned, walk: Walk) -> frozenset[Source]:
    """Return the emitted states that are in what a call returned."""
    tensors = [leaf for leaf in item.leaves if hasattr(leaf, "dtype")]
    found = frozenset[Source]().union(*(walk.sources(walk.trail(leaf, item.call)) for leaf in tensors))
    return frozenset(source for source in found if not source.incoming)


def _descent(
    trail: Trail, before: Sequence[tuple[frozenset[int], frozenset[str]]]
) -> tuple[frozenset[int], frozenset[str]]:
    """Return the events and the texts from which an input descends, directly or through earlier events."""
    events = {origin for origin in trail.origins if isinstance(origin, int)}
    texts = {origin for origin in trail.origins if isinstance(origin, str)}
    for event in tuple(events):
        events |= before[event][0]
        texts |= before[event][1]
    return frozenset(events), frozenset(texts)


def _arrival(run: StubRun, slot: int, walk: Walk, recording: Recording, calls: Sequence[int]) -> Arrival:
    """Return what went into one part of the state of a run: emitted states and their places, or none."""
    tensor, emissions = run.states[slot], recording.emissions
    trail = walk.trail(tensor, run.call)
    every = walk.sources(trail)
    sources = frozenset(source for source in every if not source.incoming)
    if not sources or _is_constant(tensor, trail):
        initial = min((calls[source.event] for source in every), default=None) if not sources else None
        made = frozenset(origin for origin in trail.origins if isinstance(origin, int)) if not sources else frozenset()
        born = _born(trail, run, initial)
        return Arrival(event=run.event, slot=slot, random=trail.random, born=born, outputs=made)
    planes = [emissions.emitted(plane) for plane in trail.planes]
    labelled = np.any([plane >= 0 for plane in planes], axis=0) if planes else None
    return Arrival(
        event=run.event,
        slot=slot,
        sources=sources,
        in_place=all(_in_place(plane, emissions, one_row=recording.rows == 1) for plane in planes),
        missing=0.0 if labelled is None or trail.pool else float(1 - labelled.mean()),
        transformed=trail.transformed and not _is_unchanged(tensor, planes, trail, emissions),
        noisy=trail.noisy,
        unknown=f"went through {trail.opaque}" if trail.opaque else "",
    )


def _born(trail: Trail, run: StubRun, initial: int | None) -> int | None:
    """Return the call in which a state that holds no other was made; None for a variable."""
    if trail.variable:
        return None
    if initial is not None:
        return initial
    # What is computed from outputs is no initial state of an earlier call.
    computed = any(isinstance(origin, int) for origin in trail.origins)
    return run.call if computed or trail.recurrent or trail.born is None else trail.born


def _is_constant(tensor: Any, trail: Trail) -> bool:
    """Return whether arithmetic left nothing of the state: a state times zero is one number everywhere."""
    if not trail.transformed:
        return False
    values = np.asarray(tensor).astype(np.float64)
    return bool(values.size > 1 and (values == values.flat[0]).all())


def _in_place(plane: np.ndarray[Any, Any], emissions: Emissions, *, one_row: bool) -> bool:
    """Return whether each element is where it was; of one text that was repeated to several rows, any row may do."""
    flat = plane.ravel()
    places = np.flatnonzero(flat >= 0)
    found = emissions.offsets(flat[places])
    width = flat.size // len(plane) if one_row and plane.ndim > 1 else max(flat.size, int(found.max(initial=0)) + 1)
    return bool((found % width == places % width).all())


def _is_unchanged(tensor: Any, planes: Sequence[Any], trail: Trail, emissions: Emissions) -> bool:
    """Return whether the numbers are those emitted, to the bit, whatever arithmetic they went through."""
    found = emissions.find(np.asarray(tensor))
    return found is not None and len(planes) == 1 and bool((found == planes[0]).all()) and not trail.pool


def by_intervention(
    recording: Recording, rerun: Rerun, wanted: Iterable[tuple[int, int]]
) -> dict[tuple[int, int], frozenset[Source]]:
    """Return, for each wanted (event, slot), the emitted states that change it when they alone are altered.

    Raises:
        RuntimeError: two runs without any alteration differ, so that nothing can be told.
    """
    wanted = tuple(wanted)
    plain = _states(rerun(None))
    if not _alike(plain, _states(rerun(None))):
        raise RuntimeError("two equal runs differ: the model draws random numbers")
    found: dict[tuple[int, int], set[Source]] = {key: set() for key in wanted}
    for source in _emitted_before(recording, wanted):
        changed = _states(rerun(source))
        for event, slot in wanted:
            if event > source.event and _differs(plain, changed, event, slot):
                found[event, slot].add(source)
    return {key: frozenset(sources) for key, sources in found.items()}


def _emitted_before(recording: Recording, wanted: Sequence[tuple[int, int]]) -> list[Source]:
    last = max((event for event, _ in wanted), default=0)
    return [Source(p.event, slot) for p in recording.runs if p.event < last for slot in range(len(p.emitted))]


def _states(recording: Recording) -> list[list[np.ndarray[Any, Any]]]:
    return [[np.asarray(state) for state in run.states] for run in recording.runs]


def _alike(a: list[list[np.ndarray[Any, Any]]], b: list[list[np.ndarray[Any, Any]]]) -> bool:
    pairs = [(x, y) for one, other in zip(a, b, strict=False) for x, y in zip(one, other, strict=True)]
    return len(a) == len(b) and all(np.array_equal(x, y) for x, y in pairs)


def _differs(a: list[list[np.ndarray[Any, Any]]], b: list[list[np.ndarray[Any, Any]]], event: int, slot: int) -> bool:
    if event >= len(a) or event >= len(b):
        return True
    return not np.array_equal(a[event][slot], b[event][slot])


def with_sources(arrival: Arrival, sources: frozenset[Source]) -> Arrival:
    """Return an arrival with sources that another way has found; their places are then not known."""
    return replace(arrival, sources=sources, unknown="", transformed=True, in_place=True, missing=0.0)


def events_of(recording: Recording, reading: Origins, units: dict[int, int]) -> tuple[Event, ...]:
    """Return the events as the rules see them."""
    return tuple(
        Event(
            unit=units[id(run.unit)],
            call=run.call,
            steps=run.steps,
            file=run.line.file,
            line=run.line.line,
            code=run.line.code,
            descends=descent[0],
            reads=descent[1],
        )
        for run, descent in zip(recording.runs, reading.descents, strict=True)
    )
